/**
 * How the memory, threads and spill space of the settings are shared by the engine processes: one interactive engine for
 * all small questions, and batch engines that run one heavy query each. Together they keep to `query.memory` and
 * `query.spill.bytes`.
 *
 * Small questions need little: a quarter, at most 1 GiB, and half where there is next to nothing. The batch engines share
 * the rest. Each may use all threads: the machine's scheduler shares cores better than fixed parts do, and batch engines
 * run at a lower priority (`BATCH_NICE`).
 */
export type EngineShare = {
  readonly name: string
  readonly memoryBytes: number
  readonly spillBytes: number
  readonly threads: number
  /** Added to the process's nice value. */
  readonly nice: number
}

export type EngineShares = { readonly interactive: EngineShare; readonly batch: readonly EngineShare[] }

export type SharedSettings = {
  readonly memoryBytes: number
  readonly threads: number
  readonly spillBytes: number
  /** Undefined: by the memory. */
  readonly batchConcurrentMax: number | undefined
}

const MiB = 1024 ** 2
const INTERACTIVE_SHARE = 0.25
const INTERACTIVE_MIN_BYTES = 128 * MiB
const INTERACTIVE_MAX_BYTES = 1024 * MiB
/** Without a setting, so much memory makes one more batch engine. */
const BATCH_BYTES = 768 * MiB
const BATCH_ENGINES_MAX = 4
/** About a tenth of the weight of the interactive engine when both want the same core. */
const BATCH_NICE = 10

export function engineShares({ memoryBytes, threads, spillBytes, batchConcurrentMax }: SharedSettings): EngineShares {
  const wanted = Math.min(INTERACTIVE_MAX_BYTES, Math.max(memoryBytes * INTERACTIVE_SHARE, INTERACTIVE_MIN_BYTES))
  const interactiveBytes = Math.floor(Math.min(wanted, memoryBytes / 2))
  const rest = memoryBytes - interactiveBytes
  const count = batchConcurrentMax ?? Math.min(BATCH_ENGINES_MAX, Math.max(1, Math.floor(rest / BATCH_BYTES)))
  const interactiveSpill = Math.floor(spillBytes * INTERACTIVE_SHARE)
  return {
    interactive: { name: 'interactive', memoryBytes: interactiveBytes, spillBytes: interactiveSpill, threads, nice: 0 },
    batch: Array.from({ length: count }, (_, index) => ({
      name: `batch-${index + 1}`,
      memoryBytes: Math.floor(rest / count),
      spillBytes: Math.floor((spillBytes - interactiveSpill) / count),
      threads,
      nice: BATCH_NICE,
    })),
  }
}
