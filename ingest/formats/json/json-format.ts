/**
 * JSON whose shape is known from a schema (a Connect schema in an envelope, a JSON Schema) as a `WriterFormat`.
 *
 * A record is an object whose fields go to columns; any other value is `WHOLE_VALUE`.
 */

import { MillraceError } from '../../../schemas/errors.ts'
import type { RecordField, RecordSchema } from '../../../schemas/record-schema.ts'
import { type TableSchema, userColumns } from '../../../schemas/table-schema.ts'
import { columnTypeOf, recordFieldOf } from '../../connect/data/record-fields.ts'
import { type ConnectSchema, DECIMAL } from '../../connect/data/schema.ts'
import type { Decoder } from '../../decoder/decoder.ts'
import { createJsonDecoder } from '../../decoder/json-decoder.ts'
import { JsonNode, type JsonShape, type JsonShapeField } from '../../decoder/json-node.ts'
import { beginRecord, MALFORMED, readNode, refusal } from '../../decoder/read-nested.ts'
import { problem, scanProblem, scanProblemAt, skipSpace, skipValue } from '../../decoder/scan-json.ts'
import { markMissing, type ReadValue, rowBuilder, type Target, WHOLE_VALUE, type WriterFormat } from '../format.ts'
import { connectValue, MisfitValue } from './connect-json.ts'
import { connectJsonText } from './connect-text.ts'
import { readJson } from './read-json.ts'

export type JsonWriter = {
  readonly label: string
  /** Of the whole value. */
  readonly shape: JsonShape
  readonly isRequired: boolean
  readonly read: ReadValue
}

export function openJsonWriter({ label, shape, isRequired, read }: JsonWriter): WriterFormat {
  const { fields } = shape
  const whole: RecordField = { fieldId: 0, name: WHOLE_VALUE, type: shape.type, required: isRequired }
  const columns: RecordSchema = { name: label, fields: fields ? fields.map(({ field }) => field) : [whole] }
  return {
    columns,
    createDecoder: (schema, targets) =>
      fields ? createJsonDecoder(schema, { targets, shapes: fields }) : createWholeDecoder(schema, targets, shape),
    read,
  }
}

/** The JSON value itself goes into the column `value`; the other targets have none. */
export function createWholeDecoder(
  schema: TableSchema,
  targets: readonly Target[],
  shape: JsonShape | undefined,
): Decoder {
  const own = targets.find(({ field }) => field.name === WHOLE_VALUE)
  const others = targets.filter((target) => target !== own)
  const node = own && new JsonNode(own.field, [own.field.name], 0, shape, [])
  const columns = userColumns(schema)
  return {
    unknownKeys: 0,
    decode(bytes, start, end, target) {
      const builders = rowBuilder(target, schema)
      const row = builders.rowCount
      const malformed = () => {
        return { reason: `malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}`, column: undefined }
      }
      beginRecord(bytes, start, end)
      const at = skipSpace(bytes, start, end)
      let isPresent = false
      if (own && node && at < end && bytes[at] !== 0x6e) {
        const after = readNode(node, builders.user[own.index], row, bytes, at, end)
        if (after === MALFORMED) return malformed()
        isPresent = after >= 0
        if (after < 0 && skipValue(bytes, at, end, 0) >= 0) return refusal
      }
      const after = skipValue(bytes, at, end, 0)
      if (after < 0) return malformed()
      const trailing = skipSpace(bytes, after, end)
      if (trailing < end) {
        problem('more text after the value', trailing)
        return malformed()
      }
      for (const { index } of isPresent ? others : targets) {
        if (markMissing(builders, builders.user[index])) continue
        const { name } = columns[index]
        return { reason: `column "${name}": expected a value, found nothing; it is required`, column: name }
      }
      if (own && isPresent) builders.user[own.index].markPresent(row)
      return undefined
    },
  }
}

/** JSON as JsonConverter writes it by this schema. */
export function openConnectJson(schema: ConnectSchema, label: string): WriterFormat {
  return openJsonWriter({
    label,
    shape: connectShape(schema),
    isRequired: !schema.optional,
    read(bytes, start, end) {
      const parsed = readJson(bytes, start, end)
      if ('problem' in parsed) return { failure: { reason: parsed.problem, column: undefined } }
      try {
        return { schema, value: connectValue(schema, parsed.value, '') }
      } catch (misfit) {
        if (!(misfit instanceof MisfitValue)) throw misfit
        const column = misfit.path === '' ? undefined : misfit.path
        return { failure: { reason: column ? `field "${column}": ${misfit.reason}` : misfit.reason, column } }
      }
    },
  })
}

/** What a JSON value of this schema is like. */
export function connectShape(schema: ConnectSchema): JsonShape {
  return shapeAs(schema, columnTypeOf(schema))
}

function shapeAs(schema: ConnectSchema, type: JsonShape['type']): JsonShape {
  if (schema.name === DECIMAL && schema.type === 'bytes') {
    if (type.kind === 'decimal') return { type, encoding: 'scaled-bytes' }
    const scale = schema.parameters?.get('scale')
    throw new MillraceError('conversion-failed', `a Decimal of scale ${scale} fits no decimal column (scale 0 to 38)`)
  }
  switch (type.kind) {
    case 'struct':
      return { type, fields: schema.fields.map((each) => shapeField(each.name, each.schema)) }
    case 'list':
      return { type, items: [shapeAs(schema.valueSchema!, type.element.type)] }
    case 'map': {
      const items = [shapeAs(schema.keySchema!, type.key.type), shapeAs(schema.valueSchema!, type.value.type)]
      return schema.keySchema?.type === 'string' ? { type, items } : { type, items, encoding: 'pairs' }
    }
    default:
      return { type }
  }
}

function shapeField(name: string, schema: ConnectSchema): JsonShapeField {
  const field = recordFieldOf(name, schema)
  const { defaultValue } = schema
  return {
    field,
    shape: shapeAs(schema, field.type),
    isDemanded: !schema.optional && defaultValue === undefined,
    fallback: defaultValue === undefined ? undefined : Buffer.from(connectJsonText(defaultValue, schema)),
  }
}
