/**
 * Records that could not become rows, kept whole with the reason (G-5): rows of `<table>__dead_letters`, committed in
 * the same transaction as the rows around them.
 */
import { MillraceError } from '../schemas/errors.ts'
import type { BatchBuilder, DecodeFailure } from './decoder/decoder.ts'

export type DeadLetter = {
  /** null for HTTP. */
  readonly topic: string | null
  readonly partition: number | null
  readonly offset: number
  readonly failure: DecodeFailure
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
}

const REASON_CHARACTERS_MAX = 1000

/** Appends the letter's own columns; the caller ends the row with the record's source. */
export function appendDeadLetter(builder: BatchBuilder, letter: DeadLetter): void {
  builder.appendValues([
    letter.topic,
    letter.partition,
    letter.offset,
    letter.failure.reason.slice(0, REASON_CHARACTERS_MAX),
    letter.failure.column ?? null,
    letter.key,
    letter.value,
  ])
}

/** Of a record for a table whose columns nobody knows. */
export const NO_SCHEMA: DecodeFailure = {
  reason: 'no schema could be inferred: this is not a JSON object with fields',
  column: undefined,
}

export function tooLarge(bytes: number, bytesMax: number): DecodeFailure {
  return {
    reason: `record of ${bytes} bytes is larger than ingest.record.bytes.max (${bytesMax})`,
    column: undefined,
  }
}

export function rowError(row: number, failure: DecodeFailure): MillraceError {
  return new MillraceError('row-invalid', `row ${row}: ${failure.reason}; no row of this request was taken`, {
    facts: { row, column: failure.column, reason: failure.reason, rows_taken: 0 },
  })
}
