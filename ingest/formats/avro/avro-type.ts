/**
 * An Avro schema (specification 1.12) as `parse-schema.ts` makes it: names resolved, logical types checked. A logical type
 * that is not known, or that does not fit the type it stands on, is ignored, as the specification asks.
 */
export type AvroLogical =
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | {
      readonly kind:
        | 'date'
        | 'time-millis'
        | 'time-micros'
        | 'timestamp-millis'
        | 'timestamp-micros'
        | 'timestamp-nanos'
        | 'local-timestamp-millis'
        | 'local-timestamp-micros'
        | 'local-timestamp-nanos'
        | 'uuid'
        | 'duration'
    }

export type AvroPrimitiveKind = 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'

/** What the schema says beyond Avro: `connect.name`, `connect.version`, `connect.parameters`, … */
export type AvroProperties = Readonly<Record<string, unknown>>

export type AvroType = (
  | { readonly kind: AvroPrimitiveKind }
  | { readonly kind: 'fixed'; readonly name: string; readonly size: number }
  | { readonly kind: 'enum'; readonly name: string; readonly symbols: readonly string[] }
  | AvroRecord
  | { readonly kind: 'array'; readonly items: AvroType }
  | { readonly kind: 'map'; readonly values: AvroType }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }
) & { readonly logical?: AvroLogical | undefined; readonly properties?: AvroProperties }

export type AvroRecord = {
  readonly kind: 'record'
  /** With its namespace. */
  readonly name: string
  readonly doc?: string | undefined
  /** May lead back to the record itself. */
  readonly fields: readonly AvroField[]
}

export type AvroField = {
  readonly name: string
  readonly type: AvroType
  readonly aliases: readonly string[]
  /** The property `field-id`. */
  readonly sourceId: number | undefined
  readonly doc: string | undefined
  /** As JSON; undefined: none. A union's default is of its first branch. */
  readonly fallback: unknown
}

/** What messages call it, and the member of a union: the name without its namespace, or the kind. */
export function shortName(type: AvroType): string {
  return 'name' in type ? type.name.slice(type.name.lastIndexOf('.') + 1) : type.kind
}

/** `[null, T]`, in either order, and `[T]`. */
export function valueOfOptional(type: AvroType): { value: AvroType; nullIndex: number } | undefined {
  if (type.kind !== 'union' || type.branches.length > 2) return undefined
  const nullIndex = type.branches.findIndex(({ kind }) => kind === 'null')
  const values = type.branches.filter(({ kind }) => kind !== 'null')
  return values.length === 1 && (nullIndex >= 0 || type.branches.length === 1)
    ? { value: values[0], nullIndex }
    : undefined
}
