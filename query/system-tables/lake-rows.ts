/**
 * What catalog and Iceberg metadata know of tables, as rows of `millrace.tables, columns, snapshots, files`. Pure.
 */
import type { PartitionField, SortField, Table, TableVersion } from '../../lake/catalog/catalog.ts'
import { duckdbType } from '../../lake/file-mapping.ts'
import type { LiveFile, Snapshot, TableMetadata } from '../../lake/iceberg/iceberg.ts'
import { UNPARTITIONED_SPEC_ID } from '../../lake/iceberg/table-metadata.ts'
import type { SystemRow, SystemValue } from '../../lake/pipeline-rows.ts'
import { EVENT_TIME_PROPERTY } from '../../lake/table-definition.ts'
import { formatColumnType } from '../../schemas/column-type.ts'
import { maskedCount } from '../../schemas/masked-offsets.ts'
import { type Column, isHidden } from '../../schemas/table-schema.ts'
import { freshnessMs } from '../freshness.ts'
import { boundText, partitionText, transformText } from './value-as-text.ts'

function columnsOf(table: Table): readonly Column[] {
  return table.schemas.at(-1)?.columns ?? []
}

const columnsOfTables = new WeakMap<Table, ReadonlyMap<number, Column>>()

/** In the newest schema that has it: also of a column that is gone. */
function columnById(table: Table, fieldId: number): Column | undefined {
  const known = columnsOfTables.get(table)
  if (known) return known.get(fieldId)
  const columns = new Map(table.schemas.flatMap((schema) => schema.columns.map((column) => [column.fieldId, column])))
  columnsOfTables.set(table, columns)
  return columns.get(fieldId)
}

function nameOf(table: Table, fieldId: number): string {
  return columnById(table, fieldId)?.name ?? `#${fieldId}`
}

/** `metadata`: undefined when nobody asked for what is in it, or there is none yet. */
export function tableRow(version: TableVersion, metadata: TableMetadata | undefined): SystemRow {
  const { table, segments, masks = [], readAt } = version
  const snapshot = metadata?.currentSnapshot
  const total = (key: string): bigint | undefined => {
    if (version.metadataLocation === undefined || (metadata && !snapshot)) return 0n
    return summaryNumber(snapshot, key)
  }
  const [rows, bytes, files] = [total('total-records'), total('total-files-size'), total('total-data-files')]
  const rowsInSegments = segments.reduce((sum, { rowCount }) => sum + BigInt(rowCount), 0n)
  const bytesInSegments = segments.reduce((sum, segment) => sum + BigInt(segment.bytes), 0n)
  const masked = masks.reduce(
    (sum, { offsets, appliedRows = 0 }) => sum + BigInt(maskedCount(offsets) - appliedRows),
    0n,
  )
  const columns = columnsOf(table)
  const eventTime = table.properties[EVENT_TIME_PROPERTY]
  const freshness = freshnessMs(version)
  return {
    table_name: table.name,
    table_id: BigInt(table.tableId),
    version: version.version,
    rows: rows === undefined ? undefined : rows + rowsInSegments - masked,
    bytes: bytes === undefined ? undefined : bytes + bytesInSegments,
    files: files === undefined ? undefined : files + BigInt(segments.length),
    segments_live: segments.length,
    rows_in_segments: rowsInSegments,
    bytes_in_segments: bytesInSegments,
    rows_masked: masked,
    snapshot_id: snapshot?.snapshotId,
    snapshot_at: snapshot && BigInt(snapshot.timestampMs) * 1000n,
    freshness_ms: freshness === null ? undefined : BigInt(Math.round(freshness)),
    columns: columns.filter((column) => !isHidden(column)).length,
    schema_id: table.schemas.at(-1)?.schemaId,
    partitioning: table.partition.map((field) => transformText(field, nameOf(table, field.fieldId))),
    sort_order: table.sort.map((field) => sortText(field, nameOf(table, field.fieldId))),
    event_time: eventTime === undefined ? undefined : nameOf(table, Number(eventTime)),
    location: table.location,
    metadata_location: version.metadataLocation,
    properties: table.properties,
    read_at: readAt,
  }
}

function sortText({ descending, nullsFirst }: SortField, column: string): string {
  const usual = !descending
  return `${column}${descending ? ' desc' : ''}${nullsFirst === usual ? '' : ` nulls ${nullsFirst ? 'first' : 'last'}`}`
}

export function columnRows(table: Table): SystemRow[] {
  return columnsOf(table).map((column, index) => {
    const { fieldId, name, type, required, formerNames = [] } = column
    const partitioning = table.partition.filter((field) => field.fieldId === fieldId)
    const sorted = table.sort.findIndex((field) => field.fieldId === fieldId)
    return {
      table_name: table.name,
      column_name: name,
      ordinal: index + 1,
      field_id: fieldId,
      type: formatColumnType(type),
      sql_type: duckdbType(type),
      required,
      hidden: isHidden(column),
      key: sorted >= 0 || partitioning.length > 0,
      sort_position: sorted < 0 ? undefined : sorted + 1,
      partitioning: partitioning.map((field) => transformText(field, name)),
      former_names: formerNames,
    }
  })
}

