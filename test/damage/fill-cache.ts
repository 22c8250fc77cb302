/**
 * A process that fills a reader's cache with ranges of one object, and is killed while it does: `fill-cache.ts <folder> <object file>
 * <seed>`. Says `filling` when it begins; ends only by being killed.
 */
import { readFileSync } from 'node:fs'
import { createMemoryObjectStore } from '../../lake/object-store/memory.ts'
import { createRangeCache } from '../../lake/range-cache/range-cache.ts'
import { createTestWorld } from '../../runtime/test-world.ts'

const [folder, file, seed] = process.argv.slice(2)
const world = createTestWorld()
const bytes = new Uint8Array(readFileSync(file))
const store = createMemoryObjectStore({ root: 's3://bucket/lake', world })
const path = 's3://bucket/lake/killed.parquet'
const { etag } = await store.put(path, bytes)
const cache = await createRangeCache({ folder, bytesMax: 1e9, store, world, wholeFileBytesMax: 0 })
let state = Number(seed)
function random(below: number): number {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0
  return state % below
}
process.stdout.write('filling\n')
for (;;) {
  const ranges = Array.from({ length: 4 }, () => {
    const start = random(bytes.length - 1)
    return { start, end: Math.min(bytes.length, start + 1 + random(20_000)) }
  })
  const held = await cache.ensure(path, bytes.length, etag, ranges)
  held.release()
}
