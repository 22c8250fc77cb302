/**
 * Protobuf as a format: a schema opened once for each message that records of it hold, and decoders into the columns of a
 * table made from it. Records are the message's encoding, behind the registry's frame or bare.
 */
import type { OpenFormat } from '../format.ts'
import { parseProto } from './parse-proto.ts'
import { protoFields } from './proto-columns.ts'
import { createProtoReader } from './proto-connect.ts'
import { createProtoDecoder } from './proto-decoder.ts'

export const openProtobuf: OpenFormat = (writer) => {
  const type = parseProto(writer)
  // First: it refuses what the others could not end with.
  const columns = { name: writer.label, fields: protoFields(type) }
  return {
    columns,
    createDecoder: (schema, targets) => createProtoDecoder(type, schema, targets),
    read: createProtoReader(type),
  }
}
