/**
 * What every catalog promises of schemas, part of `conformance.ts`: ids are given out once, of two that change a table's
 * columns at once both get what they want, and rows written under an older schema stay welcome.
 */
import { expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import { evolvingTable, planEvolution } from '../../schemas/evolution.ts'
import type { RecordSchema } from '../../schemas/record-schema.ts'
import { type Column, userColumns } from '../../schemas/table-schema.ts'
import { changeColumns } from '../change-columns.ts'
import type { Catalog, Table } from './catalog.ts'
import type { RaceContext } from './conformance-races.ts'
import { newTableOf, sourceKey, TEST_COLUMNS, tickOf } from './test-values.ts'

const COLUMN = { fieldId: 16, name: 'a', type: { kind: 'long' }, required: false } as const

async function refused(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!isMillraceError(error, 'request-invalid')) throw new Error(`expected a refusal, got ${String(error)}`)
}

function recordOf(...names: readonly string[]): RecordSchema {
  return { name: 'v', fields: names.map((name) => ({ fieldId: 0, name, type: { kind: 'string' }, required: true })) }
}

/** As ingest does it for records that bring such fields. */
function evolve(catalog: Catalog, record: RecordSchema): Promise<Table> {
  return changeColumns(catalog, 'flights', (table) => {
    const plan = planEvolution(evolvingTable(table), record, { columnsMax: 1000 })
    return plan.kind === 'evolve' ? plan.columns : undefined
  })
}

export function describeSchemas(context: () => RaceContext): void {
  test('of two processes that add a schema one wins, and a dropped field id never returns', async () => {
    const { catalog, other } = context()
    const { tableId } = await catalog.createTable({ ...newTableOf('t'), columns: undefined })
    expect(await other.schemaCounts()).toEqual(new Map())
    const added = await Promise.all([catalog.addSchema(tableId, 0, [COLUMN]), other.addSchema(tableId, 0, [COLUMN])])
    expect(added.filter((each) => each !== undefined).map((each) => each?.schemaId)).toEqual([0])
    expect(await catalog.addSchema(tableId, 1, [{ ...COLUMN, fieldId: 20, name: 'b' }])).toMatchObject({ schemaId: 1 })
    await refused(catalog.addSchema(tableId, 2, [COLUMN]))
    expect((await other.getTable(tableId)).lastFieldId).toBe(20)
    expect(await other.schemaCounts()).toEqual(new Map([[tableId, 2]]))
  })

  test('a next schema has every field as it was, or wider, optional, renamed; ids inside structs count', async () => {
    const { catalog, other } = context()
    const { tableId } = await catalog.createTable({ ...newTableOf('t'), columns: undefined })
    const inside = { fieldId: 17, name: 'x', type: { kind: 'int' }, required: true } as const
    const struct = (fields: readonly Column[]): Column => ({ ...COLUMN, name: 's', type: { kind: 'struct', fields } })
    await catalog.addSchema(tableId, 0, [struct([inside])])
    expect((await other.getTable(tableId)).lastFieldId).toBe(17)
    const next = { ...inside, name: 'y', type: { kind: 'long' }, required: false, formerNames: ['x'] } as const
    expect(await catalog.addSchema(tableId, 1, [struct([next])])).toMatchObject({ schemaId: 1 })
    for (const wrong of [
      { ...next, type: { kind: 'int' } },
      { ...next, type: { kind: 'string' } },
      { ...next, required: true },
      { ...next, fieldId: 16 },
    ] satisfies Column[]) {
      await refused(catalog.addSchema(tableId, 2, [struct([wrong])]))
    }
    const more = { ...next, fieldId: 18, name: 'z', formerNames: [] }
    expect(await catalog.addSchema(tableId, 2, [struct([next, more])])).toMatchObject({ schemaId: 2 })
    await catalog.addSchema(tableId, 3, [struct([next])])
    await refused(catalog.addSchema(tableId, 4, [struct([next, more])]))
    expect((await other.getTable(tableId)).schemas.at(-1)?.columns[0]).toEqual(struct([next]))
  })

  test('processes that meet the same new field at once make one schema', async () => {
    const { catalog, other, started } = context()
    await started()
    const tables = await Promise.all(
      Array.from({ length: 8 }, (_, index) => evolve(index % 2 ? other : catalog, recordOf('gate'))),
    )
    for (const table of tables) expect(table.schemas.map(({ schemaId }) => schemaId)).toEqual([0, 1])
    expect(userColumns(tables[0].schemas[1]).slice(TEST_COLUMNS.length)).toEqual([
      { fieldId: 18, name: 'gate', type: { kind: 'string' }, required: false },
    ])
  })

  test('processes that meet different new fields at once each get theirs, under ids of their own', async () => {
    const { catalog, other, started } = context()
    await started()
    const tables = await Promise.all(
      Array.from({ length: 6 }, (_, index) => evolve(index % 2 ? other : catalog, recordOf(`f${index}`, 'shared'))),
    )
    const last = tables.reduce((a, b) => (b.schemas.length > a.schemas.length ? b : a))
    const added = userColumns(last.schemas.at(-1)!).slice(TEST_COLUMNS.length)
    expect(added.map(({ name }) => name).sort()).toEqual(['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'shared'])
    expect(new Set(added.map(({ fieldId }) => fieldId)).size).toBe(added.length)
    for (const [index, { schemas }] of tables.entries()) {
      expect(schemas.at(-1)?.columns.map(({ name }) => name)).toContain(`f${index}`)
    }
  })

  test('a tick decoded under an older schema commits beside one under the newest', async () => {
    const { catalog, other, started, live } = context()
    const { writer } = await started()
    const table = await evolve(other, recordOf('gate'))
    const older = tickOf(table, writer, 'c1', sourceKey(0), 0n, 10n)
    const newer = tickOf(table, writer, 'c2', sourceKey(1), 0n, 10n)
    await catalog.commitTick({ ...newer, segments: newer.segments.map((each) => ({ ...each, schemaId: 1 })) })
    expect(await catalog.commitTick(older)).toMatchObject({ outcome: 'committed' })
    const seen = await live('flights')
    expect(seen.segments.map(({ schemaId }) => schemaId)).toEqual([1, 0])
    expect(seen.table.schemas).toHaveLength(2)
  })
}
