/**
 * Statements with a PIVOT whose columns are in the data. They are parsed with a place-holder for the values, which tells their
 * tables; when those are read, the values are asked one PIVOT after the other, of the same versions of the tables, and the
 * statement is parsed again with the values in it.
 */

import { MillraceError } from '../../schemas/errors.ts'
import { chainOrigins, errorInOriginal, joinPieces, type Origin, type Piece } from '../dialect/pieces.ts'
import {
  type DynamicPivot,
  firstDynamicPivot,
  mayPivot,
  PIVOT_VALUES_MAX,
  tokensOf,
  valuesSelect,
  withList,
  withoutValues,
} from '../dialect/pivot.ts'
import type { Token } from '../dialect/tokens.ts'

const PIVOTS_MAX = 20

type Text = { readonly text: string; readonly origin: Origin }

/** undefined: there is none. */
export function withPlaceholders(text: string): Text | undefined {
  if (!mayPivot(text)) return undefined
  let current: Text = { text, origin: (index) => ({ index, call: undefined }) }
  for (let round = 0; round < PIVOTS_MAX; round++) {
    const tokens = tokensOf(current.text)
    const pivot = firstDynamicPivot(current.text, tokens)
    if (!pivot) return round === 0 ? undefined : current
    current = changed(current, withoutValues(tokens, current.text, pivot))
  }
  throw new MillraceError('statement-refused', `more than ${PIVOTS_MAX} PIVOTs without their values`)
}

function changed({ text, origin }: Text, pieces: readonly Piece[]): Text {
  const next = joinPieces(text, pieces)
  return { text: next.text, origin: chainOrigins(origin, next.origin) }
}

/**
 * The text with the values in it. `valuesOf` parses and runs a SELECT of one text column; what goes wrong in it is told for
 * `sql`.
 */
export async function withPivotValues(
  sql: string,
  valuesOf: (select: string) => Promise<readonly string[]>,
): Promise<Text> {
  let current: Text = { text: sql, origin: (index) => ({ index, call: undefined }) }
  for (;;) {
    const tokens = tokensOf(current.text)
    const pivot = firstDynamicPivot(current.text, tokens)
    if (!pivot) return current
    const values = await askValues(sql, current, tokens, pivot, valuesOf)
    current = changed(current, withList(tokens, current.text, pivot, values))
  }
}

async function askValues(
  sql: string,
  current: Text,
  tokens: readonly Token[],
  pivot: DynamicPivot,
  valuesOf: (select: string) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const select = changed(current, valuesSelect(tokens, pivot))
  try {
    const values = await valuesOf(select.text)
    if (values.length <= PIVOT_VALUES_MAX) return values
    throw new MillraceError('query-invalid', `PIVOT: more than ${PIVOT_VALUES_MAX} columns; name the values with IN`)
  } catch (error) {
    throw errorInOriginal(error, sql, select.text, select.origin)
  }
}
