/** A Protobuf schema as `parse-proto.ts` makes it of texts or a descriptor: messages with their fields, names resolved. */
export type ScalarKind =
  | 'double'
  | 'float'
  | 'int32'
  | 'int64'
  | 'uint32'
  | 'uint64'
  | 'sint32'
  | 'sint64'
  | 'fixed32'
  | 'fixed64'
  | 'sfixed32'
  | 'sfixed64'
  | 'bool'
  | 'string'
  | 'bytes'

/** Messages that mean one value, wherever they stand. */
export type WellKnown =
  /** google.protobuf.Timestamp */
  | 'timestamp'
  /** google.protobuf.Int64Value and the like: a scalar that may be absent. */
  | 'wrapper'
  /** google.protobuf.Struct, Value, ListValue: JSON. */
  | 'struct'
  | 'value'
  | 'list-value'
  /** google.type.Date, TimeOfDay */
  | 'date'
  | 'time-of-day'
  /** confluent.type.Decimal, in a field that says precision and scale. */
  | 'decimal'

export type ProtoMessage = {
  /** Full name, without a dot in front. */
  readonly name: string
  readonly wellKnown: WellKnown | undefined
  /** In the order of the text; may lead back to the message itself. */
  readonly fields: readonly ProtoField[]
}

export type ProtoEnum = {
  readonly name: string
  /** The first name of each number. */
  readonly names: ReadonlyMap<number, string>
}

export type ProtoField = {
  readonly name: string
  readonly number: number
  readonly kind: ScalarKind | 'enum' | 'message'
  readonly message: ProtoMessage | undefined
  readonly enumType: ProtoEnum | undefined
  /** Of a map: the kind of its keys; the rest is that of its values. */
  readonly keyKind: ScalarKind | undefined
  readonly repeated: boolean
  /** Whether absent is another thing than the default value: null. Messages always, repeated fields and maps never. */
  readonly presence: boolean
  /** proto2 `required`: a message without it is malformed. */
  readonly required: boolean
  /** The value of an absent field; for one with presence only where the schema gives one, else undefined. */
  readonly fallback: boolean | number | bigint | string | Uint8Array | undefined
  /** Which oneof of the message; -1: none. */
  readonly oneof: number
  /** The message stands between a start and an end tag (groups of proto2, delimited encoding of editions). */
  readonly delimited: boolean
  readonly decimal: { readonly precision: number; readonly scale: number } | undefined
}

export function isMapField(field: ProtoField): boolean {
  return field.keyKind !== undefined
}

export function wellKnownOf(field: ProtoField): WellKnown | undefined {
  const found = field.message?.wellKnown
  return found === 'decimal' && field.decimal === undefined ? undefined : found
}
