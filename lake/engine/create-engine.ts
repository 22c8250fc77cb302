/**
 * The parent's side of an engine: starts the process when it is first needed, hands out queries, and makes sure that
 * none outlives its time or eats the machine.
 *
 *   cancel or timeout   ask the engine to interrupt; after `CANCEL_GRACE_MS` without an answer, SIGKILL
 *   memory              DuckDB keeps to its own limit mostly; some functions do not (a list of 10⁹ numbers). The process's
 *                       resident memory is watched, and far above the limit it is killed; its queries fail `out-of-memory`
 *   back-pressure       the engine holds a few chunks in flight; every consumed chunk gives a credit back
 *   death               all running queries fail with `engine-lost`; the next call starts a new process. The fact `died` says
 *                       to each of them whose fault it was: the `culprit` did not obey a cancel; it may be who was `alone` in it or
 *                       `among-others`; `innocent`: ended because of another one, or dead before this one began
 *
 * Killing an engine fails only its own queries; nothing but them lives in it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { getCompileCacheDir } from 'node:module'
import { setPriority } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { World } from '../../runtime/world.ts'
import { type ErrorCode, MillraceError } from '../../schemas/errors.ts'
import type { Engine, EngineProgress, EngineQuery, EngineResult, EngineSettings, ResultColumn } from './engine.ts'
import type { EngineFailure, FromEngine, ToEngine } from './engine-messages.ts'

const CANCEL_GRACE_MS = 2_000
const MEMORY_WATCH_MS = 100
/** Beyond DuckDB's limit: Node, buffers of results, what its allocator holds back. */
const MEMORY_SLACK_BYTES = { query: 512 * 1024 * 1024, compaction: 768 * 1024 * 1024 }
const MEMORY_SLACK_RATIO = 1.25
const PAGE_BYTES = 4096
/** A call that is younger than this when its process turns out dead was sent to a dying process. */
const YOUNG_MS = 200
/** Threads of libuv in the engine: each running statement holds one. */
const POOL_THREADS = 64

type Handlers = {
  onColumns?(columns: readonly ResultColumn[]): void | Promise<void>
  onChunk?(chunk: Uint8Array): void | Promise<void>
  onRows?(rows: readonly (readonly unknown[])[]): void | Promise<void>
  onProgress?(progress: EngineProgress): void
}

type Call = {
  readonly handlers: Handlers
  readonly resolve: (value: EngineResult | readonly Readonly<Record<string, unknown>>[]) => void
  readonly reject: (error: unknown) => void
  readonly startedMs: number
  /** Deliveries to the handlers, one after the other. */
  delivered: Promise<void>
  /** Why we stopped it ourselves: what the caller then gets instead of the engine's `query-cancelled`. */
  stopped: MillraceError | undefined
  grace: NodeJS.Timeout | undefined
}

type Process = {
  readonly child: ChildProcess
  readonly ready: Promise<void>
  readonly calls: Map<number, Call>
  watch: NodeJS.Timeout | undefined
  /** Why it was killed, if we did it. */
  reason: KillReason | undefined
}

type KillReason = {
  readonly code: ErrorCode
  readonly message: string
  /** The call that made us do it, when one is known. */
  readonly culprit?: number
}

