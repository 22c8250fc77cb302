/**
 * A process for tests: `node tick-process.ts <catalog url> <n>` commits n ticks of one offset each to one source that it
 * shares with others like it, and reports each to its parent. A stale answer means that another was first: it goes on
 * from where the coverage ends.
 */
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { openCatalog } from './open-catalog.ts'
import { newTableOf, sourceKey, tickOf } from './test-values.ts'

const [url, count] = process.argv.slice(2)
const world = createSystemWorld({ log: createTestWorld().log })
const catalog = await openCatalog({ url, world, busyMs: 60_000 })
const table =
  (await catalog.findTable('flights')) ??
  (await catalog.createTable(newTableOf('flights')).catch((error: unknown) => {
    if (!isMillraceError(error, 'already-exists')) throw error
    return catalog.findTable('flights')
  }))
if (!table) throw new Error('the table was made by nobody')
const writer = await catalog.registerWriter('ingest')
const key = sourceKey(0)
let end = (await catalog.coverage(key.pipeline))[0]?.ranges.at(-1)?.end ?? 0n
for (let done = 0; done < Number(count); ) {
  const result = await catalog.commitTick(tickOf(table, writer, world.random.uuid(), key, end, end + 1n))
  if (result.outcome === 'stale') {
    end = result.stale[0].coverage?.ranges.at(-1)?.end ?? 0n
    continue
  }
  end += 1n
  done += 1
  process.send?.(String(end))
}
await catalog.close()
process.disconnect?.()
