/**
 * What a table's rewrites take at once, after the engine ran out of memory for one of them: first the same files in a frugal
 * way, then fewer and fewer rows, down to a part of one file. After a while without trouble it takes more again, and waits longer
 * after each time that this was too early. A few numbers for each table that had trouble; forgotten at a restart. No I/O.
 */
export type MemoryStep = {
  readonly frugal: boolean
  /** Rows that a rewrite of several files takes, and that are sorted at once. */
  readonly rowsMax: number
}

export type MemorySteps = {
  of(tableId: number): MemoryStep
  /** A rewrite of so many rows did not fit. False when it cannot be made smaller. */
  lower(tableId: number, rows: number): boolean
  /** A rewrite worked. */
  calm(tableId: number): void
}

export const FULL_STEP: MemoryStep = { frugal: false, rowsMax: Number.POSITIVE_INFINITY }
const FEWER = 4
const CALM_FIRST = 8
const CALM_MOST = 1024

type TableSteps = {
  readonly step: MemoryStep
  /** Most rows that did not fit: a limit above it is none. */
  readonly rowsFailed: number
  readonly calm: number
  readonly calmNeeded: number
}

export function createMemorySteps(): MemorySteps {
  const tables = new Map<number, TableSteps>()

  return {
    of: (tableId) => tables.get(tableId)?.step ?? FULL_STEP,
    lower(tableId, rows) {
      const before = tables.get(tableId)
      const step = lowered(before?.step ?? FULL_STEP, rows)
      if (step === undefined) return false
      const calmNeeded = !before ? CALM_FIRST : before.calm === 0 ? before.calmNeeded : before.calmNeeded * 2
      tables.set(tableId, {
        step,
        rowsFailed: Math.max(rows, before?.rowsFailed ?? 0),
        calm: 0,
        calmNeeded: Math.min(CALM_MOST, calmNeeded),
      })
      return true
    },
    calm(tableId) {
      const table = tables.get(tableId)
      if (!table) return
      const calm = table.calm + 1
      const isDue = calm % table.calmNeeded === 0
      tables.set(tableId, { ...table, calm, step: isDue ? raised(table) : table.step })
    },
  }
}

function lowered({ frugal, rowsMax }: MemoryStep, rows: number): MemoryStep | undefined {
  if (!frugal) return { frugal: true, rowsMax }
  const tried = Math.min(rows, rowsMax)
  return tried <= 1 ? undefined : { frugal, rowsMax: Math.max(1, Math.floor(tried / FEWER)) }
}

function raised({ step: { frugal, rowsMax }, rowsFailed }: TableSteps): MemoryStep {
  if (rowsMax === Number.POSITIVE_INFINITY) return FULL_STEP
  const more = rowsMax * FEWER
  return { frugal, rowsMax: more > rowsFailed ? Number.POSITIVE_INFINITY : more }
}
