/**
 * The first format: every table and column that the protocol needs, also those that later releases begin to use.
 * Names and types are plain SQL that SQLite and PostgreSQL both take; times are microseconds of the catalog's clock.
 *
 *   format, clock            who may open this catalog; the latest time it has seen
 *   tables, schema_versions  a table, its version, where its Iceberg metadata is; its schemas, oldest first
 *   writers, leases          who may commit (epoch, heartbeat, fenced); who commits snapshots of a table
 *   segments                 sealed micro-batches, live in versions [added_version, removed_version)
 *   coverage                 the offsets consumed of each (pipeline, source, topic-partition), with counts
 *   pipeline_bindings        which pipeline feeds which table from which topic ('' when it has none)
 *   commits                  ids of transactions that landed, with their answers, for 7 days
 *   idempotency_keys         keys of HTTP requests whose rows are committed, for 24 hours
 *   readers, tombstones      oldest version each query process still reads; files no version refers to any more
 *   snapshots                every snapshot commit of every table
 *   masks, rollups, rollup_dirty_buckets, jobs
 */
import { type CreateTableBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'
import type { CatalogDialect } from '../dialect.ts'

type Columns = CreateTableBuilder<string, string>

export async function up(tx: Tx, { identity, text: textType }: CatalogDialect): Promise<void> {
  const table = (name: string): Columns => tx.schema.createTable(name) as Columns
  const int = (builder: Columns, name: string): Columns =>
    builder.addColumn(name, 'bigint', (column) => column.notNull())
  const text = (builder: Columns, name: string): Columns =>
    builder.addColumn(name, textType, (column) => column.notNull())
  const ints = (builder: Columns, ...names: string[]): Columns => names.reduce(int, builder)
  const texts = (builder: Columns, ...names: string[]): Columns => names.reduce(text, builder)
  const maybeInts = (builder: Columns, ...names: string[]): Columns =>
    names.reduce<Columns>((before, name) => before.addColumn(name, 'bigint'), builder)
  const withIdentity = (name: string, id: string): Columns => table(name).addColumn(id, identity.type, identity.build)
  const ofTable = (builder: Columns): Columns =>
    builder.addColumn('table_id', 'bigint', (column) => column.notNull().references('tables.table_id'))

  await ints(
    table('format').addColumn('id', 'bigint', (column) => column.primaryKey()),
    'minimum_reader',
    'minimum_writer',
  ).execute()
  await ints(
    table('clock').addColumn('id', 'bigint', (column) => column.primaryKey()),
    'latest',
  ).execute()
  await tx.insertInto('format').values({ id: 1, minimum_reader: 1, minimum_writer: 1 }).execute()
  await tx.insertInto('clock').values({ id: 1, latest: 0 }).execute()

  await ints(
    texts(withIdentity('tables', 'table_id'), 'location', 'partition_json', 'sort_json', 'properties_json')
      .addColumn('name', textType, (column) => column.notNull().unique())
      .addColumn('metadata_location', textType),
    'version',
    'last_field_id',
    'snapshot_rows',
    'created_at',
  ).execute()
  await texts(ints(ofTable(table('schema_versions')), 'schema_id', 'created_at'), 'columns_json')
    .addPrimaryKeyConstraint('schema_versions_key', ['table_id', 'schema_id'])
    .execute()

  await maybeInts(
    ints(
      text(
        table('writers').addColumn('writer_id', textType, (column) => column.primaryKey()),
        'kind',
      ).addColumn('epoch', 'bigint', (column) => column.notNull().unique()),
      'registered_at',
      'heartbeat_at',
    ),
    'retired_at',
    'fenced_at',
  ).execute()
  await ints(text(ofTable(table('leases')), 'holder'), 'epoch', 'until')
    .addPrimaryKeyConstraint('leases_key', ['table_id'])
    .execute()

  await maybeInts(
    texts(
      ints(
        withIdentity('segments', 'segment_id'),
        'table_id',
        'schema_id',
        'row_count',
        'bytes',
        'added_version',
        'added_at',
      ),
      'bounds_json',
      'sources_json',
      'touched_grain',
      'touched_json',
      'commit_id',
      'writer_id',
    )
      .addColumn('path', textType, (column) => column.notNull().unique())
      .addColumn('etag', textType),
    'removed_version',
    'removed_at',
  )
    .addForeignKeyConstraint('segments_schema', ['table_id', 'schema_id'], 'schema_versions', ['table_id', 'schema_id'])
    .execute()
  // Live segments of a table in commit order, without walking over the removed ones.
  await sql`create index segments_live on segments (table_id, segment_id) where removed_version is null`.execute(tx)

  await maybeInts(
    ints(
      texts(table('coverage'), 'pipeline', 'source', 'earlier_ranges_json'),
      'partition',
      'range_start',
      'range_end',
      'records_in',
      'records_dead',
      'records_filtered',
      'updated_at',
    ),
    'log_end',
    'caught_up_at',
  )
    .addPrimaryKeyConstraint('coverage_key', ['pipeline', 'source', 'partition'])
    .execute()
  await texts(ofTable(table('pipeline_bindings')), 'pipeline', 'topic')
    .addPrimaryKeyConstraint('pipeline_bindings_key', ['table_id', 'pipeline', 'topic'])
    .execute()

  await int(
    texts(
      table('commits').addColumn('commit_id', textType, (column) => column.primaryKey()),
      'kind',
      'answer_json',
    ),
    'committed_at',
  ).execute()
  await tx.schema.createIndex('commits_age').on('commits').column('committed_at').execute()
  await ints(texts(ofTable(table('idempotency_keys')), 'key', 'commit_id'), 'row_count', 'version', 'created_at')
    .addPrimaryKeyConstraint('idempotency_keys_key', ['table_id', 'key'])
    .execute()
  await tx.schema.createIndex('idempotency_keys_age').on('idempotency_keys').column('created_at').execute()

  await ints(ofTable(text(table('readers'), 'reader_id')), 'oldest_version', 'seen_at')
    .addPrimaryKeyConstraint('readers_key', ['reader_id', 'table_id'])
    .execute()
  await maybeInts(
    ints(text(withIdentity('tombstones', 'tombstone_id'), 'path'), 'table_id', 'removed_version', 'removed_at'),
    'segment_id',
  ).execute()
  await tx.schema.createIndex('tombstones_of_table').on('tombstones').columns(['table_id', 'path']).execute()
  await tx.schema.createIndex('tombstones_age').on('tombstones').column('removed_at').execute()
  await ints(
    texts(ofTable(table('snapshots')), 'metadata_location', 'commit_id'),
    'version',
    'epoch',
    'rows_added',
    'snapshot_rows',
    'committed_at',
  )
    .addPrimaryKeyConstraint('snapshots_key', ['table_id', 'version'])
    .execute()

  await maybeInts(
    ints(texts(withIdentity('masks', 'mask_id'), 'predicate', 'requested_by'), 'table_id', 'version', 'created_at'),
    'applied_version',
    'applied_at',
  ).execute()
  await ints(
    text(withIdentity('rollups', 'rollup_id'), 'definition_json'),
    'table_id',
    'source_table_id',
    'source_version',
    'updated_at',
  ).execute()
  await ints(table('rollup_dirty_buckets'), 'rollup_id', 'bucket', 'source_version')
    .addPrimaryKeyConstraint('rollup_dirty_buckets_key', ['rollup_id', 'bucket'])
    .execute()
  await maybeInts(
    ints(texts(withIdentity('jobs', 'job_id'), 'kind', 'state', 'detail_json'), 'run_at', 'attempts'),
    'table_id',
    'started_at',
    'finished_at',
  ).execute()
}
