/**
 * Columns for a table that nobody declared, from its first records. Of each top-level key all values are looked at:
 *
 *   true, false                      boolean
 *   integers in the int64 range      long; other numbers, or both kinds: double
 *   text                             string; timestamptz, timestamp or date when every text has that shape
 *   objects, arrays, a mixture       json
 *   only null                        json, which takes whatever comes
 *
 * Columns come in order of first appearance and are all optional. At most `COLUMNS_MAX` are made; further keys, and
 * keys that cannot name a column (empty, longer than 255 bytes, beginning with an underscore, control characters), are
 * left out: their values are skipped and counted as unknown keys. Records that are no JSON object teach nothing.
 */
import type { ColumnType, SimpleKind } from '../../schemas/column-type.ts'
import { type Column, FIRST_USER_FIELD_ID } from '../../schemas/table-schema.ts'
import { isDate, timestampShape } from './read-text.ts'
import { DEPTH_MAX, skipColon, skipSpace, skipString, skipValue } from './scan-json.ts'

export const COLUMNS_MAX = 1000
const NAME_BYTES_MAX = 255

export function inferColumns(records: Iterable<Uint8Array>, options: { timestamps: boolean }): Column[] {
  const kinds = new Map<string, SimpleKind | undefined>()
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for (const record of records) {
    const parsed = parseObject(record, strict)
    if (!parsed) continue
    for (const name of keysInOrder(record)) {
      const value = parsed[name]
      if (!kinds.has(name) && (kinds.size >= COLUMNS_MAX || !canNameColumn(name))) continue
      kinds.set(name, joinKinds(kinds.get(name), kindOf(value, options.timestamps)))
    }
  }
  let fieldId = FIRST_USER_FIELD_ID
  return [...kinds].map(([name, kind]) => {
    const type: ColumnType = { kind: kind ?? 'json' }
    return { fieldId: fieldId++, name, type, required: false }
  })
}

function parseObject(
  record: Uint8Array,
  decoder: InstanceType<typeof TextDecoder>,
): Record<string, unknown> | undefined {
  // Bounded depth first: the parser below recurses.
  if (record.length > DEPTH_MAX && skipValue(record, skipSpace(record, 0, record.length), record.length, 0) < 0)
    return undefined
  try {
    const text = decoder.decode(record)
    // Numbers as their text: 1.0 and integers beyond 2^53 look the same once they are doubles.
    const value: unknown = JSON.parse(text, keepNumberText)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/** The top-level keys of a well-formed object as they stand there: JavaScript objects put integer-like keys first. */
function keysInOrder(record: Uint8Array): string[] {
  const end = record.length
  const names: string[] = []
  let position = skipSpace(record, skipSpace(record, 0, end) + 1, end)
  while (record[position] === 0x22) {
    const quote = skipString(record, position + 1, end)
    names.push(JSON.parse(Buffer.from(record.subarray(position, quote + 1)).toString('utf8')) as string)
    const after = skipValue(record, skipColon(record, quote + 1, end), end, 1)
    position = skipSpace(record, skipSpace(record, after, end) + 1, end)
  }
  return names
}

class NumberText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function keepNumberText(_key: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' ? new NumberText(context?.source ?? String(value)) : value
}

function canNameColumn(name: string): boolean {
  if (name === '' || name.startsWith('_') || Buffer.byteLength(name) > NAME_BYTES_MAX || !name.isWellFormed())
    return false
  for (let index = 0; index < name.length; index += 1) if (name.charCodeAt(index) < 0x20) return false
  return true
}

function kindOf(value: unknown, timestamps: boolean): SimpleKind | undefined {
  if (value === null) return undefined
  if (typeof value === 'boolean') return 'boolean'
  if (value instanceof NumberText) return isInt64(value.text) ? 'long' : 'double'
  if (typeof value !== 'string') return 'json'
  if (!timestamps) return 'string'
  const text = Buffer.from(value, 'utf8')
  if (isDate(text, 0, text.length)) return 'date'
  return timestampShape(text, 0, text.length) ?? 'string'
}

function isInt64(text: string): boolean {
  if (!/^-?\d{1,19}$/.test(text)) return false
  const value = BigInt(text)
  return BigInt.asIntN(64, value) === value
}

const NUMBERS: readonly SimpleKind[] = ['long', 'double']
const TIMESTAMPS: readonly SimpleKind[] = ['timestamp', 'timestamptz']
const TEXTS: readonly SimpleKind[] = ['date', 'timestamp', 'timestamptz', 'string']

function joinKinds(a: SimpleKind | undefined, b: SimpleKind | undefined): SimpleKind | undefined {
  if (a === undefined || a === b) return b ?? a
  if (b === undefined) return a
  const both = (kinds: readonly SimpleKind[]) => kinds.includes(a) && kinds.includes(b)
  if (both(NUMBERS)) return 'double'
  if (both(TIMESTAMPS)) return 'timestamptz'
  return both(TEXTS) ? 'string' : 'json'
}
