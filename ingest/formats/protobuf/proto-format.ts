/**
 * Protobuf as a format: a schema opened once for each message that records of it hold, and decoders into the columns of a
 * table made from it. Records are the message's encoding, behind the registry's frame or bare.
 */
import type { OpenFormat, WriterSchema } from '../format.ts'
import { parseProto } from './parse-proto.ts'
import { protoFields } from './proto-columns.ts'
import { createProtoReader } from './proto-connect.ts'
import { createProtoDecoder } from './proto-decoder.ts'

export const openProtobuf: OpenFormat = (writer) => {
  const type = parseProto(writer)
  // First: it refuses what the others could not end with.
  const columns = { name: labelOf(writer, type.name), fields: protoFields(type) }
  return {
    columns,
    createDecoder: (schema, targets) => createProtoDecoder(type, schema, targets),
    read: createProtoReader(type),
  }
}

/** The messages of one file are schemas of their own: what a table refuses of one it may take of another. */
function labelOf({ label, messageIndexes = '0' }: WriterSchema, message: string): string {
  return messageIndexes === '0' ? label : `${label}, message ${message}`
}
