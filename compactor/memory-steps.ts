/**
 * What a table's rewrites take at once, after the engine ran out of memory for one of them: first the same files in a frugal
 * way, then fewer and fewer bytes of rows, down to a part of one file. After a while without trouble it takes more again, and waits longer
 * after each time that this was too early. A few numbers for each table that had trouble; forgotten at a restart. No I/O.
 */
export type MemoryStep = {
  readonly frugal: boolean
  /** Of unpacked rows: what a rewrite of several files takes, and what is sorted at once. */
  readonly bytesMax: number
}

export type MemorySteps = {
  of(tableId: number): MemoryStep
  /** So many rows, as wide as the last ones were. */
  rowsMax(tableId: number): number
  /** A rewrite of so many rows did not fit. False when it cannot be made smaller. */
  lower(tableId: number, rows: number, rowBytes?: number): boolean
  /** A rewrite worked. */
  calm(tableId: number, rowBytes?: number): void
}

export const FULL_STEP: MemoryStep = { frugal: false, bytesMax: Number.POSITIVE_INFINITY }
const FEWER = 4
const CALM_FIRST = 8
const CALM_MOST = 1024
/** When memory ran out before rows were measured. */
const ROW_BYTES_GUESSED = 1024

type TableSteps = {
  readonly step: MemoryStep
  readonly rowBytes: number
  /** Most that did not fit: a limit above it is none. */
  readonly bytesFailed: number
  readonly calm: number
  readonly calmNeeded: number
}

export function createMemorySteps(): MemorySteps {
  const tables = new Map<number, TableSteps>()

  return {
    of: (tableId) => tables.get(tableId)?.step ?? FULL_STEP,
    rowsMax(tableId) {
      const { step, rowBytes } = tables.get(tableId) ?? { step: FULL_STEP, rowBytes: 1 }
      return Math.max(1, Math.floor(step.bytesMax / rowBytes))
    },
    lower(tableId, rows, rowBytes = tables.get(tableId)?.rowBytes ?? ROW_BYTES_GUESSED) {
      const before = tables.get(tableId)
      const bytes = rows * rowBytes
      const step = lowered(before?.step ?? FULL_STEP, bytes, rowBytes)
      if (step === undefined) return false
      const calmNeeded = !before ? CALM_FIRST : before.calm === 0 ? before.calmNeeded : before.calmNeeded * 2
      tables.set(tableId, {
        step,
        rowBytes,
        bytesFailed: Math.max(bytes, before?.bytesFailed ?? 0),
        calm: 0,
        calmNeeded: Math.min(CALM_MOST, calmNeeded),
      })
      return true
    },
    calm(tableId, rowBytes) {
      const table = tables.get(tableId)
      if (!table) return
      const calm = table.calm + 1
      const step = calm % table.calmNeeded === 0 ? raised(table) : table.step
      tables.set(tableId, { ...table, calm, step, rowBytes: rowBytes ?? table.rowBytes })
    },
  }
}

function lowered({ frugal, bytesMax }: MemoryStep, bytes: number, rowBytes: number): MemoryStep | undefined {
  if (!frugal) return { frugal: true, bytesMax }
  const tried = Math.min(bytes, bytesMax)
  return tried <= rowBytes ? undefined : { frugal, bytesMax: Math.max(rowBytes, tried / FEWER) }
}

function raised({ step: { frugal, bytesMax }, bytesFailed }: TableSteps): MemoryStep {
  if (bytesMax === Number.POSITIVE_INFINITY) return FULL_STEP
  const more = bytesMax * FEWER
  return { frugal, bytesMax: more > bytesFailed ? Number.POSITIVE_INFINITY : more }
}
