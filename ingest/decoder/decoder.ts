/**
 * Bytes of one record → one row at the end of a batch builder. `json-decoder.ts` is compiled from the table's schema:
 * a byte scanner for the usual shape, a slow path for odd input that gives the same rows.
 */
import type { DEAD_LETTER_KINDS } from '../../lake/dead-letters/letters-filter.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { GeneralValue } from './general-value.ts'

/** Why a record could not become a row. `column` where one is to blame. */
export type DecodeFailure = {
  readonly reason: string
  readonly column: string | undefined
  /** What kind of reason it is; `value` when nothing else is said. */
  readonly kind?: DeadLetterKind
}

/**
 *   value      the bytes are not what the format says, or a value does not fit its column
 *   too-large  longer than `ingest.record.bytes.max`
 *   schema     no schema for the bytes, or one that the table does not take
 *   transform  a transform or a predicate refused the record
 *   key        the key or a header could not be read
 */
export type DeadLetterKind = (typeof DEAD_LETTER_KINDS)[number]

export type BatchBuilder = {
  readonly schema: TableSchema
  readonly rowCount: number
  /** Bytes of the rows so far, as they will be sealed: what a flush is decided by. 0 rows are near 0 bytes. */
  readonly bytes: number
  /** Memory the builder holds, room for coming rows included: what counts against a ceiling. Sealing adds `bytes`. */
  readonly allocatedBytes: number
  /**
   * Ends the row the decoder has just appended. `sourceIndex` from `sourceIndex()`; `offset` a safe integer;
   * `timestampMs` NaN for none; `arrivedMicros` a safe integer.
   */
  finishRow(sourceIndex: number, partition: number, offset: number, timestampMs: number, arrivedMicros: number): void
  /** The dictionary index of a `_source` text in this batch. */
  sourceIndex(source: string): number
  /** Slow, general way in (dead letters, tests): one value per user column. */
  appendValues(values: readonly GeneralValue[]): void
  /** Drops everything after the first `rows` rows (all-or-none HTTP bodies). */
  truncate(rows: number): void
  /** The rows as Arrow columns; the builder is empty afterwards and its buffers are not shared with the result. */
  seal(): MicroBatch
}

export type Decoder = {
  /**
   * Decodes `bytes[start, end)` into the builder's next row (user columns only; `finishRow` ends it). On failure the
   * builder is as before. Unknown keys are skipped and counted in `unknownKeys`.
   */
  decode(bytes: Uint8Array, start: number, end: number, builder: BatchBuilder): DecodeFailure | undefined
  readonly unknownKeys: number
}

export type CreateDecoder = (schema: TableSchema) => Decoder
export type CreateBatchBuilder = (schema: TableSchema) => BatchBuilder
