/**
 * A record between its converters and its table, as Connect's transforms see it. Records are never changed: a transform makes
 * a new one.
 */
import type { ConnectSchema } from './schema.ts'
import type { ConnectValue } from './values.ts'

export type ConnectHeader = {
  readonly name: string
  readonly schema: ConnectSchema | undefined
  readonly value: ConnectValue
}

export type ConnectRecord = {
  readonly topic: string
  readonly partition: number
  /** undefined: a key without a schema. */
  readonly keySchema: ConnectSchema | undefined
  readonly key: ConnectValue
  readonly valueSchema: ConnectSchema | undefined
  /** null: a tombstone. */
  readonly value: ConnectValue
  /** Milliseconds since 1970; undefined when the record has none. */
  readonly timestamp: number | undefined
  /** In order; names may occur more than once. */
  readonly headers: readonly ConnectHeader[]
  readonly offset: bigint
}
