/**
 * Keys of JSON records without a schema that no column has → what is to be asked for, inferred from the block's records.
 *
 * Looked at only when a decoder met such a key, and only once for each: keys that make no column (a name that cannot be one,
 * a wish that was refused) are not new any more for this plan.
 */
import { type ColumnPath, formatPath } from '../../schemas/column-path.ts'
import { type ColumnType, childFields, type Field, withChildFields } from '../../schemas/column-type.ts'
import { keysOfFields } from '../../schemas/match-fields.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import { userColumns } from '../../schemas/table-schema.ts'
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, readJson } from '../formats/json/read-json.ts'
import type { DecodeNeeds, TablePlan } from './decode-plan.ts'
import { createInference, type Inference, type InferOptions } from './infer-schema.ts'

export const SCHEMALESS = 'JSON records without a schema'

const DEFAULT_OPTIONS: InferOptions = { timestamps: true, nested: 'json' }

/** New keys in one place: the record itself, or a struct inside it. */
type Place = { readonly path: ColumnPath; readonly names: Set<string>; readonly inference: Inference }

export type NewFields = {
  readonly columns: DecodeNeeds['columns']
  /** Of the keys in `columns`. */
  readonly paths: readonly string[]
  /** Paths of keys that make no column. */
  readonly futile: readonly string[]
}

/** `isKnown`: keys that go elsewhere or are not asked for. */
export function findNewFields(
  table: TablePlan,
  records: Iterable<Uint8Array>,
  isKnown: (path: string) => boolean,
): NewFields {
  const columns = table.schema ? userColumns(table.schema) : []
  const places = new Map<string, Place>()
  for (const record of records) {
    const parsed = readJson(record)
    if ('value' in parsed && isJsonObject(parsed.value)) walkFields(columns, [], parsed.value)
  }

  function walkFields(fields: readonly Field[], path: ColumnPath, record: JsonObject): void {
    const known = keysOfFields(fields)
    let fresh: Map<string, JsonValue> | undefined
    for (const [name, value] of record) {
      const position = known.get(name)
      if (position !== undefined) {
        const field = fields[position]
        walkValue(field.type, [...path, field.name], value)
      } else if (value !== null && !isKnown(formatPath([...path, name]))) {
        fresh ??= new Map()
        fresh.set(name, value)
      }
    }
    if (!fresh) return
    const place = placeAt(path)
    for (const name of fresh.keys()) place.names.add(name)
    place.inference.add(fresh)
  }

  function walkValue(type: ColumnType, path: ColumnPath, value: JsonValue): void {
    if (type.kind === 'struct' && isJsonObject(value)) walkFields(type.fields, path, value)
    else if (type.kind === 'list' && isJsonArray(value)) {
      for (const each of value) walkValue(type.element.type, [...path, 'element'], each)
    } else if (type.kind === 'map' && isJsonObject(value)) {
      for (const each of value.values()) walkValue(type.value.type, [...path, 'value'], each)
    }
  }

  function placeAt(path: ColumnPath): Place {
    const text = formatPath(path)
    let place = places.get(text)
    if (!place) {
      place = { path, names: new Set(), inference: createInference(table.inference ?? DEFAULT_OPTIONS) }
      places.set(text, place)
    }
    return place
  }

  const asked: DecodeNeeds['columns'][number][] = []
  const paths: string[] = []
  const futile: string[] = []
  const outerFirst = [...places.values()].sort((a, b) => a.path.length - b.path.length)
  for (const { path, names, inference } of outerFirst) {
    const fields = inference.fields()
    const made = new Set(fields.map(({ name }) => name))
    for (const name of names) (made.has(name) ? paths : futile).push(formatPath([...path, name]))
    if (fields.length === 0) continue
    asked.push({ table: table.name, schemaName: SCHEMALESS, fields: within(columns, path, fields) })
  }
  return { columns: asked, paths, futile }
}

/**
 * The same of keys: the fields of objects get the prefix, any other value is one column. `columns` are the table's key columns
 * without the prefix.
 */
export function findNewKeyFields(
  table: TablePlan,
  columns: readonly Field[],
  records: Iterable<Uint8Array>,
  prefix: string,
  whole: string,
  isKnown: (path: string) => boolean,
): NewFields {
  const objects: Uint8Array[] = []
  const others = createInference(table.inference ?? DEFAULT_OPTIONS)
  for (const record of records) {
    const parsed = readJson(record)
    if ('problem' in parsed || parsed.value === null) continue
    if (isJsonObject(parsed.value)) objects.push(record)
    else others.add(new Map([[whole, parsed.value]]))
  }
  const schema = { schemaId: table.schema?.schemaId ?? 0, columns }
  const found = findNewFields({ ...table, schema }, objects, (path) => isKnown(prefix + path))
  const prefixed = found.columns.map(({ fields, ...rest }) => ({
    ...rest,
    fields: fields.map((field) => ({ ...field, name: prefix + field.name })),
  }))
  const paths = found.paths.map((path) => prefix + path)
  const futile = found.futile.map((path) => prefix + path)
  const isThere = table.schema?.columns.some(({ name }) => name === whole) === true
  const own = isThere || isKnown(whole) ? [] : others.fields()
  if (own.length > 0) prefixed.push({ table: table.name, schemaName: SCHEMALESS, fields: own })
  return { columns: prefixed, paths: [...paths, ...own.map(({ name }) => name)], futile }
}

/** Fields inside the struct at `path`, as a wish for the column that it is in: nothing else of the column is said. */
function within(columns: readonly Field[], path: ColumnPath, fields: readonly RecordField[]): readonly RecordField[] {
  const [name, ...rest] = path
  if (name === undefined) return fields
  const column = columns.find((each) => each.name === name)!
  const inside = within(childFields(column.type), rest, fields)
  const type: ColumnType =
    column.type.kind === 'struct'
      ? { kind: 'struct', fields: inside }
      : withChildFields(
          column.type,
          childFields(column.type).map((child) => (child.name === rest[0] ? inside[0] : child)),
        )
  return [{ ...column, type }]
}

/** The first key of the record that no column has, for messages. */
export function firstNewKey(table: TablePlan, record: Uint8Array, isKnown: (path: string) => boolean): string {
  const { columns, futile } = findNewFields(table, [record], isKnown)
  const wish = columns[0]?.fields[0]
  return wish ? pathOfWish(table.schema ? userColumns(table.schema) : [], wish) : (futile[0] ?? '')
}

function pathOfWish(columns: readonly Field[], wish: RecordField): string {
  const path: string[] = []
  let known = columns
  let field: Field | undefined = wish
  while (field) {
    path.push(field.name)
    const name: string = field.name
    const column: Field | undefined = known.find((each) => each.name === name)
    if (!column) break
    known = childFields(column.type)
    const inside: readonly Field[] = childFields(field.type)
    field = field.type.kind === 'map' ? inside[1] : inside[0]
  }
  return formatPath(path)
}
