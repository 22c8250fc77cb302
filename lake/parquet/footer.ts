/**
 * Reads the footer of any writer's Parquet file from the file's last bytes.
 *
 *   … column chunks …, FileMetaData (Thrift), 4-byte length, PAR1
 *
 * Give it a tail; when the tail is too short the answer says how many bytes are needed. What comes back has been
 * checked to hang together: chunks lie inside the file, every row group has one chunk a leaf column of the same type,
 * rows add up. Anything else is `file-damaged`, whatever the bytes; nothing else is ever thrown.
 *
 * Statistics: `min_value`/`max_value`; the older `min`/`max` only for signed numbers, since older writers compared texts
 * as signed bytes. Bounds of INT96 and INTERVAL are dropped: their order is not defined.
 */
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { ColumnChunk, ColumnStatistics, LeafColumn, ParquetFooter, PhysicalType, RowGroup } from './parquet.ts'
import { parseSchemaTree, type SchemaElement } from './schema-tree.ts'
import { ThriftReader, thriftDamage } from './thrift.ts'

const TAIL_BYTES = 8
const PHYSICAL: readonly PhysicalType[] = [
  'BOOLEAN',
  'INT32',
  'INT64',
  'INT96',
  'FLOAT',
  'DOUBLE',
  'BYTE_ARRAY',
  'FIXED_LEN_BYTE_ARRAY',
]
const CODECS = ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'LZO', 'BROTLI', 'LZ4', 'ZSTD', 'LZ4_RAW']
const ENCODINGS = [
  'PLAIN',
  'GROUP_VAR_INT',
  'PLAIN_DICTIONARY',
  'RLE',
  'BIT_PACKED',
  'DELTA_BINARY_PACKED',
  'DELTA_LENGTH_BYTE_ARRAY',
  'DELTA_BYTE_ARRAY',
  'RLE_DICTIONARY',
  'BYTE_STREAM_SPLIT',
]

export function encodingName(encoding: number): string {
  return ENCODINGS[encoding] ?? `ENCODING(${encoding})`
}

const TYPE_WIDTHS: Partial<Record<PhysicalType, number>> = { BOOLEAN: 1, INT32: 4, INT64: 8, FLOAT: 4, DOUBLE: 8 }

/** @param tail the file's last bytes, at least 8 of them (or the whole file) */
export function parseFooter(tail: Uint8Array, fileSize: number): ParquetFooter | { readonly needBytes: number } {
  if (fileSize < 12) throw thriftDamage(`a file of ${fileSize} bytes is too short to be parquet`)
  if (tail.length > fileSize) throw thriftDamage(`${tail.length} bytes of a file of ${fileSize}`)
  if (tail.length < TAIL_BYTES) return { needBytes: TAIL_BYTES }
  const magic = String.fromCharCode(...tail.subarray(tail.length - 4))
  if (magic === 'PARE') throw thriftDamage('the footer is encrypted')
  if (magic !== 'PAR1') throw thriftDamage('it does not end with PAR1')
  const metadataBytes = new DataView(tail.buffer, tail.byteOffset + tail.length - TAIL_BYTES, 4).getUint32(0, true)
  const footerBytes = metadataBytes + TAIL_BYTES
  if (metadataBytes === 0 || footerBytes > fileSize - 4) {
    throw thriftDamage(`a footer of ${metadataBytes} bytes does not fit in a file of ${fileSize}`)
  }
  if (footerBytes > tail.length) return { needBytes: footerBytes }
  const metadata = tail.subarray(tail.length - footerBytes, tail.length - TAIL_BYTES)
  try {
    return readMetadata(new ThriftReader(metadata), fileSize, footerBytes)
  } catch (error) {
    if (isMillraceError(error)) throw error
    throw new MillraceError('file-damaged', 'parquet metadata is damaged', { cause: error })
  }
}

type RawGroup = { readonly rowCount: number; readonly chunks: readonly RawChunk[] }

function readMetadata(reader: ThriftReader, fileSize: number, footerBytes: number): ParquetFooter {
  let rowCount = -1
  let createdBy: string | undefined
  const elements: SchemaElement[] = []
  const groups: RawGroup[] = []
  const keyValues = new Map<string, string>()
  reader.struct(12, (id, type) => {
    if (id === 2) reader.list(type, (each) => elements.push(readSchemaElement(reader, each)))
    else if (id === 3) rowCount = reader.integer(type)
    else if (id === 4) reader.list(type, (each) => groups.push(readRowGroup(reader, each)))
    else if (id === 5) reader.list(type, (each) => readKeyValue(reader, each, keyValues))
    else if (id === 6) createdBy = reader.text(type)
    else reader.skip(type)
  })
  const { fields, columns } = parseSchemaTree(elements)
  const rowGroups = groups.map((group) => checkedGroup(group, columns, fileSize - footerBytes))
  const rowsOfGroups = rowGroups.reduce((sum, group) => sum + group.rowCount, 0)
  if (rowCount !== rowsOfGroups) throw thriftDamage(`${rowCount} rows in the file, ${rowsOfGroups} in its row groups`)
  return { rowCount, fields, columns, rowGroups, keyValues, createdBy, footerBytes }
}

