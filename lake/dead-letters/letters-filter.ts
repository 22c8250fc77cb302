/**
 * Which dead letters are meant, as people say it: the same words for `millrace dead-letters`, its endpoint and its SQL. Pure.
 */
import { quoteText } from '../file-mapping.ts'

/** Why a record became one. */
export const DEAD_LETTER_KINDS = ['value', 'too-large', 'schema', 'transform', 'key'] as const

export type LettersFilter = {
  readonly pipeline?: string | undefined
  readonly topic?: string | undefined
  readonly partition?: number | undefined
  /** Half-open. */
  readonly fromOffset?: bigint | undefined
  readonly toOffset?: bigint | undefined
  /** A text in the reason, whatever its case. */
  readonly reason?: string | undefined
  readonly kind?: string | undefined
  readonly column?: string | undefined
  /** Of their arrival: microseconds. */
  readonly since?: bigint | undefined
  readonly until?: bigint | undefined
}

/** A place in the order of letters: `(_source, _partition, _offset)`. */
export type LetterPlace = { readonly source: string; readonly partition: number; readonly offset: bigint }

/** A condition over the rows of a table of dead letters. */
export function lettersWhere(filter: LettersFilter, after?: LetterPlace): string {
  const { pipeline, topic, partition, fromOffset, toOffset, reason, kind, column, since, until } = filter
  const conditions: string[] = []
  // Letters of before the column was there say nothing of their pipeline.
  if (pipeline !== undefined) conditions.push(`(pipeline = ${quoteText(pipeline)} OR pipeline IS NULL)`)
  if (topic !== undefined) conditions.push(`topic = ${quoteText(topic)}`)
  if (partition !== undefined) conditions.push(`_partition = ${partition}`)
  if (fromOffset !== undefined) conditions.push(`_offset >= ${fromOffset}`)
  if (toOffset !== undefined) conditions.push(`_offset < ${toOffset}`)
  if (reason !== undefined) conditions.push(`contains(lower(reason), lower(${quoteText(reason)}))`)
  if (kind !== undefined) conditions.push(`coalesce(kind, 'value') = ${quoteText(kind)}`)
  if (column !== undefined) conditions.push(`"column" = ${quoteText(column)}`)
  if (since !== undefined) conditions.push(`_arrived >= make_timestamptz(${since})`)
  if (until !== undefined) conditions.push(`_arrived < make_timestamptz(${until})`)
  if (after) {
    const place = `(${quoteText(after.source)}, ${after.partition}, ${after.offset})`
    conditions.push(`(_source, _partition, _offset) > ${place}`)
  }
  return conditions.length === 0 ? 'true' : conditions.join(' AND ')
}
