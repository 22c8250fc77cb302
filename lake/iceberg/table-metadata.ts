/**
 * Table metadata JSON, format version 2: parsed into `TableMetadata`, made for a table's first snapshot, and carried
 * forward. What we do not know in it is kept in `raw` and written back as it was, 64-bit ids included.
 */
import { type ColumnType, childFields, type Field, fieldsWithin, formatColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { PartitionTransform, Table } from '../catalog/catalog.ts'
import type { Snapshot, TableMetadata } from './iceberg.ts'
import { isJsonObject, type JsonObject, parseLosslessJson } from './lossless-json.ts'

/** Keys of a snapshot's summary. */
export const COMMIT_ID_KEY = 'millrace.commit-id'
export const WRITER_ID_KEY = 'millrace.writer-id'
export const LEASE_EPOCH_KEY = 'millrace.lease-epoch'
export const CHECKPOINT_KEY = 'millrace.checkpoint'
export const CHECKPOINT_HASH_KEY = 'millrace.checkpoint-sha256'
/** Path of the whole checkpoint that the snapshot's own, which only has changes, builds on. */
export const CHECKPOINT_BASE_KEY = 'millrace.checkpoint-base'
export const MANIFEST_LIST_CHECKSUM_KEY = 'millrace.manifest-list-crc32c'

/** Table properties that make the table again when its catalog is gone, beside those that the table itself has (ADR 15). */
export const NAME_PROPERTY = 'millrace.name'
export const TABLE_ID_PROPERTY = 'millrace.table-id'
/** The table's version when the metadata was made: the commit that took it has a higher one. */
export const TABLE_VERSION_PROPERTY = 'millrace.table-version'
/** Columns, and fields inside them, that are JSON: Iceberg knows them as strings. */
export const JSON_FIELDS_PROPERTY = 'millrace.json-field-ids'
/** Fields that are required in a struct that is not: Iceberg's schema does not claim it (`claimsRequired`). */
export const REQUIRED_FIELDS_PROPERTY = 'millrace.required-field-ids'
/** `<field id>:<number in the records' schema>`, joined by commas: what Iceberg has no place for. */
export const SOURCE_IDS_PROPERTY = 'millrace.source-field-ids'
/** `{"<field id>": [names before it was renamed, …]}`: records may still come with them. */
export const FORMER_NAMES_PROPERTY = 'millrace.former-names'
/**
 * `<CRC32C> <path>` of the metadata that this one was made from. The path stands with it, since a process of the release before
 * carries the property on as it is.
 */
export const BASE_METADATA_PROPERTY = 'millrace.base-metadata'

export const TABLE_SPEC_ID = 0
/**
 * A partition spec without fields, beside the table's own: of files with rows of many table partitions that are too few, or too
 * odd, for files of their own (ADR 16). Its number keeps clear of those that a changed partitioning may take.
 */
export const UNPARTITIONED_SPEC_ID = 1000

const FORMAT_VERSION = 2
const NO_SNAPSHOT = -1n
const LAST_PARTITION_ID_MIN = 999

export function parseMetadata(text: string, location: string): TableMetadata {
  const raw = parseLosslessJson(text, `table metadata ${location}`)
  const damaged = (reason: string) => new MillraceError('file-damaged', `table metadata ${location}: ${reason}`)
  if (!isJsonObject(raw)) throw damaged('it is no JSON object')
  if (raw['format-version'] !== FORMAT_VERSION) {
    throw new MillraceError(
      'format-too-new',
      `table metadata ${location} has format-version ${String(raw['format-version'])}, expected ${FORMAT_VERSION}`,
    )
  }
  try {
    return metadataOf(raw)
  } catch (cause) {
    throw damaged(cause instanceof Error ? cause.message : String(cause))
  }
}

/** Of parsed JSON, or of JSON that is about to be written. Throws a plain error when something is missing. */
export function metadataOf(raw: JsonObject): TableMetadata {
  const snapshots = listOf(raw, 'snapshots').map(snapshotOf)
  const currentId = raw['current-snapshot-id']
  const current = currentId === undefined || currentId === null ? NO_SNAPSHOT : bigintOf(raw, 'current-snapshot-id')
  const currentSnapshot = snapshots.find((snapshot) => snapshot.snapshotId === current)
  if (current !== NO_SNAPSHOT && !currentSnapshot) throw new Error(`snapshot ${current} is current but not listed`)
  return {
    location: textOf(raw, 'location').replace(/\/+$/, ''),
    tableUuid: textOf(raw, 'table-uuid'),
    lastSequenceNumber: bigintOf(raw, 'last-sequence-number'),
    currentSnapshot,
    snapshots,
    currentSchemaId: Number(bigintOf(raw, 'current-schema-id')),
    properties: textsOf(raw.properties),
    raw,
  }
}

/** Metadata that follows another keeps the very objects of its snapshots. */
const snapshotsByJson = new WeakMap<JsonObject, Snapshot>()

function snapshotOf(raw: JsonObject): Snapshot {
  const known = snapshotsByJson.get(raw)
  if (known) return known
  const made = parsedSnapshot(raw)
  snapshotsByJson.set(raw, made)
  return made
}

function parsedSnapshot(raw: JsonObject): Snapshot {
  const parent = raw['parent-snapshot-id']
  return {
    snapshotId: bigintOf(raw, 'snapshot-id'),
    parentSnapshotId: parent === undefined || parent === null ? undefined : bigintOf(raw, 'parent-snapshot-id'),
    sequenceNumber: raw['sequence-number'] === undefined ? 0n : bigintOf(raw, 'sequence-number'),
    timestampMs: Number(bigintOf(raw, 'timestamp-ms')),
    manifestList: textOf(raw, 'manifest-list'),
    schemaId: raw['schema-id'] === undefined ? 0 : Number(bigintOf(raw, 'schema-id')),
    summary: textsOf(raw.summary),
  }
}

export function snapshotJson(snapshot: Snapshot): JsonObject {
  return {
    'snapshot-id': snapshot.snapshotId,
    ...(snapshot.parentSnapshotId === undefined ? {} : { 'parent-snapshot-id': snapshot.parentSnapshotId }),
    'sequence-number': snapshot.sequenceNumber,
    'timestamp-ms': snapshot.timestampMs,
    summary: snapshot.summary,
    'manifest-list': snapshot.manifestList,
    'schema-id': snapshot.schemaId,
  }
}

export function rawOf(metadata: TableMetadata): JsonObject {
  return metadata.raw as JsonObject
}

export function listOf(raw: JsonObject, key: string): readonly JsonObject[] {
  const value = raw[key] ?? []
  if (!Array.isArray(value) || !value.every(isJsonObject)) throw new Error(`"${key}" is no list of objects`)
  return value
}

export function bigintOf(raw: JsonObject, key: string): bigint {
  const value = raw[key]
  if (typeof value === 'bigint') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value)
  throw new Error(`"${key}" is no whole number`)
}

