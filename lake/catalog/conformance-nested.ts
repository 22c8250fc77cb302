/** What every catalog promises of columns that are structs, lists and maps, part of `conformance.ts`. */
import { expect, test } from 'vitest'
import { assignFieldIds, childFields, parseColumnType } from '../../schemas/column-type.ts'
import type { RaceContext } from './conformance-races.ts'
import { newTableOf } from './test-values.ts'

const REFUSED = { code: 'request-invalid' }

export function describeNestedColumns(context: () => Pick<RaceContext, 'catalog' | 'other'>): void {
  test('names of columns that differ in upper and lower case only are refused, as are those of hidden ones', async () => {
    const { catalog } = context()
    const made = async (...names: readonly string[]) => {
      const columns = names.map((name, at) => ({
        fieldId: 16 + at,
        name,
        type: { kind: 'long' as const },
        required: false,
      }))
      return catalog.createTable({ ...newTableOf('cases'), columns })
    }
    await expect(made('id', 'ID')).rejects.toMatchObject(REFUSED)
    await expect(made('_Source')).rejects.toMatchObject(REFUSED)
    expect(await made('id', 'id2')).toMatchObject({ name: 'cases' })
  })

  test('ids inside nested columns count like those of columns, and their names within a struct are one each', async () => {
    const { catalog, other } = context()
    const nested = (type: string) => {
      const column = { fieldId: 0, name: 's', type: parseColumnType(type)!, required: false, sourceId: 9 }
      return assignFieldIds([column], 16).fields
    }
    const columns = nested('struct<a: list<int>, b: map<string, long required>>')
    const table = await catalog.createTable({ ...newTableOf('nested'), columns })
    expect(table.lastFieldId).toBe(21)
    expect((await other.getTable(table.tableId)).schemas[0].columns.slice(0, 1)).toEqual(columns)
    // `a` is dropped; another field takes its id.
    const without = { ...columns[0], type: { kind: 'struct', fields: childFields(columns[0].type).slice(1) } } as const
    expect(await catalog.addSchema(table.tableId, 1, [without])).toMatchObject({ schemaId: 1 })
    await expect(catalog.addSchema(table.tableId, 2, nested('struct<c: int>'))).rejects.toMatchObject(REFUSED)
    const again = nested('struct<c: int, d: int>')
    const twice = { ...again[0], type: { kind: 'struct', fields: [again[0], again[0]] } } as const
    for (const wrong of [[twice], [columns[0], { ...again[0], name: 't', fieldId: 21 }]]) {
      await expect(catalog.addSchema(table.tableId, 2, wrong)).rejects.toMatchObject(REFUSED)
    }
    for (const type of ['struct<__duckdb_field_id: int>', 'list<struct<"a\0": int>>']) {
      const odd = { ...newTableOf('odd'), columns: nested(type) }
      await expect((async () => catalog.createTable(odd))()).rejects.toMatchObject(REFUSED)
    }
  })
}
