/**
 * Manifests and manifest lists as plain data, to and from Avro. Fields are found by field id, so that other engines'
 * names (`added_data_files_count` in older ones) come through; those that we do not use are skipped.
 *
 * The checksums of what is listed stand in the Avro header, where they disturb no reader: one text of all entries in their
 * order, parted by commas, empty where unknown. So do the etags that data files had when they were put, as a JSON list.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { AvroField, AvroSchema } from './avro-decoder.ts'
import { isUnion } from './avro-decoder.ts'
import { type AvroRecord, readAvroFile, writeAvroFile } from './avro-file.ts'
import { compareBounds } from './bounds.ts'
import type { DataFile, PartitionValue } from './iceberg.ts'
import {
  MANIFEST_LIST_SCHEMA,
  manifestSchema,
  partitionAvroName,
  partitionFromAvro,
  partitionToAvro,
  type SpecField,
} from './manifest-schema.ts'
import { encodeSingleValue } from './single-value.ts'

const CHECKSUMS_KEY = 'millrace.checksums'
const ETAGS_KEY = 'millrace.etags'

export const STATUS = { existing: 0, added: 1, deleted: 2 } as const

export type ManifestEntry = {
  readonly status: number
  /** undefined: the manifest's own, from the manifest list. */
  readonly snapshotId: bigint | undefined
  readonly sequenceNumber: bigint | undefined
  readonly fileSequenceNumber: bigint | undefined
  readonly file: DataFile
}

export type FieldSummary = {
  readonly containsNull: boolean
  readonly lower: Uint8Array | undefined
  readonly upper: Uint8Array | undefined
}

export type ManifestFile = {
  readonly path: string
  readonly bytes: number
  readonly specId: number
  readonly sequenceNumber: bigint
  readonly minSequenceNumber: bigint
  readonly addedSnapshotId: bigint
  readonly addedFiles: number
  readonly existingFiles: number
  readonly deletedFiles: number
  readonly addedRows: bigint
  readonly existingRows: bigint
  readonly deletedRows: bigint
  readonly partitions: readonly FieldSummary[]
  /** CRC32C of the manifest's bytes; undefined when an older release wrote it. */
  readonly checksum?: string
}

export function encodeManifest(
  entries: readonly ManifestEntry[],
  spec: readonly SpecField[],
  metadata: Readonly<Record<string, string>>,
  sync: Uint8Array,
): Uint8Array {
  const records = entries.map((entry) => ({
    status: entry.status,
    snapshot_id: entry.snapshotId ?? null,
    sequence_number: entry.sequenceNumber ?? null,
    file_sequence_number: entry.fileSequenceNumber ?? null,
    data_file: dataFileRecord(entry.file, spec),
  }))
  const checksums = entries.map(({ file }) => file.checksum)
  const etags = entries.map(({ file }) => file.etag)
  return writeAvroFile(manifestSchema(spec), records, withEtags(withChecksums(metadata, checksums), etags), sync)
}

function dataFileRecord(file: DataFile, spec: readonly SpecField[]): AvroRecord {
  return {
    content: 0,
    file_path: file.path,
    file_format: 'PARQUET',
    partition: Object.fromEntries(
      spec.map((field, i) => [partitionAvroName(field), partitionToAvro(field, file.partition[i] ?? null)]),
    ),
    record_count: BigInt(file.rowCount),
    file_size_in_bytes: BigInt(file.bytes),
    column_sizes: counts(file.columnSizes),
    value_counts: counts(file.valueCounts),
    null_value_counts: counts(file.nullCounts),
    nan_value_counts: counts(file.nanCounts),
    lower_bounds: bounds(file.lowerBounds),
    upper_bounds: bounds(file.upperBounds),
    key_metadata: null,
    split_offsets: file.splitOffsets.length === 0 ? null : file.splitOffsets.map((each) => BigInt(each)),
    equality_ids: null,
    sort_order_id: file.sortOrderId,
  }
}

function withChecksums(
  metadata: Readonly<Record<string, string>>,
  checksums: readonly (string | undefined)[],
): Readonly<Record<string, string>> {
  if (checksums.every((checksum) => checksum === undefined)) return metadata
  return { ...metadata, [CHECKSUMS_KEY]: checksums.map((checksum) => checksum ?? '').join(',') }
}

/** As many as there are entries; unknown ones are undefined. */
function checksumsIn(metadata: ReadonlyMap<string, string>, entries: number): readonly (string | undefined)[] {
  const checksums = metadata.get(CHECKSUMS_KEY)?.split(',') ?? []
  if (checksums.length !== entries) return new Array<undefined>(entries).fill(undefined)
  return checksums.map((checksum) => checksum || undefined)
}

