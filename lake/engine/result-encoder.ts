/** Result chunks (at most 2,048 rows, column by column) as bytes of a format. */
import type { DuckDBDataChunk } from '@duckdb/node-api'

export type ResultEncoder = {
  /** Bytes before the first row; undefined when there are none. */
  begin(): Uint8Array | undefined
  /** The bytes may be used again for the next chunk: copy or send them before. */
  encode(chunk: DuckDBDataChunk, rowCount: number): Uint8Array
  /** Bytes after the last row. */
  end(): Uint8Array | undefined
}
