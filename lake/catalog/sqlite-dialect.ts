/** SQLite's answers to what differs between databases (`dialect.ts`). One writer at a time: nothing is locked row by row. */
import { CompiledQuery, sql } from 'kysely'
import type { Tx } from './database.ts'
import type { CatalogDialect, RowInsert, RowLookup, RowUpdate } from './dialect.ts'
import { EachRow } from './sqlite-driver.ts'
import { changed, createTexts, quoted } from './statement-texts.ts'

const NOTHING = sql``

const textOf = createTexts()

export const SQLITE: CatalogDialect = {
  name: 'sqlite',
  text: sql`text`,
  identity: { type: 'integer', build: (column) => column.primaryKey().autoIncrement() },
  locked: NOTHING,
  lockedIfFree: NOTHING,
  idIn: (column, ids) => sql<boolean>`${sql.ref(column)} in (select value from json_each(${`[${ids.join(',')}]`}))`,
  textIn: (column, texts) =>
    sql<boolean>`${sql.ref(column)} in (select value from json_each(${JSON.stringify(texts)}))`,
  async insertRows(tx, insert, rows) {
    if (rows.length === 0) return 0
    return changed(await tx.executeQuery(CompiledQuery.raw(textOf(insert, insertText), [new EachRow(rows)])))
  },
  async findRows<R>(tx: Tx, lookup: RowLookup, keys: readonly (readonly unknown[])[]) {
    if (keys.length === 0) return []
    const found = await tx.executeQuery<R>(CompiledQuery.raw(textOf(lookup, lookupText), [new EachRow(keys)]))
    return found.rows
  },
  async updateRows(tx, update, rows) {
    if (rows.length === 0) return 0
    return changed(await tx.executeQuery(CompiledQuery.raw(textOf(update, updateText), [new EachRow(rows)])))
  },
}

function insertText({ table, columns, ending = '' }: RowInsert): string {
  const names = Object.keys(columns)
  return `insert into "${table}" (${quoted(names)}) values (${names.map(() => '?').join(', ')}) ${ending}`
}

function lookupText({ table, keys, select }: RowLookup): string {
  return `select ${quoted(select)} from "${table}" where ${equal(Object.keys(keys))}`
}

function updateText({ table, set, keys }: RowUpdate): string {
  const sets = Object.keys(set).map((name) => `"${name}" = ?`)
  return `update "${table}" set ${sets.join(', ')} where ${equal(Object.keys(keys))}`
}

function equal(names: readonly string[]): string {
  return names.map((name) => `"${name}" = ?`).join(' and ')
}
