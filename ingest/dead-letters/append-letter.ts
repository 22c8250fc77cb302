/**
 * Records that could not become rows, kept whole with the reason (G-5): rows of `<table>__dead_letters`, committed in
 * the same transaction as the rows around them.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { userColumns } from '../../schemas/table-schema.ts'
import type { BatchBuilder, DecodeFailure } from '../decoder/decoder.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'

export type DeadLetter = {
  /** null for HTTP. */
  readonly topic: string | null
  readonly partition: number | null
  readonly offset: number
  readonly failure: DecodeFailure
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  /** As they lie in the record, their count first (`kafka/record-headers.ts`); null for none. */
  readonly headers?: Uint8Array | null
  readonly pipeline?: string
}

const REASON_CHARACTERS_MAX = 1000

/** Appends the letter's own columns, those that its table has; the caller ends the row with the record's source. */
export function appendDeadLetter(builder: BatchBuilder, letter: DeadLetter): void {
  const { failure } = letter
  const values: Readonly<Record<string, string | number | Uint8Array | null>> = {
    topic: letter.topic,
    partition: letter.partition,
    offset: letter.offset,
    reason: failure.reason.slice(0, REASON_CHARACTERS_MAX),
    column: failure.column ?? null,
    raw_key: letter.key,
    raw: letter.value,
    raw_headers: letter.headers ?? null,
    pipeline: letter.pipeline ?? null,
    kind: failure.kind ?? 'value',
  }
  builder.appendValues(userColumns(builder.schema).map(({ name }) => values[name] ?? null))
}

/** Headers of a record in a block; null when it has none. */
export function headersOf(block: RecordBlock, index: number): Uint8Array | null {
  const [start, end] = [block.headerStarts[index], block.headerEnds[index]]
  // No headers are one byte: their count, 0.
  return end - start > 1 ? block.bytes.subarray(start, end) : null
}

/** Of a record for a table whose columns nobody knows. */
export const NO_SCHEMA: DecodeFailure = {
  reason: 'no schema could be inferred: this is not a JSON object with fields',
  column: undefined,
  kind: 'schema',
}

export function tooLarge(bytes: number, bytesMax: number): DecodeFailure {
  return {
    reason: `record of ${bytes} bytes is larger than ingest.record.bytes.max (${bytesMax})`,
    column: undefined,
    kind: 'too-large',
  }
}

export function rowError(row: number, failure: DecodeFailure): MillraceError {
  return new MillraceError('row-invalid', `row ${row}: ${failure.reason}; no row of this request was taken`, {
    facts: { row, column: failure.column, reason: failure.reason, rows_taken: 0 },
  })
}
