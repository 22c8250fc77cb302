/**
 * Where a query runs: with the small ones, or alone in a batch engine. Pure decisions; `engine-pool.ts` acts on them.
 *
 *   before it runs   by what it reads: many rows under an operator that keeps them, a great many of them, or many that
 *                    all go out to a program
 *   while it runs    one that takes long without having given a row is moved, sooner when others are there and a batch
 *                    engine is free
 *   after a failure  not enough memory among the small ones: it gets the larger share. The engine died with several in it:
 *                    each is run alone, so that the guilty one fails and nobody else
 */
import type { EngineQuery } from '../../lake/engine/engine.ts'
import { isMillraceError } from '../../schemas/errors.ts'

export type Reads = {
  readonly sql: string
  /** Rows of the row groups that it reads, or that it generates. */
  readonly rows: number
  readonly bytes: number
  readonly format?: EngineQuery['format']
}

const HEAVY_ROWS = 4_000_000
const HEAVY_ROWS_ANY = 40_000_000
const HEAVY_BYTES = 256 * 1024 ** 2

/** Operators that keep rows until the last one is read. Only a hint: what it takes for one costs a place in a queue. */
const KEEPS_ROWS =
  /\b(?:group\s+by|distinct|order\s+by|over\s*\(|over\s+\w|qualify|join|union|intersect|except|pivot|unpivot|list|array_agg|string_agg|group_concat|quantile\w*|median|mode|histogram|recursive)\b/i

/** Two row groups: there is next to nothing to share between threads. */
const SMALL_ROWS = 250_000

export function isSmall(rows: number): boolean {
  return rows <= SMALL_ROWS
}

/** So many rows out keep the thread busy that small questions share: writing a chunk delays each of their steps. */
const EXPORT_ROWS = 500_000
const MAKES_FEW_ROWS =
  /\b(?:group\s+by|limit\s+\d{1,5}\b|count|sum|avg|mean|min|max|arg_\w+|any_value|first|last|approx_\w+|stddev\w*|var_\w+|median|quantile\w*)\b/i

/** A format that programs read, of a statement that seems to give about as many rows as it reads. A hint as well. */
function isExport({ sql, rows, format }: Reads): boolean {
  if (format === undefined || format === 'json' || format === 'rows') return false
  return rows >= EXPORT_ROWS && !MAKES_FEW_ROWS.test(sql)
}

export function isHeavy(reads: Reads): boolean {
  const { sql, rows, bytes } = reads
  if (rows >= HEAVY_ROWS_ANY || bytes >= HEAVY_BYTES || isExport(reads)) return true
  return rows >= HEAVY_ROWS && KEEPS_ROWS.test(sql)
}

/** Statements that make rows out of nothing: what the catalog knows says nothing about them. */
export function mayGenerateRows(sql: string): boolean {
  return /\b(?:range|generate_series|repeat|unnest|recursive)\b/i.test(sql)
}

/** The largest number of rows between two operators, as DuckDB guesses it; 0 when it does not say. */
export function estimatedRows(plan: string): number {
  let most = 0
  for (const [, digits] of plan.matchAll(/"Estimated Cardinality":\s*"?~?([\d,]+)/g)) {
    most = Math.max(most, Number(digits.replaceAll(',', '')))
  }
  return most
}

export type Moment = {
  /** Since it began to run in the interactive engine. */
  readonly ranMs: number
  /** Others run or wait in the interactive lane. */
  readonly others: boolean
  readonly batchIsFree: boolean
  readonly queueIsFull: boolean
}

const PATIENCE_MS = 1_000
const PATIENCE_ALONE_MS = 5_000

export function shouldMove({ ranMs, others, batchIsFree, queueIsFull }: Moment): boolean {
  if (queueIsFull && !batchIsFree) return false
  return ranMs >= (others && batchIsFree ? PATIENCE_MS : PATIENCE_ALONE_MS)
}

/** What to do with a query that failed among the small ones, as long as nothing of its result was delivered. */
export function afterFailure(error: unknown): 'fail' | 'alone' | 'again' {
  if (!isMillraceError(error, 'engine-lost') && !isMillraceError(error, 'out-of-memory')) return 'fail'
  const { died } = error.facts
  // The engine itself said that memory did not suffice.
  if (died === undefined) return error.code === 'out-of-memory' ? 'alone' : 'fail'
  if (died === 'innocent') return 'again'
  return died === 'among-others' ? 'alone' : 'fail'
}
