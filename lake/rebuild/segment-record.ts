/**
 * What a segment's Parquet footer says of itself, so that a bucket explains itself when its catalog is gone (PROTOCOL 7,
 * ADR 15). Written by ingest, read by `millrace catalog rebuild` and by whoever asks whether a catalog is an older copy.
 *
 *   millrace.table, .schema-id, .commit-id, .writer-id, .writer-epoch   as plain text
 *   millrace.sources      [[pipeline, source, topic-partition, start, end, rows, recordedFrom, first], …]   what its rows cover
 *   millrace.definition   {format, table, name, location, schema, columns, partition, sort, properties, lastFieldId}
 *   millrace.commit       {format, commitId, tick, settled, dropped, parts, versions[, advances, sources]}
 *
 * A tick is an attempt at one flush tick, numbered by its process from 1. `parts` are the segments of the attempt, in the
 * order they are written, as [table id, number in the file name]; the path is `<location>/segments/<writer>-<number>.parquet`.
 * Attempts up to `settled` are committed, but those in `dropped` (the newest of them), which never will be. `versions` is the
 * newest version of the segment's table that the process knew committed. `sources` says which of the `advances` each part has;
 * both are in every part, but only in the first when they are many (`ADVANCES_EVERYWHERE_MAX`), so that footers stay small:
 * [[pipeline, source, topic-partition, recordedFrom, start, end, in, dead, filtered, first], …].
 *
 * `recordedFrom` is where the files' record of a source ended before: ticks without rows write no file, and the next one
 * that does begins its record there, so that the record has no holes. `first` is 1 where nothing was recorded before: a record
 * that does not begin with it has lost its beginning.
 *
 * Footers of the release before have neither definition nor commit; their sources have no rows and no recordedFrom.
 */

import type { OffsetRange, SourceKey } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { PartitionField, SortField, Table } from '../catalog/catalog.ts'

export const TABLE_KEY = 'millrace.table'
export const SCHEMA_KEY = 'millrace.schema-id'
export const COMMIT_ID_KEY = 'millrace.commit-id'
export const WRITER_KEY = 'millrace.writer-id'
export const EPOCH_KEY = 'millrace.writer-epoch'
export const SOURCES_KEY = 'millrace.sources'
export const DEFINITION_KEY = 'millrace.definition'
export const COMMIT_KEY = 'millrace.commit'

const FORMAT = 1
/** Advances times parts: about 60 bytes each. */
const ADVANCES_EVERYWHERE_MAX = 4096

/** A source's part in a segment. `rows` may be 0: the tick consumed offsets of it that became no row. */
export type RecordedSource = SourceKey & {
  readonly range: OffsetRange
  readonly rows: number
  readonly recordedFrom: bigint
  /** undefined in files of the release before, and in merged ones. */
  readonly isFirst?: boolean | undefined
}

export type RecordedAdvance = SourceKey & {
  readonly range: OffsetRange
  readonly recordedFrom: bigint
  readonly isFirst: boolean
  readonly recordsIn: number
  readonly recordsDead: number
  readonly recordsFiltered: number
}

/** Enough to make the table again, as far as one schema goes. */
export type TableDefinition = {
  readonly tableId: number
  readonly name: string
  readonly location: string
  readonly schemaId: number
  readonly columns: readonly Column[]
  readonly partition: readonly PartitionField[]
  readonly sort: readonly SortField[]
  readonly properties: Readonly<Record<string, string>>
  readonly lastFieldId: number
}

export type PartName = { readonly tableId: number; readonly number: number }

export type CommitRecord = {
  readonly commitId: string
  readonly tick: number
  readonly settled: number
  readonly dropped: readonly number[]
  readonly parts: readonly PartName[]
  readonly versions: ReadonlyMap<number, bigint>
  /** undefined in all parts but the first when there are many. */
  readonly advances: readonly RecordedAdvance[] | undefined
  /** Per part, places in `advances`. */
  readonly sources: readonly (readonly number[])[] | undefined
}

export type SegmentRecord = {
  readonly table: string
  readonly schemaId: number
  readonly commitId: string
  readonly writerId: string
  readonly writerEpoch: number
  readonly sources: readonly RecordedSource[]
  readonly definition: TableDefinition | undefined
  readonly commit: CommitRecord | undefined
}

export function segmentPath(location: string, writerId: string, number: number): string {
  return `${location}/segments/${writerId}-${String(number).padStart(8, '0')}.parquet`
}

const SEGMENT_NAME = /\/segments\/([0-9a-f-]{36})-(\d{8,})\.parquet$/

/** Writer and number of a segment's name; undefined for any other path. */
export function segmentNameOf(path: string): { readonly writerId: string; readonly number: number } | undefined {
  const match = SEGMENT_NAME.exec(path)
  return match ? { writerId: match[1], number: Number(match[2]) } : undefined
}

// ---- written --------------------------------------------------------------------------------------------------------

export function sourcesJson(sources: readonly RecordedSource[]): string {
  return JSON.stringify(
    sources.map(({ pipeline, source, partition, range, rows, recordedFrom, isFirst }) => [
      pipeline,
      source,
      partition,
      String(range.start),
      String(range.end),
      rows,
      String(recordedFrom),
      ...(isFirst === undefined ? [] : [Number(isFirst)]),
    ]),
  )
}

/** Of the table's schema with this id. The text is the same for every segment of table and schema: build it once. */
export function definitionJson(table: Table, schemaId: number): string {
  return JSON.stringify({
    format: FORMAT,
    table: table.tableId,
    name: table.name,
    location: table.location,
    schema: schemaId,
    columns: table.schemas.find((schema) => schema.schemaId === schemaId)?.columns ?? [],
    partition: table.partition,
    sort: table.sort,
    properties: table.properties,
    lastFieldId: table.lastFieldId,
  })
}

