// Blocks decoded while their tables change, as a pipeline does it: by plan, asking for what is missing. What comes out is held
// against a model, by field id; and two versions of a schema row by row cost no failure and no file more.
import avro from 'avsc'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { changeColumns } from '../lake/change-columns.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { type ColumnChange, planColumnChange } from '../schemas/column-change.ts'
import { evolvingTable } from '../schemas/evolution.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { isHidden } from '../schemas/table-schema.ts'
import { recordBlock } from '../test/harness/record-block.ts'
import { vectorValue } from '../test/harness/vector-values.ts'
import { createBlockDecoder } from './decoder/block-decoder.ts'
import type { BlockDecoder, DecodedBlock } from './decoder/decode-plan.ts'
import type { RecordBlock } from './kafka/kafka-source.ts'
import { createSchemaKeeper, type PlanKeeper, type RecordFormat } from './schema-keeper.ts'
import { createIngestTables, type DeclaredTable, type IngestTables } from './tables.ts'

const INFERRED: DeclaredTable = {
  columns: undefined,
  partition: [],
  sort: [],
  eventTime: undefined,
  inferRecords: 1,
  inferTimestamps: true,
}
const JSON_FORMAT: RecordFormat = {
  key: undefined,
  value: { format: 'json', envelope: false },
  transforms: [],
  headersColumn: undefined,
  keyColumns: undefined,
}

type Process = {
  readonly tables: IngestTables
  readonly keeper: PlanKeeper
  /** Plans and questions so far. */
  readonly counts: { plans: number; asked: number }
  take(block: RecordBlock): Promise<DecodedBlock>
}

async function openProcess(
  catalog: Catalog,
  declared: DeclaredTable,
  more: Partial<Parameters<typeof createSchemaKeeper>[0]>,
): Promise<Process> {
  const world = createTestWorld({ sleepAdvances: true })
  const tables = createIngestTables({
    catalog,
    world,
    lakeRoot: 'file:///lake',
    declared: { events: declared },
    createDecoder: () => ({ unknownKeys: 0, decode: () => undefined }),
    inferColumns: () => [{ fieldId: 0, name: 'id', type: { kind: 'long' }, required: false }],
    onCreated() {},
  })
  const table = await tables.open('events')
  const keeper = createSchemaKeeper({
    pipeline: 'p',
    topics: ['t'],
    tables: [table],
    recordBytesMax: 1e6,
    world,
    ...more,
  })
  const counts = { plans: 0, asked: 0 }
  let decoder: { readonly number: number; readonly run: BlockDecoder } | undefined

  async function take(block: RecordBlock): Promise<DecodedBlock> {
    for (let isFinal = false; ; ) {
      const plan = keeper.plan()
      if (decoder?.number !== plan.number) {
        decoder = { number: plan.number, run: createBlockDecoder(plan) }
        counts.plans += 1
      }
      const result = decoder.run.decode(block, 0, 'kafka:t:x', 1, isFinal)
      if (result.kind === 'decoded') return result
      counts.asked += 1
      isFinal = (await keeper.resolve(result)).number === plan.number
    }
  }
  return { tables, keeper, counts, take }
}

/** Values by field id, without hidden columns; null ones left out. */
function rowsById(batch: MicroBatch): Map<number, unknown>[] {
  const vectors = batch.vectors.filter(({ column }) => !isHidden(column))
  return Array.from({ length: batch.rowCount }, (_, row) => {
    const values = vectors.map((vector) => [vector.column.fieldId, vectorValue(vector, row)] as const)
    return new Map(values.filter(([, value]) => value !== null))
  })
}

// ---- a million rows of two versions ------------------------------------------------------------------------------------

const V1 = {
  type: 'record',
  name: 'Event',
  fields: [
    { name: 'id', type: 'long' },
    { name: 'n', type: 'int' },
    { name: 'name', type: 'string' },
    { name: 'gone', type: 'string' },
    { name: 'place', type: { type: 'record', name: 'Place', fields: [{ name: 'zip', type: 'int' }] } },
  ],
}
const V2 = {
  type: 'record',
  name: 'Event',
  fields: [
    { name: 'id', type: 'long' },
    { name: 'gate', type: ['null', 'string'], default: null },
    { name: 'n', type: 'long' },
    { name: 'title', type: 'string', aliases: ['name'] },
    {
      name: 'place',
      type: {
        type: 'record',
        name: 'Place',
        fields: [
          { name: 'zip', type: 'long' },
          { name: 'city', type: 'string' },
        ],
      },
    },
  ],
}

