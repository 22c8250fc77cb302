/**
 * The compactor's day: look at every table now and then, do what its plan says until there is nothing left, sweep.
 * A table that fails is left alone for a growing while, so that one damaged file does not stop the others; health says
 * which and why.
 */

import type { Catalog, Table } from '../lake/catalog/catalog.ts'
import type { World } from '../runtime/world.ts'
import { asMillraceError } from '../schemas/errors.ts'
import type { SweepReport } from './sweep.ts'
import type { TableWorker, WorkDone } from './table-worker.ts'

export type LoopSettings = {
  readonly intervalMs: number
  readonly sweepIntervalMs: number
  /** How often the reader row goes forward, also during a long rewrite. */
  readonly readerRefreshMs?: number
}

export type CompactionLoop = {
  /** Everything due, now: for tests, and for the end of the demo. Returns what was done. */
  once(): Promise<readonly WorkDone[]>
  start(): void
  /** Ends after the commit under way. */
  stop(): Promise<void>
}

const TURNS_PER_TABLE_MAX = 20
const READER_REFRESH_MS = 5_000
/** What is away is asked for again soon after it is back; what is damaged stays so. */
const FAILURE_WAIT_MS = { first: 1000, mostAway: 5_000, most: 60_000 }

export function createCompactionLoop(components: {
  catalog: Catalog
  world: World
  worker: TableWorker
  sweep: () => Promise<SweepReport>
  settings: LoopSettings
  onDone(table: string, done: WorkDone, seconds: number): void
  onSwept(report: SweepReport): void
  /** The reason a table (or the sweep) fails, or undefined when it does not any more. */
  onHealth(part: string, reason: string | undefined): void
  onFatal(error: unknown): void
}): CompactionLoop {
  const { catalog, world, worker, settings } = components
  const failures = new Map<string, { count: number; retryAtMs: number }>()
  let stopping: AbortController | undefined
  let running: Promise<unknown> | undefined

  /** false when the process may not go on. */
  async function guarded(part: string, run: () => Promise<void>): Promise<boolean> {
    const failed = failures.get(part)
    if (failed && world.clock.monotonicMs() < failed.retryAtMs) return true
    try {
      await run()
      if (failed) components.onHealth(part, undefined)
      failures.delete(part)
      return true
    } catch (thrown) {
      const error = asMillraceError(thrown)
      if (error.code === 'writer-fenced' || error.code === 'catalog-older') {
        components.onFatal(error)
        return false
      }
      const count = (failed?.count ?? 0) + 1
      const most = error.kind === 'unavailable' ? FAILURE_WAIT_MS.mostAway : FAILURE_WAIT_MS.most
      const wait = Math.min(most, FAILURE_WAIT_MS.first * 2 ** (count - 1))
      failures.set(part, { count, retryAtMs: world.clock.monotonicMs() + wait })
      components.onHealth(part, error.message)
      world.log.error('compaction failed; it is tried again', { part, waitMs: wait, error: thrown })
      return true
    }
  }

  async function workOn(table: Table, done: WorkDone[]): Promise<void> {
    for (let turns = 0; turns < TURNS_PER_TABLE_MAX; turns += 1) {
      if (stopping?.signal.aborted) return
      const started = world.clock.monotonicMs()
      const result = await worker.turn(table)
      if (result === undefined) return
      if (result === 'conflict') continue
      done.push(result)
      components.onDone(table.name, result, (world.clock.monotonicMs() - started) / 1000)
    }
  }

  async function once(): Promise<readonly WorkDone[]> {
    const done: WorkDone[] = []
    let tables: readonly Table[] = []
    const alive = await guarded('catalog', async () => {
      tables = await catalog.listTables()
    })
    if (!alive) return done
    for (const table of tables) {
      if (stopping?.signal.aborted) break
      if (!(await guarded(`table ${table.name}`, () => workOn(table, done)))) break
    }
    return done
  }

  async function run(signal: AbortSignal): Promise<void> {
    let nextSweepMs = world.clock.monotonicMs()
    while (!signal.aborted) {
      await once()
      if (!signal.aborted && world.clock.monotonicMs() >= nextSweepMs) {
        nextSweepMs = world.clock.monotonicMs() + settings.sweepIntervalMs
        await guarded('sweep', async () => {
          // What this process read until now must not hold back its own sweep.
          await worker.refresh()
          components.onSwept(await components.sweep())
        })
      }
      await world.clock.sleep(settings.intervalMs, signal).catch(() => {})
    }
  }

  async function refreshReader(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await world.clock.sleep(settings.readerRefreshMs ?? READER_REFRESH_MS, signal).catch(() => {})
      if (signal.aborted) return
      await worker.refresh().catch((error: unknown) => {
        world.log.warn('the reader row could not be refreshed; it is tried again', { error })
      })
    }
  }

  return {
    once,
    start() {
      stopping = new AbortController()
      running = Promise.all([run(stopping.signal), refreshReader(stopping.signal)])
    },
    async stop() {
      stopping?.abort()
      await running
      await worker.close().catch((error: unknown) => {
        world.log.warn('the reader row stays behind until it is forgotten', { error })
      })
    },
  }
}