function withEtags(
  metadata: Readonly<Record<string, string>>,
  etags: readonly (string | undefined)[],
): Readonly<Record<string, string>> {
  if (etags.every((etag) => etag === undefined)) return metadata
  return { ...metadata, [ETAGS_KEY]: JSON.stringify(etags.map((etag) => etag ?? null)) }
}

/** Unknown ones, and whatever is no list of as many texts, are undefined. */
function etagsIn(metadata: ReadonlyMap<string, string>, entries: number): readonly (string | undefined)[] {
  let etags: unknown
  try {
    etags = JSON.parse(metadata.get(ETAGS_KEY) ?? 'null')
  } catch {
    // Somebody else's header.
  }
  if (!Array.isArray(etags) || etags.length !== entries) return new Array<undefined>(entries).fill(undefined)
  return etags.map((etag: unknown) => (typeof etag === 'string' && etag !== '' ? etag : undefined))
}

function counts(map: ReadonlyMap<number, number>): unknown {
  return map.size === 0 ? null : Array.from(map, ([key, value]) => ({ key, value: BigInt(value) }))
}

function bounds(map: ReadonlyMap<number, Uint8Array>): unknown {
  return map.size === 0 ? null : Array.from(map, ([key, value]) => ({ key, value: Buffer.from(value) }))
}

export function decodeManifest(bytes: Uint8Array, path: string): readonly ManifestEntry[] {
  const { schema, records, metadata } = readAvroFile(bytes, path)
  const checksums = checksumsIn(metadata, records.length)
  const etags = etagsIn(metadata, records.length)
  return sound(path, () => {
    const entryNames = namesById(schema)
    const fileSchema = fieldSchema(schema, 2)
    const fileNames = namesById(fileSchema)
    const partitionSchema = fieldSchema(fileSchema, 102)
    return records.map((record, i) => {
      const entry = (id: number) => record[entryNames.get(id) ?? '']
      const file = entry(2) as AvroRecord
      return {
        status: wholeNumber(entry(0)),
        snapshotId: optionalBigint(entry(1)),
        sequenceNumber: optionalBigint(entry(3)),
        fileSequenceNumber: optionalBigint(entry(4)),
        file: dataFileOf((id) => file[fileNames.get(id) ?? ''], partitionSchema, path, {
          checksum: checksums[i],
          etag: etags[i],
        }),
      }
    })
  })
}

function dataFileOf(
  field: (id: number) => unknown,
  partitionSchema: AvroSchema,
  path: string,
  { checksum, etag }: { readonly checksum: string | undefined; readonly etag: string | undefined },
): DataFile {
  const content = field(134) ?? 0
  const format = String(field(101)).toUpperCase()
  if (content !== 0 || format !== 'PARQUET') {
    const found = content === 0 ? `a file of format ${format}` : 'a delete file'
    throw new MillraceError('format-too-new', `manifest ${path} holds ${found}; only Parquet data files are read`, {
      facts: { path },
    })
  }
  const partition = (field(102) ?? {}) as AvroRecord
  return {
    path: String(field(100)),
    partition: fieldsOf(partitionSchema).map((each) => partitionFromAvro(each.type, partition[each.name])),
    rowCount: wholeNumber(field(103)),
    bytes: wholeNumber(field(104)),
    columnSizes: mapOf(field(108), wholeNumber),
    valueCounts: mapOf(field(109), wholeNumber),
    nullCounts: mapOf(field(110), wholeNumber),
    nanCounts: mapOf(field(137), wholeNumber),
    // Copied: a bound must not keep its manifest's whole block in memory.
    lowerBounds: mapOf(field(125), (value) => Uint8Array.from(value as Uint8Array)),
    upperBounds: mapOf(field(128), (value) => Uint8Array.from(value as Uint8Array)),
    splitOffsets: ((field(132) ?? []) as unknown[]).map(wholeNumber),
    sortOrderId: wholeNumber(field(140) ?? 0),
    checksum,
    etag,
  }
}

function mapOf<Value>(pairs: unknown, value: (raw: unknown) => Value): ReadonlyMap<number, Value> {
  const list = (pairs ?? []) as readonly { key: number; value: unknown }[]
  return new Map(list.map((pair) => [pair.key, value(pair.value)]))
}

export function encodeManifestList(
  manifests: readonly ManifestFile[],
  metadata: Readonly<Record<string, string>>,
  sync: Uint8Array,
): Uint8Array {
  const records = manifests.map((manifest) => ({
    manifest_path: manifest.path,
    manifest_length: BigInt(manifest.bytes),
    partition_spec_id: manifest.specId,
    content: 0,
    sequence_number: manifest.sequenceNumber,
    min_sequence_number: manifest.minSequenceNumber,
    added_snapshot_id: manifest.addedSnapshotId,
    added_files_count: manifest.addedFiles,
    existing_files_count: manifest.existingFiles,
    deleted_files_count: manifest.deletedFiles,
    added_rows_count: manifest.addedRows,
    existing_rows_count: manifest.existingRows,
    deleted_rows_count: manifest.deletedRows,
    partitions: manifest.partitions.map((summary) => ({
      contains_null: summary.containsNull,
      contains_nan: false,
      lower_bound: summary.lower === undefined ? null : Buffer.from(summary.lower),
      upper_bound: summary.upper === undefined ? null : Buffer.from(summary.upper),
    })),
    key_metadata: null,
  }))
  const checksums = manifests.map(({ checksum }) => checksum)
  return writeAvroFile(MANIFEST_LIST_SCHEMA, records, withChecksums(metadata, checksums), sync)
}

