/**
 * Records whose schema is named by a header instead of a frame (Confluent's `HeaderSchemaIdSerializer`): the header holds a byte 1
 * and a GUID that only some registries know. They are not read: their bytes would be taken for a frame, and an Avro record that
 * begins with a null would even look like one with an id of its own.
 */
import type { RecordBlock } from '../kafka/kafka-source.ts'
import { readHeaders } from '../kafka/record-headers.ts'

/** A header's name and value take more than the name. */
const KEY_HEADER = '__key_schema_id'
const VALUE_HEADER = '__value_schema_id'

/** Why the record at `index` cannot be read; undefined: no such header. */
export function schemaIdHeaderProblem(block: RecordBlock, index: number, isKey: boolean): string | undefined {
  const start = block.headerStarts[index]
  const end = block.headerEnds[index]
  const name = isKey ? KEY_HEADER : VALUE_HEADER
  if (end - start <= name.length) return undefined
  const { bytes } = block
  // Rarely true, so that nearly no record's headers are taken apart.
  if (!Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).includes(name)) return undefined
  if (!readHeaders(bytes, start, end)?.some((header) => header.name === name)) return undefined
  const part = isKey ? 'key' : 'value'
  return `the header "${name}" names the schema, expected its id in the ${part}: set ${part}.schema.id.serializer to PrefixSchemaIdSerializer where it is produced`
}
