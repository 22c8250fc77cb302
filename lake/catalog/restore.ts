/**
 * A catalog made again, or brought to where its bucket is (PROTOCOL 7, ADR 15). What it is to say was decided elsewhere
 * (`lake/rebuild/plan.ts`); here it is read and written.
 *
 *   1  knownLake          all that the catalog says of tables, files, coverage, writers: one version of it
 *   2  fenceAllWriters    none of the writers it knows commits from here on
 *   3  restore            one transaction: tables, schemas, live segments, coverage, bindings, writers, leases
 *
 * `restore` refuses (`commit-conflict`) when a writer registered since 2. What only the catalog knew stays as it is: commit ids,
 * idempotency keys, readers, jobs; masks too, of tables whose metadata stays. If we stop before its commit point, a restart sees the catalog as it was with all
 * writers fenced, and runs the same again; after it, the catalog that was planned.
 */

import { sql } from 'kysely'
import { type Coverage, sourceKeyText } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { KnownCatalog, KnownTable, KnownWriter } from '../rebuild/facts.ts'
import type { NewSegment, PartitionField, SortField } from './catalog.ts'
import { RESTORE_KIND } from './commit-ids.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect, RowInsert } from './dialect.ts'
import { forgetMasksOf } from './masks.ts'
import { coverageOf, metadataChecksumText, segmentOf } from './rows-as-values.ts'
import { insertSegments, insertTombstones } from './segment-rows.ts'
import { COVERAGE_COLUMNS } from './source-coverage.ts'
import { insertBindings, tableById } from './tables-and-schemas.ts'
import type { Transactions } from './transactions.ts'

export type RestoredSegment = { readonly segment: NewSegment; readonly commitId: string; readonly writerId: string }

export type RestoredTable = {
  readonly tableId: number
  readonly name: string
  readonly location: string
  readonly schemas: readonly TableSchema[]
  readonly partition: readonly PartitionField[]
  readonly sort: readonly SortField[]
  readonly properties: Readonly<Record<string, string>>
  readonly lastFieldId: number
  readonly version: bigint
  readonly metadata:
    | {
        readonly location: string
        readonly checksum: string
        readonly rows: number
        readonly reachable: ReadonlySet<string>
      }
    | undefined
  readonly leaseEpoch: number
  /** In commit order; live from now on. */
  readonly segments: readonly RestoredSegment[]
  /** Live before, and not any more. */
  readonly endedSegmentIds: readonly number[]
  /** Nothing refers to them; their bytes go when they are old enough. */
  readonly deadPaths: readonly string[]
  /** Nothing refers to them, and no sweep may take them. */
  readonly heldPaths: readonly string[]
}

export type Restoration = {
  readonly commitId: string
  /** As `fenceAllWriters` said. */
  readonly newestEpoch: number
  readonly tables: readonly RestoredTable[]
  /** Of every source that is not as the catalog has it. */
  readonly coverage: readonly Coverage[]
  readonly bindings: readonly { readonly pipeline: string; readonly tableId: number; readonly topic: string }[]
  readonly writers: readonly { readonly writerId: string; readonly epoch: number | undefined }[]
  /** New writers get higher epochs. */
  readonly epochMax: number
}

export type Restore = {
  knownLake(): Promise<KnownCatalog>
  /** All that registered and were not forgotten since, fenced ones too. */
  registeredWriters(): Promise<readonly KnownWriter[]>
  /** Of every table that was ever compacted, by table id. */
  leaseEpochs(): Promise<ReadonlyMap<number, number>>
  /** Gives the newest epoch of all. */
  fenceAllWriters(): Promise<number>
  restore(restoration: Restoration): Promise<void>
}

const NOBODY = ''

