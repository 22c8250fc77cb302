/**
 * What the schema of records says, whatever its language (Avro, Protobuf, JSON Schema, a Connect envelope, inference): the
 * columns that such records would make. It is compared with a table's schema when columns are added or widened, and a
 * decoder is compiled from both.
 */
import type { Field } from './column-type.ts'

/** Field ids are 0 throughout: a record's schema gives none. */
export type RecordSchema = {
  /** What messages call it: `orders-value version 3 (id 17)`, `inferred from 200 records`. */
  readonly name: string
  readonly fields: readonly RecordField[]
}

export type RecordField = Field & {
  /** Earlier names of the field, as Avro's `aliases` give them. */
  readonly aliases?: readonly string[]
}
