/**
 * `millrace catalog rebuild`: makes the catalog again from the bucket, or brings an older copy of it to where the bucket is
 * (`lake/rebuild/`). Exit codes: 0 done, 1 it failed and nothing was changed, 3 done, and something is lost or waits for a human.
 */
import type { Command } from 'commander'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

type RebuildOptions = SettingsOptions & {
  readonly dryRun?: boolean
  readonly into?: string
  readonly takeUnsequenced?: boolean
  readonly json?: boolean
}

const EXIT_ATTENTION = 3

export function addCatalogCommand(program: Command): void {
  const catalog = program.command('catalog').description('Look after the catalog.')
  withSettings(
    catalog
      .command('rebuild')
      .description('Make the catalog again from the bucket, or bring an older copy of it to where the bucket is.'),
  )
    .option('--dry-run', 'say what it would do, and change nothing')
    .option('--into <catalog url>', 'write into this catalog (default: catalog of the settings)')
    .option(
      '--take-unsequenced',
      'also take rows of HTTP senders without a producer sequence that nothing proves acknowledged',
    )
    .option('--json', 'the report as JSON')
    .addHelpText(
      'after',
      `
Stop ingest and compactor before: on a lost catalog they commit into nothing, on another one they are fenced. Kafka is read
on from what the bucket holds. Files that are left out are listed with the reason; those that may be the only ones with their rows
stay until you decide.

Exit codes: 0 done, 1 failed and nothing changed, 3 done, and something is lost or waits for a human.

Examples:
  millrace catalog rebuild --dry-run
  millrace catalog rebuild
  millrace catalog rebuild --into postgres://millrace@db/catalog --json
  millrace catalog rebuild --take-unsequenced`,
    )
    .action(run)
}

async function run(options: RebuildOptions): Promise<void> {
  const { settings, secrets } = settingsOf(options)
  const log = createLog({ level: settings.log.level, fields: { service: 'catalog' }, secrets })
  const world = createSystemWorld({ log })
  const { openLakeStore } = await import('../../lake/open-lake-store.ts')
  const { rebuildCatalog } = await import('../../lake/rebuild/rebuild.ts')
  const { needsAttention, reportJson, reportText } = await import('../../lake/rebuild/report.ts')
  const store = openLakeStore(settings, world)
  try {
    const result = await rebuildCatalog({
      catalogUrl: options.into ?? settings.catalog.url,
      store,
      lakeRoot: settings.lake.root,
      coldRoot: settings.storage.cold,
      world,
      takeUnsequenced: options.takeUnsequenced === true,
      dryRun: options.dryRun === true,
      onProgress: (text) => void process.stderr.write(`${text}\n`),
    })
    process.stdout.write(options.json === true ? reportJson(result) : reportText(result))
    if (needsAttention(result)) process.exitCode = EXIT_ATTENTION
  } finally {
    await store.close()
  }
}
