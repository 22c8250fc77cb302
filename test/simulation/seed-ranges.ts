/**
 * Many runs on all cores: ranges of seeds are given to worker threads, one after the other, until all are done or one has
 * found something. Which worker runs which seed makes no difference to a run.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

export type RangeRequest = {
  readonly first: number
  readonly count: number
  /** The name of a planted bug; the range ends with the first seed that finds it. */
  readonly bug: string | undefined
}

export type Failure = { readonly seed: number; readonly violations: readonly string[] }

export type RangeReport = {
  readonly runs: number
  readonly failures: readonly Failure[]
  readonly tallies: ReadonlyMap<string, number>
  /** Of every run, in order of seeds. */
  readonly hashes: readonly string[]
}

export type SeedRanges = {
  run(request: RangeRequest): Promise<RangeReport>
  /** Everything from `first` on, shared out. */
  runAll(first: number, count: number): Promise<RangeReport>
  close(): Promise<void>
}

const RANGE = 100
const FAILURES_MAX = 5

export function startSeedRanges(workers = Math.max(2, availableParallelism())): SeedRanges {
  const idle: Worker[] = []
  const waiting: ((worker: Worker) => void)[] = []
  const all = Array.from({ length: workers }, () => new Worker(new URL('./seed-worker.ts', import.meta.url)))
  idle.push(...all)

  async function run(request: RangeRequest): Promise<RangeReport> {
    const worker = idle.pop() ?? (await new Promise<Worker>((resolve) => waiting.push(resolve)))
    try {
      return await ask(worker, request)
    } finally {
      const next = waiting.shift()
      if (next) next(worker)
      else idle.push(worker)
    }
  }

  async function runAll(first: number, count: number): Promise<RangeReport> {
    const tallies = new Map<string, number>()
    const failures: Failure[] = []
    const hashes: string[] = []
    let runs = 0
    let next = first
    const lane = async () => {
      while (next < first + count && failures.length < FAILURES_MAX) {
        const from = next
        next = Math.min(first + count, from + RANGE)
        const report = await run({ first: from, count: next - from, bug: undefined })
        runs += report.runs
        failures.push(...report.failures)
        report.hashes.forEach((hash, i) => {
          hashes[from - first + i] = hash
        })
        for (const [what, by] of report.tallies) tallies.set(what, (tallies.get(what) ?? 0) + by)
      }
    }
    await Promise.all(all.map(lane))
    return { runs, failures, tallies, hashes }
  }

  return {
    run,
    runAll,
    async close() {
      await Promise.all(all.map((worker) => worker.terminate()))
    },
  }
}

function ask(worker: Worker, request: RangeRequest): Promise<RangeReport> {
  return new Promise((resolve, reject) => {
    const done = () => {
      worker.off('message', onMessage)
      worker.off('error', onError)
    }
    const onMessage = (report: RangeReport) => {
      done()
      resolve(report)
    }
    const onError = (error: Error) => {
      done()
      reject(error)
    }
    worker.on('message', onMessage)
    worker.on('error', onError)
    worker.postMessage(request)
  })
}
