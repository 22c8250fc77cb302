/**
 * What a query sees, and what it keeps alive. All tables of a query are read in one transaction, so each is at one version
 * and its snapshot and live segments have every row once. The transaction is closed before any file is opened; the
 * process's reader row (oldest version still read) and the age of a removal keep the bytes until then.
 */
import type { Coverage } from '../../schemas/coverage.ts'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, Segment, Table, TableVersion } from './catalog.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect, RowInsert } from './dialect.ts'
import { masksOf } from './masks.ts'
import { readPastVersion } from './past-version.ts'
import { factsIn } from './pipeline-status.ts'
import { coverageOf, segmentOf, tableOf } from './rows-as-values.ts'
import type { Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'readTables' | 'setReader' | 'dropReader' | 'expireReaders'>

/** Segments decoded and kept, least recently used first out: their rows never change, and a table has a few hundred. */
const SEGMENTS_KEPT_MAX = 20_000
const IDS_AT_ONCE = 500

const READERS: RowInsert = {
  table: 'readers',
  columns: { reader_id: 'text', table_id: 'bigint', oldest_version: 'bigint', seen_at: 'bigint' },
}

export function tableVersions({ dialect, read, write }: Transactions): Part {
  const decoded = new Map<string, Segment>()

  async function otherTables(
    tx: Tx,
    named: readonly number[],
    what: 'versions' | 'definitions',
    readAt: bigint,
  ): Promise<readonly TableVersion[]> {
    const tables = (await allTables(tx)).filter(({ tableId }) => !named.includes(tableId))
    const whole = what === 'versions'
    const ids = whole ? tables.map(({ tableId }) => tableId) : []
    const coverage = await coverageOfTables(tx, dialect, ids)
    const live = await liveSegments(tx, dialect, decoded, ids)
    const masks = await masksOf(tx, dialect, whole ? tables : [])
    return tables.map((table) => ({
      table,
      version: table.version,
      metadataLocation: table.metadataLocation,
      segments: live.get(table.tableId) ?? [],
      masks: masks.get(table.tableId) ?? [],
      coverage: coverage.get(table.tableId) ?? [],
      readAt,
    }))
  }

  return {
    readTables: (names, options = {}) =>
      read(async (tx, time) => {
        const readAt = await time()
        const tables = await tablesByName(tx, dialect, names)
        const ids = tables.map(({ tableId }) => tableId)
        const coverage = options.coverage === false ? undefined : await coverageOfTables(tx, dialect, ids)
        const live = await liveSegments(tx, dialect, decoded, ids)
        const masks = await masksOf(
          tx,
          dialect,
          tables.map(({ tableId, name, version }) => ({ tableId, version: options.at?.versions.get(name) ?? version })),
        )
        const versions: TableVersion[] = []
        for (const table of tables) {
          const asked = options.at?.versions.get(table.name)
          const common = {
            table,
            coverage: coverage?.get(table.tableId) ?? [],
            masks: masks.get(table.tableId) ?? [],
            readAt,
          }
          if (options.at && asked !== undefined) {
            const past = await readPastVersion(tx, table, asked, readAt - micros(options.at.windowMs))
            const segments = await segmentsById(tx, dialect, past.segmentIds)
            versions.push({ ...common, version: asked, metadataLocation: past.metadataLocation, segments })
            continue
          }
          const { version, metadataLocation } = table
          versions.push({ ...common, version, metadataLocation, segments: live.get(table.tableId) ?? [] })
        }
        const others = options.others && (await otherTables(tx, ids, options.others, readAt))
        return Object.assign(versions, {
          ...(others ? { others } : {}),
          ...(options.pipelines ? { pipelines: await factsIn(tx, readAt) } : {}),
        })
      }),

    setReader: (readerId, oldest) =>
      write(async (tx, time) => {
        await tx.deleteFrom('readers').where('reader_id', '=', readerId).execute()
        const now = await time()
        const rows = [...oldest].map(([tableId, version]) => [readerId, tableId, version, now] as const)
        await dialect.insertRows(tx, READERS, rows)
      }),

    dropReader: (readerId) =>
      write(async (tx) => {
        await tx.deleteFrom('readers').where('reader_id', '=', readerId).execute()
      }),

    expireReaders: (silentMs) =>
      write(async (tx, time) => {
        const now = await time()
        const gone = await tx
          .deleteFrom('readers')
          .where('seen_at', '<', now - micros(silentMs))
          .returning('reader_id')
          .execute()
        return new Set(gone.map((row) => row.reader_id)).size
      }),
  }
}

/** In the order of the names. */
async function tablesByName(tx: Tx, dialect: CatalogDialect, names: readonly string[]): Promise<Table[]> {
  const rows = await tx.selectFrom('tables').selectAll().where(dialect.textIn('name', names)).execute()
  const ids = rows.map(({ table_id }) => table_id)
  const schemas = await tx
    .selectFrom('schema_versions')
    .selectAll()
    .where(dialect.idIn('table_id', ids))
    .orderBy('schema_id')
    .execute()
  const schemasOf = Map.groupBy(schemas, ({ table_id }) => table_id)
  const byName = new Map(rows.map((row) => [row.name, tableOf(row, schemasOf.get(row.table_id) ?? [])]))
  return names.map((name) => {
    const table = byName.get(name)
    if (!table) throw new MillraceError('undefined-table', `there is no table "${name}"`, { facts: { table: name } })
    return table
  })
}

/** By name. */
async function allTables(tx: Tx): Promise<Table[]> {
  const rows = await tx.selectFrom('tables').selectAll().orderBy('name').execute()
  const schemas = await tx.selectFrom('schema_versions').selectAll().orderBy('schema_id').execute()
  const schemasOf = Map.groupBy(schemas, ({ table_id }) => table_id)
  return rows.map((row) => tableOf(row, schemasOf.get(row.table_id) ?? []))
}

async function segmentsById(tx: Tx, dialect: CatalogDialect, ids: readonly bigint[]): Promise<Segment[]> {
  const segments: Segment[] = []
  for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
    const rows = await tx
      .selectFrom('segments')
      .selectAll()
      .where(dialect.idIn('segment_id', ids.slice(from, from + IDS_AT_ONCE)))
      .orderBy('segment_id')
      .execute()
    segments.push(...rows.map(segmentOf))
  }
  return segments
}

