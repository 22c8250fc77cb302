/**
 * The fourth step: a writer says which snapshots it understands, so that two adjacent releases compact one table. The release
 * before does not know the column: where it is empty, the writer understands format 1.
 *
 *   writers.speaks   the newest `LAKE_FORMAT` that this process understands
 */
import type { Tx } from '../database.ts'

export async function up(tx: Tx): Promise<void> {
  await tx.schema.alterTable('writers').addColumn('speaks', 'bigint').execute()
}
