/**
 * Segments and data files of the simulation: rows as JSON text instead of Parquet, so that a run takes milliseconds. What
 * matters for the protocol is as in production: immutable objects, named by their writer, put with `ifNoneMatch`, read back
 * from the store before they are rewritten, one file per table partition.
 */

import type { Rewriter } from '../../compactor/rewrite.ts'
import type { Inputs } from '../../compactor/table-worker.ts'
import { putOwnFile } from '../../ingest/put-own-file.ts'
import type { SegmentJoiner } from '../../ingest/segment-joiner.ts'
import type { UntilAvailable } from '../../ingest/until-available.ts'
import type { Writer } from '../../lake/catalog/catalog.ts'
import { checksumOf } from '../../lake/checksum.ts'
import type { MappedFile } from '../../lake/file-mapping.ts'
import type { DataFile, PartitionValue } from '../../lake/iceberg/iceberg.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import type { ParquetFooter, WriteParquet } from '../../lake/parquet/parquet.ts'
import type { World } from '../../runtime/world.ts'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'

/** `text` is the row's id, or the raw record of a dead letter. `part` is what the table may be partitioned by. */
export type Row = {
  readonly source: string
  readonly partition: number
  readonly offset: number
  readonly text: string
  readonly part: number
  /** All but `part`, in one text: what tells rows apart. */
  readonly name: string
}

type JsonRow = readonly [source: string, partition: number, offset: number, text: string, part: number]

export const TABLE_COLUMNS = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'part', type: { kind: 'int' }, required: true },
] as const

const TEXT = new TextEncoder()
const UTF8 = new TextDecoder()

type NamelessRow = Omit<Row, 'name'>

type KeyValues = Readonly<Record<string, string>>

/** One line of what a footer would say, one line of rows. */
export function encodeRows(rows: readonly NamelessRow[], keyValues: KeyValues = {}): Uint8Array {
  const json = rows.map(({ source, partition, offset, text, part }): JsonRow => [source, partition, offset, text, part])
  return TEXT.encode(`${JSON.stringify(keyValues)}\n${JSON.stringify(json)}`)
}

/** Objects never change, and the bucket hands out the same bytes again: they are decoded once. */
const decoded = new WeakMap<Uint8Array, readonly Row[]>()

export function decodeRows(bytes: Uint8Array): readonly Row[] {
  const known = decoded.get(bytes)
  if (known) return known
  const text = UTF8.decode(bytes)
  const rows = (JSON.parse(text.slice(text.indexOf('\n'))) as JsonRow[]).map(
    ([source, partition, offset, text, part]) => ({
      source,
      partition,
      offset,
      text,
      part,
      name: `${source} ${partition} ${offset} ${text}`,
    }),
  )
  decoded.set(bytes, rows)
  return rows
}

/** In the place of the Parquet writer. Bounds: those of `part`, by which the compactor proves one table partition. */
export const writeRows: WriteParquet = (batch, { keyValues }) => {
  const rows = rowsOf(batch)
  const part = batch.schema.columns.find(({ name }) => name === 'part')
  const bounds = part
    ? [
        {
          fieldId: part.fieldId,
          nullCount: 0,
          lower: int32(Math.min(...rows.map((row) => row.part))),
          upper: int32(Math.max(...rows.map((row) => row.part))),
        },
      ]
    : []
  return { bytes: encodeRows(rows, keyValues), bounds, columnBytes: [] }
}

function rowsOf(batch: MicroBatch): NamelessRow[] {
  const vector = (name: string) => batch.vectors.find(({ column }) => column.name === name)
  const source = vector('_source')!
  const partition = vector('_partition')!
  const offset = vector('_offset')!
  const id = vector('id')
  const part = vector('part')
  const raw = vector('raw')
  return Array.from({ length: batch.rowCount }, (_, row) => ({
    source: textAt(source, row),
    partition: int32At(partition, row),
    offset: int64At(offset, row),
    text: id ? String(int64At(id, row)) : textAt(raw!, row),
    part: part ? int32At(part, row) : 0,
  }))
}

function textAt({ data, offsets }: ColumnVector, row: number): string {
  return UTF8.decode(data.subarray(offsets![row], offsets![row + 1]))
}

function int32At({ data }: ColumnVector, row: number): number {
  return new DataView(data.buffer, data.byteOffset).getInt32(row * 4, true)
}

