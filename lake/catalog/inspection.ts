/**
 * Everything the catalog says of the lake, for `millrace check`: read in one transaction, so that it hangs together, and
 * changing nothing. What is wrong in it is not decided here.
 */
import { sql } from 'kysely'
import type { Coverage } from '../../schemas/coverage.ts'
import type { Lease, Segment, Table, Writer } from './catalog.ts'
import type { Tx } from './database.ts'
import { coverageOf, segmentOf } from './rows-as-values.ts'
import { tableById } from './tables-and-schemas.ts'
import type { Time, Transactions } from './transactions.ts'

/** Times are microseconds of the catalog's clock. */
export type InspectedWriter = Writer & {
  readonly heartbeatAt: bigint
  readonly fencedAt: bigint | undefined
}

export type InspectedReader = { readonly readerId: string; readonly tableId: number; readonly seenAt: bigint }

export type InspectedTable = {
  readonly table: Table
  readonly createdAt: bigint
  /** Rows of the current snapshot, as its commit said. */
  readonly snapshotRows: number
  readonly segments: readonly Segment[]
  /** In no version any more; their bytes wait for readers and for age. */
  readonly removedPaths: ReadonlySet<string>
  readonly lease: Lease | undefined
  /** Rows that masks took away in all, and those of them that files still hold. */
  readonly masked: { readonly rows: number; readonly held: number }
  /** Of the latest snapshot commit that this catalog knows; undefined before the first. */
  readonly lastSnapshot: { readonly metadataLocation: string; readonly rows: number } | undefined
}

export type CatalogInspection = {
  readonly readAt: bigint
  readonly tables: readonly InspectedTable[]
  readonly writers: readonly InspectedWriter[]
  readonly readers: readonly InspectedReader[]
  readonly coverage: readonly Coverage[]
  readonly bindings: readonly { readonly pipeline: string; readonly tableId: number }[]
}

export type Inspection = {
  inspect(): Promise<CatalogInspection>
  /** What the database finds wrong in its own files; reads all of them. PostgreSQL looks after its own: always empty. */
  storageDamage(): Promise<readonly string[]>
}

const DAMAGES_MAX = 20

export function inspection({ dialect, read }: Transactions): Inspection {
  return {
    inspect: () => read(inspectAll),

    storageDamage: () =>
      read(async (tx) => {
        if (dialect.name !== 'sqlite') return []
        const query = sql<{ integrity_check: string }>`PRAGMA integrity_check(${sql.raw(String(DAMAGES_MAX))})`
        const { rows } = await query.execute(tx)
        return rows.map((row) => row.integrity_check).filter((line) => line !== 'ok')
      }),
  }
}

async function inspectAll(tx: Tx, time: Time): Promise<CatalogInspection> {
  const rows = await tx
    .selectFrom('tables')
    .select(['table_id', 'created_at', 'snapshot_rows'])
    .orderBy('table_id')
    .execute()
  const tables: InspectedTable[] = []
  for (const row of rows) {
    tables.push({
      table: await tableById(tx, Number(row.table_id)),
      createdAt: row.created_at,
      snapshotRows: Number(row.snapshot_rows),
      ...(await filesOf(tx, row.table_id)),
      lease: await leaseOf(tx, row.table_id),
      masked: await maskedOf(tx, row.table_id),
      lastSnapshot: await lastSnapshotOf(tx, row.table_id),
    })
  }
  const writers = await tx.selectFrom('writers').selectAll().orderBy('epoch').execute()
  const readers = await tx.selectFrom('readers').selectAll().execute()
  const coverage = await tx.selectFrom('coverage').selectAll().execute()
  const bindings = await tx.selectFrom('pipeline_bindings').select(['pipeline', 'table_id']).distinct().execute()
  return {
    readAt: await time(),
    tables,
    writers: writers.map((row) => ({
      writerId: row.writer_id,
      epoch: Number(row.epoch),
      kind: row.kind as Writer['kind'],
      heartbeatAt: row.heartbeat_at,
      fencedAt: row.fenced_at ?? undefined,
    })),
    readers: readers.map((row) => ({
      readerId: row.reader_id,
      tableId: Number(row.table_id),
      seenAt: row.seen_at,
    })),
    coverage: coverage.map(coverageOf),
    bindings: bindings.map((row) => ({ pipeline: row.pipeline, tableId: Number(row.table_id) })),
  }
}

async function filesOf(tx: Tx, tableId: bigint): Promise<Pick<InspectedTable, 'segments' | 'removedPaths'>> {
  const live = await tx
    .selectFrom('segments')
    .selectAll()
    .where('table_id', '=', tableId)
    .where('removed_version', 'is', null)
    .orderBy('segment_id')
    .execute()
  const removed = await tx
    .selectFrom('segments')
    .select('path')
    .where('table_id', '=', tableId)
    .where('removed_version', 'is not', null)
    .execute()
  const tombstones = await tx.selectFrom('tombstones').select('path').where('table_id', '=', tableId).execute()
  return {
    segments: live.map(segmentOf),
    removedPaths: new Set([...removed, ...tombstones].map(({ path }) => path)),
  }
}

async function leaseOf(tx: Tx, tableId: bigint): Promise<Lease | undefined> {
  const row = await tx.selectFrom('leases').selectAll().where('table_id', '=', tableId).executeTakeFirst()
  return row && { tableId: Number(tableId), holder: row.holder, epoch: Number(row.epoch), until: row.until }
}

async function maskedOf(tx: Tx, tableId: bigint): Promise<InspectedTable['masked']> {
  const masks = await tx
    .selectFrom('masks')
    .select(['row_count', 'applied_rows'])
    .where('table_id', '=', tableId)
    .execute()
  const rows = masks.reduce((sum, mask) => sum + Number(mask.row_count), 0)
  return { rows, held: rows - masks.reduce((sum, mask) => sum + Number(mask.applied_rows), 0) }
}

async function lastSnapshotOf(tx: Tx, tableId: bigint): Promise<InspectedTable['lastSnapshot']> {
  const row = await tx
    .selectFrom('snapshots')
    .select(['metadata_location', 'snapshot_rows'])
    .where('table_id', '=', tableId)
    .orderBy('version', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row && { metadataLocation: row.metadata_location, rows: Number(row.snapshot_rows) }
}
