/**
 * How a rewrite stays within the memory of its engine, whatever its rows are: a pure decision. DuckDB spills what it sorts, but
 * three things must fit, and none of them is counted in rows alone (measured with 1.5.6):
 *
 *   a row group           is held unpacked, while it is written and by every reader of the file; so it is bounded by bytes
 *   a merge of the sort   holds 122,880 rows a thread; of wide rows it is made to take 2,048 at once instead
 *   a vector              2,048 rows, held several times. Rows of which that is too much are sorted in parts, each of which fits
 *                         as it is, and the parts put into one file: every row group of it is sorted, the file is not
 *
 * What ran out of memory all the same is tried again `frugal`, with one thread and smaller row groups, and then with a quarter
 * of their bytes at once (`memory-steps.ts`).
 */
import type { MemoryStep } from './memory-steps.ts'

export type CopyLimits = {
  readonly threads: number
  readonly rowGroupRows: number
  readonly mergesFewRows: boolean
  /** More rows than this are sorted in parts. */
  readonly sortRowsMax: number
}

/** More rows bring nothing, fewer cost bytes and CPU: 20k, 123k and 1M rows a group take 49.0, 47.5 and 44.5 MB. */
const ROW_GROUP_ROWS = 122_880
const ROW_GROUP_ROWS_MIN = 16
const MERGE_ROWS = 122_880
const VECTOR_ROWS = 2048
const ROW_GROUP_RATIO = 1 / 16
const FRUGAL_ROW_GROUP_RATIO = 1 / 128
const MERGE_RATIO = 1 / 4
const VECTOR_RATIO = 1 / 16
/** Of rows so wide that no vector of them fits: 40 MB at 100 kB a row took 167 of 256 MiB, half of that 85. */
const WIDE_SORT_RATIO = 1 / 12

export function copyLimits(options: {
  /** Of one row, unpacked. */
  readonly rowBytes: number
  readonly memoryBytes: number
  readonly threads: number
  readonly step: MemoryStep
}): CopyLimits {
  const { rowBytes, memoryBytes, step } = options
  const isWide = rowBytes * VECTOR_ROWS > memoryBytes * VECTOR_RATIO
  const threads = step.frugal || isWide ? 1 : options.threads
  const groupRows = Math.floor((memoryBytes * (step.frugal ? FRUGAL_ROW_GROUP_RATIO : ROW_GROUP_RATIO)) / rowBytes)
  const sortBytes = Math.min(step.bytesMax, isWide ? memoryBytes * WIDE_SORT_RATIO : Number.POSITIVE_INFINITY)
  return {
    threads,
    rowGroupRows: Math.min(ROW_GROUP_ROWS, Math.max(ROW_GROUP_ROWS_MIN, wholeVectors(groupRows))),
    mergesFewRows: step.frugal || rowBytes * MERGE_ROWS * threads > memoryBytes * MERGE_RATIO,
    sortRowsMax: Math.max(1, Math.floor(sortBytes / rowBytes)),
  }
}

function wholeVectors(rows: number): number {
  return rows < VECTOR_ROWS ? rows : rows - (rows % VECTOR_ROWS)
}