export function decodeManifestList(bytes: Uint8Array, path: string): readonly ManifestFile[] {
  const { schema, records, metadata } = readAvroFile(bytes, path)
  const checksums = checksumsIn(metadata, records.length)
  return sound(path, () => {
    const names = namesById(schema)
    const manifests: ManifestFile[] = []
    for (const [i, record] of records.entries()) {
      const field = (id: number) => record[names.get(id) ?? '']
      if ((field(517) ?? 0) !== 0) {
        throw new MillraceError('format-too-new', `${path} lists delete manifests, which are not read`, {
          facts: { path },
        })
      }
      manifests.push({
        path: String(field(500)),
        bytes: wholeNumber(field(501)),
        specId: wholeNumber(field(502)),
        sequenceNumber: optionalBigint(field(515)) ?? 0n,
        minSequenceNumber: optionalBigint(field(516)) ?? 0n,
        addedSnapshotId: optionalBigint(field(503)) ?? 0n,
        addedFiles: wholeNumber(field(504) ?? 0),
        existingFiles: wholeNumber(field(505) ?? 0),
        deletedFiles: wholeNumber(field(506) ?? 0),
        addedRows: optionalBigint(field(512)) ?? 0n,
        existingRows: optionalBigint(field(513)) ?? 0n,
        deletedRows: optionalBigint(field(514)) ?? 0n,
        partitions: summariesOf(field(507), fieldSchema(schema, 507)),
        checksum: checksums[i],
      })
    }
    return manifests
  })
}

function summariesOf(value: unknown, schema: AvroSchema): readonly FieldSummary[] {
  const array = typeof schema === 'object' && !isUnion(schema) ? schema.items : undefined
  const names = namesById(array ?? 'null')
  return ((value ?? []) as AvroRecord[]).map((record) => ({
    containsNull: record[names.get(509) ?? ''] !== false,
    lower: (record[names.get(510) ?? ''] as Uint8Array | null) ?? undefined,
    upper: (record[names.get(511) ?? ''] as Uint8Array | null) ?? undefined,
  }))
}

/** Over the live and deleted entries alike: whoever skips a manifest by it skips none of its files wrongly. */
export function summarizePartitions(files: readonly DataFile[], spec: readonly SpecField[]): readonly FieldSummary[] {
  return spec.map((field, i) => {
    let lower: PartitionValue = null
    let upper: PartitionValue = null
    let containsNull = false
    for (const { partition } of files) {
      const value = partition[i] ?? null
      if (value === null) containsNull = true
      else {
        if (lower === null || compareBounds(field.type, value, lower) < 0) lower = value
        if (upper === null || compareBounds(field.type, value, upper) > 0) upper = value
      }
    }
    return {
      containsNull,
      lower: lower === null ? undefined : encodeSingleValue(field.type, lower),
      upper: upper === null ? undefined : encodeSingleValue(field.type, upper),
    }
  })
}

function fieldsOf(schema: AvroSchema): readonly AvroField[] {
  const record = isUnion(schema) ? schema.find((each) => each !== 'null') : schema
  return typeof record === 'object' && !isUnion(record) ? (record.fields ?? []) : []
}

function namesById(schema: AvroSchema): ReadonlyMap<number, string> {
  return new Map(
    fieldsOf(schema).flatMap((field) => (field['field-id'] === undefined ? [] : [[field['field-id'], field.name]])),
  )
}

function fieldSchema(schema: AvroSchema, id: number): AvroSchema {
  const type = fieldsOf(schema).find((field) => field['field-id'] === id)?.type ?? 'null'
  return isUnion(type) ? (type.find((each) => each !== 'null') ?? 'null') : type
}

function wholeNumber(value: unknown): number {
  const number = Number(value)
  if ((typeof value !== 'bigint' && typeof value !== 'number') || !Number.isSafeInteger(number)) {
    throw new Error(`expected a whole number, found ${String(value)}`)
  }
  return number
}

function optionalBigint(value: unknown): bigint | undefined {
  return value === null || value === undefined ? undefined : BigInt(value as number | bigint)
}

function sound<Result>(path: string, read: () => Result): Result {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new MillraceError('file-damaged', `${path} is not what a manifest should be: ${reason}`, {
      cause,
      facts: { path },
    })
  }
}