export function snapshotRows(table: Table, metadata: TableMetadata): SystemRow[] {
  return metadata.snapshots.map((snapshot) => {
    const number = (key: string, missing?: bigint) => summaryNumber(snapshot, key) ?? missing
    return {
      table_name: table.name,
      snapshot_id: snapshot.snapshotId,
      parent_id: snapshot.parentSnapshotId,
      sequence_number: snapshot.sequenceNumber,
      committed_at: BigInt(snapshot.timestampMs) * 1000n,
      operation: snapshot.summary.operation,
      is_current: snapshot.snapshotId === metadata.currentSnapshot?.snapshotId,
      schema_id: snapshot.schemaId,
      // Left out of a summary when there is none.
      files_added: number('added-data-files', 0n),
      rows_added: number('added-records', 0n),
      bytes_added: number('added-files-size', 0n),
      files_deleted: number('deleted-data-files', 0n),
      rows_deleted: number('deleted-records', 0n),
      bytes_deleted: number('removed-files-size', 0n),
      files: number('total-data-files'),
      rows: number('total-records'),
      bytes: number('total-files-size'),
      manifest_list: snapshot.manifestList,
      summary: snapshot.summary,
    }
  })
}

function summaryNumber(snapshot: Snapshot | undefined, key: string): bigint | undefined {
  const text = snapshot?.summary[key]
  return text !== undefined && /^\d{1,18}$/.test(text) ? BigInt(text) : undefined
}

export function segmentRow(version: TableVersion, index: number, withBounds: boolean): SystemRow {
  const { table, segments } = version
  const { path, rowCount, bytes, bounds, schemaId, addedVersion, addedAt, checksum } = segments[index]
  const schema = table.schemas.find((each) => each.schemaId === schemaId)
  const shown = (withBounds ? bounds : []).flatMap(({ fieldId, nullCount, lower, upper }) => {
    const type = schema?.columns.find((each) => each.fieldId === fieldId)?.type
    if (!type) return []
    const values = { null_count: nullCount, lower: boundText(type, lower), upper: boundText(type, upper) }
    return [[nameOf(table, fieldId), values] as const]
  })
  return {
    table_name: table.name,
    path,
    kind: 'segment',
    rows: rowCount,
    bytes,
    // Whose rows are in which table partition is known once they are sorted into them.
    partition: table.partition.length === 0 ? {} : undefined,
    bounds: Object.fromEntries(shown),
    schema_id: schemaId,
    is_sorted: false,
    added_version: addedVersion,
    added_at: addedAt,
    checksum,
  }
}

/** `times`: of the snapshots that the metadata still lists, in ms. */
export function dataFileRow(
  table: Table,
  file: LiveFile,
  times: ReadonlyMap<bigint, number>,
  withBounds: boolean,
): SystemRow {
  const addedMs = times.get(file.snapshotId)
  return {
    table_name: table.name,
    path: file.path,
    kind: 'data',
    rows: file.rowCount,
    bytes: file.bytes,
    partition: file.specId === UNPARTITIONED_SPEC_ID ? undefined : partitionOf(table, file),
    bounds: withBounds ? boundsOf(table, file) : {},
    is_sorted: file.sortOrderId > 0,
    added_at: addedMs === undefined ? undefined : BigInt(addedMs) * 1000n,
    added_snapshot_id: file.snapshotId,
    sequence_number: file.sequenceNumber,
    checksum: file.checksum,
  }
}

function partitionOf(table: Table, { partition }: LiveFile): Record<string, SystemValue> {
  const values = table.partition.map((field: PartitionField, index) => {
    const value = partition[index]
    const text = value === undefined ? null : partitionText(field, columnById(table, field.fieldId)?.type, value)
    return [field.name, text] as const
  })
  return Object.fromEntries(values)
}

function boundsOf(table: Table, { nullCounts, lowerBounds, upperBounds }: LiveFile): Record<string, SystemValue> {
  const fieldIds = new Set([...nullCounts.keys(), ...lowerBounds.keys(), ...upperBounds.keys()])
  const shown = [...fieldIds].flatMap((fieldId) => {
    const column = columnById(table, fieldId)
    if (!column) return []
    const values = {
      null_count: nullCounts.get(fieldId),
      lower: boundText(column.type, lowerBounds.get(fieldId)),
      upper: boundText(column.type, upperBounds.get(fieldId)),
    }
    return [[column.name, values] as const]
  })
  return Object.fromEntries(shown)
}
