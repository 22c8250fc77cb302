/**
 * Makes the pipelines of this process match the connectors of the catalog:
 *
 *   every half second one number: did anything change?   every two seconds, or when it did: everything
 *   each connector ─▶ decide (`task-decision.ts`) ─▶ claim a task, start, pause, resume, stop
 *   what the tasks do ─▶ renewed in the catalog, which is also their sign of life
 *
 * Each connector has a lane of its own: one that takes long to start or stop holds up no other. A task that cannot start, or
 * that ended itself (a bad record under errors.tolerance=none), is FAILED with its reason, and tried again with growing pauses:
 * it is FAILED only as long as that is the truth. If this process dies, its tasks fall silent and others take them.
 */
import type { Writer } from '../../lake/catalog/catalog.ts'
import type { Connector, Connectors, ConnectorsSeen, TaskReport } from '../../lake/catalog/connectors.ts'
import type { Health } from '../../runtime/health.ts'
import type { World } from '../../runtime/world.ts'
import { decideTask, type OwnTask } from './task-decision.ts'

export type RunningTask = {
  pause(): void
  resume(): void
  partitions(): readonly { readonly topic: string; readonly partition: number }[]
  /** Topics that records came from since the last call. */
  takeTopics(): readonly string[]
  /** What has no effect or does not go well, though it runs. */
  warnings(): readonly string[]
  /** Why it gets nothing, where only a human can help (wrong credentials); it goes on trying, and heals by itself. */
  failure(): string | undefined
  /** Commits what it took and leaves the group. */
  stop(): Promise<void>
}

/** Throws what keeps it from starting. */
export type StartTask = (
  connector: Connector,
  options: {
    readonly isPaused: boolean
    /** The task cannot go on. */
    onFailed(error: unknown): void
  },
) => Promise<RunningTask>

export type Supervisor = {
  start(): void
  /** Something changed: look at once. */
  look(): void
  /** Every task of this process is given back. */
  stop(): Promise<void>
}

const LOOK_MS = 500
const READ_ALL_MS = 2_000
const RENEW_MS = 1_500
const RETRY_FIRST_MS = 1_000
const RETRY_MAX_MS = 60_000
/** A task that ran this long before it failed again begins with the shortest pause. */
const STEADY_MS = 120_000
const TRACE_CHARACTERS_MAX = 8_000

type Lane = {
  readonly name: string
  taskId: number
  own: { generation: number; restarts: number; isPaused: boolean } | undefined
  task: RunningTask | undefined
  trace: string | undefined
  failures: number
  startedMs: number
  retryAtMs: number
  /** One step at a time. */
  busy: Promise<void> | undefined
  /** Reads of the catalog that began before this one do not know of the claim yet. */
  claimedAtRead: number
  topicsReset: number
  notedTopics: Set<string>
}

