/**
 * `millrace columns`: the columns of a table, and changing one while rows come in. The ingest service does it, and refuses
 * what would make old rows unreadable; nothing is written again.
 */
import type { Command } from 'commander'
import { MillraceError } from '../../schemas/errors.ts'
import { getJson, postJson, serviceTarget } from './service-target.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

type ColumnsOptions = SettingsOptions & { readonly url?: string; readonly token?: string }

/** Of each action: what follows it, and the request that it becomes. */
const ACTIONS: Readonly<
  Record<string, { readonly takes: string; request(args: readonly string[]): Record<string, string> }>
> = {
  add: { takes: '<column> <type>', request: ([column, ...type]) => ({ op: 'add', column, type: type.join(' ') }) },
  drop: { takes: '<column>', request: ([column]) => ({ op: 'drop', column }) },
  rename: { takes: '<column> <new name>', request: ([column, to]) => ({ op: 'rename', column, to }) },
  type: {
    takes: '<column> <wider type>',
    request: ([column, ...type]) => ({ op: 'type', column, type: type.join(' ') }),
  },
  optional: { takes: '<column>', request: ([column]) => ({ op: 'optional', column }) },
}

export function addColumnsCommand(program: Command): void {
  withSettings(
    program
      .command('columns')
      .description("Show a table's columns, or add, drop, rename, widen one or make it optional, while rows come in.")
      .argument('<table>', 'the table')
      .argument('[action]', 'list, add, drop, rename, type, optional', 'list')
      .argument('[arguments...]', 'what the action takes: see the examples'),
  )
    .option('--url <url>', 'ingest service (default: listen.ingest of the settings)')
    .option('--token <token>', 'bearer token with the right admin, for list read (default: MILLRACE_TOKEN)')
    .addHelpText(
      'after',
      `
Examples:
  millrace columns flights                              show them
  millrace columns flights add gate string              rows from before have none
  millrace columns flights add 'legs' 'list<struct<from: string, to: string>>'
  millrace columns flights add address.zip string       a field inside a struct
  millrace columns flights rename gate door             records may go on calling it gate
  millrace columns flights type seats long              int to long, float to double, more digits of a decimal
  millrace columns flights optional carrier             a value is not required any more
  millrace columns flights drop gate                    records that go on bringing it do not bring it back

Paths go into structs with dots, through "element" of a list and "value" of a map; a name with a dot stands in quotes.`,
    )
    .action((table: string, action: string, args: string[], options: ColumnsOptions, command: Command) =>
      run(table, action === 'widen' ? 'type' : action, args, options, command),
    )
}

type Answer = {
  readonly error?: { readonly message: string }
  readonly change?: string
  readonly columns?: readonly {
    readonly name: string
    readonly type: string
    readonly required: boolean
    readonly former_names?: readonly string[]
  }[]
}

async function run(
  table: string,
  action: string,
  args: readonly string[],
  options: ColumnsOptions,
  command: Command,
): Promise<void> {
  const known = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined
  if (!known && action !== 'list') {
    command.error(`error: "${action}" is no action; expected list, ${Object.keys(ACTIONS).join(', ')}`)
  }
  const takes = known?.takes.match(/<[^>]+>/g)?.length ?? 0
  const takesRest = action === 'add' || action === 'type'
  if (args.length < takes || (args.length > takes && !takesRest)) {
    command.error(`error: expected millrace columns ${table} ${action}${known ? ` ${known.takes}` : ''}`)
  }
  const target = await serviceTarget('ingest', options.url, () => settingsOf(options).settings)
  const token = options.token ?? process.env.MILLRACE_TOKEN
  const path = `/v1/tables/${encodeURIComponent(table)}/columns`
  const { statusCode, body } = known
    ? await postJson('ingest', target, path, token, known.request(args))
    : await getJson('ingest', target, path, token)
  const answer = (await body.json()) as Answer
  if (statusCode !== 200) throw new MillraceError('request-invalid', answer.error?.message ?? `status ${statusCode}`)
  process.stdout.write(known ? `${answer.change}\n` : listText(answer))
}

function listText({ columns = [] }: Answer): string {
  const width = Math.max(0, ...columns.map(({ name }) => name.length))
  return columns
    .map(({ name, type, required, former_names: former = [] }) => {
      const was = former.length === 0 ? '' : `  (also ${former.join(', ')})`
      return `${name.padEnd(width)}  ${type}${required ? ' required' : ''}${was}\n`
    })
    .join('')
}