export function restore({ dialect, read, write }: Transactions): Restore {
  return {
    knownLake: () => read(knownLake),
    registeredWriters: () => read(registeredWriters),
    leaseEpochs: () =>
      read(async (tx) => {
        const rows = await tx.selectFrom('leases').select(['table_id', 'epoch']).execute()
        return new Map(rows.map(({ table_id, epoch }) => [Number(table_id), Number(epoch)]))
      }),

    fenceAllWriters: () =>
      write(async (tx, time) => {
        const now = await time()
        await tx.updateTable('writers').set({ fenced_at: now }).where('fenced_at', 'is', null).execute()
        await tx.updateTable('leases').set({ holder: NOBODY, until: 0 }).execute()
        return Number(await newestEpoch(tx))
      }),

    restore: (restoration) =>
      write(async (tx, time, mayHaveLanded) => {
        const { commitId } = restoration
        if (mayHaveLanded) {
          const landed = await tx
            .selectFrom('commits')
            .select('kind')
            .where('commit_id', '=', commitId)
            .executeTakeFirst()
          if (landed) return
        }
        await lockRegistrations(tx, dialect)
        await requireNobody(tx, restoration.newestEpoch)
        const now = await time()
        await insertWriters(tx, restoration, now)
        await writeCoverage(tx, dialect, restoration.coverage, now)
        for (const table of restoration.tables) await writeTable(tx, dialect, table, commitId, now)
        await setNextTableId(tx, dialect)
        await insertBindings(
          tx,
          dialect,
          restoration.bindings.map(({ pipeline, tableId, topic }) => [pipeline, tableId, topic] as const),
        )
        await tx
          .insertInto('commits')
          .values({ commit_id: commitId, kind: RESTORE_KIND, answer_json: '{}', committed_at: now })
          .execute()
      }),
  }
}

// ---- what the catalog says ------------------------------------------------------------------------------------------

async function knownLake(tx: Tx): Promise<KnownCatalog> {
  const tables: KnownTable[] = []
  for (const { table_id } of await tx.selectFrom('tables').select('table_id').orderBy('table_id').execute()) {
    tables.push(await knownTable(tx, table_id))
  }
  const coverage = await tx.selectFrom('coverage').selectAll().execute()
  return { tables, coverage: coverage.map(coverageOf), writers: await registeredWriters(tx) }
}

async function registeredWriters(tx: Tx): Promise<KnownWriter[]> {
  const rows = await tx.selectFrom('writers').select(['writer_id', 'epoch', 'fenced_at']).orderBy('epoch').execute()
  return rows.map(({ writer_id, epoch, fenced_at }) => ({
    writerId: writer_id,
    epoch: Number(epoch),
    isFenced: fenced_at !== null,
  }))
}

async function knownTable(tx: Tx, tableId: bigint): Promise<KnownTable> {
  const table = await tableById(tx, Number(tableId))
  const segments = await tx
    .selectFrom('segments')
    .selectAll()
    .where('table_id', '=', tableId)
    .orderBy('segment_id')
    .execute()
  const tombstones = await tx.selectFrom('tombstones').select('path').where('table_id', '=', tableId).execute()
  const lease = await tx.selectFrom('leases').select('epoch').where('table_id', '=', tableId).executeTakeFirst()
  const removedPaths = new Set(tombstones.map(({ path }) => path))
  const removed = segments.filter((row) => row.removed_version !== null)
  return {
    ...table,
    leaseEpoch: Number(lease?.epoch ?? 0n),
    live: segments
      .filter((row) => row.removed_version === null)
      .map((row) => {
        const { segmentId, path, sources } = segmentOf(row)
        return { segmentId, path, sources, commitId: row.commit_id }
      }),
    removedPaths,
    heldPaths: new Set(removed.flatMap(({ path }) => (removedPaths.has(path) ? [] : [path]))),
  }
}

// ---- what it is to say ----------------------------------------------------------------------------------------------

async function newestEpoch(tx: Tx): Promise<bigint> {
  const { latest } = await tx
    .selectFrom('writers')
    .select((all) => all.fn.max('epoch').as('latest'))
    .executeTakeFirstOrThrow()
  return latest ?? 0n
}

/** Nobody registers, and no heartbeat lands, until this transaction ends: who came first is seen, who comes after waits. */
async function lockRegistrations(tx: Tx, dialect: CatalogDialect): Promise<void> {
  if (dialect.name === 'postgresql') await sql`lock table writers in share row exclusive mode`.execute(tx)
}

async function requireNobody(tx: Tx, expected: number): Promise<void> {
  const live = await tx.selectFrom('writers').select('writer_id').where('fenced_at', 'is', null).executeTakeFirst()
  const newest = await newestEpoch(tx)
  if (!live && newest === BigInt(expected)) return
  throw new MillraceError(
    'commit-conflict',
    'a process registered with this catalog while it was rebuilt; nothing was changed. Stop ingest and compactor, then run it again',
  )
}

