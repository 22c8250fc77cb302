/** What goes in and what comes out. */

/** A value of a result: 64-bit integers and decimals are text unless asked for otherwise, lists and structs are nested. */
export type Value = null | boolean | number | string | bigint | readonly Value[] | { readonly [name: string]: Value }

/** Exactly this SQL type: `{ type: 'DECIMAL(18,2)', value: '1.50' }`. */
export type TypedParam = { readonly type: string; readonly value: unknown }

export type Param = null | boolean | number | string | bigint | Date | Uint8Array | readonly Param[] | TypedParam

/** An array for `$1`, `$2`, …; an object for `$name`. */
export type Params = readonly Param[] | { readonly [name: string]: Param }

export type Offset = number | bigint | string

/** A version that a write was answered with, or offsets of records by topic and partition as Kafka gave them. */
export type WaitFor =
  | Offset
  | {
      readonly version?: Offset
      readonly offsets?: { readonly [topic: string]: { readonly [partition: string]: Offset } }
    }

export type QueryOptions = {
  readonly params?: Params
  /** Aborting it cancels the query. */
  readonly signal?: AbortSignal
  /** Lower than the service's own limits. */
  readonly timeoutMs?: number
  readonly maxRows?: number
  readonly timezone?: string
  /** An id of your own, to look at the query and to cancel it. */
  readonly queryId?: string
  readonly priority?: 'interactive' | 'batch'
  /** Earlier versions of tables. */
  readonly atVersion?: { readonly [table: string]: Offset }
  /** Read your own writes: wait until the tables have them. */
  readonly waitFor?: { readonly [table: string]: WaitFor }
  /** How 64-bit and wider integers come, also in lists. Default `string`; decimals stay text unless `number`. */
  readonly int64?: 'string' | 'bigint' | 'number'
}

export type ClientOptions = {
  /** Of the query service: `http://127.0.0.1:8080`. */
  readonly url: string
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Default: the global one. */
  readonly fetch?: typeof fetch
}

export type Column = { readonly name: string; readonly type: string }

/** A table as the query saw it. */
export type TableSeen = {
  readonly name: string
  readonly version: bigint
  /** Since its slowest source was current; undefined before the first time. */
  readonly freshnessMs: number | undefined
}

export type Stats = {
  readonly elapsedMs: number
  readonly rows: number
  readonly files: number
  readonly filesPruned: number
  readonly bytesNeeded: number
  readonly bytesFetched: number
}

export type TableInfo = {
  readonly name: string
  readonly version: string
  readonly freshness_ms: number | null
  readonly columns: number
  readonly segments_live: number
}

export type QueryStatus = {
  readonly query_id: string
  readonly sql: string
  readonly state: 'waiting' | 'planning' | 'running' | 'cancelling' | 'finished' | 'failed' | 'cancelled'
  readonly elapsed_ms: number
  readonly progress?: number | null
  readonly rows: number | null
  readonly bytes_sent: number
}
