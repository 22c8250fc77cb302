/**
 * Several Parquet files of ours with the same columns → one file with all their row groups, in order. No page is decoded: the
 * bytes of the row groups are copied, and only the footer is made anew.
 *
 *   in    PAR1, row groups A, footer A    PAR1, row groups B, footer B
 *   out   PAR1, row groups A, row groups B, footer
 *
 * In the new footer the schema is that of the inputs, byte for byte; row groups keep everything but their places in the
 * file (data page, dictionary page, bloom filter) and their ordinals. What another writer's file may have beside that
 * (page indexes, encryption) lies outside the row groups and is refused. Merging live segments uses it (ADR 18).
 *
 * Every input's footer is read as any reader reads it, and so is the result's before anybody gets it. Only footers need be in
 * memory: `planConcat` says which bytes of which input follow each other.
 */
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { ByteRange } from '../object-store/object-store.ts'
import { parseFooter } from './footer.ts'
import type { ParquetFooter } from './parquet.ts'
import { totalBytes } from './ranges.ts'
import { THRIFT, ThriftReader, ThriftWriter, thriftDamage } from './thrift.ts'
import { CREATED_BY, MAGIC } from './write.ts'

const TAIL_BYTES = 8
/** Of every release. */
const WRITER = 'millrace '

/** Fields of FileMetaData. */
const FILE = { version: 1, schema: 2, rows: 3, rowGroups: 4, keyValues: 5, createdBy: 6, columnOrders: 7 } as const
/** Fields of RowGroup. */
const GROUP = { chunks: 1, fileOffset: 5, ordinal: 7 } as const
/** Fields of ColumnChunk. */
const CHUNK = { filePath: 1, fileOffset: 2, metadata: 3 } as const
/** Fields of ColumnMetaData that are places in the file: data page, index page, dictionary page, bloom filter. */
const PLACES = new Set([9, 10, 11, 14])
const ORDINALS = 32768

export type ConcatenatedParquet = {
  readonly bytes: Uint8Array
  readonly footer: ParquetFooter
}

/** What must be known of a file to join it: its end. */
export type ConcatInput = {
  readonly size: number
  readonly footer: ParquetFooter
  /** The footer's Thrift bytes. */
  readonly metadata: Uint8Array
}

/** How files become one: `PAR1`, of each input the bytes of its row groups, then `end`. */
export type ConcatPlan = {
  readonly rowGroups: readonly ByteRange[]
  readonly end: Uint8Array
  /** Of the joined file. */
  readonly size: number
  readonly footer: ParquetFooter
}

/** The footer of a whole file in memory; `file-damaged` when it is none. */
export function footerOf(bytes: Uint8Array): ParquetFooter {
  const footer = parseFooter(bytes, bytes.length)
  if ('needBytes' in footer) throw thriftDamage('its footer is longer than the file')
  return footer
}

/** @param tail the file's last bytes, as many as there are at hand */
export function concatInputOf(tail: Uint8Array, size: number): ConcatInput | { readonly needBytes: number } {
  const footer = parseFooter(tail, size)
  if ('needBytes' in footer) return footer
  const metadata = tail.slice(tail.length - footer.footerBytes, tail.length - TAIL_BYTES)
  return { size, footer, metadata }
}

/** @param inputs at least one, of the same columns; an error names the file by its number, the last one being right */
export function planConcat(inputs: readonly ConcatInput[], keyValues: Readonly<Record<string, string>>): ConcatPlan {
  invariant('parquet-concat', inputs.length > 0, {})
  for (const [index, { footer }] of inputs.entries()) {
    if (footer.createdBy?.startsWith(WRITER)) continue
    const message = `file ${index} was written by ${footer.createdBy ?? 'nobody known'}`
    throw new MillraceError('file-schema-mismatch', message, { facts: { index } })
  }
  const shape = shapeOf(inputs[inputs.length - 1].metadata)
  for (let index = inputs.length - 2; index >= 0; index -= 1) {
    const other = shapeOf(inputs[index].metadata)
    if (same(other.schema, shape.schema) && same(other.columnOrders, shape.columnOrders)) continue
    throw new MillraceError('file-schema-mismatch', `file ${index} has other columns than the last one`, {
      facts: { index },
    })
  }
  const rowCount = inputs.reduce((sum, { footer }) => sum + footer.rowCount, 0)
  const end = withTail(footerBytes(inputs, shape, rowCount, keyValues))
  const rowGroups = inputs.map(rowGroupsOf)
  const size = MAGIC.length + totalBytes(rowGroups) + end.length
  const footer = parseFooter(end, size)
  if ('needBytes' in footer) throw thriftDamage('its footer is longer than itself')
  invariant('parquet-concat-rows', footer.rowCount === rowCount, { rowCount, written: footer.rowCount })
  return { rowGroups, end, size, footer }
}

