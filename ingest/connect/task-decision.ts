/** What a process does next about one connector, from what the catalog says and what it does now. Pure. */
import type { Connector, ConnectorTask } from '../../lake/catalog/connectors.ts'

/** This process's part in a connector. */
export type OwnTask = {
  readonly taskId: number
  /** What it was started with. */
  readonly generation: number
  readonly restarts: number
  readonly isPaused: boolean
  readonly phase: 'running' | 'failed'
  /** Monotonic; of a failed one. */
  readonly retryAtMs: number
}

export type TaskDecision =
  | 'nothing'
  /** Take part, if there is a place. */
  | 'claim'
  /** Begin, or begin anew, with the configuration as it is. */
  | 'start'
  | 'pause'
  | 'resume'
  /** Leave the group and give the task back. */
  | 'stop'
  /** The same, but the task is somebody else's by now, or gone. */
  | 'lost'

export function decideTask(seen: {
  readonly connector: Connector | undefined
  readonly tasksMax: number
  /** Of the connector, all processes'. */
  readonly tasks: readonly ConnectorTask[]
  readonly writerId: string
  readonly own: OwnTask | undefined
  readonly nowMs: number
}): TaskDecision {
  const { connector, tasksMax, tasks, writerId, own, nowMs } = seen
  const isWanted = connector !== undefined && connector.target !== 'stopped'
  if (own === undefined) {
    if (!isWanted) return 'nothing'
    const taken = tasks.filter((task) => task.isLive && task.taskId < tasksMax)
    return taken.length < tasksMax || taken.some((task) => task.writerId === writerId) ? 'claim' : 'nothing'
  }
  if (connector === undefined) return 'lost'
  const row = tasks.find((task) => task.taskId === own.taskId && task.writerId === writerId)
  if (row === undefined) return 'lost'
  if (!isWanted || own.taskId >= tasksMax) return 'stop'
  if (own.generation !== connector.generation || own.restarts !== row.restarts) return 'start'
  if (own.phase === 'failed') return nowMs >= own.retryAtMs ? 'start' : 'nothing'
  const shouldPause = connector.target === 'paused'
  if (shouldPause !== own.isPaused) return shouldPause ? 'pause' : 'resume'
  return 'nothing'
}
