/**
 * Which field of a table a field of the records is. Evolution and decoders ask the same question, here: a field that
 * evolution takes for new must not be one that a decoder fills.
 *
 *   1. the same `sourceId` (a Protobuf number, an Avro `field-id`), whatever it is called
 *   2. the same name
 *   3. one of the record's field's `aliases` (earlier names)
 *   4. the same name but for upper and lower case, since a table has no two such columns
 *
 * A field of the table is taken once, in the order of these rules and then of the record's fields. A name does not match where
 * both have a `sourceId` and they differ: that is another field under a name used again.
 */
import type { Field } from './column-type.ts'
import type { RecordField } from './record-schema.ts'

/** For each of the record's fields the position of the table's field, or -1. */
export function matchFields(records: readonly RecordField[], table: readonly Field[]): Int32Array {
  const matched = new Int32Array(records.length).fill(-1)
  const taken = new Uint8Array(table.length)
  const rules: ((record: RecordField, field: Field) => boolean)[] = [
    (record, field) => record.sourceId !== undefined && record.sourceId === field.sourceId,
    (record, field) => record.name === field.name && isSameSource(record, field),
    (record, field) => record.aliases?.includes(field.name) === true && isSameSource(record, field),
    (record, field) => record.name.toLowerCase() === field.name.toLowerCase() && isSameSource(record, field),
  ]
  for (const matches of rules) {
    for (let index = 0; index < records.length; index += 1) {
      if (matched[index] >= 0) continue
      const found = table.findIndex((field, position) => taken[position] === 0 && matches(records[index], field))
      if (found < 0) continue
      matched[index] = found
      taken[found] = 1
    }
  }
  return matched
}

function isSameSource(record: RecordField, field: Field): boolean {
  return record.sourceId === undefined || field.sourceId === undefined || record.sourceId === field.sourceId
}
