/**
 * `millrace sql`: a shell at a terminal; with statements, files or a pipe it runs those and ends. Answers go to stdout, as a
 * table, CSV, JSON and what else the service has; problems go to stderr with the place in the statement, exit code 1.
 */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { historyFile, openHistory } from '../shell/history.ts'
import { runInteractive } from '../shell/interactive.ts'
import { createQueryClient } from '../shell/query-client.ts'
import { createSession, type Session } from '../shell/session.ts'
import { FORMATS } from '../shell/shell-commands.ts'
import { processTerminal } from '../shell/terminal.ts'
import { serviceTarget } from './service-target.ts'
import { type SettingsOptions, settingsOf } from './settings-options.ts'

type SqlOptions = SettingsOptions & {
  readonly url?: string
  readonly token?: string
  readonly format: string
  readonly command: readonly string[]
  readonly file: readonly string[]
  readonly keepGoing?: boolean
  readonly param: readonly string[]
  readonly expanded?: boolean
  readonly timing?: boolean
  readonly output?: string
}

const EXIT_FAILED = 1
const STDIN = '-'

export function addSqlCommand(program: Command): void {
  const list = (value: string, earlier: string[]) => [...earlier, value]
  program
    .command('sql')
    .description(
      'Ask the query service: a shell at a terminal, else statements from arguments, files or standard input.',
    )
    .argument('[statements]', 'statements, separated by semicolons; "-" reads them from standard input')
    .option('-c, --command <statements>', 'the same; repeatable', list, [])
    .option('-f, --file <file>', 'run the statements of a file; "-" is standard input; repeatable', list, [])
    .option('-k, --keep-going', 'go on after a statement that fails; the exit code is 1 all the same')
    .option('-p, --param <name=value>', 'a value for $name (or $1) in statements; repeatable', list, [])
    .option('-F, --format <format>', FORMATS.join(', '), 'table')
    .option('-x, --expanded', 'a block for each row')
    .option('--timing', 'tell how long each statement takes')
    .option('-o, --output <file>', 'answers go there')
    .option('-u, --url <url>', 'query service (default: MILLRACE_URL, else listen.query of the settings)')
    .option('-t, --token <token>', 'bearer token (default: MILLRACE_TOKEN)')
    .option('--config <file>', 'settings file (default: millrace.yaml of this folder, if it is there)')
    .option('-s, --set <path=value>', 'one setting, repeatable', list, [])
    .addHelpText(
      'after',
      `
Examples:
  millrace sql                                        a shell; \\? in it tells what it can do
  millrace sql "select origin, count(*) from flights group by all order by 2 desc limit 5"
  millrace sql --format csv "from flights limit 10" > flights.csv
  millrace sql -f report.sql --param day=2026-01-31
  echo "select 1" | millrace sql`,
    )
    .action(run)
}

async function run(given: string | undefined, options: SqlOptions, command: Command): Promise<void> {
  const { format } = options
  if (!FORMATS.includes(format)) {
    command.error(`error: --format takes ${FORMATS.slice(0, -1).join(', ')} or ${FORMATS.at(-1)}, found "${format}"`)
  }
  const params = new Map(options.param.map((each) => paramOf(each, command)))
  const sources = [
    ...(given === undefined ? [] : [given === STDIN ? { file: STDIN } : { text: given }]),
    ...options.command.map((text) => ({ text })),
    ...options.file.map((file) => ({ file })),
  ]
  const isInteractive = sources.length === 0 && process.stdin.isTTY === true && process.stdout.isTTY === true
  const target = await serviceTarget(
    'query',
    options.url ?? process.env.MILLRACE_URL,
    () => settingsOf(options).settings,
  )
  const world = createSystemWorld({ log: createLog({ level: 'error' }) })
  const client = createQueryClient(target, options.token ?? process.env.MILLRACE_TOKEN, world)
  const session = createSession({
    world,
    client,
    terminal: processTerminal(isInteractive),
    format,
    params,
    expanded: options.expanded,
    timing: options.timing,
  })
  try {
    if (options.output !== undefined && (await session.command(`\\o ${options.output}`, '')) !== 'ok') {
      process.exitCode = EXIT_FAILED
      return
    }
    if (isInteractive) {
      process.stdout.write(`millrace sql, asking ${target.url}; \\? helps, \\q leaves\n`)
      await runInteractive({ session, client, history: openHistory(historyFile(process.env)), clock: world.clock })
    } else if (!(await runSources(session, sources, options.keepGoing === true))) process.exitCode = EXIT_FAILED
  } finally {
    await session.close()
    await target.dispatcher.destroy()
  }
}

type Source = { readonly text: string } | { readonly file: string }

async function runSources(session: Session, given: readonly Source[], keepGoing: boolean): Promise<boolean> {
  const stop = () => void session.cancel()
  // Ctrl-C ends the statement in the service too; what waits behind it is not begun.
  process.once('SIGINT', stop)
  let isGood = true
  for (const source of given.length === 0 ? [{ file: STDIN }] : given) {
    const isFile = 'file' in source
    const text = isFile ? readSource(source.file) : source.text
    const name = isFile && source.file !== STDIN ? source.file : undefined
    const done = await session.script(text, { name, keepGoing })
    if (done === 'quit') break
    if (done) continue
    isGood = false
    if (!keepGoing) break
  }
  process.off('SIGINT', stop)
  return isGood
}

function readSource(file: string): string {
  try {
    return readFileSync(file === STDIN ? 0 : file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new MillraceError('request-invalid', `${file} cannot be read: ${code ?? message}`, { cause: error })
  }
}

function paramOf(text: string, command: Command): readonly [string, string] {
  const equals = text.indexOf('=')
  if (equals <= 0) command.error(`error: --param takes name=value, found "${text}"`)
  return [text.slice(0, equals).replace(/^\$/, ''), text.slice(equals + 1)]
}
