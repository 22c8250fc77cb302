/**
 * The fifth step: connectors, as Kafka Connect's REST API knows them, so that every ingest process sees the same ones. The
 * release before does not know these tables, and leaves them as they are.
 *
 *   connector_changes   one row: grows with everything that the ingest processes must follow
 *   connectors          configuration as given (secrets as references), what it should be doing, how often it was restarted
 *   connector_tasks     which process takes part in which connector; one that does not renew its row for seconds is dead
 *   connector_topics    topics that records came from, until somebody resets them
 */
import type { Tx } from '../database.ts'
import type { CatalogDialect } from '../dialect.ts'

export async function up(tx: Tx, { text }: CatalogDialect): Promise<void> {
  await tx.schema
    .createTable('connector_changes')
    .addColumn('id', 'bigint', (column) => column.primaryKey())
    .addColumn('latest', 'bigint', (column) => column.notNull())
    .execute()
  await tx.insertInto('connector_changes').values({ id: 1, latest: 0 }).execute()
  await tx.schema
    .createTable('connectors')
    .addColumn('name', text, (column) => column.primaryKey())
    .addColumn('properties_json', text, (column) => column.notNull())
    .addColumn('target', text, (column) => column.notNull())
    .addColumn('generation', 'bigint', (column) => column.notNull())
    .addColumn('restarts', 'bigint', (column) => column.notNull())
    .addColumn('topics_reset', 'bigint', (column) => column.notNull())
    .addColumn('request_id', text, (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .execute()
  await tx.schema
    .createTable('connector_tasks')
    .addColumn('connector', text, (column) => column.notNull())
    .addColumn('task_id', 'bigint', (column) => column.notNull())
    .addColumn('writer_id', text, (column) => column.notNull())
    .addColumn('worker', text, (column) => column.notNull())
    .addColumn('state', text, (column) => column.notNull())
    .addColumn('trace', text)
    .addColumn('partitions_json', text, (column) => column.notNull())
    .addColumn('warnings_json', text, (column) => column.notNull())
    .addColumn('generation', 'bigint', (column) => column.notNull())
    .addColumn('restarts', 'bigint', (column) => column.notNull())
    .addColumn('heartbeat_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('connector_tasks_key', ['connector', 'task_id'])
    .execute()
  await tx.schema
    .createTable('connector_topics')
    .addColumn('connector', text, (column) => column.notNull())
    .addColumn('topic', text, (column) => column.notNull())
    .addPrimaryKeyConstraint('connector_topics_key', ['connector', 'topic'])
    .execute()
}
