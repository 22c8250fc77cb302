/**
 * The sixth step: what operating a pipeline needs. Everything is added beside what the release before knows, and may be empty.
 *
 *   masks.action, why            `replay` or `discard` of dead letters, and what the human said
 *   masks.row_count, applied_rows  rows that the mask takes away; how many of them rewrites have left out of the bytes by now
 *   masks.counts_json            the same by source and topic-partition: kept when the offsets are forgotten
 *   masks.commit_id              the flush tick that brought it
 *   partition_status             what an ingest process last saw of each topic-partition it has: where the log begins and ends,
 *                                where it reads, how fast; one row each, written every few seconds, never part of a commit
 *   pipeline_tasks               which ingest process runs which pipeline now
 *   offset_moves                 what humans did to positions: ranges skipped, sources begun anew, ranges to read later
 */
import type { Tx } from '../database.ts'
import type { CatalogDialect } from '../dialect.ts'

export async function up(tx: Tx, { text, identity }: CatalogDialect): Promise<void> {
  await tx.schema
    .alterTable('masks')
    .addColumn('action', text, (column) => column.notNull().defaultTo('delete'))
    .execute()
  await tx.schema
    .alterTable('masks')
    .addColumn('why', text, (column) => column.notNull().defaultTo(''))
    .execute()
  await tx.schema
    .alterTable('masks')
    .addColumn('counts_json', text, (column) => column.notNull().defaultTo('[]'))
    .execute()
  for (const name of ['row_count', 'applied_rows']) {
    await tx.schema
      .alterTable('masks')
      .addColumn(name, 'bigint', (column) => column.notNull().defaultTo(0))
      .execute()
  }
  await tx.schema.alterTable('masks').addColumn('commit_id', text).execute()
  await tx.schema.createIndex('masks_of_table').on('masks').column('table_id').execute()

  await tx.schema
    .createTable('partition_status')
    .addColumn('pipeline', text, (column) => column.notNull())
    .addColumn('topic', text, (column) => column.notNull())
    .addColumn('partition', 'bigint', (column) => column.notNull())
    .addColumn('source', text, (column) => column.notNull())
    .addColumn('writer_id', text, (column) => column.notNull())
    .addColumn('state', text, (column) => column.notNull())
    .addColumn('detail', text)
    .addColumn('log_start', 'bigint')
    .addColumn('log_end', 'bigint')
    .addColumn('position', 'bigint')
    .addColumn('rows_per_s', 'bigint')
    .addColumn('bytes_per_s', 'bigint')
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('partition_status_key', ['pipeline', 'topic', 'partition'])
    .execute()
  await tx.schema
    .createTable('pipeline_tasks')
    .addColumn('pipeline', text, (column) => column.notNull())
    .addColumn('writer_id', text, (column) => column.notNull())
    .addColumn('state', text, (column) => column.notNull())
    .addColumn('detail', text)
    .addColumn('started_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('pipeline_tasks_key', ['pipeline', 'writer_id'])
    .execute()
  await tx.schema
    .createTable('offset_moves')
    .addColumn('move_id', identity.type, identity.build)
    .addColumn('pipeline', text, (column) => column.notNull())
    .addColumn('topic', text, (column) => column.notNull())
    .addColumn('partition', 'bigint', (column) => column.notNull())
    .addColumn('source', text, (column) => column.notNull())
    .addColumn('kind', text, (column) => column.notNull())
    .addColumn('range_start', 'bigint', (column) => column.notNull())
    .addColumn('range_end', 'bigint', (column) => column.notNull())
    .addColumn('requested_by', text, (column) => column.notNull())
    .addColumn('why', text, (column) => column.notNull())
    .addColumn('moved_at', 'bigint', (column) => column.notNull())
    .execute()
  await tx.schema.createIndex('offset_moves_of_pipeline').on('offset_moves').column('pipeline').execute()
}
