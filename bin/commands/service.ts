/**
 * `millrace ingest | compactor | query`: one service in this process, in the foreground, logging JSON lines to stderr.
 */
import type { Command } from 'commander'
import { runService } from '../../runtime/lifecycle.ts'
import { createLog } from '../../runtime/log.ts'
import { type SettingRow, settingRowsOf } from '../../runtime/setting-rows.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { World } from '../../runtime/world.ts'
import type { Settings } from '../../schemas/settings.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

type StartService = (options: {
  settings: Settings
  world: World
  stopping?: AbortSignal
  settingRows?: readonly SettingRow[]
}) => Promise<{ url: string; stop(): Promise<void> }>

export const SERVICES = ['ingest', 'compactor', 'query'] as const
export type ServiceName = (typeof SERVICES)[number]

/** Imported when it runs: a service brings native parts along that other commands do not need. */
const START: Readonly<Record<ServiceName, () => Promise<StartService>>> = {
  ingest: async () => (await import('../../ingest/service.ts')).startIngest,
  compactor: async () => (await import('../../compactor/service.ts')).startCompactor,
  query: async () => (await import('../../query/service.ts')).startQuery,
}

const DESCRIPTION: Readonly<Record<ServiceName, string>> = {
  ingest: 'Run the service that turns Kafka records and HTTP bodies into segments.',
  compactor: 'Run the service that turns segments into sorted data files and Iceberg snapshots.',
  query: 'Run the service that answers SQL.',
}

export function addServiceCommands(program: Command): void {
  for (const name of SERVICES) {
    withSettings(program.command(name).description(DESCRIPTION[name]))
      .addHelpText('after', `\nExample:\n  millrace ${name} --config millrace.yaml --set listen.${name}=127.0.0.1:0`)
      .action((options: SettingsOptions) => run(name, options))
  }
}

async function run(name: ServiceName, options: SettingsOptions): Promise<void> {
  const loaded = settingsOf(options)
  const { settings, secrets } = loaded
  const log = createLog({ level: settings.log.level, fields: { service: name }, secrets })
  const world = createSystemWorld({ log })
  await runService({
    name,
    settings,
    world,
    async start(life) {
      const start = await START[name]()
      const service = await start({ settings, world, stopping: life.stopping, settingRows: settingRowsOf(loaded) })
      life.onStop(name, () => service.stop())
      return service.url
    },
  })
}
