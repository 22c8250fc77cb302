// What worker threads give is what one thread gives: rows, dead letters, counts, segments (G-1); and memory comes back (G-6).
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { defineDeadLetters } from '../../lake/table-definition.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { parseColumnType } from '../../schemas/column-type.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { type BatchRecord, type Codec, encodeBatch } from '../../test/harness/batch-encoder.ts'
import { createBlockDecoder } from '../decoder/block-decoder.ts'
import type { DecodedPiece, DecodePlan } from '../decoder/decode-plan.ts'
import type { FetchedRecords } from '../kafka/kafka-source.ts'
import { releaseBatch } from '../open-tick.ts'
import type { DecodedUnit } from './decode-unit.ts'
import { sealSegment } from './seal-segment.ts'
import { createInlineWork, type IngestWork } from './work.ts'
import { createWorkerPool } from './worker-pool.ts'

const ARRIVED = createTestWorld()
const SCHEMA: TableSchema = {
  schemaId: 3,
  columns: [
    ...[
      ['id', 'long', true],
      ['note', 'string', false],
      ['amount', 'decimal(10,2)', false],
      ['at', 'timestamptz', false],
      ['ok', 'boolean', false],
      ['tags', 'list<string>', false],
      ['place', 'struct<city: string, zip: int>', false],
    ].map(([name, type, required], index) => ({
      fieldId: 16 + index,
      name: String(name),
      type: parseColumnType(String(type))!,
      required: required === true,
    })),
    ...HIDDEN_COLUMNS,
  ],
}
const letters = defineDeadLetters('t', 'file:///lake/t__dead_letters')
const PLAN: DecodePlan = {
  number: 1,
  pipeline: 'p',
  key: undefined,
  value: { format: 'json', envelope: false },
  transforms: [],
  headersColumn: undefined,
  keyColumns: undefined,
  routes: { flights: ['t'] },
  tables: {
    t: {
      tableId: 1,
      name: 't',
      schema: SCHEMA,
      deadLetters: { tableId: 2, schema: { schemaId: 0, columns: [...(letters.columns ?? []), ...HIDDEN_COLUMNS] } },
      ignoredKeys: [],
      evolution: 'freeze',
    },
  },
  schemas: {},
  refusedSchemas: {},
  recordBytesMax: 2_000,
}

const text = fc.oneof(fc.string({ maxLength: 20 }), fc.constant('x'.repeat(300)))
const value = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .record(
        {
          id: fc.maxSafeInteger(),
          note: fc.option(text),
          amount: fc.integer({ min: 0, max: 99_999_999 }).map((cents) => cents / 100),
          at: fc.integer({ min: 0, max: 4_102_444_800_000 }).map((ms) => new Date(ms).toISOString()),
          ok: fc.boolean(),
          tags: fc.array(text, { maxLength: 3 }),
          place: fc.record({ city: text, zip: fc.nat() }, { requiredKeys: [] }),
          unknown: fc.nat(),
        },
        { requiredKeys: ['id'] },
      )
      .map((row) => JSON.stringify(row)),
  },
  { weight: 1, arbitrary: fc.constantFrom('', '{', '[]', '{"note": "without id"}', '{"id": "no number"}') },
  { weight: 1, arbitrary: fc.constant(`{"id": 1, "note": "${'y'.repeat(2_500)}"}`) },
  { weight: 1, arbitrary: fc.constant(null) },
)
const batch = fc.record({
  values: fc.array(value, { minLength: 1, maxLength: 40 }),
  copies: fc.integer({ min: 1, max: 30 }),
  codec: fc.constantFrom<Codec[]>('none', 'gzip', 'snappy', 'lz4', 'zstd'),
})
const unit = fc.record({
  batches: fc.array(batch, { minLength: 1, maxLength: 4 }),
  isDamaged: fc.boolean(),
  skip: fc.nat(),
})