/** All of them fenced. One whose epoch no file tells, or another has, gets a number that nobody had. */
async function insertWriters(tx: Tx, { writers, epochMax }: Restoration, now: bigint): Promise<void> {
  const rows = await tx.selectFrom('writers').select(['writer_id', 'epoch']).execute()
  const known = new Set(rows.map(({ writer_id }) => writer_id))
  const taken = new Set(rows.map(({ epoch }) => epoch))
  let highest = BigInt(epochMax)
  for (const epoch of taken) if (epoch > highest) highest = epoch
  const unknown = writers.filter(({ writerId }) => !known.has(writerId))
  // Told ones first: what is made up comes after all of them.
  for (const { writerId, epoch } of unknown.toSorted(
    (a, b) => Number(b.epoch !== undefined) - Number(a.epoch !== undefined),
  )) {
    const own = epoch === undefined ? undefined : BigInt(epoch)
    const isFree = own !== undefined && !taken.has(own)
    if (!isFree) highest += 1n
    await insertFenced(tx, writerId, isFree ? own : highest, now)
    taken.add(isFree ? own : highest)
  }
  if (epochMax > 0 && !taken.has(highest)) await insertFenced(tx, `${RESTORE_KIND}-${highest}`, highest, now)
}

async function insertFenced(tx: Tx, writerId: string, epoch: bigint, now: bigint): Promise<void> {
  const times = { registered_at: now, heartbeat_at: now, retired_at: now, fenced_at: now }
  await tx
    .insertInto('writers')
    .values({ writer_id: writerId, epoch, kind: 'ingest', ...times })
    .execute()
}

const COVERAGE: RowInsert = {
  table: 'coverage',
  columns: COVERAGE_COLUMNS,
  ending: `on conflict (pipeline, source, partition) do update set
    earlier_ranges_json = excluded.earlier_ranges_json, range_start = excluded.range_start, range_end = excluded.range_end,
    records_in = excluded.records_in, records_dead = excluded.records_dead, records_filtered = excluded.records_filtered,
    log_end = excluded.log_end, caught_up_at = excluded.caught_up_at, updated_at = excluded.updated_at,
    recorded_end = excluded.recorded_end`,
}

async function writeCoverage(
  tx: Tx,
  dialect: CatalogDialect,
  coverage: readonly Coverage[],
  now: bigint,
): Promise<void> {
  const rows = coverage
    .toSorted((a, b) => (sourceKeyText(a) < sourceKeyText(b) ? -1 : 1))
    .map((each) => {
      const last = each.ranges.at(-1) ?? { start: 0n, end: 0n }
      const earlier = each.ranges.slice(0, -1).map(({ start, end }) => [String(start), String(end)])
      return [
        each.pipeline,
        each.source,
        each.partition,
        JSON.stringify(earlier),
        last.start,
        last.end,
        each.recordsIn,
        each.recordsDead,
        each.recordsFiltered,
        each.logEnd ?? null,
        each.caughtUpAt ?? null,
        now,
        each.recordedEnd ?? null,
      ]
    })
  await dialect.insertRows(tx, COVERAGE, rows)
}

async function writeTable(
  tx: Tx,
  dialect: CatalogDialect,
  table: RestoredTable,
  commitId: string,
  now: bigint,
): Promise<void> {
  const id = BigInt(table.tableId)
  await writeTableRow(tx, table, now)
  for (const { schemaId, columns } of table.schemas) {
    await tx
      .insertInto('schema_versions')
      .values({ table_id: id, schema_id: schemaId, columns_json: JSON.stringify(columns), created_at: now })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }
  await tx
    .insertInto('leases')
    .values({ table_id: id, holder: NOBODY, epoch: table.leaseEpoch, until: 0 })
    .onConflict((conflict) => conflict.column('table_id').doUpdateSet({ epoch: table.leaseEpoch }))
    .execute()
  await revive(tx, dialect, table)
  for (const { segment, commitId: own, writerId } of table.segments) {
    const writer = { writerId, epoch: 0, kind: 'ingest' } as const
    await insertSegments(tx, dialect, [segment], new Map([[table.tableId, table.version]]), {
      commitId: own,
      writer,
      now,
    })
  }
  await endSegments(tx, dialect, table, now)
  await holdFiles(tx, table, commitId, now)
}