function readKeyValue(reader: ThriftReader, type: number, keyValues: Map<string, string>): void {
  let key = ''
  let value = ''
  reader.struct(type, (id, fieldType) => {
    if (id === 1) key = reader.text(fieldType)
    else if (id === 2) value = reader.text(fieldType)
    else reader.skip(fieldType)
  })
  keyValues.set(key, value)
}

function readSchemaElement(reader: ThriftReader, type: number): SchemaElement {
  const element: SchemaElement = {
    name: '',
    physical: undefined,
    typeLength: undefined,
    repetition: 0,
    children: 0,
    converted: undefined,
    scale: 0,
    precision: 0,
    fieldId: undefined,
    logical: undefined,
  }
  reader.struct(type, (id, fieldType) => {
    switch (id) {
      case 1:
        element.physical = oneOf(PHYSICAL, reader.integer(fieldType), 'physical type')
        break
      case 2:
        element.typeLength = reader.integer(fieldType)
        break
      case 3:
        element.repetition = reader.integer(fieldType)
        break
      case 4:
        element.name = reader.text(fieldType)
        break
      case 5:
        element.children = reader.integer(fieldType)
        break
      case 6:
        element.converted = reader.integer(fieldType)
        break
      case 7:
        element.scale = reader.integer(fieldType)
        break
      case 8:
        element.precision = reader.integer(fieldType)
        break
      case 9:
        element.fieldId = reader.integer(fieldType)
        break
      case 10:
        element.logical = readLogicalType(reader, fieldType)
        break
      default:
        reader.skip(fieldType)
    }
  })
  return element
}

const TIME_UNITS: Record<number, string> = { 1: 'MILLIS', 2: 'MICROS', 3: 'NANOS' }
const PLAIN_LOGICAL: Record<number, string> = {
  1: 'STRING',
  2: 'MAP',
  3: 'LIST',
  4: 'ENUM',
  6: 'DATE',
  11: 'UNKNOWN',
  12: 'JSON',
  13: 'BSON',
  14: 'UUID',
  15: 'FLOAT16',
  16: 'VARIANT',
  17: 'GEOMETRY',
  18: 'GEOGRAPHY',
}

function readLogicalType(reader: ThriftReader, type: number): string | undefined {
  let logical: string | undefined
  reader.struct(type, (id, fieldType) => {
    let first = 0
    let flag = false
    let second = 0
    let unit = ''
    if (id === 5) {
      reader.struct(fieldType, (field, each) => {
        if (field === 1) first = reader.integer(each)
        else if (field === 2) second = reader.integer(each)
        else reader.skip(each)
      })
      logical = `DECIMAL(${second},${first})`
    } else if (id === 7 || id === 8) {
      reader.struct(fieldType, (field, each) => {
        if (field === 1) flag = reader.boolean(each)
        else if (field === 2) unit = readTimeUnit(reader, each)
        else reader.skip(each)
      })
      logical = `${id === 7 ? 'TIME' : 'TIMESTAMP'}(${unit},${flag})`
    } else if (id === 10) {
      reader.struct(fieldType, (field, each) => {
        if (field === 1) first = reader.integer(each)
        else if (field === 2) flag = reader.boolean(each)
        else reader.skip(each)
      })
      logical = `INTEGER(${first},${flag})`
    } else {
      logical = PLAIN_LOGICAL[id] ?? `LOGICAL(${id})`
      reader.skip(fieldType)
    }
  })
  return logical
}

function readTimeUnit(reader: ThriftReader, type: number): string {
  let unit = ''
  reader.struct(type, (id, fieldType) => {
    unit = TIME_UNITS[id] ?? ''
    reader.skip(fieldType)
  })
  return unit
}

function readRowGroup(reader: ThriftReader, type: number): RawGroup {
  let rowCount = -1
  const chunks: RawChunk[] = []
  reader.struct(type, (id, fieldType) => {
    if (id === 1) reader.list(fieldType, (each) => chunks.push(readChunk(reader, each)))
    else if (id === 3) rowCount = reader.integer(fieldType)
    else reader.skip(fieldType)
  })
  return { rowCount, chunks }
}

