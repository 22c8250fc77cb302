/**
 * Connectors in the ingest service, put together: the REST API over the catalog, the supervisor that makes this process's
 * pipelines match, and the connectors of the settings, which are put into the catalog when the process starts.
 */
import type { FastifyInstance } from 'fastify'
import type { Writer } from '../../lake/catalog/catalog.ts'
import type { OpenedCatalog } from '../../lake/catalog/open-catalog.ts'
import type { Health } from '../../runtime/health.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'
import { placeEnds } from '../kafka/place-ends.ts'
import { listTopics } from '../kafka/topic-names.ts'
import type { Pipelines } from '../pipelines.ts'
import type { IngestTables } from '../tables.ts'
import type { IngestWork } from '../threads/work.ts'
import { checkConnector } from './config/check-connector.ts'
import type { ConfigProperties } from './config/config-value.ts'
import type { ConnectorConfig } from './config/connector-config.ts'
import { checkDeclared, wholeProperties } from './config/declared-connectors.ts'
import { createConnectorOffsets } from './connector-offsets.ts'
import { kafkaSettings } from './kafka-settings.ts'
import { type ConnectorMeasures, createConnectApi } from './rest/connect-api.ts'
import { addConnectRoutes } from './rest/connect-routes.ts'
import { createSecrets } from './secrets.ts'
import { createStartTask } from './start-task.ts'
import { createSupervisor } from './supervisor.ts'
import { checkTransforms, pluginDefinitions } from './transforms/check-transforms.ts'
import { PREDICATES, TRANSFORMS } from './transforms/plugins.ts'

const CLUSTER_ID_WAIT_MS = 3_000

export type ConnectService = {
  /** Puts the connectors of the settings into the catalog, and begins to follow it. `host:port` is what others are told. */
  start(worker: string): Promise<void>
  stop(): Promise<void>
  /** Shortest time that running connectors ask for between two flush ticks. */
  flushIntervalMs(): number | undefined
}

export function createConnectService(components: {
  app: FastifyInstance
  settings: Settings
  catalog: OpenedCatalog
  writer: Writer
  world: World
  health: Health
  tables: IngestTables
  pipelines: Pipelines
  work: Pick<IngestWork, 'decode' | 'replies'>
  measures: ConnectorMeasures
}): ConnectService {
  const { app, settings, catalog, writer, world, health, pipelines, measures } = components
  const { env } = process
  refuseUnsound(settings)
  let here = ''

  const check = (properties: ConfigProperties) => checkConnector(properties, checkTransforms)
  function configOf({ properties }: { readonly properties: ConfigProperties }): ConnectorConfig {
    const { config, errors } = check(properties)
    if (config) return config
    throw new MillraceError('settings-invalid', errors.map(({ message }) => message).join('\n'))
  }

  const { startTask, traceOf } = createStartTask({ ...components, check, env })
  const supervisor = createSupervisor({
    catalog,
    writer,
    world,
    health,
    worker: () => here,
    tasksMaxOf: ({ properties }) => check(properties).config?.tasksMax ?? 1,
    startTask,
    traceOf,
    async onState(name, state, detail) {
      await catalog.tellTask(writer, name, state, detail)
    },
  })

  let clusterId: string | undefined
  async function findClusterId(): Promise<string | undefined> {
    if (clusterId !== undefined || settings.kafka.bootstrap.length === 0) return clusterId
    const asked = listTopics(settings.kafka).then(
      (found) => found.clusterId ?? undefined,
      () => undefined,
    )
    clusterId = await Promise.race([asked, world.clock.sleep(CLUSTER_ID_WAIT_MS).then(() => undefined)])
    return clusterId
  }

  addConnectRoutes(app, {
    api: createConnectApi({
      catalog,
      check,
      here: () => here,
      takenNames: new Set(settings.pipelines.map(({ name }) => name)),
      measures,
      offsets: createConnectorOffsets({
        catalog,
        configOf,
        placeEnds: (config, places) => {
          const secrets = createSecrets({ env, folders: settings.connect.secretsFolders })
          return placeEnds(kafkaSettings(settings.kafka, config.consumer, secrets), world, places)
        },
        autoOffsetReset: settings.kafka.autoOffsetReset,
      }),
      changed: () => supervisor.look(),
      sleep: (ms) => world.clock.sleep(ms),
    }),
    plugins: {
      transforms: TRANSFORMS.map(({ className }) => className),
      predicates: PREDICATES.map(({ className }) => className),
      definitions: pluginDefinitions,
    },
    log: world.log,
    clusterId: findClusterId,
    logLevel: settings.log.level,
  })

  return {
    async start(worker) {
      here = worker
      for (const declared of settings.connectors) await catalog.putConnector(declared.name, wholeProperties(declared))
      supervisor.start()
    },
    stop: () => supervisor.stop(),
    flushIntervalMs() {
      const asked = pipelines.running().flatMap(({ flushIntervalMs }) => flushIntervalMs ?? [])
      return asked.length === 0 ? undefined : Math.min(...asked)
    },
  }
}

/** Before anything of them is in the catalog. */
function refuseUnsound({ connectors, pipelines }: Pick<Settings, 'connectors' | 'pipelines'>): void {
  const problems = checkDeclared(connectors, pipelines)
  if (problems.length === 0) return
  const told = problems.map(({ path, expected }) => `${path}: ${expected}`).join('\n')
  throw new MillraceError('settings-invalid', told)
}