function framed(id: number, type: avro.Type, value: unknown): Uint8Array {
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(id, 1)
  return Buffer.concat([frame, type.toBuffer(value)])
}

test('v1 and v2 row by row for a million rows: all are taken, one piece a block, one change of the table', async () => {
  const BLOCKS = 1000
  const ROWS = 1000
  const catalog = await openCatalog({ url: 'sqlite::memory:', world: createTestWorld() })
  const texts = new Map([
    [1, JSON.stringify(V1)],
    [2, JSON.stringify(V2)],
  ])
  const process = await openProcess(catalog, INFERRED, {
    format: { ...JSON_FORMAT, value: { format: 'avro', registry: true } },
    findSchema: async (id) => ({
      kind: 'schema',
      schema: { id, type: 'AVRO', text: texts.get(id) ?? '', references: [], label: `event version ${id}` },
    }),
  })
  const types = [V1, V2].map((schema) => avro.Type.forSchema(schema as avro.Schema))
  const records = Array.from({ length: ROWS }, (_, at) => ({
    value:
      at % 2 === 0
        ? framed(1, types[0], { id: at, n: at, name: `n${at}`, gone: 'g', place: { zip: at } })
        : framed(2, types[1], {
            id: at,
            gate: 'A',
            n: 3e9 + at,
            title: `n${at}`,
            place: { zip: 4e9, city: 'Oslo' },
          }),
  }))
  const block = recordBlock('t', records)
  let rows = 0
  let pieces = 0
  const schemaIds = new Set<number>()
  let last: MicroBatch | undefined
  for (let at = 0; at < BLOCKS; at += 1) {
    const decoded = await process.take(block)
    expect({ dead: decoded.dead, unknown: decoded.unknownKeys, why: decoded.deadReason }).toEqual({
      dead: 0,
      unknown: 0,
    })
    pieces += decoded.pieces.length
    for (const piece of decoded.pieces) {
      rows += piece.batch.rowCount
      schemaIds.add(piece.schemaId)
      last = piece.batch
    }
  }
  expect({ rows, pieces, schemas: schemaIds.size }).toEqual({ rows: BLOCKS * ROWS, pieces: BLOCKS, schemas: 1 })
  // Schemas, the table, its columns: asked for once each.
  expect(process.counts.asked).toBeLessThanOrEqual(4)
  const names = new Map(last?.schema.columns.map(({ fieldId, name }) => [fieldId, name]))
  const named = rowsById(last!).map((row) => Object.fromEntries([...row].map(([id, value]) => [names.get(id), value])))
  expect(named.slice(0, 2)).toEqual([
    { id: 0n, n: 0n, title: 'n0', gone: 'g', place: { zip: 0n, city: null } },
    { id: 1n, n: 3000000001n, title: 'n1', gate: 'A', place: { zip: 4000000000n, city: 'Oslo' } },
  ])
  await catalog.close()
})

// ---- a random history against a model ------------------------------------------------------------------------------------

const KEYS = ['a', 'b', 'c', 'd']
type Step =
  | { readonly kind: 'records'; readonly process: number; readonly keys: readonly string[] }
  | { readonly kind: 'drop'; readonly name: string }
  | { readonly kind: 'add'; readonly name: string }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string }
  | { readonly kind: 'refresh'; readonly process: number }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('records' as const),
      process: fc.nat(1),
      keys: fc.subarray(KEYS),
    }),
  },
  fc.record({ kind: fc.constant('drop' as const), name: fc.constantFrom(...KEYS) }),
  fc.record({ kind: fc.constant('add' as const), name: fc.constantFrom(...KEYS) }),
  fc.record({
    kind: fc.constant('rename' as const),
    name: fc.constantFrom(...KEYS),
    to: fc.constantFrom(...KEYS, 'z'),
  }),
  fc.record({ kind: fc.constant('refresh' as const), process: fc.nat(1) }),
)

