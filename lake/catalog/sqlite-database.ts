/**
 * A catalog in one SQLite file on a local disk, for the processes of one machine. Writers and readers have a connection each
 * (WAL: a reader sees one version and never waits for a writer); a catalog in memory has one for both. SQLite itself never
 * waits (`busy_timeout` 0): it answers "busy" and whoever began the transaction tries again without blocking the process
 * (`transactions.ts`).
 *
 * `synchronous=FULL`: a transaction that was answered is on the disk. If the process stops anywhere before COMMIT
 * returns, a restart sees either none of the transaction or all of it.
 *
 * The clock is the host's, never before the latest time that any process of this catalog has written (row of `clock`).
 */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql } from 'kysely'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { withoutPassword } from '../../schemas/url-password.ts'
import type { CatalogDatabase, Trouble } from './catalog-database.ts'
import type { Database, Tx } from './database.ts'
import { networkFileSystemOf } from './network-file-system.ts'
import { SQLITE } from './sqlite-dialect.ts'
import { sqliteDialect } from './sqlite-driver.ts'
import { retryWhileBusy } from './transactions.ts'

export type SqliteOptions = {
  readonly url: string
  readonly world: World
  readonly busyMs: number
  /** A file that is not there is `not-found`, instead of being made. */
  readonly mustExist: boolean
}

export async function openSqliteDatabase({ url, world, busyMs, mustExist }: SqliteOptions): Promise<CatalogDatabase> {
  const { path } = parseSqliteUrl(url)
  if (mustExist && path !== undefined && !existsSync(path)) {
    throw new MillraceError('not-found', `there is no catalog yet: ${path} does not exist`)
  }
  if (path !== undefined) requireLocalDisk(path)
  const open = async (readOnly: boolean): Promise<Kysely<Database>> => {
    const file = await retryWhileBusy({ world, busyMs, judge, translateError: sqliteError }, async () =>
      openSqliteFile(path, { readOnly }),
    )
    return new Kysely<Database>({ dialect: sqliteDialect(file) })
  }
  const writer = await open(false)
  try {
    const reader = path === undefined ? writer : await open(true)
    const { rows } = await sql<{ mode: string }>`select journal_mode as mode from pragma_journal_mode`.execute(reader)
    const tellsChanges = path !== undefined && rows[0]?.mode === 'wal'
    return {
      ...sqliteDatabase(writer, reader, world),
      ...(tellsChanges ? { changeMark: () => changeMark(reader) } : {}),
    }
  } catch (error) {
    await writer.destroy()
    throw error
  }
}

/**
 * SQLite counts, for each connection, the commits of all others: the writer's own too, seen from the reader. 10 µs. Asked
 * through the reader's queue: inside of somebody's transaction it would tell of the past.
 */
async function changeMark(reader: Kysely<Database>): Promise<string> {
  const { rows } = await DATA_VERSION.execute(reader)
  return String(rows[0].data_version)
}

const DATA_VERSION = sql<{ data_version: bigint }>`pragma data_version`

/** Over connections that are open. */
export function sqliteDatabase(writer: Kysely<Database>, reader: Kysely<Database>, world: World): CatalogDatabase {
  let latest = 0n

  /** Called in a transaction, so that what was read stays true. */
  async function time(tx: Tx): Promise<bigint> {
    const stored = await tx.selectFrom('clock').select('latest').where('id', '=', 1n).executeTakeFirstOrThrow()
    const host = world.clock.nowMicros()
    if (stored.latest > latest) latest = stored.latest
    if (host > latest) latest = host
    return latest
  }

  return {
    dialect: SQLITE,
    read: (work) => reader.transaction().setAccessMode('read only').execute(work),
    write: (work) => writer.transaction().execute(work),
    time,
    async keepTime(tx, time) {
      await tx.updateTable('clock').set({ latest: time }).where('id', '=', 1n).where('latest', '<', time).execute()
    },
    // BEGIN IMMEDIATE holds the write lock already.
    lockMigrations: async () => {},
    judge,
    translateError: sqliteError,
    async close() {
      if (reader !== writer) await reader.destroy()
      await writer.destroy()
    },
  }
}

/** `sqlite:/path/to/file` or `sqlite::memory:` → the path, or undefined for memory. */
export function parseSqliteUrl(url: string): { readonly path: string | undefined } {
  const rest = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : ''
  if (rest === ':memory:') return { path: undefined }
  const path = rest.replace(/^\/\/(?=\/)/, '')
  if (path === '' || path.startsWith('//')) {
    const expected = 'sqlite:/path/to/catalog.db or postgres://user:password@host/database'
    throw new MillraceError('settings-invalid', `catalog url "${withoutPassword(url)}": expected ${expected}`)
  }
  return { path: resolve(path) }
}

function requireLocalDisk(path: string): void {
  const kind = networkFileSystemOf(path)
  if (kind === undefined) return
  throw new MillraceError(
    'settings-invalid',
    `catalog.url: expected a SQLite file on a local disk, found ${path} on a network file system (${kind}), where its locks do not hold; several machines share a catalog in PostgreSQL`,
  )
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

/** SQLITE_BUSY and SQLITE_LOCKED with their extended codes: nothing happened, try again. */
function judge(error: unknown): Trouble {
  const code = sqliteCode(error)
  return code === 5 || code === 6 ? 'again' : 'final'
}

/** What SQLite throws → what the catalog's callers can act on. */
export function sqliteError(error: unknown): unknown {
  const code = sqliteCode(error)
  if (code === undefined) return error
  const message = (error as Error).message
  if (code === 8) {
    const need = 'this process must be allowed to write it, and into its folder'
    return new MillraceError('catalog-busy', `the catalog's file cannot be used now: ${message}; ${need}`, {
      cause: error,
    })
  }
  if (code === 10 || code === 13 || code === 14) {
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
