// What becomes of what blocks need: schemas, tables, columns; over a real catalog, with two processes where that matters.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { changeColumns } from '../lake/change-columns.ts'
import { createTestWorld, type TestWorld } from '../runtime/test-world.ts'
import { planColumnChange } from '../schemas/column-change.ts'
import { type ColumnType, formatColumnType, parseColumnType } from '../schemas/column-type.ts'
import { MillraceError } from '../schemas/errors.ts'
import { evolvingTable } from '../schemas/evolution.ts'
import type { RecordField } from '../schemas/record-schema.ts'
import { userColumns } from '../schemas/table-schema.ts'
import type { DecodeNeeds, DecodePlan } from './decoder/decode-plan.ts'
import { fitRecord } from './decoder/fit-record.ts'
import { SCHEMALESS } from './decoder/new-fields.ts'
import { createSchemaKeeper, type FindSchema, type PlanKeeper, type RecordFormat } from './schema-keeper.ts'
import { createIngestTables, type DeclaredTable, type IngestTables } from './tables.ts'

const AVRO: RecordFormat = {
  key: undefined,
  value: { format: 'avro', registry: true },
  transforms: [],
  headersColumn: undefined,
  keyColumns: undefined,
}

let world: TestWorld
let catalog: Catalog

beforeEach(async () => {
  world = createTestWorld({ sleepAdvances: true })
  catalog = await openCatalog({ url: 'sqlite::memory:', world })
})
afterEach(() => catalog.close())

function fieldsOf(text: string): RecordField[] {
  const type = parseColumnType(`struct<${text}>`)
  return type?.kind === 'struct' ? [...type.fields] : []
}

function declared(columns: string, more: Partial<DeclaredTable> = {}): DeclaredTable {
  return {
    columns: columns === '' ? undefined : fieldsOf(columns),
    partition: [],
    sort: [],
    eventTime: undefined,
    inferRecords: 1,
    inferTimestamps: true,
    evolution: 'evolve',
    ...more,
  }
}

type Process = { readonly tables: IngestTables; readonly keeper: PlanKeeper; readonly reasons: string[][] }

async function start(
  tables: Record<string, DeclaredTable>,
  more: Partial<Parameters<typeof createSchemaKeeper>[0]> = {},
): Promise<Process> {
  const made = createIngestTables({
    catalog,
    world,
    lakeRoot: 'file:///lake',
    declared: tables,
    createDecoder: () => ({ unknownKeys: 0, decode: () => undefined }),
    inferColumns: () => fieldsOf('inferred: long'),
    onCreated() {},
  })
  const reasons: string[][] = []
  const keeper = createSchemaKeeper({
    pipeline: 'p',
    topics: ['orders'],
    tables: await Promise.all(Object.keys(tables).map((name) => made.open(name))),
    recordBytesMax: 1000,
    world,
    format: AVRO,
    onRefused: (each) => void reasons.push([...each]),
    ...more,
  })
  return { tables: made, keeper, reasons }
}

function columnsNeed(table: string, schemaName: string, fields: string): DecodeNeeds {
  return { kind: 'needs', schemas: [], topics: [], columns: [{ table, schemaName, fields: fieldsOf(fields) }] }
}

function schemaNeed(...ids: readonly number[]): DecodeNeeds {
  return {
    kind: 'needs',
    topics: [],
    columns: [],
    schemas: ids.map((id) => ({ id, isKey: false, topic: 'orders' })),
  }
}

function topicNeed(topic: string, fields: string, samples: readonly Uint8Array[] = []): DecodeNeeds {
  return { kind: 'needs', schemas: [], columns: [], topics: [{ topic, fields: fieldsOf(fields), samples }] }
}

function columnsOf(plan: DecodePlan, table: string): string | undefined {
  const { schema } = plan.tables[table]
  return schema && formatColumnType({ kind: 'struct', fields: userColumns(schema) }).slice('struct<'.length, -1)
}

/** As a decoder would see it. */
function fitOf(plan: DecodePlan, table: string, schemaName: string, fields: string) {
  const { schema, ...rest } = plan.tables[table]
  if (!schema) throw new Error('no schema')
  return fitRecord(plan, { ...rest, schema }, { name: schemaName, fields: fieldsOf(fields) })
}

