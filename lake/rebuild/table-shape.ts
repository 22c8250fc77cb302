/**
 * A table's shape (schemas with their field ids, partition, sort order, properties) from Iceberg metadata and from segment
 * footers, and both joined. Metadata has every schema up to its snapshot; a segment has the one that it was written with,
 * which may be newer. The highest table id, name and field id that any file claims hold.
 */
import { type ColumnType, type Field, parseColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { PartitionField, PartitionTransform, SortField } from '../catalog/catalog.ts'
import type { TableMetadata } from '../iceberg/iceberg.ts'
import { isJsonObject, type JsonObject } from '../iceberg/lossless-json.ts'
import {
  BASE_METADATA_PROPERTY,
  bigintOf,
  FORMER_NAMES_PROPERTY,
  JSON_FIELDS_PROPERTY,
  listOf,
  NAME_PROPERTY,
  REQUIRED_FIELDS_PROPERTY,
  rawOf,
  SOURCE_IDS_PROPERTY,
  TABLE_ID_PROPERTY,
  TABLE_VERSION_PROPERTY,
} from '../iceberg/table-metadata.ts'
import type { TableShape } from './facts.ts'
import type { TableDefinition } from './segment-record.ts'

/** Properties that are not the table's own. */
const OWN_PREFIX = 'millrace.'
const OF_METADATA = new Set([
  NAME_PROPERTY,
  TABLE_ID_PROPERTY,
  TABLE_VERSION_PROPERTY,
  JSON_FIELDS_PROPERTY,
  REQUIRED_FIELDS_PROPERTY,
  SOURCE_IDS_PROPERTY,
  FORMER_NAMES_PROPERTY,
  BASE_METADATA_PROPERTY,
])

export function shapeOfMetadata(metadata: TableMetadata): TableShape {
  const raw = rawOf(metadata)
  const { properties } = metadata
  const extra = {
    json: new Set(partsOf(properties[JSON_FIELDS_PROPERTY]).map(Number)),
    required: new Set(partsOf(properties[REQUIRED_FIELDS_PROPERTY]).map(Number)),
    sources: new Map(
      partsOf(properties[SOURCE_IDS_PROPERTY]).map((pair) => pair.split(':').map(Number) as [number, number]),
    ),
    former: new Map(Object.entries(formerNamesOf(properties)).map(([id, names]) => [Number(id), names])),
    location: metadata.location,
  }
  const tableId = properties[TABLE_ID_PROPERTY]
  return {
    tableId: tableId === undefined ? undefined : Number(tableId),
    name: properties[NAME_PROPERTY],
    schemas: listOf(raw, 'schemas')
      .map((schema) => ({
        schemaId: Number(bigintOf(schema, 'schema-id')),
        columns: listOf(schema, 'fields').map((field) => fieldOf(field, 'id', field.type, extra)),
      }))
      .sort((a, b) => a.schemaId - b.schemaId),
    partition: partitionOf(raw),
    sort: sortOf(raw),
    properties: Object.fromEntries(
      Object.entries(properties).filter(([key]) => key.startsWith(OWN_PREFIX) && !OF_METADATA.has(key)),
    ),
    lastFieldId: Number(bigintOf(raw, 'last-column-id')),
  }
}

function partsOf(text: string | undefined): readonly string[] {
  return (text ?? '').split(',').filter((part) => part !== '')
}

/** Metadata of before columns could be renamed has none. */
function formerNamesOf(properties: TableMetadata['properties']): Readonly<Record<string, readonly string[]>> {
  const text = properties[FORMER_NAMES_PROPERTY]
  return text === undefined ? {} : (JSON.parse(text) as Readonly<Record<string, readonly string[]>>)
}

/** What Iceberg's own JSON does not say of fields, by field id. */
type Extra = {
  readonly json: ReadonlySet<number>
  readonly required: ReadonlySet<number>
  readonly sources: ReadonlyMap<number, number>
  readonly former: ReadonlyMap<number, readonly string[]>
  /** For messages. */
  readonly location: string
}

/** @param idKey where `field` has the id of the field whose type is `type` */
function fieldOf(field: JsonObject, idKey: string, type: unknown, extra: Extra): Column {
  const fieldId = Number(bigintOf(field, idKey))
  const sourceId = extra.sources.get(fieldId)
  const formerNames = extra.former.get(fieldId)
  return {
    fieldId,
    name: String(field.name),
    type: extra.json.has(fieldId) ? { kind: 'json' } : typeOf(type, String(field.name), extra),
    required: field.required === true || extra.required.has(fieldId),
    ...(sourceId === undefined ? {} : { sourceId }),
    ...(formerNames === undefined ? {} : { formerNames }),
  }
}

function typeOf(type: unknown, name: string, extra: Extra): ColumnType {
  if (!isJsonObject(type)) {
    const flat = parseColumnType(String(type))
    if (flat) return flat
  } else if (type.type === 'struct') {
    return { kind: 'struct', fields: listOf(type, 'fields').map((field) => fieldOf(field, 'id', field.type, extra)) }
  } else if (type.type === 'list') {
    return { kind: 'list', element: insideOf(type, 'element', extra) }
  } else if (type.type === 'map') {
    return {
      kind: 'map',
      key: { ...insideOf(type, 'key', extra), required: true },
      value: insideOf(type, 'value', extra),
    }
  }
  const found = isJsonObject(type) ? String(type.type) : String(type)
  throw new MillraceError(
    'file-schema-mismatch',
    `metadata of ${extra.location}: column "${name}" has type ${found}, which no table of ours has`,
  )
}

/** The element of a list, or key or value of a map: Iceberg keeps their parts under keys of their own. */
function insideOf(type: JsonObject, name: 'element' | 'key' | 'value', extra: Extra): Field {
  return fieldOf({ ...type, name, required: type[`${name}-required`] }, `${name}-id`, type[name], extra)
}

function partitionOf(raw: JsonObject): PartitionField[] {
  const id = bigintOf(raw, 'default-spec-id')
  const spec = listOf(raw, 'partition-specs').find((each) => bigintOf(each, 'spec-id') === id)
  return (spec ? listOf(spec, 'fields') : []).map((field) => ({
    fieldId: Number(bigintOf(field, 'source-id')),
    transform: transformOf(String(field.transform)),
    name: String(field.name),
    partitionFieldId: Number(bigintOf(field, 'field-id')),
  }))
}

function transformOf(text: string): PartitionTransform {
  const wide = /^(bucket|truncate)\[(\d+)\]$/.exec(text)
  if (wide) return { kind: wide[1] as 'bucket' | 'truncate', width: Number(wide[2]) }
  const plain = (['identity', 'hour', 'day', 'month'] as const).find((kind) => kind === text)
  if (plain) return { kind: plain }
  throw new MillraceError('file-schema-mismatch', `partition transform ${text} is none of ours`)
}

function sortOf(raw: JsonObject): SortField[] {
  const id = bigintOf(raw, 'default-sort-order-id')
  const order = listOf(raw, 'sort-orders').find((each) => bigintOf(each, 'order-id') === id)
  return (order ? listOf(order, 'fields') : []).map((field) => ({
    fieldId: Number(bigintOf(field, 'source-id')),
    descending: field.direction === 'desc',
    nullsFirst: field['null-order'] === 'nulls-first',
  }))
}

export function shapeOfDefinition(definition: TableDefinition): TableShape {
  const { tableId, name, schemaId, columns, partition, sort, properties, lastFieldId } = definition
  return { tableId, name, schemas: [{ schemaId, columns }], partition, sort, properties, lastFieldId }
}

/** Later ones win where they say something; every schema id that is known stays. */
export function joinShapes(shapes: readonly TableShape[]): TableShape | undefined {
  const [first, ...more] = shapes
  if (!first) return undefined
  let joined = first
  for (const shape of more) {
    const schemas = new Map(joined.schemas.map((schema) => [schema.schemaId, schema]))
    for (const schema of shape.schemas) schemas.set(schema.schemaId, schema)
    joined = {
      tableId: shape.tableId ?? joined.tableId,
      name: shape.name ?? joined.name,
      schemas: [...schemas.values()].sort((a, b) => a.schemaId - b.schemaId),
      partition: shape.partition,
      sort: shape.sort,
      properties: { ...joined.properties, ...shape.properties },
      lastFieldId: Math.max(joined.lastFieldId, shape.lastFieldId),
    }
  }
  return { ...joined, schemas: withoutGaps(joined.schemas) }
}

/** A schema between two others that no file names is one that no row was written with: the next one stands in its place. */
function withoutGaps(schemas: TableShape['schemas']): TableShape['schemas'] {
  const dense: { schemaId: number; columns: readonly Column[] }[] = []
  for (const schema of schemas) {
    while (dense.length < schema.schemaId) dense.push({ schemaId: dense.length, columns: schema.columns })
    dense.push(schema)
  }
  return dense
}
