/**
 * DuckDB in a process of its own. The service talks to it over an IPC channel; killing it fails only what runs in it.
 * This folder is the one door to DuckDB's bindings; `engine-process.ts` is the child, `create-engine.ts` the parent.
 */
export type EngineSettings = {
  readonly name: string
  readonly memoryBytes: number
  readonly threads: number
  /** Of this engine alone: a query engine empties it when it starts. */
  readonly spillFolder: string
  readonly spillBytes: number
  /** Folders the engine may read (and, for the compactor's engine, write). */
  readonly folders: readonly string[]
  /** A query engine refuses to write; a compaction engine may COPY. */
  readonly mode: 'query' | 'compaction'
  /** Run once in the new database, before anybody asks anything: schemas, views. Ours, trusted. */
  readonly prepare?: readonly string[]
  /** Nice value of the process: above 0, it gives way to others. */
  readonly nice?: number
}

export type ResultColumn = { readonly name: string; readonly type: string }

export type ResultFormat = 'json' | 'jsonl' | 'csv' | 'tsv' | 'arrow' | 'parquet'

/** Of a running query, as DuckDB estimates it. */
export type EngineProgress = {
  /** 0 to 100; undefined where it cannot tell. */
  readonly percent: number | undefined
  /** Rows that its scans have gone through. */
  readonly rowsScanned: number
  /** Rows of the result so far. */
  readonly rows: number
}

export type EngineQuery = {
  readonly queryId: string
  /** Run first on the same connection: temp views over files, SET TimeZone, … Ours, trusted. */
  readonly setup: readonly string[]
  /** The user's statement. */
  readonly sql: string
  readonly params: readonly unknown[] | Readonly<Record<string, unknown>>
  readonly format: ResultFormat | 'rows'
  /** In `json` and `jsonl`, 64-bit and wider integers and decimals as numbers rather than text. Default false. */
  readonly wideNumbers?: boolean
  readonly rowsMax: number
  readonly bytesMax: number
  readonly timeoutMs: number
  /** It reads few rows: a second thread would gain nothing. */
  readonly isSmall?: boolean
}

export type EngineResult = {
  readonly columns: readonly ResultColumn[]
  readonly rowCount: number
  readonly truncated: boolean
}

export type Engine = {
  /** Encoded result chunks in order through `onChunk` (awaited: back-pressure); format `rows` gives arrays of values instead. */
  query(
    query: EngineQuery,
    handlers: {
      onColumns?(columns: readonly ResultColumn[]): void | Promise<void>
      onChunk(chunk: Uint8Array): void | Promise<void>
      onRows?(rows: readonly (readonly unknown[])[]): void | Promise<void>
      /** Now and then, while it changes. */
      onProgress?(progress: EngineProgress): void
    },
    signal?: AbortSignal,
  ): Promise<EngineResult>
  /** Trusted statements of ours; resolves with all rows as objects (bigint for 64-bit integers). */
  run(sql: string, options?: { readonly signal?: AbortSignal }): Promise<readonly Readonly<Record<string, unknown>>[]>
  /** SIGKILL; running queries fail with `engine-lost`; the next call starts a new process. */
  kill(): void
  close(): Promise<void>
}