async function byHand(table: string, op: 'drop' | 'add' | 'rename', path: string, more = 'string'): Promise<void> {
  const type = parseColumnType(more) as ColumnType
  const change =
    op === 'add'
      ? ({ op, path: [path], type, required: false } as const)
      : op === 'drop'
        ? ({ op, path: [path] } as const)
        : ({ op, path: [path], to: more } as const)
  await changeColumns(catalog, table, (found) => {
    const plan = planColumnChange(evolvingTable(found), new Map(), change, { columnsMax: 1000 })
    if (plan.kind === 'refused') throw new Error(plan.reason)
    return plan.columns
  })
}

describe('columns', () => {
  test('what records bring becomes columns, and pieces of the older plan still have their feed', async () => {
    const { keeper } = await start({ orders: declared('id: int required') })
    const before = keeper.plan()
    const after = await keeper.resolve(columnsNeed('orders', 'v2', 'id: long, gate: string'))
    expect(after.number).not.toBe(before.number)
    expect(columnsOf(after, 'orders')).toBe('id: long, gate: string')
    expect(fitOf(after, 'orders', 'v2', 'id: long, gate: string')).toEqual({ kind: 'fits' })
    const { tableId } = after.tables.orders
    expect([0, 1].map((schemaId) => keeper.feed(tableId, schemaId).schemaId)).toEqual([0, 1])
    expect(keeper.plan()).toBe(after)
  })

  test('two processes that meet the same field at once make one schema, and both decode by it', async () => {
    const [one, other] = [await start({ orders: declared('id: int') }), await start({ orders: declared('id: int') })]
    const need = columnsNeed('orders', 'v2', 'id: int, gate: string')
    const plans = await Promise.all([one, other, one].map(({ keeper }) => keeper.resolve(need)))
    expect(plans.map((plan) => plan.tables.orders.schema?.schemaId)).toEqual([1, 1, 1])
    expect((await catalog.findTable('orders'))?.schemas).toHaveLength(2)
  })

  test('what cannot be taken is refused with topic, table and reason; other tables go on; it heals with the table', async () => {
    const { keeper, reasons, tables } = await start({ orders: declared('id: long'), more: declared('id: string') })
    const plan = await keeper.resolve(columnsNeed('orders', 'v2', 'id: string, x: int'))
    expect(columnsOf(plan, 'orders')).toBe('id: long')
    expect(fitOf(plan, 'orders', 'v2', 'id: string, x: int')).toMatchObject({ kind: 'dead' })
    expect(fitOf(plan, 'more', 'v2', 'id: string')).toEqual({ kind: 'fits' })
    expect(reasons).toEqual([
      [
        expect.stringMatching(
          /^topic orders into table orders: column "id" of table "orders" is long, in v2 it is string/,
        ),
      ],
    ])
    // Asked again, nothing is new: whoever asked with this plan cannot have it.
    expect((await keeper.resolve(columnsNeed('orders', 'v2', 'id: string, x: int'))).number).toBe(plan.number)

    await byHand('orders', 'rename', 'id', 'id_old')
    await byHand('orders', 'add', 'id', 'string')
    await tables.refresh()
    const healed = keeper.plan()
    expect(healed.number).not.toBe(plan.number)
    expect(fitOf(healed, 'orders', 'v2', 'id: string, x: int')).toMatchObject({ kind: 'ask' })
    const after = await keeper.resolve(columnsNeed('orders', 'v2', 'id: string, x: int'))
    expect(columnsOf(after, 'orders')).toBe('id_old: long, id: string, x: int')
    expect(reasons.at(-1)).toEqual([])
  })

  test('a refusal is asked about again after a minute, and is told until nobody needs it', async () => {
    const { keeper, reasons } = await start({ orders: declared('id: long') })
    await keeper.resolve(columnsNeed('orders', 'v2', 'id: string'))
    await world.advance(61_000)
    expect(fitOf(keeper.plan(), 'orders', 'v2', 'id: string')).toMatchObject({ kind: 'ask' })
    expect(reasons).toHaveLength(1)
    await world.advance(60_000)
    keeper.plan()
    expect(reasons.at(-1)).toEqual([])
  })

  test('freeze: further fields are skipped, wider types refused; the table stays', async () => {
    const { keeper, reasons } = await start({ orders: declared('id: int', { evolution: 'freeze' }) })
    const more = await keeper.resolve(columnsNeed('orders', 'v2', 'id: int, x: int'))
    expect(fitOf(more, 'orders', 'v2', 'id: int, x: int')).toEqual({ kind: 'fits' })
    const wider = await keeper.resolve(columnsNeed('orders', 'v3', 'id: long'))
    expect(fitOf(wider, 'orders', 'v3', 'id: long')).toMatchObject({ kind: 'dead' })
    expect(reasons.at(-1)?.[0]).toContain('is frozen (evolution: freeze), v3 would have widened id from int to long')
    expect((await catalog.findTable('orders'))?.schemas).toHaveLength(1)
  })

  test('fail: any difference is refused', async () => {
    const { keeper, reasons } = await start({ orders: declared('id: int', { evolution: 'fail' }) })
    const plan = await keeper.resolve(columnsNeed('orders', 'v2', 'id: int, x: int'))
    expect(fitOf(plan, 'orders', 'v2', 'id: int, x: int')).toMatchObject({ kind: 'dead' })
    expect(reasons.at(-1)?.[0]).toContain('takes nothing that differs (evolution: fail), v2 would have added x int')
  })

  test('fail, without a schema: health says that records differ, as long as they do', async () => {
    const { keeper, reasons } = await start({ orders: declared('id: int', { evolution: 'fail' }) })
    keeper.noteDead('orders', 'field "x" is no column')
    expect(reasons).toEqual([['topic orders: field "x" is no column']])
    await world.advance(121_000)
    keeper.plan()
    expect(reasons.at(-1)).toEqual([])
    const other = await start({ orders: declared('id: int') })
    other.keeper.noteDead('orders', 'malformed JSON')
    expect(other.reasons).toEqual([])
  })

  test('a table has so many columns at most: the rest is skipped, and not asked for again', async () => {
    const { keeper } = await start({ orders: declared('id: int', { columnsMax: 2 }) })
    const plan = await keeper.resolve(columnsNeed('orders', 'v2', 'id: int, x: int, y: int'))
    expect(columnsOf(plan, 'orders')).toBe('id: int, x: int')
    expect(plan.tables.orders).toMatchObject({ isFull: true, ignoredKeys: ['y'] })
    expect(fitOf(plan, 'orders', 'v3', 'id: int, z: int')).toEqual({ kind: 'fits' })
  })

  test('what a human dropped stays away though records bring it, until a human adds it', async () => {
    const { keeper, tables } = await start({ orders: declared('id: int, gate: string') })
    const before = keeper.plan()
    await byHand('orders', 'drop', 'gate')
    await tables.refresh()
    const without = keeper.plan()
    expect(without.number).not.toBe(before.number)
    expect(fitOf(without, 'orders', 'v1', 'id: int, gate: string')).toMatchObject({ kind: 'ask' })
    const asked = await keeper.resolve(columnsNeed('orders', 'v1', 'id: int, gate: string'))
    expect(columnsOf(asked, 'orders')).toBe('id: int')
    expect(fitOf(asked, 'orders', 'v1', 'id: int, gate: string')).toEqual({ kind: 'fits' })
    await byHand('orders', 'add', 'gate', 'string')
    await tables.refresh()
    expect(columnsOf(keeper.plan(), 'orders')).toBe('id: int, gate: string')
    expect(keeper.plan().tables.orders.schema?.columns.map(({ fieldId }) => fieldId)).toContain(18)
  })

  test('keys of records without a schema: one that differs from a column in upper and lower case is skipped and holds up no other', async () => {
    const format: RecordFormat = { ...AVRO, value: { format: 'json', envelope: false } }
    const { keeper, reasons } = await start({ orders: declared('id: int, x: string') }, { format })
    const plan = await keeper.resolve(columnsNeed('orders', SCHEMALESS, 'X: long, y: long'))
    expect(columnsOf(plan, 'orders')).toBe('id: int, x: string, y: long')
    expect(plan.tables.orders.ignoredKeys).toEqual(['X'])
    expect(plan.refusedSchemas).toEqual({})
    expect(reasons).toEqual([])
  })

  test('keys of records without a schema: one that somebody else was first with holds up no other', async () => {
    const format: RecordFormat = { ...AVRO, value: { format: 'json', envelope: false } }
    const { keeper, reasons } = await start({ orders: declared('id: int') }, { format })
    await byHand('orders', 'add', 'x', 'string')
    const plan = await keeper.resolve(columnsNeed('orders', SCHEMALESS, 'x: long, y: long'))
    expect(columnsOf(plan, 'orders')).toBe('id: int, x: string, y: long')
    expect(plan.refusedSchemas).toEqual({})
    expect(reasons).toEqual([])
  })
})

