/** Segments in the database: rows are added by flush ticks and merges, and left by snapshots and merges; nothing is deleted. */
import type { NewSegment, Writer } from './catalog.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect, RowInsert } from './dialect.ts'
import { boundsText, sourcesText } from './rows-as-values.ts'
import { OvertakenError } from './transactions.ts'

const SEGMENTS: RowInsert = {
  table: 'segments',
  columns: {
    table_id: 'bigint',
    schema_id: 'bigint',
    path: 'text',
    row_count: 'bigint',
    bytes: 'bigint',
    etag: 'text',
    checksum: 'text',
    bounds_json: 'text',
    sources_json: 'text',
    touched_grain: 'text',
    touched_json: 'text',
    commit_id: 'text',
    writer_id: 'text',
    added_version: 'bigint',
    added_at: 'bigint',
  },
}

const TOMBSTONES: RowInsert = {
  table: 'tombstones',
  columns: { table_id: 'bigint', path: 'text', segment_id: 'bigint', removed_version: 'bigint', removed_at: 'bigint' },
}

type SegmentTexts = { readonly bounds: string; readonly sources: string; readonly touched: string }

const encoded = new WeakMap<NewSegment, SegmentTexts>()

/** Before the transaction, so that nobody waits for it while locks are held, and once however often that runs. */
export function encodeSegments(segments: readonly NewSegment[]): void {
  for (const segment of segments) textsOf(segment)
}

function textsOf(segment: NewSegment): SegmentTexts {
  const known = encoded.get(segment)
  if (known) return known
  const texts = {
    bounds: boundsText(segment.bounds),
    sources: sourcesText(segment.sources),
    touched: JSON.stringify(segment.touched.values),
  }
  encoded.set(segment, texts)
  return texts
}

export type Adding = { readonly commitId: string; readonly writer: Writer; readonly now: bigint }

export async function insertSegments(
  tx: Tx,
  dialect: CatalogDialect,
  segments: readonly NewSegment[],
  versions: ReadonlyMap<number, bigint>,
  { commitId, writer, now }: Adding,
): Promise<void> {
  const rows = segments.map((segment) => {
    const texts = textsOf(segment)
    return [
      segment.tableId,
      segment.schemaId,
      segment.path,
      segment.rowCount,
      segment.bytes,
      segment.etag ?? null,
      segment.checksum ?? null,
      texts.bounds,
      texts.sources,
      segment.touched.grain,
      texts.touched,
      commitId,
      writer.writerId,
      versions.get(segment.tableId) as bigint,
      now,
    ]
  })
  await dialect.insertRows(tx, SEGMENTS, rows)
}

/** All of them live until now. */
export async function removeSegments(
  tx: Tx,
  dialect: CatalogDialect,
  ids: readonly number[],
  version: bigint,
  now: bigint,
): Promise<void> {
  if (ids.length === 0) return
  const changed = await tx
    .updateTable('segments')
    .set({ removed_version: version, removed_at: now })
    .where(dialect.idIn('segment_id', ids))
    .where('removed_version', 'is', null)
    .executeTakeFirst()
  if (changed.numUpdatedRows === BigInt(ids.length)) return
  throw new OvertakenError('segments were removed during the commit')
}

export async function insertTombstones(
  tx: Tx,
  dialect: CatalogDialect,
  tableId: number,
  files: readonly { readonly path: string; readonly segmentId: number | undefined }[],
  version: bigint,
  now: bigint,
): Promise<void> {
  const rows = files.map(({ path, segmentId }) => [tableId, path, segmentId ?? null, version, now])
  await dialect.insertRows(tx, TOMBSTONES, rows)
}
