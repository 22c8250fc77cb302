/**
 * The production catalog code over a real SQLite database in memory, and each process's door to it. The database outlives
 * the processes; every process has transactions, caches and crash points of its own, as it has in production. A request
 * lands as one whole transaction; what can happen on the way is in `requests.ts`.
 *
 * Between two runs the database is emptied instead of made anew: migrations and prepared statements cost more than a run.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { Database } from '../../lake/catalog/database.ts'
import { migrate } from '../../lake/catalog/migrations.ts'
import { catalogOver } from '../../lake/catalog/open-catalog.ts'
import { openSqliteFile, sqliteDatabase } from '../../lake/catalog/sqlite-database.ts'
import { sqliteDialect } from '../../lake/catalog/sqlite-driver.ts'
import { createTransactions } from '../../lake/catalog/transactions.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { request } from './requests.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { Universe } from './universe.ts'

export type CatalogDatabase = {
  readonly file: DatabaseSync
  readonly queries: Kysely<Database>
  /** Names of all tables that a run fills, dependants first. */
  readonly filled: readonly string[]
  /** For checkers: integers come as bigints. */
  prepared(sql: string): StatementSync
}

/** Opened once in a process of the real machine, used by one run after the other. */
export async function openDatabase(): Promise<CatalogDatabase> {
  const file = openSqliteFile(undefined, { readOnly: false })
  file.exec('PRAGMA foreign_keys = OFF')
  const queries = new Kysely<Database>({ dialect: sqliteDialect(file) })
  const world = createTestWorld()
  await migrate(transactionsOf(queries, world), () => world.clock.nowMicros())
  const names = file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
  const filled = names.map(({ name }) => name).filter((name) => !['format', 'migrations', 'clock'].includes(name))
  const statements = new Map<string, StatementSync>()
  const prepared = (sql: string) => {
    const known = statements.get(sql)
    if (known) return known
    const statement = file.prepare(sql)
    statement.setReadBigInts(true)
    statements.set(sql, statement)
    return statement
  }
  return { file, queries, filled, prepared }
}

export function emptyDatabase({ file, filled }: CatalogDatabase): void {
  file.exec(`${filled.map((name) => `DELETE FROM "${name}"`).join('; ')}; UPDATE clock SET latest = 0`)
}

function transactionsOf(queries: Kysely<Database>, world: World) {
  return createTransactions(sqliteDatabase(queries, queries, world), world, 1000)
}

/** The catalog without any way in between, acting for this world. */
export function catalogHere(database: CatalogDatabase, world: World): Catalog {
  return { ...catalogOver(transactionsOf(database.queries, world), world), close: async () => {} }
}

export type Landing = {
  readonly process: SimulatedProcess
  readonly method: keyof Catalog
  readonly args: readonly unknown[]
}

/**
 * The catalog as one process has it. `around` is called where a request lands, so that checkers see each transaction, and
 * planted bugs can bend it.
 */
export function connectCatalog(
  universe: Universe,
  database: CatalogDatabase,
  process: SimulatedProcess,
  around: <T>(landing: Landing, run: () => Promise<T>) => Promise<T>,
): Catalog {
  // The catalog's clock is the host's, without the skew of the process that asks.
  const world: World = {
    ...process.world,
    clock: { ...process.world.clock, nowMicros: universe.wallMicros },
    crashPoint: process.crashPointElsewhere,
  }
  const here = catalogHere(database, world)
  const door: Record<string, unknown> = {}
  for (const [method, run] of Object.entries(here) as [keyof Catalog, (...args: unknown[]) => Promise<unknown>][]) {
    door[method] = (...args: unknown[]) =>
      request(
        universe,
        process,
        {
          service: 'catalog',
          verb: method,
          detail: detailOf(method, args),
          isInside: universe.shape.catalog === 'embedded',
          unavailable: (why) => new MillraceError('catalog-busy', `the catalog: ${why}`),
        },
        () => around({ process, method, args }, () => run(...args)),
      )
  }
  return { ...(door as unknown as Catalog), close: async () => {} }
}

function detailOf(method: keyof Catalog, args: readonly unknown[]): string {
  if (method === 'commitTick' || method === 'commitSnapshot' || method === 'mergeSegments')
    return (args[0] as { commitId: string }).commitId
  return args.map(argText).join(' ')
}

function argText(arg: unknown): string {
  if (typeof arg !== 'object' || arg === null) return String(arg)
  if (arg instanceof Map) return [...arg].join(' ')
  if (Array.isArray(arg)) return arg.map(argText).join(',')
  if ('source' in arg && 'partition' in arg) return `${arg.source}/${arg.partition}`
  if ('writerId' in arg) return String(arg.writerId)
  return 'name' in arg ? String(arg.name) : ''
}