describe('topics', () => {
  test('a table is made from its records, required where they say so; of two processes that make it one does', async () => {
    const processes = await Promise.all(
      ['v1', 'v2'].map(async () => {
        const process = await start(
          {},
          { topics: [], openTopic: async () => [await process.tables.open('orders', declared(''))] },
        )
        return process
      }),
    )
    const plans = await Promise.all(
      processes.map(({ keeper }, index) => keeper.resolve(topicNeed('orders', `id: int required, f${index}: long`))),
    )
    for (const plan of plans) expect(plan.routes).toEqual({ orders: ['orders'] })
    const [first] = new Set(plans.map((plan) => columnsOf(plan, 'orders')))
    expect(first).toMatch(/^id: int required, f[01]: long$/)
    expect(plans.map((plan) => columnsOf(plan, 'orders'))).toEqual([first, first])
  })

  test('a table without declared columns learns from samples', async () => {
    const { keeper } = await start({ orders: declared('') })
    expect(keeper.plan().tables.orders.schema).toBeUndefined()
    const plan = await keeper.resolve(topicNeed('orders', '', [Buffer.from('{}')]))
    expect(columnsOf(plan, 'orders')).toBe('inferred: long')
  })
})

describe('schemas', () => {
  const schema = (id: number) => ({ id, type: 'AVRO', text: '"long"', references: [], label: `id ${id}` }) as const

  test('are fetched once for all who ask at once; one that is not there is refused, and asked for again later', async () => {
    const asked: number[] = []
    const findSchema: FindSchema = async (id) => {
      asked.push(id)
      return id === 7 ? { kind: 'schema', schema: schema(7) } : { kind: 'refused', reason: `schema id ${id} is gone` }
    }
    const { keeper, reasons } = await start({ orders: declared('id: int') }, { findSchema })
    const [, plan] = await Promise.all([keeper.resolve(schemaNeed(7, 8)), keeper.resolve(schemaNeed(8, 7))])
    expect(asked.sort()).toEqual([7, 8])
    expect(plan.schemas).toEqual({ 7: schema(7) })
    expect(plan.refusedSchemas).toEqual({ 8: 'schema id 8 is gone' })
    expect(reasons.at(-1)).toEqual(['topic orders: schema id 8 is gone'])
    expect((await keeper.resolve(schemaNeed(7, 8))).number).toBe(plan.number)
    await world.advance(61_000)
    expect(keeper.plan().refusedSchemas).toEqual({})
    await keeper.resolve(schemaNeed(8))
    expect(asked).toEqual([7, 8, 8])
  })

  test('a registry that is away is waited for, and said; nothing becomes a dead letter for it', async () => {
    let failures = 3
    const troubles: (string | undefined)[] = []
    const findSchema: FindSchema = async (id) => {
      failures -= 1
      if (failures >= 0) throw new MillraceError('store-unavailable', 'registry away')
      return { kind: 'schema', schema: schema(id) }
    }
    const onTrouble = (reason: string | undefined) => void troubles.push(reason)
    const { keeper } = await start({ orders: declared('id: int') }, { findSchema, onTrouble })
    const plan = await keeper.resolve(schemaNeed(7))
    expect(plan.schemas).toEqual({ 7: schema(7) })
    expect(troubles).toEqual(['registry away', 'registry away', 'registry away', undefined])
  })

  test('whoever waits is let go when the pipeline stops', async () => {
    const { keeper } = await start(
      { orders: declared('id: int') },
      {
        findSchema: async () => {
          keeper.stop()
          throw new MillraceError('store-unavailable', 'registry away')
        },
      },
    )
    await expect(keeper.resolve(schemaNeed(7))).rejects.toMatchObject({ code: 'shutting-down' })
  })
})