type RawChunk = {
  filePath: string | undefined
  physical: PhysicalType | undefined
  path: string[]
  encodings: string[]
  codec: string
  valueCount: number
  uncompressedBytes: number
  compressedBytes: number
  dataPageOffset: number
  dictionaryPageOffset: number | undefined
  statistics: RawStatistics | undefined
  bloomOffset: number | undefined
  bloomLength: number | undefined
}

function readChunk(reader: ThriftReader, type: number): RawChunk {
  const chunk: RawChunk = {
    filePath: undefined,
    physical: undefined,
    path: [],
    encodings: [],
    codec: '',
    valueCount: -1,
    uncompressedBytes: -1,
    compressedBytes: -1,
    dataPageOffset: -1,
    dictionaryPageOffset: undefined,
    statistics: undefined,
    bloomOffset: undefined,
    bloomLength: undefined,
  }
  reader.struct(type, (id, fieldType) => {
    if (id === 1) chunk.filePath = reader.text(fieldType)
    else if (id === 3) reader.struct(fieldType, (field, each) => readChunkField(reader, chunk, field, each))
    else reader.skip(fieldType)
  })
  return chunk
}

function readChunkField(reader: ThriftReader, chunk: RawChunk, id: number, type: number): void {
  switch (id) {
    case 1:
      chunk.physical = oneOf(PHYSICAL, reader.integer(type), 'physical type')
      break
    case 2:
      reader.list(type, (each) => {
        const encoding = reader.integer(each)
        chunk.encodings.push(encodingName(encoding))
      })
      break
    case 3:
      reader.list(type, (each) => chunk.path.push(reader.text(each)))
      break
    case 4:
      chunk.codec = oneOf(CODECS, reader.integer(type), 'codec')
      break
    case 5:
      chunk.valueCount = reader.integer(type)
      break
    case 6:
      chunk.uncompressedBytes = reader.integer(type)
      break
    case 7:
      chunk.compressedBytes = reader.integer(type)
      break
    case 9:
      chunk.dataPageOffset = reader.integer(type)
      break
    case 11:
      chunk.dictionaryPageOffset = reader.integer(type)
      break
    case 12:
      chunk.statistics = readStatistics(reader, type)
      break
    case 14:
      chunk.bloomOffset = reader.integer(type)
      break
    case 15:
      chunk.bloomLength = reader.integer(type)
      break
    default:
      reader.skip(type)
  }
}

type RawStatistics = {
  oldMin: Uint8Array | undefined
  oldMax: Uint8Array | undefined
  min: Uint8Array | undefined
  max: Uint8Array | undefined
  minExact: boolean | undefined
  maxExact: boolean | undefined
  nullCount: number | undefined
  distinctCount: number | undefined
}

function readStatistics(reader: ThriftReader, type: number): RawStatistics {
  const raw: RawStatistics = {
    oldMin: undefined,
    oldMax: undefined,
    min: undefined,
    max: undefined,
    minExact: undefined,
    maxExact: undefined,
    nullCount: undefined,
    distinctCount: undefined,
  }
  // Copied: a cached footer must not keep the whole fetched tail in memory.
  reader.struct(type, (id, each) => {
    if (id === 1) raw.oldMax = new Uint8Array(reader.binary(each))
    else if (id === 2) raw.oldMin = new Uint8Array(reader.binary(each))
    else if (id === 3) raw.nullCount = reader.integer(each)
    else if (id === 4) raw.distinctCount = reader.integer(each)
    else if (id === 5) raw.max = new Uint8Array(reader.binary(each))
    else if (id === 6) raw.min = new Uint8Array(reader.binary(each))
    else if (id === 7) raw.maxExact = reader.boolean(each)
    else if (id === 8) raw.minExact = reader.boolean(each)
    else reader.skip(each)
  })
  return raw
}

function checkedGroup(group: RawGroup, columns: readonly LeafColumn[], dataEnd: number): RowGroup {
  if (group.rowCount < 0) throw thriftDamage('a row group does not say its rows')
  if (group.chunks.length !== columns.length) {
    throw thriftDamage(`a row group has ${group.chunks.length} column chunks for ${columns.length} columns`)
  }
  const chunks = group.chunks.map((chunk, i) => checkedChunk(chunk, i, columns[i], group.rowCount, dataEnd))
  return { rowCount: group.rowCount, chunks }
}