type ModelColumn = { readonly id: number; name: string; former: string[] }
/** Where a record's key goes, in a table of these columns. */
function columnOf(columns: readonly ModelColumn[], key: string): ModelColumn | undefined {
  return columns.find(({ name }) => name === key) ?? columns.find(({ former }) => former.includes(key))
}

test('whatever is changed by records and by hand, in two processes: each value is under the field it came for', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 14 }), async (steps) => {
      const catalog = await openCatalog({ url: 'sqlite::memory:', world: createTestWorld() })
      const declared: DeclaredTable = {
        ...INFERRED,
        columns: [{ name: 'id', type: { kind: 'long' }, required: true }],
        evolution: 'evolve',
      }
      const processes = [await openProcess(catalog, declared, {}), await openProcess(catalog, declared, {})]
      try {
        // By the number of schemas: what the table was like, and which names were dropped so far.
        const history: { columns: ModelColumn[]; dropped: Set<string> }[] = [
          { columns: [{ id: 16, name: 'id', former: [] }], dropped: new Set() },
        ]
        let nextId = 17
        let value = 0n
        for (const step of steps) {
          const { columns, dropped } = structuredClone(history.at(-1)!)
          if (step.kind === 'refresh') {
            await processes[step.process].tables.refresh()
          } else if (step.kind === 'records') {
            const process = processes[step.process]
            const { schema, ignoredKeys } = process.keeper.plan().tables.events
            const known = schema!.schemaId
            value += 10n
            const record = { id: Number(value), ...Object.fromEntries(step.keys.map((key) => [key, Number(value)])) }
            const { pieces, dead } = await process.take(recordBlock('t', [{ value: JSON.stringify(record) }]))
            expect(dead).toBe(0)
            // A process that knows a column for every key asks nobody, whatever others did meanwhile; what was dropped before it
            // asked is known as well.
            const asks = step.keys.some((key) => !columnOf(history[known].columns, key) && !ignoredKeys.includes(key))
            const used = asks ? columns : history[known].columns
            for (const key of asks ? step.keys : []) {
              if (columnOf(columns, key) || dropped.has(key)) continue
              columns.push({ id: nextId, name: key, former: [] })
              nextId += 1
            }
            if (columns.length > history.at(-1)!.columns.length) history.push({ columns, dropped })
            const expected = new Map<number, bigint>()
            for (const key of ['id', ...step.keys]) {
              const column = columnOf(used, key)
              if (column) expected.set(column.id, value)
            }
            expect(pieces).toHaveLength(1)
            expect(new Map([...rowsById(pieces[0].batch)[0]].sort())).toEqual(new Map([...expected].sort()))
          } else {
            const change = changeOf(step)
            let isDone = false
            await changeColumns(catalog, 'events', (table) => {
              const plan = planColumnChange(evolvingTable(table), new Map([[16, 'needed']]), change, {
                columnsMax: 100,
              })
              isDone = plan.kind === 'change'
              return plan.kind === 'change' ? plan.columns : undefined
            })
            const at = columns.findIndex(({ name }) => name === step.name)
            if (!isDone) continue
            if (step.kind === 'add') {
              columns.push({ id: nextId, name: step.name, former: [] })
              nextId += 1
            } else if (step.kind === 'drop') {
              for (const name of [step.name, ...columns[at].former]) dropped.add(name)
              columns.splice(at, 1)
            } else {
              const column = columns[at]
              column.former = [...column.former.filter((each) => each !== step.to && each !== column.name), column.name]
              column.name = step.to
            }
            history.push({ columns, dropped })
          }
        }
        const table = await catalog.findTable('events')
        expect(table?.schemas).toHaveLength(history.length)
        const shown = table?.schemas.at(-1)?.columns.filter((column) => !isHidden(column))
        expect(shown?.map(({ fieldId, name }) => `${fieldId} ${name}`)).toEqual(
          history.at(-1)!.columns.map(({ id, name }) => `${id} ${name}`),
        )
      } finally {
        await catalog.close()
      }
    }),
    { numRuns: 60 },
  )
})

function changeOf(step: Extract<Step, { kind: 'drop' | 'add' | 'rename' }>): ColumnChange {
  const path = [step.name]
  if (step.kind === 'add') return { op: 'add', path, type: { kind: 'long' }, required: false }
  return step.kind === 'drop' ? { op: 'drop', path } : { op: 'rename', path, to: step.to }
}
