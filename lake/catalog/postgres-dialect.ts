/**
 * PostgreSQL's answers to what differs between databases (`dialect.ts`). Rows come as one array per column, so that a
 * statement about thousands of rows is one text, one plan and one round trip.
 */
import { CompiledQuery, sql } from 'kysely'
import type { Tx } from './database.ts'
import type { CatalogDialect, ColumnKind, RowInsert, RowLookup, RowUpdate } from './dialect.ts'
import { changed, createTexts, quoted } from './statement-texts.ts'

const textOf = createTexts()

export const POSTGRESQL: CatalogDialect = {
  name: 'postgresql',
  text: sql`text collate "C"`,
  // By default and not always: a catalog that is made again from its bucket gives its tables their old ids.
  identity: { type: 'bigint', build: (column) => column.primaryKey().generatedByDefaultAsIdentity() },
  // Weaker than FOR UPDATE: a row of another table may begin to refer to one that is locked.
  locked: sql`for no key update`,
  lockedIfFree: sql`for no key update skip locked`,
  idIn: (column, ids) => sql<boolean>`${sql.ref(column)} = any(${ids.map(String)}::bigint[])`,
  textIn: (column, texts) => sql<boolean>`${sql.ref(column)} = any(${texts}::text[])`,
  async insertRows(tx, insert, rows) {
    if (rows.length === 0) return 0
    return changed(await tx.executeQuery(byColumns(textOf(insert, insertText), rows)))
  },
  async findRows<R>(tx: Tx, lookup: RowLookup, keys: readonly (readonly unknown[])[]) {
    if (keys.length === 0) return []
    const found = await tx.executeQuery<R>(byColumns(textOf(lookup, lookupText), keys))
    return found.rows
  },
  async updateRows(tx, update, rows) {
    if (rows.length === 0) return 0
    return changed(await tx.executeQuery(byColumns(textOf(update, updateText), rows)))
  },
}

function byColumns(text: string, rows: readonly (readonly unknown[])[]): CompiledQuery {
  return CompiledQuery.raw(
    text,
    rows[0].map((_, column) => rows.map((row) => row[column])),
  )
}

/** Rows of arrays, in their order, named `given`. */
function given(columns: Readonly<Record<string, ColumnKind>>): string {
  const kinds = Object.values(columns).map((kind, index) => `$${index + 1}::${kind}[]`)
  return `unnest(${kinds.join(', ')}) as given(${quoted(Object.keys(columns))})`
}

function insertText({ table, columns, ending = '' }: RowInsert): string {
  const names = quoted(Object.keys(columns))
  return `insert into "${table}" (${names}) select ${names} from ${given(columns)} ${ending}`
}

function lookupText({ table, keys, select, lock }: RowLookup): string {
  const names = Object.keys(keys)
  const columns = select.map((name) => `"${table}"."${name}"`).join(', ')
  const text = `select ${columns} from "${table}" join ${given(keys)} on ${equal(table, names)}`
  if (lock === undefined) return text
  const order = names.map((name) => `"${table}"."${name}"`).join(', ')
  return `${text} order by ${order} for no key update of "${table}"${lock === 'free' ? ' skip locked' : ''}`
}

function updateText({ table, set, keys }: RowUpdate): string {
  const sets = Object.keys(set).map((name) => `"${name}" = given."${name}"`)
  const from = given({ ...set, ...keys })
  return `update "${table}" set ${sets.join(', ')} from ${from} where ${equal(table, Object.keys(keys))}`
}

function equal(table: string, names: readonly string[]): string {
  return names.map((name) => `"${table}"."${name}" = given."${name}"`).join(' and ')
}