function textOf(raw: JsonObject, key: string): string {
  const value = raw[key]
  if (typeof value === 'string') return value
  throw new Error(`"${key}" is no text`)
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isJsonObject(value)) return {}
  const texts: Record<string, string> = {}
  for (const [key, each] of Object.entries(value)) texts[key] = String(each)
  return texts
}

export type MetadataLogEntry = { readonly path: string; readonly json: JsonObject }

export function metadataLogOf(metadata: TableMetadata): readonly MetadataLogEntry[] {
  return listOf(rawOf(metadata), 'metadata-log').map((json) => ({ path: String(json['metadata-file']), json }))
}

/** Snapshots that a branch or tag other than main names: kept whatever their age. */
export function namedSnapshotIds(metadata: TableMetadata): ReadonlySet<bigint> {
  const { refs } = rawOf(metadata)
  if (!isJsonObject(refs)) return new Set()
  const named = Object.entries(refs).filter(([name]) => name !== 'main')
  return new Set(named.map(([, ref]) => bigintOf(ref as JsonObject, 'snapshot-id')))
}

/** Of a table without snapshots. */
export function firstMetadata(table: Table, tableUuid: string): JsonObject {
  return {
    'format-version': FORMAT_VERSION,
    'table-uuid': tableUuid,
    location: table.location,
    'last-sequence-number': 0,
    'last-updated-ms': 0,
    'last-column-id': table.lastFieldId,
    'current-schema-id': 0,
    schemas: [],
    'default-spec-id': TABLE_SPEC_ID,
    'partition-specs': [{ 'spec-id': TABLE_SPEC_ID, fields: partitionSpecFields(table) }],
    'last-partition-id': Math.max(LAST_PARTITION_ID_MIN, ...table.partition.map((field) => field.partitionFieldId)),
    'default-sort-order-id': table.sort.length > 0 ? 1 : 0,
    'sort-orders': [
      { 'order-id': 0, fields: [] },
      ...(table.sort.length > 0 ? [{ 'order-id': 1, fields: sortFields(table) }] : []),
    ],
    properties: { 'write.format.default': 'parquet', 'write.parquet.compression-codec': 'zstd' },
    refs: {},
    snapshots: [],
    statistics: [],
    'partition-statistics': [],
    'snapshot-log': [],
    'metadata-log': [],
  }
}

