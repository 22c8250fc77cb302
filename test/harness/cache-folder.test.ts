import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { cachedFolder } from './cache-folder.ts'

let home: string
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'millrace-cache-'))
  vi.stubEnv('XDG_CACHE_HOME', home)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(home, { recursive: true, force: true })
})

describe('cache folder', () => {
  test('is built once, however many ask at once', async () => {
    let builds = 0
    const build = async (folder: string) => {
      builds++
      await writeFile(join(folder, 'thing'), 'built')
    }
    const folders = await Promise.all(Array.from({ length: 5 }, () => cachedFolder({ name: 'thing-1.0', build })))
    expect(new Set(folders)).toEqual(new Set([join(home, 'millrace', 'thing-1.0')]))
    expect(builds).toBe(1)
    expect(await readFile(join(folders[0], 'thing'), 'utf8')).toBe('built')
  })

  test('a build that failed leaves nothing that counts, and is done anew', async () => {
    const failing = cachedFolder({
      name: 'thing-2.0',
      build: async (folder) => {
        await writeFile(join(folder, 'half'), 'x')
        throw new Error('no network')
      },
    })
    await expect(failing).rejects.toThrow('no network')
    const folder = await cachedFolder({ name: 'thing-2.0', build: (path) => writeFile(join(path, 'whole'), 'x') })
    expect([existsSync(join(folder, 'half')), existsSync(join(folder, 'whole'))]).toEqual([false, true])
  })
})
