/**
 * Opens the catalog a URL names and brings it to this release's format.
 *
 *   sqlite:/path/to/catalog.db   one file on a local disk, for the processes of one machine
 *   sqlite::memory:              this process only, gone with it; for tests
 *
 * Errors: `settings-invalid` (URL), `format-too-new`, `catalog-busy`, `file-damaged`.
 */
import { existsSync } from 'node:fs'
import { Kysely } from 'kysely'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Catalog } from './catalog.ts'
import type { Database } from './database.ts'
import { flushTick } from './flush-tick.ts'
import { garbage } from './garbage.ts'
import { type Inspection, inspection } from './inspection.ts'
import { migrate, requireMigrated } from './migrations.ts'
import { segmentMerge } from './segment-merge.ts'
import { snapshotCommit } from './snapshot-commit.ts'
import { sourceCoverage } from './source-coverage.ts'
import { isBusy, openSqliteFile, parseSqliteUrl, sqliteDialect, sqliteError } from './sqlite-dialect.ts'
import { tableVersions } from './table-versions.ts'
import { tablesAndSchemas } from './tables-and-schemas.ts'
import { createTransactions, retryWhileBusy, type Transactions } from './transactions.ts'
import { writersAndLeases } from './writers-and-leases.ts'

export type CatalogOptions = {
  readonly url: string
  readonly world: World
  /** How long another process may hold the catalog before a call gives up with `catalog-busy`. Default 10 s. */
  readonly busyMs?: number
  /** Refuses a catalog that is not there (`not-found`) or has an older format, instead of making it what it should be. */
  readonly asItIs?: boolean
}

const BUSY_MS = 10_000

export async function openCatalog(options: CatalogOptions): Promise<Catalog & Inspection> {
  const { world, busyMs = BUSY_MS } = options
  const { path } = parseSqliteUrl(options.url)
  if (options.asItIs && path !== undefined && !existsSync(path)) {
    throw new MillraceError('not-found', `there is no catalog yet: ${path} does not exist`)
  }
  const waiting = { world, busyMs, isBusy, translateError: sqliteError }
  const open = async (readOnly: boolean): Promise<Kysely<Database>> => {
    const file = await retryWhileBusy(waiting, async () => openSqliteFile(path, { readOnly }))
    return new Kysely<Database>({ dialect: sqliteDialect(file) })
  }

  const writer = await open(false)
  let reader = writer
  const close = async (): Promise<void> => {
    if (reader !== writer) await reader.destroy()
    await writer.destroy()
  }
  try {
    if (path !== undefined) reader = await open(true)
    const transactions = createTransactions({ ...waiting, writer, reader })
    if (options.asItIs) await requireMigrated(transactions)
    else await migrate(transactions, () => world.clock.nowMicros())
    return { ...catalogOver(transactions, world), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Everything the catalog can do, over an open database: each process has one, with its own world and caches. */
export function catalogOver(transactions: Transactions, world: World): Omit<Catalog & Inspection, 'close'> {
  return {
    now: () => transactions.read(async (_, now) => now),
    ...tablesAndSchemas(transactions),
    ...writersAndLeases(transactions, world.random),
    ...sourceCoverage(transactions),
    ...flushTick(transactions, world.crashPoint),
    ...snapshotCommit(transactions, world.crashPoint),
    ...segmentMerge(transactions, world.crashPoint),
    ...tableVersions(transactions),
    ...garbage(transactions, world.log),
    ...inspection(transactions),
  }
}
