/**
 * The second step: what lets a bucket and its catalog be compared byte for byte, and a repeated request be answered whole.
 * Every column may be absent, and a process of the release before goes on reading and writing without knowing them.
 *
 *   idempotency_keys.dead_count  dead letters of the request that took the key
 *   segments.checksum            CRC32C of the file's bytes, 8 lower-case hexadecimal digits
 *   tables.metadata_checksum     `<CRC32C> <metadata location>`: it counts only for the location it names, since a process
 *                                of the release before moves the location and leaves this as it is
 *   coverage.recorded_end        up to where the footers of the bucket's own files record this source
 */
import type { Tx } from '../database.ts'
import type { CatalogDialect } from '../dialect.ts'

export async function up(tx: Tx, { text }: CatalogDialect): Promise<void> {
  await tx.schema
    .alterTable('idempotency_keys')
    .addColumn('dead_count', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute()
  await tx.schema.alterTable('segments').addColumn('checksum', text).execute()
  await tx.schema.alterTable('tables').addColumn('metadata_checksum', text).execute()
  await tx.schema.alterTable('coverage').addColumn('recorded_end', 'bigint').execute()
}
