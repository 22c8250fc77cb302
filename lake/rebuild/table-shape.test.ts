// A table's schemas, from its metadata alone: every column and field with the id, type and requiredness it had.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { assignFieldIds, type Field, fieldsWithin, parseColumnType } from '../../schemas/column-type.ts'
import { FIRST_USER_FIELD_ID, HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import { schemaOf } from '../catalog/rows-as-values.ts'
import { firstMetadata, metadataOf, schemaJson, withSchemas } from '../iceberg/table-metadata.ts'
import { anyNestedType } from '../parquet/sample-nested.ts'
import { shapeOfMetadata } from './table-shape.ts'

const LOCATION = 's3://b/t-1'

function tableOf(columns: readonly Field[], lastFieldId: number): Table {
  return {
    tableId: 7,
    name: 't',
    location: LOCATION,
    schemas: [{ schemaId: 0, columns: [...columns, ...HIDDEN_COLUMNS] }],
    partition: [],
    sort: [],
    properties: {},
    version: 3n,
    metadataLocation: undefined,
    metadataChecksum: undefined,
    lastFieldId,
  }
}

function numbered(fields: readonly Field[], withSource: boolean): readonly Field[] {
  return fields.map((field, i) => ({ ...field, ...(withSource ? { sourceId: 40 + i } : {}) }))
}

test('nested schemas survive metadata, and the JSON of the catalog', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anyNestedType(4), fc.boolean()), { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      (types, withSource) => {
        const declared = types.map(([type, required], i): Field => ({ fieldId: 0, name: `c${i}`, type, required }))
        const { fields, next } = assignFieldIds(declared, FIRST_USER_FIELD_ID)
        const columns = numbered(fields, withSource)
        const table = tableOf(columns, next - 1)
        const raw = withSchemas(firstMetadata(table, 'an-id'), table)
        const shape = shapeOfMetadata(metadataOf(JSON.parse(JSON.stringify(raw))))
        expect(shape.schemas).toEqual(table.schemas)
        expect(shape.lastFieldId).toBe(next - 1)
        expect(shape.properties).toEqual({})
        const row = { schema_id: 0n, columns_json: JSON.stringify(table.schemas[0].columns) }
        expect(schemaOf(row)).toEqual(table.schemas[0])
      },
    ),
  )
})

test('what became optional is not required again, and a renamed field is known by the names it had', () => {
  const type = parseColumnType('struct<x: int required>')!
  const { fields, next } = assignFieldIds([{ fieldId: 0, name: 's', type, required: false }], FIRST_USER_FIELD_ID)
  const before = tableOf(fields, next - 1)
  const inside = {
    fieldId: 17,
    name: 'y',
    type: { kind: 'long' },
    required: false,
    formerNames: ['x', 'a "b",c'],
  } as const
  const columns = [{ ...fields[0], name: 't', formerNames: ['s'], type: { kind: 'struct', fields: [inside] } as const }]
  const table = { ...before, schemas: [...before.schemas, { schemaId: 1, columns: [...columns, ...HIDDEN_COLUMNS] }] }
  const raw = withSchemas(withSchemas(firstMetadata(before, 'an-id'), before), table)
  const shape = shapeOfMetadata(metadataOf(JSON.parse(JSON.stringify(raw))))
  expect(shape.schemas[1]).toEqual(table.schemas[1])
  expect(shape.properties).toEqual({})
})

test('nested types are written as Iceberg has them', () => {
  const type = parseColumnType('struct<a: list<long required>, "b c": map<string, decimal(10,2)>>')!
  const { fields } = assignFieldIds([{ fieldId: 0, name: 's', type, required: true }], FIRST_USER_FIELD_ID)
  expect([...fieldsWithin(fields[0])].map(({ fieldId, name }) => [fieldId, name])).toEqual([
    [16, 's'],
    [17, 'a'],
    [19, 'element'],
    [18, 'b c'],
    [20, 'key'],
    [21, 'value'],
  ])
  expect(schemaJson({ schemaId: 2, columns: fields })).toEqual({
    type: 'struct',
    'schema-id': 2,
    fields: [
      {
        id: 16,
        name: 's',
        required: true,
        type: {
          type: 'struct',
          fields: [
            {
              id: 17,
              name: 'a',
              required: false,
              type: { type: 'list', 'element-id': 19, element: 'long', 'element-required': true },
            },
            {
              id: 18,
              name: 'b c',
              required: false,
              type: {
                type: 'map',
                'key-id': 20,
                key: 'string',
                'value-id': 21,
                value: 'decimal(10, 2)',
                'value-required': false,
              },
            },
          ],
        },
      },
    ],
  })
})
