/**
 * SQLite under the query builder: `node:sqlite` connections, and all that differs from another database: how a
 * transaction begins, what an automatic id is, what counts as busy, how an error is told.
 *
 * A connection is used by one transaction at a time: `acquireConnection` is a queue, so two asynchronous transactions of
 * one process never mix on it. Writers and readers have a connection each (WAL: a reader sees one version and never waits
 * for a writer); a catalog in memory has one for both. SQLite itself never waits (`busy_timeout` 0): it answers "busy"
 * and whoever began the transaction tries again without blocking the process (`transactions.ts`).
 *
 * `synchronous=FULL`: a transaction that was answered is on the disk. If the process stops anywhere before COMMIT
 * returns, a restart sees either none of the transaction or all of it.
 */
import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import {
  type ColumnDefinitionBuilder,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type TransactionSettings,
} from 'kysely'
import { MillraceError } from '../../schemas/errors.ts'

const STATEMENTS_MAX = 400

/** `sqlite:/path/to/file` or `sqlite::memory:` → the path, or undefined for memory. */
export function parseSqliteUrl(url: string): { readonly path: string | undefined } {
  const rest = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : ''
  if (rest === ':memory:') return { path: undefined }
  const path = rest.replace(/^\/\/(?=\/)/, '')
  if (path === '' || path.startsWith('//')) {
    throw new MillraceError('settings-invalid', `catalog url "${url}": expected sqlite:/path/to/catalog.db`)
  }
  return { path: resolve(path) }
}

export function openSqliteFile(path: string | undefined, options: { readonly readOnly: boolean }): DatabaseSync {
  if (path !== undefined) mkdirSync(dirname(path), { recursive: true })
  const database = new DatabaseSync(path ?? ':memory:', { timeout: 0 })
  try {
    if (path !== undefined) database.exec('PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY')
    if (options.readOnly) database.exec('PRAGMA query_only = ON')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** A primary key that the database hands out, growing, never used twice. */
export function identityColumn(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder {
  return column.primaryKey().autoIncrement()
}

/** SQLITE_BUSY and SQLITE_LOCKED with their extended codes: nothing happened, try again. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === 5 || code === 6
}

/** What SQLite throws → what the catalog's callers can act on. */
export function sqliteError(error: unknown): unknown {
  const code = sqliteCode(error)
  if (code === undefined) return error
  const message = (error as Error).message
  if (code === 8 || code === 10 || code === 13 || code === 14) {
    return new MillraceError('catalog-busy', `the catalog's file cannot be used now: ${message}`, { cause: error })
  }
  if (code === 11 || code === 26) {
    return new MillraceError('file-damaged', `the catalog's file is damaged: ${message}`, { cause: error })
  }
  return new MillraceError('internal', `catalog statement failed: ${message}`, { cause: error })
}

function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined
  return error.errcode & 0xff
}

export function sqliteDialect(database: DatabaseSync): Dialect {
  return {
    createDriver: () => createDriver(database),
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

function createDriver(database: DatabaseSync): Driver {
  const statements = new Map<string, Prepared>()
  let holder: Promise<void> = Promise.resolve()
  let free: () => void = () => {}

  function prepare(sql: string): Prepared {
    const known = statements.get(sql)
    if (known) {
      // The map keeps the order of use: the first entry is the one to drop.
      statements.delete(sql)
      statements.set(sql, known)
      return known
    }
    const statement = database.prepare(sql)
    statement.setReadBigInts(true)
    const prepared = { statement, returnsRows: statement.columns().length > 0 }
    statements.set(sql, prepared)
    if (statements.size > STATEMENTS_MAX) statements.delete(statements.keys().next().value as string)
    return prepared
  }

  const connection: DatabaseConnection = {
    async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
      const { statement, returnsRows } = prepare(sql)
      const values = parameters.map(asInput)
      if (returnsRows) return { rows: statement.all(...values) as R[] }
      return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) }
    },
    // biome-ignore lint/correctness/useYield: results of the catalog are small; nothing streams
    async *streamQuery() {
      throw new MillraceError('internal', 'the catalog does not stream')
    },
  }

  return {
    async init() {},
    async acquireConnection() {
      const before = holder
      const { promise, resolve: release } = Promise.withResolvers<void>()
      holder = promise
      await before
      free = release
      return connection
    },
    async releaseConnection() {
      free()
    },
    async beginTransaction(_, settings: TransactionSettings) {
      database.exec(settings.accessMode === 'read only' ? 'BEGIN' : 'BEGIN IMMEDIATE')
    },
    async commitTransaction() {
      database.exec('COMMIT')
    },
    async rollbackTransaction() {
      // After a full disk and the like SQLite has rolled back by itself.
      if (database.isTransaction) database.exec('ROLLBACK')
    },
    async destroy() {
      await holder
      statements.clear()
      database.close()
    },
  }
}

type Prepared = { readonly statement: StatementSync; readonly returnsRows: boolean }

/** Whole numbers are bound as integers: a float in an expression would make the result one. */
function asInput(value: unknown): SQLInputValue {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (typeof value === 'boolean') return value ? 1n : 0n
  if (value === undefined) return null
  return value as SQLInputValue
}
