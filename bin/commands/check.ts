/**
 * `millrace check`: are the settings sound, and what do they come to? Prints a summary, or every problem (exit code 1).
 */
import type { Command } from 'commander'
import { defineTable } from '../../lake/table-definition.ts'
import { formatColumnType } from '../../schemas/column-type.ts'
import type { Settings } from '../../schemas/settings.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

export function addCheckCommand(program: Command): void {
  withSettings(program.command('check').description('Check the settings and print what they come to.'))
    .addHelpText('after', '\nExamples:\n  millrace check\n  millrace check --config other.yaml --set query.threads=8')
    .action((options: SettingsOptions) => {
      const { settings, file, given } = settingsOf(options)
      checkTables(settings)
      const source = file === undefined ? 'no file, defaults only' : file
      process.stdout.write(`settings are sound (${source}; ${given.size} given)\n${summary(settings)}`)
    })
}

/** Whether tables with these columns, partitions and sort orders could be made; ingest would refuse them at its start. */
export function checkTables(settings: Pick<Settings, 'tables'>): void {
  for (const table of settings.tables) {
    if (table.columns) defineTable({ ...table, columns: table.columns }, `checked/${table.name}`)
  }
}

function summary(settings: Settings): string {
  const lines = [
    `  catalog    ${settings.catalog.url}`,
    `  lake       ${settings.lake.root}`,
    ...(settings.storage.cold === undefined ? [] : [`  cold       ${settings.storage.cold}`]),
    ...Object.entries(settings.listen).map(([name, { host, port }]) => `  ${name.padEnd(10)} ${host}:${port}`),
    `  tls        ${settings.tls.cert === undefined ? 'off' : settings.tls.cert}`,
    `  tokens     ${settings.tokens.length === 0 ? 'none: whoever reaches the loopback address may do everything' : settings.tokens.length}`,
  ]
  for (const table of settings.tables) {
    const columns = table.columns?.map((column) => `${column.name} ${formatColumnType(column.type)}`).join(', ')
    lines.push(`  table      ${table.name} (${columns ?? 'inferred'})`)
  }
  for (const pipeline of settings.pipelines) {
    lines.push(`  pipeline   ${pipeline.name}: ${pipeline.topics.join(', ')} → ${pipeline.tables.join(', ')}`)
  }
  return `${lines.join('\n')}\n`
}