export function createSupervisor(components: {
  catalog: Connectors
  writer: Writer
  world: World
  health: Health
  /** `host:port`, what others are told. */
  worker: () => string
  tasksMaxOf: (connector: Connector) => number
  startTask: StartTask
  /** What a failure is told as, without secrets. */
  traceOf: (connector: string, error: unknown) => string
  /** For those who show how pipelines fare; undefined: no longer here. */
  onState: (connector: string, state: 'running' | 'paused' | 'failed' | undefined, detail?: string) => Promise<void>
}): Supervisor {
  const { catalog, writer, world, health, worker, tasksMaxOf, startTask, traceOf, onState } = components
  const { clock } = world
  const lanes = new Map<string, Lane>()
  const stopping = new AbortController()
  let wake = new AbortController()
  let loop: Promise<void> | undefined
  let seen: ConnectorsSeen | undefined
  let readCount = 0
  let readAtMs = Number.NEGATIVE_INFINITY
  let renewedAtMs = Number.NEGATIVE_INFINITY
  let isDirty = false
  /** Where there was no place for us, as of which read. */
  const declinedAtRead = new Map<string, number>()

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await readWhatChanged()
        reconcile()
        await renew()
        await noteTopics()
      } catch (error) {
        world.log.warn('connectors cannot be followed now; it is tried again', { error })
      }
      const either = AbortSignal.any([stopping.signal, wake.signal])
      await clock.sleep(LOOK_MS, either).catch(() => {})
      if (wake.signal.aborted) wake = new AbortController()
    }
  }

  async function readWhatChanged(): Promise<void> {
    const isOld = clock.monotonicMs() - readAtMs >= READ_ALL_MS
    if (!isOld && seen?.change === (await catalog.connectorChange())) return
    readCount += 1
    readAtMs = clock.monotonicMs()
    seen = await catalog.readConnectors()
  }

  function reconcile(): void {
    if (!seen) return
    const { connectors, tasks } = seen
    const names = new Set([...connectors.map(({ name }) => name), ...lanes.keys()])
    const byConnector = Map.groupBy(tasks, ({ connector }) => connector)
    for (const name of names) {
      const lane = lanes.get(name)
      if (lane?.busy || (lane && lane.claimedAtRead >= readCount)) continue
      const connector = connectors.find((each) => each.name === name)
      const own = lane && ownOf(lane)
      const decision = decideTask({
        connector,
        tasksMax: connector ? tasksMaxOf(connector) : 0,
        tasks: byConnector.get(name) ?? [],
        writerId: writer.writerId,
        own,
        nowMs: clock.monotonicMs(),
      })
      if (decision === 'claim' && connector) {
        if (declinedAtRead.get(name) !== readCount) claim(connector)
      } else if (lane && connector && decision === 'start') {
        const restarts = byConnector.get(name)?.find(({ taskId }) => taskId === lane.taskId)?.restarts ?? 0
        const isAsked = own?.generation !== connector.generation || own?.restarts !== restarts
        step(lane, () => begin(lane, connector, restarts, isAsked))
      } else if (lane && (decision === 'stop' || decision === 'lost')) {
        // Of one that was deleted nobody else takes the place.
        step(lane, () => leave(lane, decision === 'stop' || connector === undefined))
      } else if (lane && (decision === 'pause' || decision === 'resume')) setPaused(lane, decision === 'pause')
      if (lane && connector && lane.topicsReset !== connector.topicsReset) {
        lane.topicsReset = connector.topicsReset
        lane.notedTopics = new Set()
        // Those from before the reset.
        lane.task?.takeTopics()
      }
    }
  }

  function ownOf(lane: Lane): OwnTask | undefined {
    if (!lane.own) return undefined
    const phase = lane.task === undefined ? 'failed' : 'running'
    return { taskId: lane.taskId, ...lane.own, phase, retryAtMs: lane.retryAtMs }
  }

  /** Work of one connector; others go on meanwhile. */
  function step(lane: Lane, work: () => Promise<void>): void {
    lane.busy = work()
      .catch((error: unknown) => world.log.error('a step of a connector failed', { connector: lane.name, error }))
      .finally(() => {
        lane.busy = undefined
        isDirty = true
        look()
      })
  }

  function claim(connector: Connector): void {
    const lane: Lane = {
      name: connector.name,
      taskId: -1,
      own: undefined,
      task: undefined,
      trace: undefined,
      failures: 0,
      startedMs: 0,
      retryAtMs: 0,
      busy: undefined,
      claimedAtRead: Number.POSITIVE_INFINITY,
      topicsReset: connector.topicsReset,
      notedTopics: new Set(),
    }
    lanes.set(connector.name, lane)
    step(lane, async () => {
      const tasksMax = tasksMaxOf(connector)
      const task = await catalog
        .claimTask(writer, { connector: connector.name, worker: worker(), tasksMax })
        .catch((error: unknown) => {
          world.log.warn('a task cannot be claimed now', { connector: connector.name, error })
        })
      if (!task) {
        lanes.delete(connector.name)
        declinedAtRead.set(connector.name, readCount)
        return
      }
      lane.taskId = task.taskId
      await begin(lane, connector, task.restarts, true)
      lane.claimedAtRead = readCount
    })
  }

  async function begin(lane: Lane, connector: Connector, restarts: number, isAsked: boolean): Promise<void> {
    await end(lane)
    if (isAsked) lane.failures = 0
    const isPaused = connector.target === 'paused'
    lane.own = { generation: connector.generation, restarts, isPaused }
    lane.startedMs = clock.monotonicMs()
    let task: RunningTask | undefined
    let failure: { readonly error: unknown } | undefined
    // Not within the call that finds it: that one is part of what ends then.
    const tell = () => queueMicrotask(() => task && failure && failed(lane, task, failure.error))
    try {
      task = await startTask(connector, {
        isPaused,
        onFailed(error) {
          if (failure) return
          failure = { error }
          tell()
        },
      })
      lane.task = task
      lane.trace = undefined
      health.component(`connector ${lane.name}`).healthy()
      await tellState(lane.name, isPaused ? 'paused' : 'running')
      tell()
    } catch (error) {
      await noteFailure(lane, error)
    }
  }

  /** Only shown: what cannot be told now is told with the next change. */
  async function tellState(...told: Parameters<typeof onState>): Promise<void> {
    await onState(...told).catch((error: unknown) => {
      world.log.warn('the state of a connector was not told', { connector: told[0], error })
    })
  }

  /** A task that ran ends itself. */
  function failed(lane: Lane, task: RunningTask, error: unknown): void {
    if (lane.task !== task) return
    if (lane.busy) {
      void lane.busy.then(() => failed(lane, task, error))
      return
    }
    if (clock.monotonicMs() - lane.startedMs > STEADY_MS) lane.failures = 0
    step(lane, async () => {
      await end(lane)
      await noteFailure(lane, error)
    })
  }

  async function noteFailure(lane: Lane, error: unknown): Promise<void> {
    lane.failures += 1
    const pauseMs = Math.min(RETRY_FIRST_MS * 2 ** (lane.failures - 1), RETRY_MAX_MS)
    lane.retryAtMs = clock.monotonicMs() + pauseMs * (0.75 + world.random.float() / 2)
    lane.trace = traceOf(lane.name, error).slice(0, TRACE_CHARACTERS_MAX)
    const [reason] = lane.trace.split('\n')
    health.component(`connector ${lane.name}`).degraded(`task ${lane.taskId} failed: ${reason}`)
    // The first of a row is worth a line; its repetitions are in the status.
    if (lane.failures === 1) world.log.error('a task failed', { connector: lane.name, task: lane.taskId, reason })
    await tellState(lane.name, 'failed', reason)
  }

  async function end(lane: Lane): Promise<void> {
    const { task } = lane
    lane.task = undefined
    await task?.stop().catch((error: unknown) => {
      world.log.warn('a task did not end in order', { connector: lane.name, error })
    })
  }

  async function leave(lane: Lane, isOurs: boolean): Promise<void> {
    await end(lane)
    health.remove(`connector ${lane.name}`)
    await tellState(lane.name, undefined)
    if (isOurs) await catalog.releaseTask(writer, lane.name)
    lanes.delete(lane.name)
  }

  function setPaused(lane: Lane, isPaused: boolean): void {
    if (!lane.own || !lane.task) return
    if (isPaused) lane.task.pause()
    else lane.task.resume()
    lane.own.isPaused = isPaused
    isDirty = true
    void tellState(lane.name, isPaused ? 'paused' : 'running')
  }

  /** What every task does, and that it lives. */
  async function renew(): Promise<void> {
    if (!isDirty && clock.monotonicMs() - renewedAtMs < RENEW_MS) return
    isDirty = false
    renewedAtMs = clock.monotonicMs()
    await catalog.renewTasks(writer, [...lanes.values()].filter(({ taskId }) => taskId >= 0).map(reportOf))
  }

  async function noteTopics(): Promise<void> {
    for (const lane of lanes.values()) {
      const fresh = (lane.task?.takeTopics() ?? []).filter((topic) => !lane.notedTopics.has(topic))
      if (fresh.length === 0) continue
      await catalog.noteTopics(lane.name, fresh)
      for (const topic of fresh) lane.notedTopics.add(topic)
    }
  }

  function reportOf(lane: Lane): TaskReport {
    const failure = lane.task?.failure() ?? (lane.task === undefined ? lane.trace : undefined)
    const state = stateOf(lane, failure)
    return {
      connector: lane.name,
      taskId: lane.taskId,
      state,
      trace: failure,
      partitions: (lane.task?.partitions() ?? []).map(({ topic, partition }) => ({ topic, partition })),
      warnings: lane.task?.warnings() ?? [],
      generation: lane.own?.generation ?? 0,
    }
  }

  function stateOf(lane: Lane, failure: string | undefined): TaskReport['state'] {
    if (failure !== undefined) return 'failed'
    if (lane.task !== undefined) return lane.own?.isPaused ? 'paused' : 'running'
    return lane.own === undefined ? 'unassigned' : 'restarting'
  }

  function look(): void {
    wake.abort()
  }

  return {
    start() {
      loop ??= run()
    },
    look,
    async stop() {
      stopping.abort()
      await loop
      await Promise.all([...lanes.values()].map(({ busy }) => busy))
      await Promise.all(
        [...lanes.values()].map((lane) =>
          leave(lane, true).catch((error: unknown) => world.log.warn('a task was not given back', { error })),
        ),
      )
    },
  }
}
