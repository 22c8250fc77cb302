/**
 * Opens the catalog a URL names and brings it to this release's format.
 *
 *   sqlite:/path/to/catalog.db                       one file on a local disk, for the processes of one machine
 *   sqlite::memory:                                  this process only, gone with it; for tests
 *   postgres://user:password@host:port/database      a database, for the processes of many machines (`postgres-url.ts`)
 *
 * Errors: `settings-invalid` (URL, refused by PostgreSQL), `format-too-new`, `catalog-busy`, `file-damaged`; with `asItIs`
 * also `not-found` and `format-too-old`. None of them repeats a password.
 */
import type { World } from '../../runtime/world.ts'
import type { Catalog } from './catalog.ts'
import type { CatalogDatabase } from './catalog-database.ts'
import { type Connectors, connectors } from './connectors.ts'
import { flushTick } from './flush-tick.ts'
import { garbage } from './garbage.ts'
import { type Inspection, inspection } from './inspection.ts'
import { migrate, requireMigrated } from './migrations.ts'
import { offsets } from './offsets.ts'
import { pipelineStatus } from './pipeline-status.ts'
import { isPostgresUrl } from './postgres-url.ts'
import { type Restore, restore } from './restore.ts'
import { segmentMerge } from './segment-merge.ts'
import { snapshotCommit } from './snapshot-commit.ts'
import { sourceCoverage } from './source-coverage.ts'
import { openSqliteDatabase, parseSqliteUrl } from './sqlite-database.ts'
import { tableVersions } from './table-versions.ts'
import { tablesAndSchemas } from './tables-and-schemas.ts'
import { createTransactions, type Transactions } from './transactions.ts'
import { writersAndLeases } from './writers-and-leases.ts'

export type CatalogOptions = {
  readonly url: string
  readonly world: World
  /** How long another process may hold the catalog, or its server be away, before a call gives up with `catalog-busy`. Default 10 s. */
  readonly busyMs?: number
  /** Connections of this process to a server. Default 8. */
  readonly connectionsMax?: number
  /** Refuses a catalog that is not there (`not-found`) or has an older format, instead of making it what it should be. */
  readonly asItIs?: boolean
}

const BUSY_MS = 10_000
const CONNECTIONS_MAX = 8

export type OpenedCatalog = Catalog & Connectors & Inspection & Restore

export async function openCatalog(options: CatalogOptions): Promise<OpenedCatalog> {
  const { world, busyMs = BUSY_MS } = options
  const database = await openDatabase(options, busyMs)
  try {
    const transactions = createTransactions(database, world, busyMs)
    if (options.asItIs) await requireMigrated(transactions)
    else await migrate(transactions, () => world.clock.nowMicros())
    return { ...catalogOver(transactions, world), close: () => database.close() }
  } catch (error) {
    await database.close()
    throw error
  }
}

/** The file of a catalog that is one; undefined for one in memory or at a server. */
export function catalogFile(url: string): string | undefined {
  return isPostgresUrl(url) ? undefined : parseSqliteUrl(url).path
}

async function openDatabase(options: CatalogOptions, busyMs: number): Promise<CatalogDatabase> {
  const { url, world, connectionsMax = CONNECTIONS_MAX, asItIs = false } = options
  if (isPostgresUrl(url)) {
    // The client is loaded by those who need it.
    const { openPostgresDatabase } = await import('./postgres-database.ts')
    return openPostgresDatabase({ url, world, connectionsMax })
  }
  return openSqliteDatabase({ url, world, busyMs, mustExist: asItIs })
}

/** Everything the catalog can do, over an open database: each process has one, with its own world and caches. */
export function catalogOver(transactions: Transactions, world: World): Omit<OpenedCatalog, 'close'> {
  return {
    now: () => transactions.read((_, time) => time()),
    changeMark: () => transactions.changeMark(),
    ...tablesAndSchemas(transactions),
    ...writersAndLeases(transactions, world.random),
    ...connectors(transactions, world.random),
    ...sourceCoverage(transactions),
    ...offsets(transactions),
    ...pipelineStatus(transactions),
    ...flushTick(transactions, world.crashPoint),
    ...snapshotCommit(transactions, world.crashPoint),
    ...segmentMerge(transactions, world.crashPoint),
    ...tableVersions(transactions),
    ...garbage(transactions, world.log),
    ...inspection(transactions),
    ...restore(transactions),
  }
}
