/**
 * Between the catalog's rows and the values of its contract: JSON texts, bytes as base64, 64-bit integers as text inside
 * JSON. A row that does not read back is damage, told by name, never a default.
 */

import type { Selectable } from 'kysely'
import type { Coverage, OffsetRange } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Column, TableSchema } from '../../schemas/table-schema.ts'
import type { ColumnBounds, NewSegment, PartitionField, Segment, SortField, Table, TickAnswer } from './catalog.ts'
import type { CoverageRow, SchemaVersionRow, SegmentRow, TableRow } from './database.ts'

/** CRC32C as hexadecimal digits. */
const CHECKSUM_DIGITS = 8

function parsed<T>(what: string, text: string): T {
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw new MillraceError('file-damaged', `catalog: ${what} is not JSON`, { cause })
  }
}

export function tableOf(row: Selectable<TableRow>, schemas: readonly Selectable<SchemaVersionRow>[]): Table {
  return {
    tableId: Number(row.table_id),
    name: row.name,
    location: row.location,
    schemas: schemas.map(schemaOf),
    partition: parsed<PartitionField[]>('a table partition', row.partition_json),
    sort: parsed<SortField[]>('a sort order', row.sort_json),
    properties: parsed<Record<string, string>>('table properties', row.properties_json),
    version: row.version,
    metadataLocation: row.metadata_location ?? undefined,
    metadataChecksum: metadataChecksumOf(row),
    lastFieldId: Number(row.last_field_id),
  }
}

/** A checksum counts only for the location it was made of. */
function metadataChecksumOf({ metadata_checksum: text, metadata_location: location }: Selectable<TableRow>) {
  if (text === null || location === null) return undefined
  return text.slice(CHECKSUM_DIGITS) === ` ${location}` ? text.slice(0, CHECKSUM_DIGITS) : undefined
}

export function metadataChecksumText(checksum: string | undefined, location: string): string | null {
  return checksum === undefined ? null : `${checksum} ${location}`
}

export function schemaOf(row: Pick<Selectable<SchemaVersionRow>, 'schema_id' | 'columns_json'>): TableSchema {
  return { schemaId: Number(row.schema_id), columns: parsed<Column[]>('a schema', row.columns_json) }
}

type JsonRange = readonly [start: string, end: string]
type JsonSource = readonly [
  pipeline: string,
  source: string,
  partition: number,
  ...range: JsonRange,
  rows: number,
  recordedFrom?: string,
]

export function sourcesText(sources: NewSegment['sources']): string {
  return JSON.stringify(
    sources.map(
      ({ pipeline, source, partition, range: { start, end }, rows, recordedFrom }): JsonSource =>
        recordedFrom === undefined
          ? [pipeline, source, partition, String(start), String(end), rows]
          : [pipeline, source, partition, String(start), String(end), rows, String(recordedFrom)],
    ),
  )
}

export function sourcesOf(text: string): NewSegment['sources'] {
  return parsed<JsonSource[]>('segment sources', text).map(
    ([pipeline, source, partition, start, end, rows, recordedFrom]) => ({
      pipeline,
      source,
      partition,
      range: { start: BigInt(start), end: BigInt(end) },
      rows,
      ...(recordedFrom === undefined ? {} : { recordedFrom: BigInt(recordedFrom) }),
    }),
  )
}

type JsonBounds = readonly [fieldId: number, nullCount: number, lower: string | null, upper: string | null]

export function boundsText(bounds: readonly ColumnBounds[]): string {
  const base64 = (bytes: Uint8Array | undefined) =>
    bytes ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64') : null
  return JSON.stringify(
    bounds.map(
      ({ fieldId, nullCount, lower, upper }): JsonBounds => [fieldId, nullCount, base64(lower), base64(upper)],
    ),
  )
}

export function boundsOf(text: string): readonly ColumnBounds[] {
  // Copied out of Node's shared pool, so that a plain Uint8Array with its own buffer comes back.
  const bytes = (base64: string | null) =>
    base64 === null ? undefined : Uint8Array.from(Buffer.from(base64, 'base64'))
  return parsed<JsonBounds[]>('column bounds', text).map(([fieldId, nullCount, lower, upper]) => ({
    fieldId,
    nullCount,
    lower: bytes(lower),
    upper: bytes(upper),
  }))
}

export function segmentOf(row: Selectable<SegmentRow>): Segment {
  return {
    segmentId: Number(row.segment_id),
    tableId: Number(row.table_id),
    schemaId: Number(row.schema_id),
    path: row.path,
    rowCount: Number(row.row_count),
    bytes: Number(row.bytes),
    etag: row.etag ?? undefined,
    checksum: row.checksum ?? undefined,
    bounds: boundsOf(row.bounds_json),
    sources: sourcesOf(row.sources_json),
    touched: {
      grain: row.touched_grain as Segment['touched']['grain'],
      values: parsed<number[]>('touched hours', row.touched_json),
    },
    addedVersion: row.added_version,
    addedAt: row.added_at,
  }
}

export function coverageOf(row: Selectable<CoverageRow>): Coverage {
  const earlier = parsed<JsonRange[]>('coverage', row.earlier_ranges_json)
  const ranges: OffsetRange[] = earlier.map(([start, end]) => ({ start: BigInt(start), end: BigInt(end) }))
  return {
    pipeline: row.pipeline,
    source: row.source,
    partition: Number(row.partition),
    ranges: [...ranges, { start: row.range_start, end: row.range_end }],
    recordsIn: row.records_in,
    recordsDead: row.records_dead,
    recordsFiltered: row.records_filtered,
    logEnd: row.log_end ?? undefined,
    caughtUpAt: row.caught_up_at ?? undefined,
    recordedEnd: row.recorded_end ?? undefined,
  }
}

type JsonTickAnswer = { readonly versions: readonly (readonly [number, string])[]; readonly committedAt: string }

export function tickAnswerText({ versions, committedAt }: TickAnswer): string {
  const answer: JsonTickAnswer = {
    versions: [...versions].map(([tableId, version]) => [tableId, String(version)] as const),
    committedAt: String(committedAt),
  }
  return JSON.stringify(answer)
}

export function tickAnswerOf(text: string): TickAnswer {
  const { versions, committedAt } = parsed<JsonTickAnswer>('a commit answer', text)
  return {
    versions: new Map(versions.map(([tableId, version]) => [tableId, BigInt(version)])),
    committedAt: BigInt(committedAt),
  }
}

export function snapshotAnswerText(version: bigint): string {
  return JSON.stringify({ version: String(version) })
}

export function snapshotAnswerOf(text: string): bigint {
  return BigInt(parsed<{ version: string }>('a commit answer', text).version)
}
