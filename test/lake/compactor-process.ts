/**
 * The compactor as a process of its own, like `millrace compactor`, but for one thing that settings refuse for good
 * reason: removed files lose their grace for foreign readers at once, so that a test can watch the sweep.
 *
 *   node test/lake/compactor-process.ts compactor --config <settings file> [--set path=value …]
 */
import { parseArgs } from 'node:util'
import { startCompactor } from '../../compactor/service.ts'
import { runService } from '../../runtime/lifecycle.ts'
import { loadSettingsWithOrigin } from '../../runtime/load-settings.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { withoutGrace } from './without-grace.ts'

const { values } = parseArgs({
  allowPositionals: true,
  options: { config: { type: 'string' }, set: { type: 'string', multiple: true, default: [] } },
})
const { settings: loaded, secrets } = loadSettingsWithOrigin({ file: values.config, set: values.set })
const settings = withoutGrace(loaded)
const world = createSystemWorld({
  log: createLog({ level: settings.log.level, fields: { service: 'compactor' }, secrets: [...secrets] }),
})
await runService({
  name: 'compactor',
  settings,
  world,
  async start(life) {
    const service = await startCompactor({ settings, world })
    life.onStop('compactor', () => service.stop())
    return service.url
  },
})
