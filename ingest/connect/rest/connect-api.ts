/**
 * What the REST API does, apart from HTTP: everything is read from and written to the catalog, so any ingest process answers
 * for all of them; those that take part follow within half a second (`supervisor.ts`).
 */
import type { Connector, Connectors, ConnectorsSeen, RestartWhich } from '../../../lake/catalog/connectors.ts'
import { isMillraceError } from '../../../schemas/errors.ts'
import { type CheckedConnector, isOurClass } from '../config/check-connector.ts'
import { type ConnectorWithTasks, infoView, restartView, statusView, tasksView, taskView } from './connector-views.ts'
import type { ConnectorProperties, CreateRequest, OffsetRequest } from './request-bodies.ts'
import { badRequest, notFound, RestError } from './rest-errors.ts'
import { errorsMessage, validationView } from './validation-view.ts'

/** What a connector's status tells beside Kafka Connect's. */
export type ConnectorMeasures = (name: string) => Promise<Readonly<Record<string, unknown>>>

export type ConnectorOffsets = {
  /** By topic and topic-partition. */
  read(name: string): Promise<readonly { topic: string; partition: number; offset: bigint }[]>
  /** Says in words what was done. The connector is stopped, and no task of it runs. */
  alter(
    connector: Connector,
    wanted: readonly OffsetRequest[] | 'all',
    asking: { readonly allowDuplicates: boolean; readonly requestedBy: string },
  ): Promise<string>
}

export type ConnectApi = ReturnType<typeof createConnectApi>

export type ConnectApiComponents = {
  readonly catalog: Connectors
  readonly check: (properties: ConnectorProperties) => CheckedConnector
  /** `host:port` of this process. */
  readonly here: () => string
  /** Names of pipelines in the settings: their coverage is theirs. */
  readonly takenNames: ReadonlySet<string>
  readonly measures: ConnectorMeasures
  readonly offsets: ConnectorOffsets
  /** Something changed: look at once. */
  readonly changed: () => void
  readonly sleep: (ms: number) => Promise<void>
}

/** How long a stopped connector's tasks may take to give back what they have, while somebody waits for it. */
const RELEASE_WAIT_MS = 15_000
const RELEASE_POLL_MS = 100
/** Of those who change one connector at the same moment each is heard. */
const PATCH_ATTEMPTS_MAX = 10

