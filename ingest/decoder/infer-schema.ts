/**
 * Columns for a table that nobody declared, and for keys that a table lacks, from records. Of each key all values are looked at:
 *
 *   true, false                      boolean
 *   integers in the int64 range      long; other numbers, or both kinds: double
 *   text                             string; timestamptz, timestamp or date when every text has that shape
 *   objects, arrays                  json; with `nested: 'struct'` a struct of their keys, a list of what all elements are
 *   a mixture                        json
 *   only null                        json, which takes whatever comes
 *
 * Columns come in order of first appearance and are all optional. At most `COLUMNS_MAX` are made, those inside structs counted;
 * an object with more than `STRUCT_FIELDS_MAX` keys (an id for each, perhaps) is json. Keys beyond, and keys that cannot name a
 * column (empty, longer than 255 bytes, beginning with an underscore, control characters), are left out: their values are
 * skipped and counted as unknown keys. Records that are no JSON object teach nothing.
 */
import { type ColumnType, NESTING_MAX, type SimpleKind } from '../../schemas/column-type.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import {
  isJsonArray,
  isJsonObject,
  JsonNumber,
  type JsonObject,
  type JsonValue,
  readJson,
} from '../formats/json/read-json.ts'
import { isDate, timestampShape } from './read-text.ts'

export const COLUMNS_MAX = 1000
export const STRUCT_FIELDS_MAX = 200
const NAME_BYTES_MAX = 255

export type InferOptions = {
  /** Text that looks like a date or a timestamp becomes one. */
  readonly timestamps: boolean
  /** What objects and arrays become; json by default. */
  readonly nested?: 'json' | 'struct'
}

export function inferColumns(records: Iterable<Uint8Array>, options: InferOptions): RecordField[] {
  const inference = createInference(options)
  for (const record of records) {
    const parsed = readJson(record)
    if ('value' in parsed && isJsonObject(parsed.value)) inference.add(parsed.value)
  }
  return inference.fields()
}

export type Inference = {
  add(record: JsonObject): void
  fields(): RecordField[]
}

export function createInference(options: InferOptions): Inference {
  const seen: SeenFields = new Map()
  const budget = { left: COLUMNS_MAX }
  return {
    add: (record) => addFields(seen, record, options, budget, 0),
    fields: () => fieldsOf(seen),
  }
}

type SeenFields = Map<string, Seen>

/** What was seen under one key. */
type Seen = {
  /** undefined: only null. */
  kind: SimpleKind | 'struct' | 'list' | undefined
  /** Of a struct. */
  fields: SeenFields | undefined
  /** Of a list. */
  element: Seen | undefined
}

type Budget = { left: number }

function addFields(seen: SeenFields, record: JsonObject, options: InferOptions, budget: Budget, depth: number): void {
  for (const [name, value] of record) {
    let field = seen.get(name)
    if (!field) {
      if (budget.left <= 0 || !canNameColumn(name)) continue
      budget.left -= 1
      field = { kind: undefined, fields: undefined, element: undefined }
      seen.set(name, field)
    }
    addValue(field, value, options, budget, depth)
  }
}

function addValue(seen: Seen, value: JsonValue, options: InferOptions, budget: Budget, depth: number): void {
  // Nothing brings it back from there.
  if (seen.kind === 'json' || value === null) return
  const kind = kindOf(value, options)
  seen.kind = joinKinds(
    seen.kind,
    depth < NESTING_MAX - 1 ? kind : kind === 'struct' || kind === 'list' ? 'json' : kind,
  )
  if (seen.kind === 'struct' && isJsonObject(value)) {
    seen.fields ??= new Map()
    addFields(seen.fields, value, options, budget, depth + 1)
    if (seen.fields.size > STRUCT_FIELDS_MAX || value.size > STRUCT_FIELDS_MAX) seen.kind = 'json'
  }
  if (seen.kind === 'list' && isJsonArray(value)) {
    seen.element ??= { kind: undefined, fields: undefined, element: undefined }
    for (const each of value) addValue(seen.element, each, options, budget, depth + 1)
  }
  if (seen.kind === 'struct' || seen.kind === 'list') return
  seen.fields = undefined
  seen.element = undefined
}

function fieldsOf(seen: SeenFields): RecordField[] {
  const folded = new Set<string>()
  const fields: RecordField[] = []
  for (const [name, field] of seen) {
    // SQL knows no upper and lower case in names: of keys that differ in nothing else the first is the column.
    if (folded.has(name.toLowerCase())) continue
    folded.add(name.toLowerCase())
    fields.push({ fieldId: 0, name, type: typeOf(field), required: false })
  }
  return fields
}

function typeOf({ kind, fields, element }: Seen): ColumnType {
  if (kind === 'struct') {
    const inside = fieldsOf(fields ?? new Map())
    return inside.length === 0 ? { kind: 'json' } : { kind: 'struct', fields: inside }
  }
  if (kind !== 'list') return { kind: kind ?? 'json' }
  // Of arrays that were all empty nothing is known.
  if (!element?.kind) return { kind: 'json' }
  return { kind: 'list', element: { fieldId: 0, name: 'element', type: typeOf(element), required: false } }
}

function canNameColumn(name: string): boolean {
  if (name === '' || name.startsWith('_') || Buffer.byteLength(name) > NAME_BYTES_MAX || !name.isWellFormed())
    return false
  for (let index = 0; index < name.length; index += 1) if (name.charCodeAt(index) < 0x20) return false
  return true
}

function kindOf(value: JsonValue, options: InferOptions): Seen['kind'] {
  if (value === null) return undefined
  if (typeof value === 'boolean') return 'boolean'
  if (value instanceof JsonNumber) return isInt64(value.text) ? 'long' : 'double'
  if (typeof value !== 'string') {
    if (options.nested !== 'struct') return 'json'
    return isJsonArray(value) ? 'list' : 'struct'
  }
  if (!options.timestamps) return 'string'
  const text = Buffer.from(value, 'utf8')
  if (isDate(text, 0, text.length)) return 'date'
  return timestampShape(text, 0, text.length) ?? 'string'
}

function isInt64(text: string): boolean {
  if (!/^-?\d{1,19}$/.test(text)) return false
  const value = BigInt(text)
  return BigInt.asIntN(64, value) === value
}

type Kind = NonNullable<Seen['kind']>
const NUMBERS: readonly Kind[] = ['long', 'double']
const TIMESTAMPS: readonly Kind[] = ['timestamp', 'timestamptz']
const TEXTS: readonly Kind[] = ['date', 'timestamp', 'timestamptz', 'string']

function joinKinds(a: Seen['kind'], b: Seen['kind']): Seen['kind'] {
  if (a === undefined || a === b) return b ?? a
  if (b === undefined) return a
  const both = (kinds: readonly Kind[]) => kinds.includes(a) && kinds.includes(b)
  if (both(NUMBERS)) return 'double'
  if (both(TIMESTAMPS)) return 'timestamptz'
  return both(TEXTS) ? 'string' : 'json'
}
