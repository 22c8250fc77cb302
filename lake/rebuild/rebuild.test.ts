// What a rebuild refuses, before it changes anything: a catalog of another lake, and one whose file is damaged.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { openCatalog } from '../catalog/open-catalog.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import { rebuildCatalog } from './rebuild.ts'

const ROOT = 's3://bucket/lake'
const folder = mkdtempSync(join(tmpdir(), 'millrace-rebuild-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function rebuild(file: string, lakeRoot: string, dryRun: boolean) {
  const world = createTestWorld()
  const store = createMemoryObjectStore({ root: lakeRoot, world })
  const options = { coldRoot: undefined, takeUnsequenced: false, onProgress: () => {} }
  return rebuildCatalog({ ...options, catalogUrl: `sqlite:${file}`, store, lakeRoot, world, dryRun })
}

test('a catalog whose tables lie elsewhere is refused by both places, and nobody is fenced', async () => {
  const file = join(folder, 'other.sqlite')
  const open = () => openCatalog({ url: `sqlite:${file}`, world: createTestWorld() })
  const column = { fieldId: 16, name: 'id', type: { kind: 'long' }, required: false } as const
  const catalog = await open()
  await catalog.createTable({
    name: 't',
    location: `${ROOT}/t-1`,
    columns: [column],
    partition: [],
    sort: [],
    properties: {},
  })
  const writer = await catalog.registerWriter('ingest')
  await catalog.close()
  // The second one is a prefix of the right one.
  for (const wrong of ['s3://bucket/other', 's3://bucket/la']) {
    for (const dryRun of [true, false]) {
      const refused = await rebuild(file, wrong, dryRun).catch((error: unknown) => error)
      expect(refused).toMatchObject({ code: 'settings-invalid', message: expect.stringContaining(`${ROOT}/t-1`) })
      expect(refused).toMatchObject({ message: expect.stringContaining(wrong) })
    }
  }
  const again = await open()
  expect(await again.writerState(writer.writerId)).toBe('live')
  await again.close()
  expect((await rebuild(file, ROOT, true)).plan.problems).toEqual([])
})

test('a damaged file is told with what to do', async () => {
  const file = join(folder, 'damaged.sqlite')
  writeFileSync(file, 'this was a database once, and is none any more')
  for (const dryRun of [true, false]) {
    await expect(rebuild(file, ROOT, dryRun)).rejects.toMatchObject({
      code: 'file-damaged',
      message: expect.stringContaining(`move ${file}, ${file}-wal and ${file}-shm away`),
    })
  }
})