/** Batches one behind the other from `startOffset` on; the last one damaged or not. */
function fetchedOf(
  batches: readonly { values: readonly (string | null)[]; copies: number; codec: Codec }[],
  isDamaged: boolean,
) {
  let next = 1_000
  const encoded = batches.map(({ values, copies, codec }) => {
    const records: BatchRecord[] = []
    for (let copy = 0; copy < copies; copy += 1) {
      for (const each of values)
        records.push({ key: copy % 2 === 0 ? 'k' : null, value: each, timestamp: 1_700_000_000_000 + copy })
    }
    const bytes = encodeBatch(records, { codec, baseOffset: next })
    next += records.length
    return bytes
  })
  if (isDamaged) encoded.at(-1)![40] ^= 0xff
  const fetched: FetchedRecords = {
    topic: 'flights',
    topicId: 'id',
    partition: 3,
    batches: Buffer.concat(encoded),
    aborted: [],
    startOffset: 1_000,
    nextOffset: next,
    logEnd: next,
  }
  return fetched
}

/** As a file, since a null's place in memory holds anything; without `_arrived`, which is another moment. */
const plainPieces = (pieces: readonly DecodedPiece[]) =>
  [...Map.groupBy(pieces, ({ tableId }) => tableId)].map(([tableId, own]) => {
    const { schemaId } = own[0]
    const { bytes, rowCount } = sealSegment({
      pieces: own.map(({ batch }) => withoutArrived(batch)),
      keyValues: {},
      eventTimeFieldId: undefined,
    })
    return { tableId, schemaId, rowCount, bytes: Buffer.from(bytes).toString('base64') }
  })

function withoutArrived({ schema, rowCount, vectors }: MicroBatch): MicroBatch {
  const kept = vectors.filter(({ column }) => column.name !== '_arrived')
  return { schema: { ...schema, columns: kept.map(({ column }) => column) }, rowCount, vectors: kept }
}

function told({ pieces, damage, ...counts }: DecodedUnit) {
  return {
    ...counts,
    damage: damage && [damage.message, (damage as { code?: string }).code],
    pieces: plainPieces(pieces),
  }
}

let deaths: Error[] = []
let freed = 0
const world = ARRIVED
const common = { world, createBlockDecoder, room: async () => {} }
const pool: IngestWork = createWorkerPool({
  ...common,
  threads: 2,
  memoryMax: 64 * 1024 * 1024,
  onFreed: () => {
    freed += 1
  },
  onDeath: (error) => deaths.push(error),
})
const inline = createInlineWork(common)
afterAll(() => pool.close())

async function decoded(work: IngestWork, fetched: FetchedRecords, from: number): Promise<DecodedUnit> {
  const result = await work.decode(PLAN, fetched, from, 'kafka:flights:id', false)
  if (result.kind !== 'decoded') throw new Error('something is needed')
  return result
}

