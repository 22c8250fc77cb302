/**
 * What a flush tick of many tables costs inside one ingest process: rows of every table are sealed, written as one small
 * Parquet file each, put to a local disk, and committed to SQLite, by the very parts that ingest is made of. Decoding happens
 * before the clock starts; nothing of Kafka is here.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBatchBuilder } from '../ingest/decoder/batch-builder.ts'
import { createJsonDecoder } from '../ingest/decoder/json-decoder.ts'
import { createFlusher } from '../ingest/flusher.ts'
import { createOpenTick } from '../ingest/open-tick.ts'
import { createSegmentWriter } from '../ingest/segment-writer.ts'
import { createSourceLedger } from '../ingest/source-ledger.ts'
import { feedOf } from '../ingest/tables.ts'
import { sealSegment } from '../ingest/threads/seal-segment.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { openObjectStore } from '../lake/object-store/open.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { parseColumnType } from '../schemas/column-type.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { recordOf } from './records.ts'

const COLUMNS: readonly (readonly [name: string, type: string])[] = [
  ['ts', 'timestamptz'],
  ['id', 'long'],
  ['user_id', 'long'],
  ['country', 'string'],
  ['device', 'string'],
  ['url', 'string'],
  ['status', 'int'],
  ['latency', 'double'],
  ['amount', 'decimal(10,2)'],
  ['ok', 'boolean'],
  ['items', 'int'],
  ['session', 'string'],
]

export type FilesCost = {
  readonly rowsPerSegment: number
  /** CPU milliseconds of the process per tick, and of these the parts that run alone. */
  readonly cpuMs: number
  readonly sealMs: number
  readonly encodeMs: number
  readonly wallMs: number
  readonly segmentBytes: number
}

export async function measureFiles(options: {
  tables: number
  rowsPerSegment: number
  ticks: number
  warmUpTicks: number
  /** Every put takes so much longer, as one over a network does. */
  putDelayMs?: number
}): Promise<FilesCost> {
  const { tables: tableCount, rowsPerSegment, ticks, warmUpTicks, putDelayMs = 0 } = options
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-files-'))
  const world = createSystemWorld({ log: createTestWorld().log })
  const catalog = await openCatalog({ url: `sqlite:${join(folder, 'catalog.sqlite')}`, world })
  const root = `file://${join(folder, 'lake')}`
  const local = openObjectStore({ root, world })
  const store: ObjectStore = {
    ...local,
    async put(...args) {
      if (putDelayMs > 0) await world.clock.sleep(putDelayMs)
      return local.put(...args)
    },
  }
  try {
    const columns = COLUMNS.map(([name, type]) => ({ name, type: parseColumnType(type)!, required: name === 'id' }))
    const writer = await catalog.registerWriter('ingest')
    const ledger = createSourceLedger()
    let encodeMs = 0
    let segmentBytes = 0
    const flusher = createFlusher({
      catalog,
      store,
      world,
      writer,
      ledger,
      segments: createSegmentWriter({
        store,
        world,
        writer,
        async seal(question) {
          const before = process.cpuUsage()
          const sealed = sealSegment(question)
          encodeMs += cpuSince(before)
          return sealed
        },
      }),
      ticksInFlightMax: 4,
      onCommitted({ segments }) {
        for (const { bytes } of segments) segmentBytes += bytes
      },
      onStale: () => fail('a source became stale'),
      onTrouble: (reason) => reason && fail(reason),
      onFatal: (error) => fail(String(error)),
    })
    const tick = createOpenTick()
    const fed = []
    for (let index = 0; index < tableCount; index += 1) {
      const name = `files_${index}`
      const definition = { name, columns, partition: [], sort: [], eventTime: 'ts' }
      const table = await catalog.createTable(defineTable(definition, `${root}/${name}`))
      const key = { pipeline: name, source: `kafka:${name}:1b4e28ba-2fa1-11d2-883f-0016d3cca427`, partition: 0 }
      ledger.reload(key, 0n)
      fed.push({
        feed: feedOf(table),
        key,
        builder: createBatchBuilder(table.schemas[0]),
        decoder: createJsonDecoder(table.schemas[0]),
        generation: ledger.generation(sourceKeyText(key)),
      })
    }
    let cpuMs = 0
    let sealMs = 0
    let wallMs = 0
    for (let turn = 0; turn < warmUpTicks + ticks; turn += 1) {
      const first = turn * rowsPerSegment
      for (const { feed, key, builder, decoder, generation } of fed) {
        const source = builder.sourceIndex(key.source)
        for (let row = first; row < first + rowsPerSegment; row += 1) {
          const bytes = Buffer.from(String(recordOf(row).value))
          const failure = decoder.decode(bytes, 0, bytes.length, builder)
          if (failure) throw new Error(failure.reason)
          builder.finishRow(source, 0, row, 1_767_225_600_000 + row, 1_767_225_600_000_000)
        }
        const range = { start: BigInt(first), end: BigInt(first + rowsPerSegment) }
        tick.add(feed, builder.seal(), { key, generation, range })
        const counts = { recordsIn: rowsPerSegment, recordsDead: 0, recordsFiltered: 0 }
        tick.advance({ ...key, range, ...counts, logEnd: range.end, caughtUp: true }, generation)
        ledger.took(key, range.end)
      }
      if (turn === warmUpTicks) {
        encodeMs = 0
        segmentBytes = 0
      }
      const isMeasured = turn >= warmUpTicks
      const before = process.cpuUsage()
      const started = performance.now()
      const sealed = tick.seal()
      if (isMeasured) sealMs += cpuSince(before)
      await flusher.submit(sealed)
      await flusher.drain()
      if (!isMeasured) continue
      cpuMs += cpuSince(before)
      wallMs += performance.now() - started
    }
    const [{ segments }] = await catalog.readTables(['files_0'], { coverage: false })
    const rows = segments.reduce((sum, { rowCount }) => sum + rowCount, 0)
    if (rows !== (warmUpTicks + ticks) * rowsPerSegment) fail(`files_0 has ${rows} rows`)
    return {
      rowsPerSegment,
      cpuMs: cpuMs / ticks,
      sealMs: sealMs / ticks,
      encodeMs: encodeMs / ticks,
      wallMs: wallMs / ticks,
      segmentBytes: segmentBytes / ticks / tableCount,
    }
  } finally {
    await store.close()
    await catalog.close()
    await rm(folder, { recursive: true, force: true })
  }
}

function cpuSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

function fail(why: string): never {
  throw new Error(why)
}
