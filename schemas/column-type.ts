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
 */
export type ColumnType =
  | { readonly kind: SimpleKind }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }

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
export type ColumnKind = SimpleKind | 'decimal'

/** `decimal(10,2)`, `long`, … → ColumnType; undefined when the text names no type (precision 1..38, scale 0..precision). */
export function parseColumnType(text: string): ColumnType | undefined {
  const trimmed = text.trim().toLowerCase()
  const decimal = /^decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$/.exec(trimmed)
  if (decimal) {
    const precision = Number(decimal[1])
    const scale = Number(decimal[2])
    if (precision < 1 || precision > 38 || scale > precision) return undefined
    return { kind: 'decimal', precision, scale }
  }
  const kind = SIMPLE_KINDS.find((each) => each === trimmed)
  return kind ? { kind } : undefined
}

export function formatColumnType(type: ColumnType): string {
  return type.kind === 'decimal' ? `decimal(${type.precision},${type.scale})` : type.kind
}

export function sameColumnType(a: ColumnType, b: ColumnType): boolean {
  return formatColumnType(a) === formatColumnType(b)
}