/** By table: coverage of every pipeline that feeds it. */
async function coverageOfTables(
  tx: Tx,
  dialect: CatalogDialect,
  tableIds: readonly number[],
): Promise<Map<number, Coverage[]>> {
  const bindings = await tx
    .selectFrom('pipeline_bindings')
    .select(['pipeline', 'table_id'])
    .distinct()
    .where(dialect.idIn('table_id', tableIds))
    .orderBy('pipeline')
    .execute()
  const rows = await tx
    .selectFrom('coverage')
    .selectAll()
    .where(dialect.textIn('pipeline', [...new Set(bindings.map(({ pipeline }) => pipeline))]))
    .orderBy('pipeline')
    .orderBy('source')
    .orderBy('partition')
    .execute()
  const ofPipeline = Map.groupBy(rows.map(coverageOf), ({ pipeline }) => pipeline)
  const found = new Map<number, Coverage[]>()
  for (const { pipeline, table_id } of bindings) {
    const tableId = Number(table_id)
    const before = found.get(tableId) ?? []
    found.set(tableId, before.concat(ofPipeline.get(pipeline) ?? []))
  }
  return found
}

/** Decoding bounds and sources is most of a read's cost (60 µs a segment): only what was not seen before is decoded. */
async function liveSegments(
  tx: Tx,
  dialect: CatalogDialect,
  decoded: Map<string, Segment>,
  tableIds: readonly number[],
): Promise<Map<number, readonly Segment[]>> {
  const live = await tx
    .selectFrom('segments')
    .select(['table_id', 'segment_id', 'path'])
    .where(dialect.idIn('table_id', tableIds))
    .where('removed_version', 'is', null)
    .orderBy('table_id')
    .orderBy('segment_id')
    .execute()
  const unknown = live.filter(({ path }) => !decoded.has(path)).map(({ segment_id }) => segment_id)
  for (const segment of await segmentsById(tx, dialect, unknown)) decoded.set(segment.path, segment)
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
  return Map.groupBy(segments, ({ tableId }) => tableId)
}
