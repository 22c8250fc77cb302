/**
 * What differs between the databases that a catalog can live in, as one value; everything else is the same SQL. Statements
 * about many rows go through `insertRows`, `findRows` and `updateRows`: their text does not depend on how many rows there are,
 * so it is parsed once; SQLite runs it row by row in this process, PostgreSQL takes the columns as arrays in one round trip.
 *
 * Locks: whoever writes locks rows in one order, so that two transactions never wait for each other in a circle:
 *
 *   1. its own row of `writers`   2. `coverage`, by key   3. `leases`   4. `tables`, by id   5. what hangs on them
 *
 * SQLite has one writer at a time and needs none of them.
 */
import type { ColumnDefinitionBuilder, RawBuilder } from 'kysely'
import type { Database, Tx } from './database.ts'

export type ColumnKind = 'text' | 'bigint'
export type Value = string | number | bigint | null

export type RowInsert = {
  readonly table: keyof Database
  readonly columns: Readonly<Record<string, ColumnKind>>
  /** What follows the rows, e.g. `on conflict do nothing`. */
  readonly ending?: string
}

export type RowLookup = {
  readonly table: keyof Database
  /** Equal to the given values; together they are a unique key. */
  readonly keys: Readonly<Record<string, ColumnKind>>
  readonly select: readonly string[]
  /** Lock the rows, in the order of their keys; `free` leaves out rows that somebody else has locked. */
  readonly lock?: 'all' | 'free'
}

export type RowUpdate = {
  readonly table: keyof Database
  readonly set: Readonly<Record<string, ColumnKind>>
  readonly keys: Readonly<Record<string, ColumnKind>>
}

export type CatalogDialect = {
  readonly name: 'sqlite' | 'postgresql'
  /** Texts compare by their bytes, whatever the database's language is. */
  readonly text: RawBuilder<unknown>
  /** A primary key that the database hands out, growing. */
  readonly identity: {
    readonly type: 'integer' | 'bigint'
    readonly build: (column: ColumnDefinitionBuilder) => ColumnDefinitionBuilder
  }
  /** At the end of a SELECT: nobody else changes its rows until this transaction ends; others may refer to them. */
  readonly locked: RawBuilder<unknown>
  /** The same without waiting: rows that others have locked are left out. */
  readonly lockedIfFree: RawBuilder<unknown>
  /** `column in (ids)`, one text for any number of them. */
  idIn(column: string, ids: readonly (bigint | number)[]): RawBuilder<boolean>
  /** `column in (texts)`. */
  textIn(column: string, texts: readonly string[]): RawBuilder<boolean>
  /** How many rows were inserted or, on conflict, updated. Values in the order of the columns. */
  insertRows(tx: Tx, insert: RowInsert, rows: readonly (readonly Value[])[]): Promise<number>
  findRows<R>(tx: Tx, lookup: RowLookup, keys: readonly (readonly Value[])[]): Promise<R[]>
  /** How many rows were updated. Values in the order of `set`, then `keys`. */
  updateRows(tx: Tx, update: RowUpdate, rows: readonly (readonly Value[])[]): Promise<number>
}

/**
 * Waits for all, then throws the first error in their order: a transaction ends only when none of its statements is under
 * way any more. On PostgreSQL the statements travel together, in this order.
 */
export async function together<const T extends readonly Promise<unknown>[]>(
  statements: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const ended = await Promise.allSettled(statements)
  for (const each of ended) if (each.status === 'rejected') throw each.reason
  return ended.map((each) => (each as PromiseFulfilledResult<unknown>).value) as {
    -readonly [K in keyof T]: Awaited<T[K]>
  }
}