function int64At({ data }: ColumnVector, row: number): number {
  return Number(new DataView(data.buffer, data.byteOffset).getBigInt64(row * 8, true))
}

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, value, true)
  return bytes
}

/** In the place of joining Parquet files by their row groups. */
export function createRowJoiner(store: ObjectStore, untilAvailable: UntilAvailable): SegmentJoiner<readonly Row[]> {
  return {
    async open(segment) {
      const { bytes } = await untilAvailable('reading live segments', () => store.get(segment.path))
      invariant('segment-checksum', checksumOf(bytes) === segment.checksum, { path: segment.path })
      const text = UTF8.decode(bytes)
      const keyValues = JSON.parse(text.slice(0, text.indexOf('\n'))) as KeyValues
      const rows = decodeRows(bytes)
      const rowCount = rows.length
      return { segment, keyValues: new Map(Object.entries(keyValues)), rowGroups: 1, rowCount, input: rows }
    },
    async join(path, segments, keyValues) {
      const rows = segments.flatMap(({ input }) => input)
      const bytes = encodeRows(rows, keyValues)
      const { etag } = await untilAvailable('segment upload', () => putOwnFile(store, path, bytes))
      return { rowCount: rows.length, bytes: bytes.length, etag, checksum: checksumOf(bytes) }
    },
  }
}

const rowsOfInput = new WeakMap<MappedFile, readonly Row[]>()

/** In the place of `compactor/inputs.ts`: whole files, from the store, of the recorded length. */
export function createRowInputs(store: ObjectStore): Inputs {
  return {
    async open(files) {
      const opened: MappedFile[] = []
      for (const { path, bytes } of files) {
        const object = await store.get(path)
        if (object.bytes.length !== bytes) throw new MillraceError('file-damaged', `${path}: another length`)
        const file: MappedFile = { path, localFile: path, footer: NO_FOOTER }
        rowsOfInput.set(file, decodeRows(object.bytes))
        opened.push(file)
      }
      return { files: opened, release: async () => {} }
    },
  }
}

const NO_FOOTER: ParquetFooter = {
  rowCount: 0,
  fields: [],
  columns: [],
  rowGroups: [],
  keyValues: new Map(),
  createdBy: undefined,
  footerBytes: 0,
}

/** In the place of `compactor/rewrite.ts`, with its names, its order of steps, its crash points and its check. */
export function createRowRewriter(components: { store: ObjectStore; world: World; writer: Writer }): Rewriter {
  const { store, world, writer } = components
  let sequence = 0
  return {
    async rewrite({ table, inputs, rowsExpected, partition }) {
      const rows = inputs.flatMap((file) => rowsOfInput.get(file) ?? [])
      const isPartitioned = table.partition.length > 0
      if (partition && isPartitioned) {
        invariant(
          'simulation.partition',
          rows.every((row) => row.part === partition[0]),
          { table: table.name },
        )
      }
      const groups = Map.groupBy(rows, (row) => (isPartitioned ? row.part : 0))
      const files: DataFile[] = []
      for (const [part, ofPart] of groups) {
        sequence += 1
        const folder = isPartitioned ? `part=${part}/` : ''
        const path = `${table.location}/data/${folder}${writer.writerId}-${String(sequence).padStart(8, '0')}.parquet`
        const bytes = encodeRows(ofPart)
        world.crashPoint('compactor/after-local-file')
        await store.put(path, bytes, { ifNoneMatch: '*' })
        world.crashPoint('compactor/after-data-file')
        files.push(dataFile(path, isPartitioned ? [part] : [], ofPart.length, bytes.length))
      }
      const rowsOut = files.reduce((sum, file) => sum + file.rowCount, 0)
      invariant('G-2.rewrite', rowsOut === rowsExpected, { table: table.name, rowsExpected, rowsOut })
      return { files, maskedRows: new Map() }
    },
  }
}

function dataFile(path: string, partition: readonly PartitionValue[], rowCount: number, bytes: number): DataFile {
  return {
    path,
    partition,
    rowCount,
    bytes,
    columnSizes: new Map(),
    valueCounts: new Map(),
    nullCounts: new Map(),
    nanCounts: new Map(),
    lowerBounds: new Map(),
    upperBounds: new Map(),
    splitOffsets: [],
    sortOrderId: 0,
  }
}
