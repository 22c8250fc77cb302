/**
 * `millrace sql "<statement>"`: one statement to the query service, its answer as a table, CSV or JSON on stdout. Errors go
 * to stderr with the place in the statement, exit code 1.
 */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { MillraceError } from '../../schemas/errors.ts'
import { type ErrorPlace, formatTable, markPosition } from '../shell/table-text.ts'
import { postJson, serviceTarget } from './service-target.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

type SqlOptions = SettingsOptions & {
  readonly url?: string
  readonly token?: string
  readonly format: 'table' | 'csv' | 'json'
}

type JsonAnswer = {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly data: readonly (readonly unknown[])[]
}

type ErrorAnswer = {
  readonly error?: { readonly code?: string; readonly message?: string; readonly position?: ErrorPlace }
}

export function addSqlCommand(program: Command): void {
  withSettings(program.command('sql').description('Ask the query service and print the answer.'))
    .argument('<statement>', 'one SELECT; "-" reads it from standard input')
    .option('-u, --url <url>', 'query service (default: MILLRACE_URL, else listen.query of the settings)')
    .option('-t, --token <token>', 'bearer token (default: MILLRACE_TOKEN)')
    .option('-f, --format <format>', 'table, csv or json', 'table')
    .addHelpText(
      'after',
      `
Examples:
  millrace sql "select origin, count(*) from flights group by all order by 2 desc limit 5"
  millrace sql --format csv "from flights limit 10" > flights.csv
  echo "select 1" | millrace sql -`,
    )
    .action(run)
}

async function run(statement: string, options: SqlOptions, command: Command): Promise<void> {
  const { format } = options
  if (!['table', 'csv', 'json'].includes(format)) {
    command.error(`error: --format takes table, csv or json, found "${format}"`)
  }
  const sql = statement === '-' ? readFileSync(0, 'utf8') : statement
  const target = serviceTarget('query', options.url ?? process.env.MILLRACE_URL, () => settingsOf(options).settings)
  const token = options.token ?? process.env.MILLRACE_TOKEN
  const reply = await postJson('query', target, '/v1/sql', token, { sql, format: format === 'csv' ? 'csv' : 'json' })
  if (reply.statusCode !== 200) {
    throw new MillraceError('query-invalid', errorText(await reply.body.text(), reply.statusCode, sql))
  }
  if (format === 'table') {
    const answer = JSON.parse(await reply.body.text()) as JsonAnswer
    process.stdout.write(formatTable(answer.columns, answer.data))
    return
  }
  for await (const chunk of reply.body) {
    if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once('drain', resolve))
  }
  if (format === 'json') process.stdout.write('\n')
}

function errorText(body: string, status: number, sql: string): string {
  let error: ErrorAnswer['error']
  try {
    error = (JSON.parse(body) as ErrorAnswer).error
  } catch {
    // Not from Millrace: some proxy on the way.
  }
  if (!error?.message) return `the query service answered ${status}: ${body.slice(0, 500)}`
  const code = error.code === undefined ? '' : ` (${error.code})`
  const place = error.position === undefined ? '' : `\n${markPosition(sql, error.position)}`
  return `${error.message}${code}${place}`
}
