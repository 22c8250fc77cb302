/**
 * The life of a service process: start, tell that it is ready, stop in order.
 *
 *   SIGTERM, SIGINT     the stop steps run one after the other, the latest registered first, within `shutdown.ms`
 *   a second signal     ends at once, exit code 1
 *   steps out of time   ends, exit code 1
 *   clean               exit code 0
 *   start fails         exit code 1, the error is logged (settings: shown as they are)
 *   unhandled error     logged, exit code 70: state in memory can no longer be trusted; the catalog can
 *   fenced              exit code 75, from the service itself: it may commit nothing more; started again it is a new writer
 *
 * A process with a channel to its parent (`millrace up`) tells it when it is ready and stops when the parent is gone.
 */
import type { Settings } from '../schemas/settings.ts'
import type { World } from './world.ts'

export type StopStep = { readonly name: string; readonly stop: () => Promise<void> | void }

export type Life = {
  /** Registered in the order things start; they stop in the opposite order. */
  onStop(name: string, stop: () => Promise<void> | void): void
  /** Aborts when the first stop signal arrives. */
  readonly stopping: AbortSignal
}

export type RunOptions = {
  readonly name: string
  readonly settings: Pick<Settings, 'shutdownMs'>
  readonly world: World
  /** Resolves when the service is ready; the text is its URL. */
  readonly start: (life: Life) => Promise<string>
}

export type ReadyMessage = { readonly type: 'ready'; readonly name: string; readonly url: string }

/** A writer that may not commit any more. A supervisor starts the process again, under a new writer id. */
export const EXIT_FENCED = 75

const EXIT_UNCLEAN = 1
const EXIT_BUG = 70

/** Ends the process; resolves never. */
export async function runService(options: RunOptions): Promise<never> {
  const { name, world } = options
  const log = world.log
  const steps: StopStep[] = []
  const stopping = new AbortController()
  let started: Promise<string> | undefined

  const broken = (error: unknown) => {
    log.error('unhandled error, stopping at once', { error })
    process.exit(EXIT_BUG)
  }
  process.on('uncaughtException', broken)
  process.on('unhandledRejection', broken)

  const stop = async (reason: string) => {
    if (stopping.signal.aborted) {
      log.warn('second stop signal, stopping at once', { reason })
      process.exit(EXIT_UNCLEAN)
    }
    log.info('stopping', { reason })
    stopping.abort()
    // A start that is still under way registers its steps first; the time for both is the same.
    const clean = await withinTime(world, options.settings.shutdownMs, async () => {
      await started?.catch(() => {})
      return runStopSteps(steps, log)
    })
    if (clean === undefined) log.error('stop took too long', { shutdownMs: options.settings.shutdownMs })
    else if (clean) log.info('stopped')
    process.exit(clean ? 0 : EXIT_UNCLEAN)
  }
  process.on('SIGTERM', () => void stop('SIGTERM'))
  process.on('SIGINT', () => void stop('SIGINT'))
  if (process.send) process.on('disconnect', () => void (stopping.signal.aborted || stop('parent is gone')))

  try {
    started = options.start({
      onStop: (step, run) => void steps.push({ name: step, stop: run }),
      stopping: stopping.signal,
    })
    const url = await started
    if (!stopping.signal.aborted) {
      log.info('ready', { url })
      const message: ReadyMessage = { type: 'ready', name, url }
      process.send?.(message)
    }
  } catch (error) {
    if (!stopping.signal.aborted) {
      log.error('start failed', { error })
      await withinTime(world, options.settings.shutdownMs, () => runStopSteps(steps, log))
      process.exit(EXIT_UNCLEAN)
    }
  }
  // Until a signal ends the process: also when nothing else keeps it alive.
  const alive = setInterval(() => {}, 2 ** 30)
  return new Promise<never>(() => void alive)
}

/** Runs every step, also after one failed; true when all went well. */
export async function runStopSteps(steps: readonly StopStep[], log: World['log']): Promise<boolean> {
  let clean = true
  for (const step of steps.toReversed()) {
    try {
      await step.stop()
    } catch (error) {
      clean = false
      log.error('stop step failed', { step: step.name, error })
    }
  }
  return clean
}

async function withinTime<T>(world: World, ms: number, run: () => Promise<T>): Promise<T | undefined> {
  const timer = new AbortController()
  const late = world.clock.sleep(ms, timer.signal).then(
    () => undefined,
    () => undefined,
  )
  try {
    return await Promise.race([run(), late])
  } finally {
    timer.abort()
  }
}