function checkedChunk(
  raw: RawChunk,
  columnIndex: number,
  column: LeafColumn,
  rowCount: number,
  dataEnd: number,
): ColumnChunk {
  const name = column.path
  if (raw.filePath !== undefined && raw.filePath !== '') throw thriftDamage(`column ${name} lies in another file`)
  if (raw.physical !== column.physical) throw thriftDamage(`column ${name} has two physical types`)
  if (raw.path.join('.') !== name) throw thriftDamage(`column ${name} is called ${raw.path.join('.')} in a row group`)
  const hasDictionary =
    raw.dictionaryPageOffset !== undefined &&
    raw.dictionaryPageOffset > 0 &&
    raw.dictionaryPageOffset < raw.dataPageOffset
  const start = hasDictionary ? (raw.dictionaryPageOffset as number) : raw.dataPageOffset
  const end = start + raw.compressedBytes
  const isEmpty = rowCount === 0 && raw.compressedBytes === 0
  if (raw.compressedBytes < 0 || raw.uncompressedBytes < 0 || raw.valueCount < 0) {
    throw thriftDamage(`column ${name} lacks its sizes`)
  }
  if (!isEmpty && (start < 4 || end > dataEnd)) {
    throw thriftDamage(`column ${name} at ${start} to ${end} lies outside the file's data, which ends at ${dataEnd}`)
  }
  if (column.repetition !== 'REPEATED' && !column.path.includes('.') && raw.valueCount !== rowCount) {
    throw thriftDamage(`column ${name} has ${raw.valueCount} values in a row group of ${rowCount} rows`)
  }
  return {
    columnIndex,
    start: isEmpty ? 4 : start,
    end: isEmpty ? 4 : end,
    codec: raw.codec,
    encodings: raw.encodings,
    valueCount: raw.valueCount,
    uncompressedBytes: raw.uncompressedBytes,
    statistics: raw.statistics === undefined ? undefined : checkedStatistics(raw.statistics, column, raw.valueCount),
    bloomFilter: checkedBloomFilter(raw, name, dataEnd),
  }
}

function checkedBloomFilter(raw: RawChunk, name: string, dataEnd: number): ColumnChunk['bloomFilter'] {
  if (raw.bloomOffset === undefined) return undefined
  const end = raw.bloomLength === undefined ? undefined : raw.bloomOffset + raw.bloomLength
  if (raw.bloomOffset < 4 || (end ?? raw.bloomOffset) > dataEnd || (raw.bloomLength ?? 0) < 0) {
    throw thriftDamage(`the bloom filter of column ${name} lies outside the file's data`)
  }
  return { start: raw.bloomOffset, end }
}

function checkedStatistics(raw: RawStatistics, column: LeafColumn, valueCount: number): ColumnStatistics {
  const isImpossible = raw.nullCount !== undefined && (raw.nullCount < 0 || raw.nullCount > valueCount)
  if (isImpossible && column.repetition !== 'REPEATED') {
    throw thriftDamage(`column ${column.path} has ${raw.nullCount} nulls among ${valueCount} values`)
  }
  // DuckDB counts nulls in lists more than once: what cannot be is no count, and what can be may be wrong.
  const nullCount = isImpossible ? undefined : raw.nullCount
  const isNumber = TYPE_WIDTHS[column.physical] !== undefined && !isUnsigned(column)
  const hasOrder = column.physical !== 'INT96' && column.logical !== 'INTERVAL'
  const min = hasOrder ? (raw.min ?? (isNumber ? raw.oldMin : undefined)) : undefined
  const max = hasOrder ? (raw.max ?? (isNumber ? raw.oldMax : undefined)) : undefined
  return {
    min: ofWidth(min, column),
    max: ofWidth(max, column),
    // Silence says exact for fixed widths; texts may have been cut by a writer that does not say so.
    minExact: raw.minExact ?? column.physical !== 'BYTE_ARRAY',
    maxExact: raw.maxExact ?? column.physical !== 'BYTE_ARRAY',
    nullCount,
    ...(raw.distinctCount !== undefined && raw.distinctCount >= 0 ? { distinctCount: raw.distinctCount } : {}),
  }
}

export function isUnsigned(column: Pick<LeafColumn, 'logical'>): boolean {
  return column.logical?.startsWith('INTEGER(') === true && column.logical.endsWith(',false)')
}

function ofWidth(value: Uint8Array | undefined, column: LeafColumn): Uint8Array | undefined {
  if (value === undefined) return undefined
  const width = column.physical === 'FIXED_LEN_BYTE_ARRAY' ? column.typeLength : TYPE_WIDTHS[column.physical]
  return width === undefined || value.length === width ? value : undefined
}

function oneOf<T>(names: readonly T[], index: number, what: string): T {
  const name = names[index]
  if (name === undefined) throw thriftDamage(`there is no ${what} ${index}`)
  return name
}
