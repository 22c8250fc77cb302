/**
 * `millrace dead-letters`: look at records that could not become rows, and take them away again. `list` and `show` ask the query
 * service, `replay` and `discard` the ingest service, which runs the pipeline.
 */
import { writeSync } from 'node:fs'
import { userInfo } from 'node:os'
import { type Command, InvalidArgumentError, Option } from 'commander'
import {
  DEAD_LETTER_KINDS,
  type LetterPlace,
  type LettersFilter,
  lettersWhere,
} from '../../lake/dead-letters/letters-filter.ts'
import { quoteName } from '../../lake/file-mapping.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { parseMoment } from '../../schemas/moment.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import { formatTable } from '../shell/table-text.ts'
import { type AskOptions, askIngest, askRows } from './ask-services.ts'
import { type ShownLetter, shownLetter } from './letter-text.ts'
import { withSettings } from './settings-options.ts'

type FilterOptions = AskOptions & {
  readonly pipeline?: string
  readonly topic?: string
  readonly partition?: number
  readonly fromOffset?: bigint
  readonly toOffset?: bigint
  readonly reason?: string
  readonly kind?: string
  readonly column?: string
  readonly since?: string
  readonly until?: string
  readonly json?: boolean
}
type ListOptions = FilterOptions & { readonly limit: number; readonly after?: string }
type ShowOptions = FilterOptions & { readonly raw?: boolean }
type TakeOptions = FilterOptions & { readonly limit?: number; readonly all?: boolean; readonly why?: string }

type TakenAnswer = {
  readonly replayed: number
  readonly discarded: number
  readonly filtered: number
  readonly already: number
  readonly failed: number
  readonly failures: readonly { source: string; partition: number; offset: string; reason: string }[]
  readonly more: boolean
}

const LIST_LIMIT = 50

export function addDeadLettersCommand(program: Command): void {
  const letters = program
    .command('dead-letters')
    .description('Records that could not become rows: look, replay, discard.')
  letters.addHelpText(
    'after',
    `
Examples:
  millrace dead-letters list flights --reason "required" --limit 20
  millrace dead-letters show flights --topic flights --partition 0 --from-offset 42
  millrace dead-letters replay flights
  millrace dead-letters discard flights --kind too-large --why "test records"`,
  )
  withFilter(letters.command('list').description('One line for each, in the order of their places.'))
    .option('--limit <number>', 'lines of a page', wholeNumber, LIST_LIMIT)
    .option('--after <place>', 'the page behind this place, as the page before printed it')
    .action(list)
  withFilter(letters.command('show').description('The first one that matches, whole: key, headers, value, reason.'))
    .option('--raw', "only the value's bytes, as they came")
    .action(show)
  withFilter(letters.command('replay').description('Decode them again with what the pipeline decodes by now.'))
    .option('--limit <number>', 'look at so many at most', wholeNumber)
    .option('--why <text>', 'kept with what was done')
    .addHelpText(
      'after',
      '\nThose that become rows leave the dead letters; the others stay, and their reasons are shown.',
    )
    .action((table: string, options: TakeOptions) => take('replay', table, options))
  withFilter(letters.command('discard').description('Give them up.'))
    .option('--limit <number>', 'look at so many at most', wholeNumber)
    .option('--all', 'every letter of the table: needed when there is no filter')
    .option('--why <text>', 'kept with what was done')
    .action((table: string, options: TakeOptions) => take('discard', table, options))
}

function withFilter(command: Command): Command {
  return withSettings(command)
    .argument('<table>', 'the table whose dead letters are meant')
    .option('--pipeline <name>', 'of this pipeline')
    .option('--topic <name>', 'of this topic')
    .option('--partition <number>', 'of this topic-partition', wholeNumber)
    .option('--from-offset <offset>', 'at this offset or behind it', offsetOf)
    .option('--to-offset <offset>', 'before this offset', offsetOf)
    .option('--reason <text>', 'with this text in the reason, whatever its case')
    .addOption(new Option('--kind <kind>', 'of this kind').choices(DEAD_LETTER_KINDS))
    .option('--column <name>', 'about this column')
    .option('--since <moment>', 'that came at this moment or later, such as 2026-01-31T10:00:00Z')
    .option('--until <moment>', 'that came before this moment')
    .option('--json', 'one JSON object on standard output')
    .option('--url <url>', 'ingest service (default: listen.ingest of the settings)')
    .option('--query-url <url>', 'query service (default: MILLRACE_URL, else listen.query of the settings)')
    .option('--token <token>', 'bearer token (default: MILLRACE_TOKEN)')
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number.')
  return Number(text)
}

function offsetOf(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new InvalidArgumentError('expected an offset.')
  return BigInt(text)
}

function filterOf(options: FilterOptions): LettersFilter {
  const { pipeline, topic, partition, fromOffset, toOffset, reason, kind, column, since, until } = options
  return {
    ...{ pipeline, topic, partition, fromOffset, toOffset, reason, kind, column },
    since: since === undefined ? undefined : parseMoment('--since', since),
    until: until === undefined ? undefined : parseMoment('--until', until),
  }
}

