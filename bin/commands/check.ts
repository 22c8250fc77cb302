/**
 * `millrace check`: are the settings sound, what do they come to, and is the lake sound that they name? Settings come
 * first: every problem of theirs is told and nothing else looked at (exit code 1).
 *
 * Exit codes: 0 sound, 1 something is not, 2 the lake could not be looked at.
 */
import type { Command } from 'commander'
import { defineTable } from '../../lake/table-definition.ts'
import { formatColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'
import { withoutPassword } from '../../schemas/url-password.ts'
import type { CheckOptions } from './check-lake.ts'
import { settingsOf, withSettings } from './settings-options.ts'

const EXIT_UNKNOWN = 2

export function addCheckCommand(program: Command): void {
  withSettings(
    program
      .command('check')
      .description('Check the settings and print what they come to; then check the lake: changes nothing.'),
  )
    .option('--settings-only', 'do not look at the lake')
    .option(
      '--deep',
      'read every byte of the lake and compare checksums; takes as long as reading takes, says how far it is',
    )
    .option('--table <name>', 'only this table')
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      `
Examples:
  millrace check                                   settings, then catalog against bucket: seconds, metadata only
  millrace check --deep                            every byte of every file
  millrace check --deep --table flights
  millrace check --json | jq .lake.findings        for scripts and alarms
  millrace check --settings-only --config other.yaml --set query.threads=8

Exit codes: 0 sound, 1 something is not (each finding is one line that says what to do), 2 the lake could not be looked at.
Notices are no findings: the services put right by themselves what they tell of.`,
    )
    .action(run)
}

async function run(options: CheckOptions): Promise<void> {
  const { settings, file, given, secrets } = settingsOf(options)
  checkTables(settings)
  await checkConnectors(settings)
  const source = file === undefined ? 'no file, defaults only' : file
  if (!options.json) {
    process.stdout.write(`settings are sound (${source}; ${given.size} given)\n${summary(settings)}`)
    if (options.settingsOnly) return
  } else if (options.settingsOnly) {
    process.stdout.write(`${JSON.stringify({ settings: { sound: true, source } })}\n`)
    return
  }
  // What it is if somebody stops listening before we know.
  process.exitCode = EXIT_UNKNOWN
  // It brings the catalog's and the store's native parts along.
  const { printLakeCheck } = await import('./check-lake.ts')
  process.exitCode = await printLakeCheck({ settings, source, secrets, options })
}

/** Whether tables with these columns, partitions and sort orders could be made; ingest would refuse them at its start. */
export function checkTables(settings: Pick<Settings, 'tables'>): void {
  for (const table of settings.tables) {
    if (table.columns) defineTable({ ...table, columns: table.columns }, `checked/${table.name}`)
  }
}

/** Whether connectors of the settings could be put into the catalog; ingest would refuse them at its start. */
async function checkConnectors({ connectors, pipelines }: Settings): Promise<void> {
  if (connectors.length === 0) return
  const { checkDeclared } = await import('../../ingest/connect/config/declared-connectors.ts')
  const problems = checkDeclared(connectors, pipelines)
  if (problems.length === 0) return
  const told = problems.map(({ path, expected }) => `${path}: ${expected}`).join('\n')
  throw new MillraceError('settings-invalid', told)
}

function summary(settings: Settings): string {
  const lines = [
    `  catalog    ${withoutPassword(settings.catalog.url)}`,
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
  for (const { name, properties } of settings.connectors) {
    lines.push(`  connector  ${name}: ${properties.topics ?? properties['topics.regex'] ?? ''}`)
  }
  return `${lines.join('\n')}\n`
}