/** The texts of all parts of one attempt: what they have in common is built once. */
export function commitJsons(
  commit: Required<Omit<CommitRecord, 'versions' | 'advances' | 'sources'>> & {
    readonly advances: readonly RecordedAdvance[]
    readonly sources: readonly (readonly number[])[]
  },
  versionOf: (tableId: number) => bigint | undefined,
): string[] {
  const { commitId, tick, settled, dropped, parts, advances, sources } = commit
  const common = JSON.stringify({
    format: FORMAT,
    commitId,
    tick,
    settled,
    dropped,
    parts: parts.map(({ tableId, number }) => [tableId, number]),
  }).slice(0, -1)
  const isEverywhere = advances.length * parts.length <= ADVANCES_EVERYWHERE_MAX
  const told = parts.length === 0 ? '' : `,"advances":${advancesJson(advances)},"sources":${JSON.stringify(sources)}`
  return parts.map(({ tableId }, index) => {
    const version = versionOf(tableId)
    const versions = version === undefined ? '{}' : `{"${tableId}":"${version}"}`
    return `${common},"versions":${versions}${isEverywhere || index === 0 ? told : ''}}`
  })
}

function advancesJson(advances: readonly RecordedAdvance[]): string {
  return JSON.stringify(
    advances.map(({ pipeline, source, partition, recordedFrom, range, ...counts }) => [
      pipeline,
      source,
      partition,
      String(recordedFrom),
      String(range.start),
      String(range.end),
      counts.recordsIn,
      counts.recordsDead,
      counts.recordsFiltered,
      Number(counts.isFirst),
    ]),
  )
}

// ---- read -----------------------------------------------------------------------------------------------------------

/** undefined: the file is no segment of ours. `file-damaged` when it says it is one and does not read back. */
export function readSegmentRecord(path: string, keyValues: ReadonlyMap<string, string>): SegmentRecord | undefined {
  const table = keyValues.get(TABLE_KEY)
  const commitId = keyValues.get(COMMIT_ID_KEY)
  const writerId = keyValues.get(WRITER_KEY)
  if (table === undefined || commitId === undefined || writerId === undefined) return undefined
  try {
    return {
      table,
      schemaId: whole(keyValues.get(SCHEMA_KEY)),
      commitId,
      writerId,
      writerEpoch: whole(keyValues.get(EPOCH_KEY)),
      sources: parsedSources(keyValues.get(SOURCES_KEY) ?? '[]'),
      definition: parsedDefinition(keyValues.get(DEFINITION_KEY)),
      commit: parsedCommit(keyValues.get(COMMIT_KEY)),
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new MillraceError('file-damaged', `${path}: its footer does not read back: ${why}`, { cause })
  }
}

type JsonSource = [string, string, number, string, string, number?, string?, number?]

function parsedSources(text: string): RecordedSource[] {
  return (JSON.parse(text) as JsonSource[]).map(
    ([pipeline, source, partition, start, end, rows, recordedFrom, first]) => ({
      pipeline,
      source,
      partition: whole(partition),
      range: { start: BigInt(start), end: BigInt(end) },
      rows: rows ?? 0,
      recordedFrom: BigInt(recordedFrom ?? start),
      isFirst: first === undefined ? undefined : first === 1,
    }),
  )
}

type JsonDefinition = Omit<TableDefinition, 'tableId' | 'schemaId'> & {
  readonly format: number
  readonly table: number
  readonly schema: number
}

function parsedDefinition(text: string | undefined): TableDefinition | undefined {
  if (text === undefined) return undefined
  const { format, table, schema, ...rest } = JSON.parse(text) as JsonDefinition
  requireFormat(DEFINITION_KEY, format)
  return { ...rest, tableId: whole(table), schemaId: whole(schema) }
}

type JsonAdvance = [string, string, number, string, string, string, number, number, number, number]
type JsonCommit = {
  readonly format: number
  readonly commitId: string
  readonly tick: number
  readonly settled: number
  readonly dropped: readonly number[]
  readonly parts: readonly (readonly [number, number])[]
  readonly versions: Readonly<Record<string, string>>
  readonly advances?: readonly JsonAdvance[]
  readonly sources?: readonly (readonly number[])[]
}

/** Also for the text that a merged file keeps of each of its inputs. */
export function parsedCommit(text: string | undefined): CommitRecord | undefined {
  if (text === undefined) return undefined
  const { format, parts, versions, advances, ...rest } = JSON.parse(text) as JsonCommit
  requireFormat(COMMIT_KEY, format)
  return {
    ...rest,
    parts: parts.map(([tableId, number]) => ({ tableId, number })),
    versions: new Map(Object.entries(versions).map(([tableId, version]) => [Number(tableId), BigInt(version)])),
    advances: advances?.map(advanceOf),
    sources: rest.sources,
  }
}

function advanceOf(json: JsonAdvance): RecordedAdvance {
  const [pipeline, source, partition, recordedFrom, start, end, recordsIn, recordsDead, recordsFiltered, first] = json
  return {
    pipeline,
    source,
    partition,
    recordedFrom: BigInt(recordedFrom),
    range: { start: BigInt(start), end: BigInt(end) },
    isFirst: first === 1,
    recordsIn,
    recordsDead,
    recordsFiltered,
  }
}

function requireFormat(key: string, format: number): void {
  if (format !== FORMAT) throw new Error(`${key} has format ${format}, this release reads ${FORMAT}`)
}

function whole(value: unknown): number {
  const number = Number(value)
  if (value === undefined || value === null || !Number.isSafeInteger(number))
    throw new Error(`${String(value)} is no whole number`)
  return number
}
