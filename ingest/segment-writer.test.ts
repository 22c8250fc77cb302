import { expect, test } from 'vitest'
import { createMemoryObjectStore } from '../lake/object-store/memory.ts'
import { readSegmentRecord, segmentNameOf } from '../lake/rebuild/segment-record.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import type { ColumnType } from '../schemas/column-type.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { MillraceError } from '../schemas/errors.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { createSegmentWriter, recordedSources, rowsOfSources } from './segment-writer.ts'
import { touchedHours } from './threads/touched-hours.ts'
import { sampleFeed, sampleKey } from './tick-samples.ts'

const FIELD = 16

function batchOf(kind: 'timestamp' | 'timestamptz' | 'date', values: readonly (bigint | null)[]): MicroBatch {
  const type: ColumnType = { kind }
  const column = { fieldId: FIELD, name: 'ts', type, required: false }
  const width = kind === 'date' ? 4 : 8
  const data = new Uint8Array(values.length * width)
  const view = new DataView(data.buffer)
  const validity = new Uint8Array((values.length + 7) >> 3)
  values.forEach((value, row) => {
    if (value !== null) validity[row >> 3] |= 1 << (row & 7)
    if (kind === 'date') view.setInt32(row * 4, Number(value ?? 9999n), true)
    else view.setBigInt64(row * 8, value ?? 123456789012345n, true)
  })
  const nullCount = values.filter((value) => value === null).length
  const vector = { column, length: values.length, nullCount, validity, data, offsets: undefined }
  return { schema: { schemaId: 0, columns: [column] }, rowCount: values.length, vectors: [vector] }
}

const HOUR = 3_600_000_000n

test('touched hours are distinct and sorted, before 1970 too, and nulls touch nothing', () => {
  const batch = batchOf('timestamp', [5n * HOUR, -1n, null, 5n * HOUR + 1n, 0n])
  expect(touchedHours([batch], FIELD)).toEqual({ grain: 'hour', values: [-1, 0, 5] })
})

test('the last microsecond of an hour stays in it, as far away as the year 9999', () => {
  const last = 253_402_300_799_999_999n
  expect(touchedHours([batchOf('timestamptz', [last])], FIELD)).toEqual({
    grain: 'hour',
    values: [Number(last / HOUR)],
  })
  const before = -62_135_596_800_000_001n
  expect(touchedHours([batchOf('timestamptz', [before])], FIELD).values).toEqual([Number(before / HOUR) - 1])
})

test('more than 64 hours are told as days, more than 64 days as all', () => {
  const hours = Array.from({ length: 65 }, (_, i) => BigInt(i) * HOUR)
  expect(touchedHours([batchOf('timestamp', hours)], FIELD)).toEqual({ grain: 'day', values: [0, 1, 2] })
  const days = Array.from({ length: 65 }, (_, i) => BigInt(i) * 24n * HOUR)
  expect(touchedHours([batchOf('timestamp', days)], FIELD)).toEqual({ grain: 'all', values: [] })
})

test('a date touches the first hour of its day', () => {
  expect(touchedHours([batchOf('date', [2n, -1n])], FIELD)).toEqual({ grain: 'hour', values: [-24, 48] })
})

test('a table without event time touches everything', () => {
  expect(touchedHours([batchOf('timestamp', [0n])], undefined)).toEqual({ grain: 'all', values: [] })
})

const piece = (source: string, rowCount: number, from: bigint, to: bigint) => ({
  batch: { rowCount },
  key: sampleKey(source),
  keyText: source,
  generation: 1,
  idempotencyKey: undefined,
  range: { start: from, end: to },
})

const advance = (source: string, recordedFrom: bigint, start: bigint, end: bigint) => ({
  ...sampleKey(source),
  keyText: source,
  generation: 1,
  range: { start, end },
  recordedFrom,
  isFirst: recordedFrom === 0n,
  recordsIn: 0,
  recordsDead: 0,
  recordsFiltered: 0,
  logEnd: undefined,
  caughtUp: false,
})

test('pieces of one source become one range with the rows of all', () => {
  const sources = rowsOfSources([piece('a', 3, 0n, 5n), piece('b', 1, 7n, 8n), piece('a', 2, 5n, 9n)])
  expect([...sources.values()]).toEqual([
    { key: sampleKey('a'), range: { start: 0n, end: 9n }, count: 5 },
    { key: sampleKey('b'), range: { start: 7n, end: 8n }, count: 1 },
  ])
})

test('a segment records all that its tick consumed of its sources; what brought no row is recorded once', () => {
  const batches = [{ pieces: [piece('a', 3, 0n, 5n)] }, { pieces: [piece('a', 1, 2n, 3n)] }]
  const other = { ...advance('d', 0n, 0n, 2n), pipeline: 'without segments', keyText: 'd' }
  const advances = [advance('a', 0n, 0n, 9n), advance('b', 3n, 7n, 8n), other]
  const a = { ...sampleKey('a'), range: { start: 0n, end: 9n }, recordedFrom: 0n, isFirst: true }
  expect(recordedSources(batches, advances)).toEqual([
    [
      { ...a, rows: 3 },
      { ...sampleKey('b'), range: { start: 7n, end: 8n }, rows: 0, recordedFrom: 3n, isFirst: false },
    ],
    [{ ...a, rows: 1 }],
  ])
})

