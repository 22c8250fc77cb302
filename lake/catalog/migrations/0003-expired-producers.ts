/**
 * The third step: an HTTP producer that was idle for long leaves the coverage, but the end of its sequence is kept, so that its
 * name never means other rows. The release before does not know the table: what it expires is forgotten, as it always did.
 *
 *   expired_producers   where the sequence of an expired producer ended; about 100 bytes each, for ever
 */
import type { Tx } from '../database.ts'
import type { CatalogDialect } from '../dialect.ts'

export async function up(tx: Tx, { text }: CatalogDialect): Promise<void> {
  await tx.schema
    .createTable('expired_producers')
    .addColumn('pipeline', text, (column) => column.notNull())
    .addColumn('source', text, (column) => column.notNull())
    .addColumn('next_sequence', 'bigint', (column) => column.notNull())
    .addColumn('recorded_end', 'bigint')
    .addColumn('expired_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('expired_producers_key', ['pipeline', 'source'])
    .execute()
}
