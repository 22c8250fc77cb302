/**
 * The formats by name: a converter's plan and a schema → `WriterFormat`. JSON without a schema is none of these: its decoder is
 * made from the table alone.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { ConverterPlan, RegistrySchema } from '../decoder/decode-plan.ts'
import { openAvro } from './avro/avro-format.ts'
import { openCsv } from './csv.ts'
import type { OpenFormat, WriterFormat, WriterSchema } from './format.ts'
import { openJsonSchema } from './json/json-schema.ts'
import { openProtobuf } from './protobuf/proto-format.ts'
import { openBytes, openString } from './text.ts'

export type SchemaConverter = Extract<ConverterPlan, { registry: boolean }>

const FORMATS: Readonly<Record<SchemaConverter['format'], OpenFormat>> = {
  'json-schema': openJsonSchema,
  avro: openAvro,
  protobuf: openProtobuf,
}

const REGISTRY_TYPES = { 'json-schema': 'JSON', avro: 'AVRO', protobuf: 'PROTOBUF' } as const

/** Throws `conversion-failed` for a schema that cannot be read. */
export function openSchema(converter: SchemaConverter, writer: WriterSchema): WriterFormat {
  return FORMATS[converter.format](writer, converter)
}

/** A schema from the registry; `messageIndexes` as in `WriterSchema`. */
export function openRegistrySchema(
  converter: SchemaConverter,
  schema: RegistrySchema,
  messageIndexes: string | undefined,
): WriterFormat {
  const expected = REGISTRY_TYPES[converter.format]
  if (schema.type !== expected) {
    throw new MillraceError('conversion-failed', `schema ${schema.label} is ${schema.type}, expected ${expected}`)
  }
  return openSchema(converter, {
    text: schema.text,
    references: schema.references,
    label: schema.label,
    ...(messageIndexes === undefined ? undefined : { messageIndexes }),
  })
}

/** What needs no schema. */
export function openText(converter: Extract<ConverterPlan, { format: 'string' | 'bytes' | 'csv' }>): WriterFormat {
  switch (converter.format) {
    case 'string':
      return openString()
    case 'bytes':
      return openBytes()
    case 'csv':
      return openCsv(converter)
  }
}
