/**
 * The types a column can have, and how each lies in memory.
 *
 * In memory a column is an Arrow vector (little-endian): `data` holds the values, `validity` one bit a row
 * (1 = present; absent when nothing is null), `offsets` n+1 int32 positions for the variable-length types.
 *
 *   type         data                                  Parquet (in segments and data files)      Iceberg
 *   boolean      1 bit a row, LSB first                BOOLEAN                                   boolean
 *   int          int32                                 INT32                                     int
 *   long         int64                                 INT64                                     long
 *   float        float32                               FLOAT                                     float
 *   double       float64                               DOUBLE                                    double
 *   decimal(p,s) int128 two's complement, 16 bytes     INT32 p≤9, INT64 p≤18, else FLBA(minimal) decimal(p,s)
 *   date         int32 days since 1970-01-01           INT32 DATE                                date
 *   time         int64 microseconds since midnight     INT64 TIME(MICROS, utc=false)             time
 *   timestamp    int64 microseconds, no zone           INT64 TIMESTAMP(MICROS, utc=false)        timestamp
 *   timestamptz  int64 microseconds since epoch, UTC   INT64 TIMESTAMP(MICROS, utc=true)         timestamptz
 *   string       offsets + UTF-8 bytes                 BYTE_ARRAY STRING                         string
 *   uuid         16 bytes, big-endian text order       FLBA(16) UUID                             uuid
 *   binary       offsets + bytes                       BYTE_ARRAY                                binary
 *   json         offsets + UTF-8 bytes (JSON text)     BYTE_ARRAY STRING                         string
 *   struct       children of the same length           group of its fields                       struct
 *   list         offsets into its one child            LIST, 3 levels: list.element              list
 *   map          offsets into its children key, value  MAP, 3 levels: key_value.key, .value      map
 *
 * Nested types hold `Field`s, each with a field id of its own. Text form, as settings and messages write it:
 * `struct<city: string, zip: int required>`, `list<long>`, `list<long required>`, `map<string, double>`; they nest.
 */
export type ColumnType =
  | { readonly kind: SimpleKind }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | NestedType

export type NestedType =
  /** At least one field; names unique but for upper and lower case. */
  | { readonly kind: 'struct'; readonly fields: readonly Field[] }
  /** `element` is the name of the element. */
  | { readonly kind: 'list'; readonly element: Field }
  /** Named `key` (always required) and `value`. */
  | { readonly kind: 'map'; readonly key: Field; readonly value: Field }

/** A column, or something inside one. */
export type Field = {
  /** Unique in the table, never given out twice; 0: not given out yet (`assignFieldIds`). */
  readonly fieldId: number
  readonly name: string
  readonly type: ColumnType
  readonly required: boolean
  /**
   * The number that the records' schema gives the field (a Protobuf field number within its message, `numberedIn`; `field-id` in
   * Avro or JSON Schema): a field with this number is this one whatever it is called.
   */
  readonly sourceId?: number
  /**
   * Names that it had before it was renamed, newest last: a record's field of such a name is this one, unless another column
   * is called so now. So producers go on with the old name for as long as they like.
   */
  readonly formerNames?: readonly string[]
}

export const SIMPLE_KINDS = [
  'boolean',
  'int',
  'long',
  'float',
  'double',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'string',
  'uuid',
  'binary',
  'json',
] as const

export type SimpleKind = (typeof SIMPLE_KINDS)[number]
export type NestedKind = NestedType['kind']
export type ColumnKind = SimpleKind | 'decimal' | NestedKind
/** Types that are one value: those of flat columns. */
export type FlatType = Exclude<ColumnType, NestedType>

export function isNested(type: ColumnType): type is NestedType {
  return type.kind === 'struct' || type.kind === 'list' || type.kind === 'map'
}

/** Fields directly inside a type, in order: none for a flat one. */
export function childFields(type: ColumnType): readonly Field[] {
  switch (type.kind) {
    case 'struct':
      return type.fields
    case 'list':
      return [type.element]
    case 'map':
      return [type.key, type.value]
    default:
      return []
  }
}

/** The same type with other fields inside, in the order of `childFields`. */
export function withChildFields(type: ColumnType, fields: readonly Field[]): ColumnType {
  switch (type.kind) {
    case 'struct':
      return { kind: 'struct', fields }
    case 'list':
      return { kind: 'list', element: fields[0] }
    case 'map':
      return { kind: 'map', key: fields[0], value: fields[1] }
    default:
      return type
  }
}

/** The field and everything inside it, parents first. */
export function* fieldsWithin(field: Field): Generator<Field> {
  yield field
  for (const child of childFields(field.type)) yield* fieldsWithin(child)
}

