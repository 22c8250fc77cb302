// Two caches never share a folder: one would read the other's holes.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { claimFolder } from './own-folder.ts'

test('a folder in use is left alone, one that was given back is taken again', async () => {
  const base = mkdtempSync(join(tmpdir(), 'millrace-own-'))
  const world = createTestWorld()
  const wanted = join(base, 'objects')
  try {
    const first = await claimFolder(wanted, world)
    const second = await claimFolder(wanted, world)
    expect([first.folder, second.folder]).toEqual([wanted, `${wanted}-2`])
    expect(world.lines).toMatchObject([{ level: 'warn', folder: `${wanted}-2` }])
    first.release()
    const third = await claimFolder(wanted, world)
    expect(third.folder).toBe(wanted)
    second.release()
    third.release()
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})