function lettersTable(table: string): string {
  return quoteName(`${table.toLowerCase()}${DEAD_LETTERS_SUFFIX}`)
}

async function list(table: string, options: ListOptions): Promise<void> {
  const after = options.after === undefined ? undefined : parsePlace(options.after)
  const { columns, rows } = await askRows(
    `SELECT _source AS source, _partition AS partition, _offset AS "offset", _arrived AS arrived, pipeline,
       coalesce(kind, 'value') AS kind, "column", reason, octet_length(raw) AS bytes
     FROM ${lettersTable(table)} WHERE ${lettersWhere(filterOf(options), after)}
     ORDER BY _source, _partition, _offset LIMIT ${options.limit + 1}`,
    options,
  )
  const shown = rows.slice(0, options.limit)
  const last = rows.length > shown.length ? shown.at(-1) : undefined
  const next = last && placeText(last)
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ letters: shown, next: next ?? null })}\n`)
    return
  }
  process.stdout.write(
    formatTable(
      columns,
      shown.map((row) => columns.map(({ name }) => row[name])),
    ),
  )
  if (next !== undefined) process.stdout.write(`more: --after ${next}\n`)
}

function placeText({ source, partition, offset }: Readonly<Record<string, unknown>>): string {
  return `${source}/${partition}/${offset}`
}

function parsePlace(text: string): LetterPlace {
  const match = /^(.+)\/(\d{1,9})\/(\d{1,19})$/.exec(text)
  if (!match)
    throw new MillraceError('request-invalid', `--after: expected <source>/<partition>/<offset>, found ${text}`)
  return { source: match[1], partition: Number(match[2]), offset: BigInt(match[3]) }
}

async function show(table: string, options: ShowOptions): Promise<void> {
  const { rows } = await askRows(
    `SELECT _source AS source, _partition AS partition, _offset AS "offset", _timestamp AS timestamp, _arrived AS arrived,
       topic, pipeline, coalesce(kind, 'value') AS kind, "column", reason,
       to_base64(raw_key) AS key, to_base64(raw) AS value, to_base64(raw_headers) AS headers
     FROM ${lettersTable(table)} WHERE ${lettersWhere(filterOf(options))}
     ORDER BY _source, _partition, _offset LIMIT 1`,
    options,
  )
  const [row] = rows
  if (!row) throw new MillraceError('not-found', `no dead letter of ${table} matches`)
  if (options.raw) {
    writeSync(process.stdout.fd, Buffer.from(String(row.value ?? ''), 'base64'))
    return
  }
  const letter = shownLetter(row)
  process.stdout.write(options.json ? `${JSON.stringify(letter)}\n` : letterText(letter))
}

function letterText(letter: ShownLetter): string {
  const lines = Object.entries(letter).map(([name, value]) =>
    typeof value === 'object' && value !== null
      ? `${name}: ${JSON.stringify(value)}`
      : `${name}: ${value === null ? '(none)' : String(value)}`,
  )
  return `${lines.join('\n')}\n`
}

async function take(action: 'replay' | 'discard', table: string, options: TakeOptions): Promise<void> {
  const { limit, all, why } = options
  const filter = filterOf(options)
  const answer = await askIngest<TakenAnswer>(
    `/v1/dead-letters/${encodeURIComponent(table)}`,
    {
      action,
      ...{ pipeline: filter.pipeline, topic: filter.topic, partition: filter.partition },
      ...{ reason: filter.reason, kind: filter.kind, column: filter.column },
      from_offset: filter.fromOffset === undefined ? undefined : String(filter.fromOffset),
      to_offset: filter.toOffset === undefined ? undefined : String(filter.toOffset),
      since: options.since,
      until: options.until,
      limit,
      all,
      why: why ?? `millrace dead-letters ${action} by ${userInfo().username}`,
    },
    options,
  )
  if (options.json) process.stdout.write(`${JSON.stringify(answer)}\n`)
  else process.stdout.write(takenText(action, answer))
}

function takenText(action: string, answer: TakenAnswer): string {
  const { replayed, discarded, filtered, already, failed, failures, more } = answer
  const counts =
    action === 'discard'
      ? [`${discarded} discarded`]
      : [
          `${replayed} replayed`,
          `${failed} still fail`,
          ...(filtered > 0 ? [`${filtered} dropped by the pipeline`] : []),
          ...(already > 0 ? [`${already} were rows already`] : []),
        ]
  const lines = [
    counts.join(', '),
    ...failures.map(({ source, partition, offset, reason }) => `  ${source}/${partition}/${offset}: ${reason}`),
    ...(failed > failures.length ? [`  and ${failed - failures.length} more`] : []),
    ...(more ? ['more letters match than --limit lets be looked at: run it again'] : []),
  ]
  return `${lines.join('\n')}\n`
}
