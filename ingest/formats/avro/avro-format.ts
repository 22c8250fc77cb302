/**
 * Avro as a format: a schema opened once, and decoders into the columns of a table made from it. Records are the binary
 * encoding of the schema's value, behind the registry's frame or bare (not container files with a header of their own).
 */
import type { OpenFormat } from '../format.ts'
import { WHOLE_VALUE } from '../format.ts'
import { avroFields } from './avro-columns.ts'
import { createAvroReader } from './avro-connect.ts'
import { createAvroDecoder } from './avro-decoder.ts'
import { parseAvroSchema } from './parse-schema.ts'

export const openAvro: OpenFormat = (writer) => {
  const type = parseAvroSchema(writer)
  // First: it refuses what the others could not end with.
  const columns = { name: writer.label, fields: avroFields(type, WHOLE_VALUE) }
  return {
    columns,
    createDecoder: (schema, targets) => createAvroDecoder(type, WHOLE_VALUE, schema, targets),
    read: createAvroReader(type),
  }
}