async function writeTableRow(tx: Tx, table: RestoredTable, now: bigint): Promise<void> {
  const id = BigInt(table.tableId)
  const { metadata } = table
  const before = await tx.selectFrom('tables').select('metadata_location').where('table_id', '=', id).executeTakeFirst()
  const moving = {
    version: table.version,
    last_field_id: table.lastFieldId,
    metadata_location: metadata?.location ?? null,
    metadata_checksum: metadata ? metadataChecksumText(metadata.checksum, metadata.location) : null,
    snapshot_rows: metadata?.rows ?? 0,
  }
  if (before && before.metadata_location !== moving.metadata_location) await forgetMasksOf(tx, id, table.version, now)
  if (before) await tx.updateTable('tables').set(moving).where('table_id', '=', id).execute()
  else {
    await tx
      .insertInto('tables')
      .values({
        table_id: id,
        name: table.name,
        location: table.location,
        partition_json: JSON.stringify(table.partition),
        sort_json: JSON.stringify(table.sort),
        properties_json: JSON.stringify(table.properties),
        created_at: now,
        ...moving,
      })
      .execute()
  }
  if (!metadata || before?.metadata_location === metadata.location) return
  await tx
    .insertInto('snapshots')
    .values({
      table_id: id,
      version: table.version,
      metadata_location: metadata.location,
      epoch: table.leaseEpoch,
      rows_added: 0,
      snapshot_rows: metadata.rows,
      commit_id: RESTORE_KIND,
      committed_at: now,
    })
    .execute()
}

/** What is referred to now is not garbage any more, whatever the catalog thought of it. */
async function revive(tx: Tx, dialect: CatalogDialect, { tableId, segments, metadata }: RestoredTable): Promise<void> {
  const live = new Set(segments.map(({ segment }) => segment.path))
  const dead = await tx
    .selectFrom('tombstones')
    .select(['tombstone_id', 'path'])
    .where('table_id', '=', BigInt(tableId))
    .execute()
  const revived = dead
    .filter(({ path }) => live.has(path) || metadata?.reachable.has(path))
    .map((row) => row.tombstone_id)
  if (revived.length > 0) await tx.deleteFrom('tombstones').where(dialect.idIn('tombstone_id', revived)).execute()
  if (live.size > 0)
    await tx
      .deleteFrom('segments')
      .where(dialect.textIn('path', [...live]))
      .execute()
}

async function endSegments(tx: Tx, dialect: CatalogDialect, table: RestoredTable, now: bigint): Promise<void> {
  const { tableId, version, endedSegmentIds, deadPaths } = table
  const tombstoned = await tx.selectFrom('tombstones').select('path').where('table_id', '=', BigInt(tableId)).execute()
  const known = new Set(tombstoned.map(({ path }) => path))
  const files: { path: string; segmentId: number | undefined }[] = []
  if (endedSegmentIds.length > 0) {
    const ended = await tx
      .updateTable('segments')
      .set({ removed_version: version, removed_at: now })
      .where(dialect.idIn('segment_id', endedSegmentIds))
      .returning(['segment_id', 'path'])
      .execute()
    for (const { segment_id, path } of ended) {
      if (!known.has(path)) files.push({ path, segmentId: Number(segment_id) })
      known.add(path)
    }
  }
  for (const path of deadPaths) if (!known.has(path)) files.push({ path, segmentId: undefined })
  await insertTombstones(tx, dialect, tableId, files, version, now)
}

/** Known, in no version, and without a tombstone: neither readers nor sweeps ever come by. */
async function holdFiles(tx: Tx, table: RestoredTable, commitId: string, now: bigint): Promise<void> {
  for (const path of table.heldPaths) {
    await tx
      .insertInto('segments')
      .values({
        table_id: table.tableId,
        schema_id: table.schemas[0]?.schemaId ?? 0,
        path,
        row_count: 0,
        bytes: 0,
        etag: null,
        checksum: null,
        bounds_json: '[]',
        sources_json: '[]',
        touched_grain: 'all',
        touched_json: '[]',
        commit_id: commitId,
        writer_id: NOBODY,
        added_version: table.version,
        added_at: now,
        removed_version: table.version,
        removed_at: now,
      })
      .onConflict((conflict) => conflict.column('path').doNothing())
      .execute()
  }
}

/** Tables got the ids that they had: the next new one comes after them. SQLite sees to it by itself. */
async function setNextTableId(tx: Tx, dialect: CatalogDialect): Promise<void> {
  if (dialect.name !== 'postgresql') return
  await sql`select setval(pg_get_serial_sequence('tables', 'table_id'), greatest((select max(table_id) from tables), 1))`.execute(
    tx,
  )
}