export function createEngine({ settings, world }: { settings: EngineSettings; world: World }): Engine {
  const log = world.log.child({ engine: settings.name })
  let current: Process | undefined
  let closed = false
  let nextId = 1

  function startProcess(): Process {
    const child = fork(fileURLToPath(new URL('./engine-process.ts', import.meta.url)), [], {
      serialization: 'advanced',
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: engineEnvironment(),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    if (settings.nice !== undefined && child.pid !== undefined) lowerPriority(child.pid, settings.nice)
    const calls = new Map<number, Call>()
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
    ready.catch(() => {})
    const started: Process = { child, ready, calls, watch: undefined, reason: undefined }
    child.on('message', (message: FromEngine) => {
      if (message.kind === 'ready') resolve()
      else if (message.kind === 'unusable') reject(errorOf(message.failure))
      else receive(started, message)
    })
    const lost = (detail: string) => {
      if (current === started) current = undefined
      clearInterval(started.watch)
      const { code, message, culprit }: KillReason = started.reason ?? {
        code: 'engine-lost',
        message: `the engine process ended (${detail}) before the statement was over; try again`,
      }
      reject(new MillraceError(code, message))
      const now = world.clock.monotonicMs()
      const isAlone = calls.size === 1
      for (const [id, call] of calls) {
        clearTimeout(call.grace)
        const wasDying = started.reason === undefined && now - call.startedMs < YOUNG_MS
        const isInnocent = wasDying || (culprit !== undefined && culprit !== id)
        const died = isInnocent ? 'innocent' : culprit === id ? 'culprit' : isAlone ? 'alone' : 'among-others'
        const shown = call.stopped ?? { code, message, facts: {} }
        // Who was stopped for reasons of its own hears those, whatever then happened to the process.
        const facts = call.stopped && died !== 'culprit' ? call.stopped.facts : { ...shown.facts, died }
        call.reject(new MillraceError(shown.code, shown.message, { facts, cause: call.stopped }))
      }
      if (calls.size > 0 || started.reason === undefined) log.warn('engine lost', { detail, code, running: calls.size })
      calls.clear()
    }
    child.on('error', (error) => lost(error.message))
    child.on('exit', (code, signal) => lost(signal ?? `code ${code}`))
    tell(started, { kind: 'start', settings })
    watchMemory(started)
    return started
  }

  function tell(target: Process, message: ToEngine): void {
    // A send to a process that just died fails; its `exit` event fails the calls.
    if (target.child.connected) target.child.send(message, () => {})
  }

  function watchMemory(target: Process): void {
    const { pid } = target.child
    if (process.platform !== 'linux' || pid === undefined) return
    const limit = Math.max(
      settings.memoryBytes * MEMORY_SLACK_RATIO,
      settings.memoryBytes + MEMORY_SLACK_BYTES[settings.mode],
    )
    // If the machine runs out all the same, the kernel should end this process rather than ours.
    writeFile(`/proc/${pid}/oom_score_adj`, '800').catch(() => {})
    target.watch = setInterval(async () => {
      if (target.calls.size === 0) return
      const pages = await readFile(`/proc/${pid}/statm`, 'utf8').catch(() => '')
      const resident = Number(pages.split(' ')[1] ?? 0) * PAGE_BYTES
      if (resident > limit) {
        killProcess(
          target,
          'out-of-memory',
          'the engine was ended: a running statement took far more memory than allowed',
        )
      }
    }, MEMORY_WATCH_MS)
    target.watch.unref()
  }

  function killProcess(target: Process, code: ErrorCode, message: string, culprit?: number): void {
    if (current === target) current = undefined
    target.reason ??= { code, message, culprit }
    target.child.kill('SIGKILL')
  }

  function receive(from: Process, message: Exclude<FromEngine, { kind: 'ready' | 'unusable' }>): void {
    const call = from.calls.get(message.id)
    if (!call) return
    const finish = (act: () => void) => {
      clearTimeout(call.grace)
      from.calls.delete(message.id)
      call.delivered.then(act, call.reject)
    }
    switch (message.kind) {
      case 'answer': {
        const { bytes, result } = message
        deliver(from, message.id, call, () => call.handlers.onColumns?.(result.columns), false)
        if (bytes.length > 0) deliver(from, message.id, call, () => call.handlers.onChunk?.(bytes), false)
        finish(() => (call.stopped ? call.reject(call.stopped) : call.resolve(result)))
        return
      }
      case 'columns':
        deliver(from, message.id, call, () => call.handlers.onColumns?.(message.columns), false)
        return
      case 'chunk':
        deliver(from, message.id, call, () => call.handlers.onChunk?.(message.bytes), true)
        return
      case 'rows':
        deliver(from, message.id, call, () => call.handlers.onRows?.(message.rows), true)
        return
      case 'progress':
        call.handlers.onProgress?.(message.progress)
        return
      case 'done':
        finish(() => (call.stopped ? call.reject(call.stopped) : call.resolve(message.result)))
        return
      case 'objects':
        finish(() => call.resolve(message.rows))
        return
      case 'failed':
        finish(() => call.reject(call.stopped ?? errorOf(message.failure)))
    }
  }

  function deliver(
    from: Process,
    id: number,
    call: Call,
    act: () => void | Promise<void> | undefined,
    credited: boolean,
  ): void {
    call.delivered = call.delivered.then(async () => {
      if (!call.stopped) await act()
      if (credited) tell(from, { kind: 'credit', id })
    })
    call.delivered.catch((error) => {
      // The receiver failed (a closed socket): nothing of this statement is wanted any more.
      const cause =
        error instanceof MillraceError
          ? error
          : new MillraceError('query-cancelled', 'the receiver of the result failed', { cause: error })
      stop(from, id, cause)
    })
  }

  function stop(target: Process, id: number, error: MillraceError): void {
    const call = target.calls.get(id)
    if (!call || call.stopped) return
    call.stopped = error
    tell(target, { kind: 'cancel', id })
    call.grace = setTimeout(() => {
      log.warn('engine does not obey a cancel, killing it', { id })
      const message = 'the engine was ended because another statement in it could not be stopped'
      killProcess(target, 'engine-lost', message, id)
    }, CANCEL_GRACE_MS)
  }

  async function call<T>(
    handlers: Handlers,
    message: (id: number) => ToEngine,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<T> {
    if (closed) throw new MillraceError('shutting-down', 'the engine is closed')
    if (signal?.aborted) throw cancelError(signal)
    current ??= startProcess()
    const target = current
    const id = nextId++
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    target.calls.set(id, {
      handlers,
      resolve: resolve as Call['resolve'],
      reject,
      startedMs: world.clock.monotonicMs(),
      delivered: Promise.resolve(),
      stopped: undefined,
      grace: undefined,
    })
    const onAbort = () => stop(target, id, cancelError(signal as AbortSignal))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      timeoutMs < Number.POSITIVE_INFINITY
        ? setTimeout(() => {
            stop(
              target,
              id,
              new MillraceError('query-timeout', `the statement took longer than ${Math.round(timeoutMs)} ms`),
            )
          }, timeoutMs)
        : undefined
    target.ready.then(
      () => {
        const stopped = target.calls.get(id)?.stopped
        if (stopped === undefined) return tell(target, message(id))
        // Given up while the process started: a cancel that came before its statement would stop nothing.
        clearTimeout(target.calls.get(id)?.grace)
        target.calls.delete(id)
        reject(stopped)
      },
      (error) => {
        target.calls.delete(id)
        reject(error)
        killProcess(target, 'engine-lost', 'the engine could not start')
      },
    )
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  return {
    query(query: EngineQuery, handlers, signal) {
      return call<EngineResult>(handlers, (id) => ({ kind: 'query', id, query }), query.timeoutMs, signal)
    },
    run(sql, options) {
      return call<readonly Readonly<Record<string, unknown>>[]>(
        {},
        (id) => ({ kind: 'run', id, sql }),
        Number.POSITIVE_INFINITY,
        options?.signal,
      )
    },
    kill() {
      if (current) killProcess(current, 'engine-lost', 'the engine was killed')
    },
    async close() {
      closed = true
      const target = current
      if (!target) return
      const gone = new Promise<void>((resolve) => target.child.once('exit', () => resolve()))
      killProcess(target, 'shutting-down', 'the engine was closed')
      if (target.child.exitCode === null && target.child.signalCode === null) await gone
    },
  }
}

/** With the folder of compiled code when this process keeps one: it halves the 0.3 CPU-s of a start. */
function engineEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env
  const compiled = getCompileCacheDir()
  return {
    PATH,
    HOME,
    TZ: 'UTC',
    UV_THREADPOOL_SIZE: String(POOL_THREADS),
    ...(compiled === undefined ? {} : { NODE_COMPILE_CACHE: dirname(compiled) }),
  }
}

/** Before it has threads: those made later inherit it. A system that does not let us do it runs the engine all the same. */
function lowerPriority(pid: number, nice: number): void {
  try {
    setPriority(pid, nice)
  } catch {}
}

function cancelError(signal: AbortSignal): MillraceError {
  return signal.reason instanceof MillraceError
    ? signal.reason
    : new MillraceError('query-cancelled', 'the statement was cancelled', { cause: signal.reason })
}

function errorOf({ code, message, facts }: EngineFailure): MillraceError {
  return new MillraceError(code, message, { facts })
}