/** Gives ids from `next` on to all fields that have none (0), parents before children, level by level as Iceberg does. */
export function assignFieldIds(fields: readonly Field[], next: number): { fields: readonly Field[]; next: number } {
  const numbered = fields.map((field) => (field.fieldId === 0 ? { ...field, fieldId: next++ } : field))
  const whole = numbered.map((field) => {
    const children = childFields(field.type)
    if (children.length === 0) return field
    const inside = assignFieldIds(children, next)
    next = inside.next
    return { ...field, type: withChildFields(field.type, inside.fields) }
  })
  return { fields: whole, next }
}

export const NESTING_MAX = 32

/**
 * `decimal(10,2)`, `long`, `list<struct<a: int required>>`, … → ColumnType, ids of nested fields 0; undefined when the text
 * names no type (precision 1..38, scale 0..precision, at most `NESTING_MAX` levels, names of a struct once each).
 */
export function parseColumnType(text: string): ColumnType | undefined {
  const parser = { text, at: 0 }
  const type = parseType(parser, 0)
  skipBlanks(parser)
  return parser.at === text.length ? type : undefined
}

type Parser = { readonly text: string; at: number }

function parseType(parser: Parser, depth: number): ColumnType | undefined {
  const word = take(parser, /[a-z]+/iy)?.toLowerCase()
  if (word === undefined || depth > NESTING_MAX) return undefined
  if (word === 'decimal') {
    const numbers = /^\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$/.exec(take(parser, /\([^()]*\)/y) ?? '')
    const [precision, scale] = [Number(numbers?.[1]), Number(numbers?.[2])]
    return precision >= 1 && precision <= 38 && scale <= precision ? { kind: 'decimal', precision, scale } : undefined
  }
  if (word === 'list') {
    const element = take(parser, /</y) && parseField(parser, 'element', depth)
    return element && take(parser, />/y) ? { kind: 'list', element } : undefined
  }
  if (word === 'map') {
    const key = take(parser, /</y) && parseField(parser, 'key', depth)
    const value = key && take(parser, /,/y) && parseField(parser, 'value', depth)
    return key && value && take(parser, />/y) ? { kind: 'map', key: { ...key, required: true }, value } : undefined
  }
  if (word === 'struct') return take(parser, /</y) ? parseStruct(parser, depth) : undefined
  const kind = SIMPLE_KINDS.find((each) => each === word)
  return kind ? { kind } : undefined
}

function parseStruct(parser: Parser, depth: number): ColumnType | undefined {
  const fields: Field[] = []
  do {
    const quoted = take(parser, /"(?:[^"]|"")+"/y)
    const name = quoted?.slice(1, -1).replaceAll('""', '"') ?? take(parser, /[^\s:,<>"]+/y)
    const field = name !== undefined && take(parser, /:/y) && parseField(parser, name, depth)
    if (!field || fields.some((each) => each.name.toLowerCase() === field.name.toLowerCase())) return undefined
    fields.push(field)
  } while (take(parser, /,/y))
  return take(parser, />/y) ? { kind: 'struct', fields } : undefined
}

function parseField(parser: Parser, name: string, depth: number): Field | undefined {
  const type = parseType(parser, depth + 1)
  return type && { fieldId: 0, name, type, required: take(parser, /required\b/iy) !== undefined }
}

function take(parser: Parser, pattern: RegExp): string | undefined {
  skipBlanks(parser)
  pattern.lastIndex = parser.at
  const found = pattern.exec(parser.text)?.[0]
  if (found !== undefined) parser.at += found.length
  return found
}

function skipBlanks(parser: Parser): void {
  while (/\s/.test(parser.text[parser.at] ?? '')) parser.at += 1
}

export function formatColumnType(type: ColumnType): string {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`
    case 'list':
      return `list<${formatInner(type.element)}>`
    case 'map':
      return `map<${formatColumnType(type.key.type)}, ${formatInner(type.value)}>`
    case 'struct':
      return `struct<${type.fields.map((field) => `${quoteIfOdd(field.name)}: ${formatInner(field)}`).join(', ')}>`
    default:
      return type.kind
  }
}

function formatInner({ type, required }: Field): string {
  return `${formatColumnType(type)}${required ? ' required' : ''}`
}

function quoteIfOdd(name: string): string {
  return /^[^\s:,<>"]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/** Whatever the field ids. */
export function sameColumnType(a: ColumnType, b: ColumnType): boolean {
  return formatColumnType(a) === formatColumnType(b)
}