describe('a pool of workers', () => {
  test('gives the rows, dead letters, counts and segments that one thread gives, and its memory comes back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(unit, { minLength: 1, maxLength: 6 }), async (units) => {
        const held = pool.bytesHeld
        const results = await Promise.all(
          units.map(async ({ batches, isDamaged, skip }) => {
            const fetched = fetchedOf(batches, isDamaged)
            const from = 1_000 + (skip % (fetched.nextOffset - 1_000))
            const [away, here] = await Promise.all([decoded(pool, fetched, from), decoded(inline, fetched, from)])
            expect(told(away)).toEqual(told(here))
            return { away, here }
          }),
        )
        for (const tableId of [1, 2]) {
          const piecesOf = (which: 'away' | 'here') =>
            results.flatMap((result) =>
              result[which].pieces.filter((piece) => piece.tableId === tableId).map((piece) => piece.batch),
            )
          if (piecesOf('away').length === 0) continue
          const question = { keyValues: { a: 'b' }, eventTimeFieldId: 19 }
          const sealed = await pool.seal({ ...question, pieces: piecesOf('away') })
          // The pieces of one thread arrived at another moment: the same rows, sealed here.
          const same = sealSegment({ ...question, pieces: piecesOf('away') })
          expect({ ...sealed, bytes: Buffer.from(sealed.bytes), release: undefined }).toEqual({
            ...same,
            bytes: Buffer.from(same.bytes),
            release: undefined,
          })
          sealed.release?.()
        }
        for (const { away } of results) for (const piece of away.pieces) releaseBatch(piece.batch)
        expect(pool.bytesHeld).toBe(held)
      }),
      { numRuns: 60 },
    )
    expect(deaths).toEqual([])
    expect(freed).toBeGreaterThan(0)
  })

  test('rows that grew more than expected get memory of their own, which comes back as well', async () => {
    const values = Array.from({ length: 40 }, (_, id) => `{"id": ${id}, "note": "${'z'.repeat(1_500)}"}`)
    const fetched = fetchedOf([{ values, copies: 100, codec: 'zstd' }], false)
    expect(fetched.batches.length * 20).toBeLessThan(4_000 * 1_500)
    const [away, here] = await Promise.all([decoded(pool, fetched, 1_000), decoded(inline, fetched, 1_000)])
    expect(pool.bytesHeld).toBeGreaterThan(4_000 * 1_500)
    expect(told(away)).toEqual(told(here))
    for (const piece of away.pieces) releaseBatch(piece.batch)
    expect(pool.bytesHeld).toBe(0)
  })

  test('says what a block needs, and keeps nothing of it', async () => {
    const unknown: DecodePlan = { ...PLAN, number: 2, routes: {}, tables: {} }
    const values = Array.from({ length: 200 }, (_, id) => `{"id": ${id}, "note": "${id * 7919}-${id * 104729}"}`)
    const fetched = fetchedOf([{ values, copies: 4, codec: 'none' }], false)
    const [away, here] = await Promise.all(
      [pool, inline].map((work) => work.decode(unknown, fetched, 1_000, 'kafka:flights:id', false)),
    )
    expect(away.kind).toBe('needs')
    expect(away).toEqual(here)
    expect(pool.bytesHeld).toBe(0)
  })

  test('units that wait for a thread hold no memory for their rows: it is left to rows that are there', async () => {
    const idle = createWorkerPool({
      ...common,
      threads: 1,
      memoryMax: 64 * 1024 * 1024,
      onFreed() {},
      onDeath() {},
      program: new URL(
        'data:text/javascript,import { parentPort } from "node:worker_threads"; parentPort.on("message", () => {})',
      ),
    })
    const values = Array.from({ length: 1_000 }, (_, id) => `{"id": ${id}, "note": "${'n'.repeat(40)}${id * 104729}"}`)
    const fetched = fetchedOf([{ values, copies: 2, codec: 'none' }], false)
    for (let asked = 0; asked < 40; asked += 1) {
      idle.decode(PLAN, fetched, 1_000, 's', false).catch(() => {})
    }
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    const each = fetched.batches.length * (1 + 6 * 1.25)
    expect(40 * fetched.batches.length).toBeGreaterThan(5 * 1024 * 1024)
    expect(idle.bytesHeld).toBeGreaterThan(each)
    expect(idle.bytesHeld).toBeLessThan(1.2 * 1024 * 1024 * (1 + 6 * 1.25))
    await idle.close()
  })

  test('that loses a worker says so once, and the process has to end: nothing is answered any more', async () => {
    deaths = []
    const dying = createWorkerPool({
      ...common,
      threads: 2,
      memoryMax: 8 * 1024 * 1024,
      onFreed() {},
      onDeath: (error) => deaths.push(error),
      program: new URL(
        'data:text/javascript,import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(3))',
      ),
    })
    const values = Array.from({ length: 200 }, (_, id) => `{"id": ${id}, "note": "${id * 7919}-${id * 104729}"}`)
    let isAnswered = false
    const answered = () => {
      isAnswered = true
    }
    dying
      .decode(PLAN, fetchedOf([{ values, copies: 4, codec: 'none' }], false), 1_000, 's', false)
      .then(answered, answered)
    while (deaths.length === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(deaths.map(({ message }) => message)).toEqual(['a worker thread of ingest ended: it ended with code 3'])
    await dying.close()
    expect(deaths).toHaveLength(1)
    expect(isAnswered).toBe(false)
  })
})