/** @param files whole files, at least one, of the same columns; an error names the file by its number, the last one being right */
export function concatParquet(
  files: readonly Uint8Array[],
  keyValues: Readonly<Record<string, string>>,
): ConcatenatedParquet {
  const inputs = files.map((bytes) => {
    const input = concatInputOf(bytes, bytes.length)
    if ('needBytes' in input) throw thriftDamage('its footer is longer than the file')
    return input
  })
  const { rowGroups, end, size, footer } = planConcat(inputs, keyValues)
  const bytes = new Uint8Array(size)
  bytes.set(MAGIC, 0)
  let at = MAGIC.length
  for (const [index, { start, end: dataEnd }] of rowGroups.entries()) {
    bytes.set(files[index].subarray(start, dataEnd), at)
    at += dataEnd - start
  }
  bytes.set(end, at)
  return { bytes, footer }
}

function rowGroupsOf({ size, footer }: ConcatInput): ByteRange {
  return { start: MAGIC.length, end: size - footer.footerBytes }
}

/** What ends a file: the footer, its length, and `PAR1`. */
function withTail(footer: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(footer.length + TAIL_BYTES)
  bytes.set(footer, 0)
  new DataView(bytes.buffer).setUint32(footer.length, footer.length, true)
  bytes.set(MAGIC, footer.length + 4)
  return bytes
}

type Shape = { readonly schema: Uint8Array; readonly columnOrders: Uint8Array }

function shapeOf(metadata: Uint8Array): Shape {
  const reader = new ThriftReader(metadata)
  let schema = new Uint8Array()
  let columnOrders = new Uint8Array()
  reader.struct(THRIFT.struct, (id, type) => {
    const value = reader.raw(type)
    if (id === FILE.schema) schema = Uint8Array.from(value)
    else if (id === FILE.columnOrders) columnOrders = Uint8Array.from(value)
  })
  return { schema, columnOrders }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function footerBytes(
  inputs: readonly ConcatInput[],
  shape: Shape,
  rowCount: number,
  keyValues: Readonly<Record<string, string>>,
): Uint8Array {
  const writer = new ThriftWriter()
  writer.beginStruct()
  writer.i32Field(FILE.version, 2)
  writer.rawField(FILE.schema, THRIFT.list, shape.schema)
  writer.i64Field(FILE.rows, rowCount)
  const groups = rowGroupReaders(inputs)
  writer.structListField(FILE.rowGroups, groups, ({ reader, moved }, ordinal) => {
    reader.struct(THRIFT.struct, (id, type) => copyGroupField(reader, writer, id, type, moved, ordinal))
  })
  writer.structListField(FILE.keyValues, Object.entries(keyValues), ([key, value]) => {
    writer.textField(1, key)
    writer.textField(2, value)
  })
  writer.textField(FILE.createdBy, CREATED_BY)
  if (shape.columnOrders.length > 0) writer.rawField(FILE.columnOrders, THRIFT.list, shape.columnOrders)
  writer.endStruct()
  return writer.bytes
}

type GroupReader = { readonly reader: ThriftReader; readonly moved: number }

/** A reader at the start of each row group's struct, and how far its bytes move. */
function rowGroupReaders(inputs: readonly ConcatInput[]): GroupReader[] {
  const groups: GroupReader[] = []
  let position = MAGIC.length
  for (const input of inputs) {
    const moved = position - MAGIC.length
    const reader = new ThriftReader(input.metadata)
    reader.struct(THRIFT.struct, (id, type) => {
      if (id !== FILE.rowGroups) reader.skip(type)
      else reader.list(type, (each) => groups.push({ reader: new ThriftReader(reader.raw(each)), moved }))
    })
    const { start, end } = rowGroupsOf(input)
    position += end - start
  }
  return groups
}

function copyGroupField(
  reader: ThriftReader,
  writer: ThriftWriter,
  id: number,
  type: number,
  moved: number,
  ordinal: number,
): void {
  if (id === GROUP.chunks) {
    const chunks: ThriftReader[] = []
    reader.list(type, (each) => chunks.push(new ThriftReader(reader.raw(each))))
    writer.structListField(id, chunks, (chunk) => {
      chunk.struct(THRIFT.struct, (field, fieldType) => copyChunkField(chunk, writer, field, fieldType, moved))
    })
  } else if (id === GROUP.fileOffset) writer.i64Field(id, reader.integer(type) + moved)
  else if (id === GROUP.ordinal) {
    reader.skip(type)
    if (ordinal < ORDINALS) writer.i16Field(id, ordinal)
  } else writer.rawField(id, type, reader.raw(type))
}

function copyChunkField(reader: ThriftReader, writer: ThriftWriter, id: number, type: number, moved: number): void {
  if (id === CHUNK.metadata) {
    writer.structField(id, () => {
      reader.struct(type, (field, fieldType) => {
        if (PLACES.has(field)) writer.i64Field(field, reader.integer(fieldType) + moved)
        else writer.rawField(field, fieldType, reader.raw(fieldType))
      })
    })
  } else if (id === CHUNK.fileOffset) writer.rawField(id, type, reader.raw(type))
  else throw thriftDamage(`field ${id} of a column chunk points outside its row group`)
}
