/**
 * Brings the catalog to this release's format, under the write lock: two processes that start at once take turns, and the
 * second finds nothing to do. Each migration runs once, by name, all in one transaction; if we stop anywhere in it, a
 * restart sees the format of before.
 *
 * `format` holds the smallest format number a process must speak to read and to write this catalog. An older process
 * refuses with both numbers in the message and has changed nothing. Migrations expand first and contract one release
 * later, so two adjacent releases work on one catalog.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect } from './dialect.ts'
import * as first from './migrations/0001-first.ts'
import * as proof from './migrations/0002-proof.ts'
import * as expiredProducers from './migrations/0003-expired-producers.ts'
import * as speaks from './migrations/0004-speaks.ts'
import * as connectors from './migrations/0005-connectors.ts'
import * as operations from './migrations/0006-operations.ts'
import type { Transactions } from './transactions.ts'

/** What this release speaks. */
export const CATALOG_FORMAT = 1n

const MIGRATIONS: readonly {
  readonly name: string
  readonly up: (tx: Tx, dialect: CatalogDialect) => Promise<void>
}[] = [
  { name: '0001-first', up: first.up },
  { name: '0002-proof', up: proof.up },
  { name: '0003-expired-producers', up: expiredProducers.up },
  { name: '0004-speaks', up: speaks.up },
  { name: '0005-connectors', up: connectors.up },
  { name: '0006-operations', up: operations.up },
]

export async function migrate(transactions: Transactions, hostMicros: () => bigint): Promise<void> {
  await transactions.migrate(async (tx) => {
    await tx.schema
      .createTable('migrations')
      .ifNotExists()
      .addColumn('name', 'text', (column) => column.primaryKey())
      .addColumn('applied_at', 'bigint', (column) => column.notNull())
      .execute()
    const applied = new Set((await tx.selectFrom('migrations').select('name').execute()).map(({ name }) => name))
    if (applied.size > 0) await checkFormat(tx)
    for (const { name, up } of MIGRATIONS) {
      if (applied.has(name)) continue
      await up(tx, transactions.dialect)
      await tx.insertInto('migrations').values({ name, applied_at: hostMicros() }).execute()
    }
  })
}

/** For those who only look: nothing is brought up to date. */
export async function requireMigrated(transactions: Transactions): Promise<void> {
  await transactions.read(async (tx) => {
    const tables = await tx.introspection.getTables()
    if (!tables.some(({ name }) => name === 'migrations')) {
      throw new MillraceError('not-found', 'there is no catalog yet')
    }
    await checkFormat(tx)
    const applied = new Set((await tx.selectFrom('migrations').select('name').execute()).map(({ name }) => name))
    const missing = MIGRATIONS.find(({ name }) => !applied.has(name))
    if (!missing) return
    throw new MillraceError(
      'format-too-old',
      `the catalog is of an older release (it lacks ${missing.name}): start a service of this one, which brings it up to date`,
    )
  })
}

async function checkFormat(tx: Tx): Promise<void> {
  const format = await tx.selectFrom('format').selectAll().where('id', '=', 1n).executeTakeFirst()
  if (!format) throw new MillraceError('file-damaged', 'the catalog has no format row')
  const { minimum_reader: reader, minimum_writer: writer } = format
  if (reader <= CATALOG_FORMAT && writer <= CATALOG_FORMAT) return
  throw new MillraceError(
    'format-too-new',
    `the catalog needs format ${reader} to read and ${writer} to write, this release speaks ${CATALOG_FORMAT}: run a newer Millrace`,
    { facts: { minimumReader: Number(reader), minimumWriter: Number(writer), speaks: Number(CATALOG_FORMAT) } },
  )
}
