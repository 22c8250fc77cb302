/** What the catalog knows of connectors, in the shapes of Kafka Connect's REST API. Pure. */
import type { Connector, ConnectorTask } from '../../../lake/catalog/connectors.ts'
import { CONNECTOR_CLASS } from '../config/definitions.ts'

export const VERSION = '0.1.0'

export type ConnectorWithTasks = { readonly connector: Connector; readonly tasks: readonly ConnectorTask[] }

export function infoView({ connector, tasks }: ConnectorWithTasks) {
  return {
    name: connector.name,
    config: connector.properties,
    tasks: shownTasks({ connector, tasks }).map(({ taskId }) => ({ connector: connector.name, task: taskId })),
    type: 'sink',
  }
}

export function tasksView(seen: ConnectorWithTasks) {
  const { name, properties } = seen.connector
  return shownTasks(seen).map(({ taskId }) => ({
    id: { connector: name, task: taskId },
    config: { ...properties, 'task.class': `${CONNECTOR_CLASS.replace(/Connector$/, '')}Task` },
  }))
}

/** `here`: the process that answers, which would take part if nobody else did. */
export function statusView(seen: ConnectorWithTasks, here: string, more: unknown) {
  const { connector } = seen
  const tasks = shownTasks(seen)
  const worker = tasks.find(({ isLive }) => isLive)?.worker ?? here
  return {
    name: connector.name,
    connector: { state: connector.target.toUpperCase(), worker_id: worker, version: VERSION },
    tasks: tasks.map(taskView),
    type: 'sink',
    millrace: more,
  }
}

export function taskView({ taskId, state, worker, trace, isLive }: ConnectorTask) {
  return {
    id: taskId,
    state: isLive ? state.toUpperCase() : 'UNASSIGNED',
    worker_id: worker,
    version: VERSION,
    ...(trace === undefined || !isLive ? {} : { trace }),
  }
}

/** A stopped connector has none, also while the last of them gives back what it has. */
function shownTasks({ connector, tasks }: ConnectorWithTasks): readonly ConnectorTask[] {
  return connector.target === 'stopped' ? [] : tasks
}

/** Of a restart that was just asked for: what is going to happen. */
export function restartView(
  seen: ConnectorWithTasks,
  here: string,
  which: { readonly includeTasks: boolean; readonly onlyFailed: boolean },
) {
  const status = statusView(seen, here, undefined)
  const tasks = status.tasks.map((task) =>
    which.includeTasks && (!which.onlyFailed || task.state === 'FAILED') ? { ...task, state: 'RESTARTING' } : task,
  )
  const state = which.onlyFailed || seen.connector.target !== 'running' ? status.connector.state : 'RESTARTING'
  return { ...status, connector: { ...status.connector, state }, tasks }
}