test('a footer tells table, tick and parts, and reads back as it was (a bucket explains itself)', () => {
  const writer = { writerId: '0b54fd4c-9c2e-4a80-9b4c-ffb8a1ad0b3f', epoch: 7, kind: 'ingest' } as const
  const segments = createSegmentWriter({
    store: createMemoryObjectStore({ root: 'file:///lake', world: createTestWorld() }),
    world: createTestWorld(),
    writer,
    seal: () => {
      throw new Error('not asked')
    },
  })
  const feeds = [sampleFeed(1, 't'), sampleFeed(2, 'u')]
  const batches = feeds.map((feed) => ({
    ...feed,
    rowCount: 1,
    pieces: [{ ...piece('a', 1, 0n, 5n), batch: batchOf('timestamp', [1n]), keyText: sourceKeyText(sampleKey('a')) }],
  }))
  const [first, second] = segments.plan(batches, {
    commitId: 'c',
    tick: 4,
    settled: 2,
    dropped: [1],
    advances: [advance('a', 0n, 2n, 5n)].map((each) => ({ ...each, keyText: sourceKeyText(each) })),
    versionOf: (tableId) => (tableId === 1 ? 12n : undefined),
  })
  const record = readSegmentRecord(first.path, new Map(Object.entries(first.keyValues)))
  const commit = {
    commitId: 'c',
    tick: 4,
    settled: 2,
    dropped: [1],
    parts: [
      { tableId: 1, number: 1 },
      { tableId: 2, number: 2 },
    ],
  }
  const counts = { recordsIn: 0, recordsDead: 0, recordsFiltered: 0 }
  expect(record).toMatchObject({
    table: 't',
    schemaId: 0,
    writerId: writer.writerId,
    writerEpoch: 7,
    sources: [{ ...sampleKey('a'), range: { start: 2n, end: 5n }, rows: 1, recordedFrom: 0n, isFirst: true }],
    definition: { tableId: 1, name: 't', location: feeds[0].table.location, schemaId: 0 },
    commit: {
      ...commit,
      versions: new Map([[1, 12n]]),
      advances: [{ ...sampleKey('a'), range: { start: 2n, end: 5n }, recordedFrom: 0n, isFirst: true, ...counts }],
      sources: [[0], [0]],
    },
  })
  expect(record?.definition?.columns).toEqual(feeds[0].table.schemas[0].columns)
  const other = readSegmentRecord(second.path, new Map(Object.entries(second.keyValues)))
  expect(other?.commit).toEqual({ ...record?.commit, versions: new Map() })
  expect(segmentNameOf(second.path)).toEqual({ writerId: writer.writerId, number: 2 })
})

test('a segment whose upload failed is uploaded again as it was: its rows may be gone by then', async () => {
  const world = createTestWorld()
  const memory = createMemoryObjectStore({ root: 'file:///lake', world })
  let uploads = 0
  const segments = createSegmentWriter({
    store: {
      ...memory,
      async put(path, bytes, condition) {
        uploads += 1
        if (uploads < 3) throw new MillraceError('store-unavailable', 'away')
        return memory.put(path, bytes, condition)
      },
    },
    world,
    writer: { writerId: '0b54fd4c-9c2e-4a80-9b4c-ffb8a1ad0b3f', epoch: 7, kind: 'ingest' },
    async seal({ pieces }) {
      events.push(`encoded ${pieces.length}`)
      const checksum = '00000000'
      const touched = { grain: 'all', values: [] } as const
      return {
        rowCount: 1,
        bytes: Uint8Array.of(7),
        checksum,
        bounds: [],
        touched,
        release: () => void events.push('freed'),
      }
    },
  })
  const events: string[] = []
  const own = { ...piece('a', 1, 0n, 1n), batch: batchOf('timestamp', [1n]), keyText: sourceKeyText(sampleKey('a')) }
  const [planned] = segments.plan([{ ...sampleFeed(1, 't'), rowCount: 1, pieces: [own] }], {
    commitId: 'c',
    tick: 1,
    settled: 0,
    dropped: [],
    advances: [advance('a', 0n, 0n, 1n)].map((each) => ({ ...each, keyText: sourceKeyText(each) })),
    versionOf: () => undefined,
  })
  const attempt = () => segments.write(planned, (bytes) => void events.push(`its rows are in ${bytes} byte`))
  await expect(attempt()).rejects.toThrow('away')
  await expect(attempt()).rejects.toThrow('away')
  const segment = await attempt()
  expect(events).toEqual(['encoded 1', 'its rows are in 1 byte', 'freed'])
  expect((await memory.get(segment.path)).bytes).toEqual(Uint8Array.of(7))
})