/** Of all its schemas, with what is inside columns. */
function fieldsOf(table: Table): readonly Field[] {
  return table.schemas.flatMap(({ columns }) => columns.flatMap((column) => [...fieldsWithin(column)]))
}

function definitionProperties(table: Table): Readonly<Record<string, string>> {
  const fields = fieldsOf(table)
  const json = new Set(fields.filter(({ type }) => type.kind === 'json').map(({ fieldId }) => fieldId))
  // As each is in the newest schema that has it: what became optional is not required any more.
  const latest = new Map(fields.map((field) => [field.fieldId, field]))
  const unclaimed = table.schemas.flatMap(({ columns }) => unclaimedIds(columns))
  const required = new Set(unclaimed.filter((fieldId) => latest.get(fieldId)?.required))
  const former = [...latest.values()].flatMap(({ fieldId, formerNames = [] }) =>
    formerNames.length === 0 ? [] : [[fieldId, formerNames] as const],
  )
  const sources = new Map(
    fields.flatMap(({ fieldId, sourceId }) => (sourceId === undefined ? [] : [[fieldId, sourceId]])),
  )
  return {
    ...table.properties,
    [NAME_PROPERTY]: table.name,
    [TABLE_ID_PROPERTY]: String(table.tableId),
    [TABLE_VERSION_PROPERTY]: String(table.version),
    ...(json.size === 0 ? {} : { [JSON_FIELDS_PROPERTY]: [...json].join(',') }),
    // Empty rather than absent where there were some: properties of the metadata before are carried on.
    ...(unclaimed.length === 0 ? {} : { [REQUIRED_FIELDS_PROPERTY]: [...required].join(',') }),
    ...(sources.size === 0 ? {} : { [SOURCE_IDS_PROPERTY]: [...sources].map((pair) => pair.join(':')).join(',') }),
    ...(former.length === 0 ? {} : { [FORMER_NAMES_PROPERTY]: JSON.stringify(Object.fromEntries(former)) }),
    ...(table.metadataChecksum === undefined
      ? {}
      : { [BASE_METADATA_PROPERTY]: `${table.metadataChecksum} ${table.metadataLocation}` }),
  }
}

/** What this metadata says of the one it was made from. */
export function baseMetadataOf({ properties }: TableMetadata): { checksum: string; path: string } | undefined {
  const [, checksum, path] = /^([0-9a-f]{8}) (.+)$/.exec(properties[BASE_METADATA_PROPERTY] ?? '') ?? []
  return checksum === undefined ? undefined : { checksum, path }
}

