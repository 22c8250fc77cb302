/**
 * What a query sees, and what it keeps alive. All tables of a query are read in one transaction, so each is at one version
 * and its snapshot and live segments have every row once. The transaction is closed before any file is opened; the
 * process's reader row (oldest version still read) and the age of a removal keep the bytes until then.
 */
import type { Coverage } from '../../schemas/coverage.ts'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, ReadTablesOptions, Segment, TableVersion } from './catalog.ts'
import type { Tx } from './database.ts'
import { readPastVersion } from './past-version.ts'
import { coverageOf, segmentOf } from './rows-as-values.ts'
import { tableById } from './tables-and-schemas.ts'
import type { Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'readTables' | 'setReader' | 'dropReader' | 'expireReaders'>

/** Segments decoded and kept, least recently used first out: their rows never change, and a table has a few hundred. */
const SEGMENTS_KEPT_MAX = 20_000
const IDS_AT_ONCE = 500

export function tableVersions({ read, write }: Transactions): Part {
  const decoded = new Map<string, Segment>()
  return {
    readTables: (names, options = {}) =>
      read(async (tx, readAt) => {
        const versions: TableVersion[] = []
        for (const name of names) versions.push(await tableVersion(tx, decoded, name, options, readAt))
        return versions
      }),

    setReader: (readerId, oldest) =>
      write(async (tx, now) => {
        await tx.deleteFrom('readers').where('reader_id', '=', readerId).execute()
        if (oldest.size === 0) return
        const rows = [...oldest].map(([tableId, version]) => ({
          reader_id: readerId,
          table_id: tableId,
          oldest_version: version,
          seen_at: now,
        }))
        await tx.insertInto('readers').values(rows).execute()
      }),

    dropReader: (readerId) =>
      write(async (tx) => {
        await tx.deleteFrom('readers').where('reader_id', '=', readerId).execute()
      }),

    expireReaders: (silentMs) =>
      write(async (tx, now) => {
        const gone = await tx
          .deleteFrom('readers')
          .where('seen_at', '<', now - micros(silentMs))
          .returning('reader_id')
          .execute()
        return new Set(gone.map((row) => row.reader_id)).size
      }),
  }
}

async function tableVersion(
  tx: Tx,
  decoded: Map<string, Segment>,
  name: string,
  { coverage: withCoverage = true, at }: ReadTablesOptions,
  readAt: bigint,
): Promise<TableVersion> {
  const row = await tx.selectFrom('tables').select('table_id').where('name', '=', name).executeTakeFirst()
  if (!row) throw new MillraceError('undefined-table', `there is no table "${name}"`, { facts: { table: name } })
  const table = await tableById(tx, Number(row.table_id))
  const coverage = withCoverage ? await coverageOfTable(tx, row.table_id) : []
  const asked = at?.versions.get(name)
  if (at && asked !== undefined) {
    const past = await readPastVersion(tx, table, asked, readAt - micros(at.windowMs))
    const segments = await segmentsById(tx, past.segmentIds)
    return { table, version: asked, metadataLocation: past.metadataLocation, segments, coverage, readAt }
  }
  const segments = await liveSegments(tx, decoded, row.table_id)
  return {
    table,
    version: table.version,
    metadataLocation: table.metadataLocation,
    segments,
    coverage,
    readAt,
  }
}

async function segmentsById(tx: Tx, ids: readonly bigint[]): Promise<Segment[]> {
  const segments: Segment[] = []
  for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
    const rows = await tx
      .selectFrom('segments')
      .selectAll()
      .where('segment_id', 'in', ids.slice(from, from + IDS_AT_ONCE))
      .orderBy('segment_id')
      .execute()
    segments.push(...rows.map(segmentOf))
  }
  return segments
}

async function coverageOfTable(tx: Tx, tableId: bigint): Promise<readonly Coverage[]> {
  const rows = await tx
    .selectFrom('coverage')
    .selectAll()
    .where('pipeline', 'in', (feeding) =>
      feeding
        .selectFrom('pipeline_bindings')
        .select('pipeline_bindings.pipeline')
        .where('pipeline_bindings.table_id', '=', tableId),
    )
    .orderBy('pipeline')
    .orderBy('source')
    .orderBy('partition')
    .execute()
  return rows.map(coverageOf)
}

/** Decoding bounds and sources is most of a read's cost (60 µs a segment): only what was not seen before is decoded. */
async function liveSegments(tx: Tx, decoded: Map<string, Segment>, tableId: bigint): Promise<readonly Segment[]> {
  const live = await tx
    .selectFrom('segments')
    .select(['segment_id', 'path'])
    .where('table_id', '=', tableId)
    .where('removed_version', 'is', null)
    .orderBy('segment_id')
    .execute()
  const unknown = live.filter(({ path }) => !decoded.has(path)).map(({ segment_id }) => segment_id)
  for (const segment of await segmentsById(tx, unknown)) decoded.set(segment.path, segment)
  const segments = live.map(({ path }) => {
    const segment = decoded.get(path)
    invariant('catalog.segment', segment !== undefined, { path })
    decoded.delete(path)
    decoded.set(path, segment)
    return segment
  })
  for (const oldest of decoded.keys()) {
    if (decoded.size <= Math.max(SEGMENTS_KEPT_MAX, segments.length)) break
    decoded.delete(oldest)
  }
  return segments
}