export function createConnectApi(components: ConnectApiComponents) {
  const { catalog, check, here, takenNames, measures, offsets, changed, sleep } = components

  async function find(name: string): Promise<ConnectorWithTasks | undefined> {
    return withTasks(await catalog.readConnectors(), name)
  }

  async function require(name: string, message = `Connector ${name} not found`): Promise<ConnectorWithTasks> {
    const found = await find(name)
    if (!found) throw notFound(message)
    return found
  }

  /** The whole configuration that would be kept; throws what is wrong with it. */
  function sound(name: string | undefined, properties: ConnectorProperties): ConnectorProperties {
    const inside = properties.name
    if (name !== undefined && inside !== undefined && inside !== name) {
      throw badRequest(`Connector name configuration (${inside}) doesn't match connector name in the URL (${name})`)
    }
    const known = name ?? inside
    const whole: Record<string, string> = known === undefined ? { ...properties } : { ...properties, name: known }
    if (whole['connector.class'] === undefined) throw badRequest('Connector config contains no connector type')
    if (!isOurClass(whole['connector.class'])) {
      throw badRequest(
        'Failed to find any class that implements Connector and which name matches the given connector.class; there is Millrace',
      )
    }
    const checked = check(whole)
    if (checked.errors.length > 0) throw badRequest(errorsMessage(checked))
    if (takenNames.has(whole.name)) {
      throw new RestError(409, `Connector ${whole.name} already exists: it is a pipeline of the settings`)
    }
    return whole
  }

  async function change(message: string, run: () => Promise<unknown>): Promise<void> {
    if ((await run()) === undefined) throw notFound(message)
    changed()
  }

  async function statusOf(seen: ConnectorWithTasks) {
    const warnings = [...new Set(seen.tasks.filter(({ isLive }) => isLive).flatMap((task) => task.warnings))]
    return statusView(seen, here(), { ...(await measures(seen.connector.name)), warnings })
  }

  return {
    async list(expand: readonly string[]) {
      const seen = await catalog.readConnectors()
      if (expand.length === 0) return seen.connectors.map(({ name }) => name)
      const all = seen.connectors.map(async (connector) => {
        const each = withTasks(seen, connector.name)!
        const shown = {
          ...(expand.includes('status') ? { status: await statusOf(each) } : {}),
          ...(expand.includes('info') ? { info: infoView(each) } : {}),
        }
        return [connector.name, shown] as const
      })
      return Object.fromEntries(await Promise.all(all))
    },

    async create({ name, properties, target }: CreateRequest) {
      const whole = sound(name, properties)
      const connector = await catalog.createConnector(whole.name, whole, target)
      changed()
      return infoView({ connector, tasks: [] })
    },

    info: async (name: string) => infoView(await require(name)),
    config: async (name: string) => (await require(name)).connector.properties,
    tasks: async (name: string) => tasksView(await require(name)),

    async putConfig(name: string, properties: ConnectorProperties) {
      const whole = sound(name, properties)
      const { connector, created } = await catalog.putConnector(name, whole)
      changed()
      const tasks = created ? [] : ((await find(name))?.tasks ?? [])
      return { created, info: infoView({ connector, tasks }) }
    },

    async patchConfig(name: string, patch: Readonly<Record<string, string | null>>) {
      for (let attempt = 1; ; attempt += 1) {
        const { connector, tasks } = await require(name)
        const merged = { ...connector.properties, ...patch }
        const kept = Object.entries(merged).filter(([, value]) => value !== null)
        const whole = sound(name, Object.fromEntries(kept) as ConnectorProperties)
        try {
          const answer = await catalog.putConnector(name, whole, connector.generation)
          changed()
          return infoView({ connector: answer.connector, tasks })
        } catch (error) {
          if (!isMillraceError(error, 'commit-conflict') || attempt >= PATCH_ATTEMPTS_MAX) throw error
        }
      }
    },

    async status(name: string) {
      return statusOf(await require(name, `No status found for connector ${name}`))
    },

    async taskStatus(name: string, taskId: number) {
      const task = (await find(name))?.tasks.find((each) => each.taskId === taskId)
      if (!task) throw notFound(`No status found for task ${name}-${taskId}`)
      return taskView(task)
    },

    setTarget: (name: string, target: Connector['target']) =>
      change(`Unknown connector ${name}`, () => catalog.setConnectorTarget(name, target)),

    /** undefined: only the connector was asked for, and nothing is to be told. */
    async restart(name: string, which: { readonly includeTasks: boolean; readonly onlyFailed: boolean }) {
      const seen = await require(name, `Unknown connector: ${name}`)
      const tasks: RestartWhich['tasks'] = !which.includeTasks ? 'none' : which.onlyFailed ? 'failed' : 'all'
      await change(`Unknown connector: ${name}`, () =>
        catalog.restartConnector(name, { connector: !which.onlyFailed, tasks }),
      )
      if (!which.includeTasks && !which.onlyFailed) return undefined
      return restartView(seen, here(), which)
    },

    async restartTask(name: string, taskId: number) {
      const seen = await require(name, `Unknown connector: ${name}`)
      if (!seen.tasks.some((task) => task.taskId === taskId)) throw notFound(`Unknown task: ${name}-${taskId}`)
      await change(`Unknown connector: ${name}`, () =>
        catalog.restartConnector(name, { connector: false, tasks: taskId }),
      )
    },

    async remove(name: string) {
      if (!(await catalog.deleteConnector(name))) throw notFound(`Connector ${name} not found`)
      changed()
    },

    topics: async (name: string) => ({ [name]: { topics: await catalog.connectorTopics(name) } }),
    async resetTopics(name: string) {
      await catalog.resetTopics(name)
      changed()
    },

    async offsets(name: string) {
      await require(name)
      const read = await offsets.read(name)
      return {
        offsets: read.map(({ topic, partition, offset }) => ({
          partition: { kafka_topic: topic, kafka_partition: partition },
          // A number, as with Kafka Connect: offsets are far below 2^53.
          offset: { kafka_offset: Number(offset) },
        })),
      }
    },

    async alterOffsets(
      name: string,
      wanted: readonly OffsetRequest[] | 'all',
      asking: { readonly allowDuplicates: boolean; readonly requestedBy: string },
    ) {
      const { connector } = await require(name)
      if (connector.target !== 'stopped') {
        throw badRequest(
          `Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified connector by issuing a 'PUT' request to the '/connectors/${name}/stop' endpoint`,
        )
      }
      for (let waitedMs = 0; ; waitedMs += RELEASE_POLL_MS) {
        const running = (await require(name)).tasks.filter(({ isLive }) => isLive)
        if (running.length === 0) break
        if (waitedMs >= RELEASE_WAIT_MS)
          throw new RestError(409, `task ${running[0].taskId} has not stopped yet; try again`)
        await sleep(RELEASE_POLL_MS)
      }
      return { message: await offsets.alter(connector, wanted, asking) }
    },

    validate(plugin: string, properties: ConnectorProperties) {
      const className = properties['connector.class']
      if (className === undefined) throw badRequest('Connector config contains no connector type')
      if (!isOurClass(plugin) || !isOurClass(className)) {
        throw badRequest(`Included connector type does not match request type ${plugin.slice(0, 100)}`)
      }
      return validationView(check(properties))
    },
  }
}

function withTasks(seen: ConnectorsSeen, name: string): ConnectorWithTasks | undefined {
  const connector = seen.connectors.find((each) => each.name === name)
  return connector && { connector, tasks: seen.tasks.filter((task) => task.connector === name) }
}