/** The table's schemas that the metadata has not yet are added, the last one is current; its properties are as they are now. */
export function withSchemas(raw: JsonObject, table: Table): JsonObject {
  const known = listOf(raw, 'schemas')
  const ids = new Set(known.map((schema) => Number(bigintOf(schema, 'schema-id'))))
  const pending = table.schemas.filter((schema) => !ids.has(schema.schemaId)).map(schemaJson)
  const fieldIds = fieldsOf(table).map(({ fieldId }) => fieldId)
  return {
    ...raw,
    schemas: [...known, ...pending],
    'current-schema-id': table.schemas.at(-1)?.schemaId ?? 0,
    'last-column-id': Math.max(Number(bigintOf(raw, 'last-column-id')), table.lastFieldId, ...fieldIds),
    properties: { ...(isJsonObject(raw.properties) ? raw.properties : {}), ...definitionProperties(table) },
  }
}

/** The spec without fields stands in metadata once a file needs it, and stays. */
export function withUnpartitionedSpec(raw: JsonObject): JsonObject {
  const specs = listOf(raw, 'partition-specs')
  if (specs.some((spec) => spec['spec-id'] === UNPARTITIONED_SPEC_ID)) return raw
  return { ...raw, 'partition-specs': [...specs, { 'spec-id': UNPARTITIONED_SPEC_ID, fields: [] }] }
}

export function schemaJson(schema: TableSchema): JsonObject {
  return { type: 'struct', 'schema-id': schema.schemaId, fields: schema.columns.map((column) => fieldJson(column)) }
}

/**
 * Within a null struct every field is null. A reader that takes "required" at its word fails there (pyiceberg), since data files
 * do not have it; so it is claimed only where nothing around a field can be null in its place.
 */
function claimsRequired(field: Field, isInNullable: boolean): boolean {
  return field.required && !isInNullable
}

function unclaimedIds(fields: readonly Field[], isInNullable = false): readonly number[] {
  return fields.flatMap((field) => {
    const isClaimed = claimsRequired(field, isInNullable)
    const inside = unclaimedIds(childFields(field.type), field.type.kind === 'struct' && !isClaimed)
    return field.required && !isClaimed ? [field.fieldId, ...inside] : inside
  })
}

function fieldJson(field: Field, isInNullable = false): JsonObject {
  const { fieldId, name, type } = field
  const required = claimsRequired(field, isInNullable)
  return { id: fieldId, name, required, type: icebergType(type, !required) }
}

function icebergType(type: ColumnType, isNullable: boolean): string | JsonObject {
  switch (type.kind) {
    case 'struct':
      return { type: 'struct', fields: type.fields.map((field) => fieldJson(field, isNullable)) }
    case 'list': {
      const { element } = type
      return {
        type: 'list',
        'element-id': element.fieldId,
        element: icebergType(element.type, !element.required),
        'element-required': element.required,
      }
    }
    case 'map': {
      const { key, value } = type
      return {
        type: 'map',
        'key-id': key.fieldId,
        key: icebergType(key.type, false),
        'value-id': value.fieldId,
        value: icebergType(value.type, !value.required),
        'value-required': value.required,
      }
    }
    case 'decimal':
      return `decimal(${type.precision}, ${type.scale})`
    case 'json':
      return 'string'
    default:
      return formatColumnType(type)
  }
}

export function partitionSpecFields(table: Table): readonly JsonObject[] {
  return table.partition.map((field) => ({
    'source-id': field.fieldId,
    'field-id': field.partitionFieldId,
    name: field.name,
    transform: transformText(field.transform),
  }))
}

function transformText(transform: PartitionTransform): string {
  return 'width' in transform ? `${transform.kind}[${transform.width}]` : transform.kind
}

function sortFields(table: Table): readonly JsonObject[] {
  return table.sort.map((field) => ({
    transform: 'identity',
    'source-id': field.fieldId,
    direction: field.descending ? 'desc' : 'asc',
    'null-order': field.nullsFirst ? 'nulls-first' : 'nulls-last',
  }))
}
