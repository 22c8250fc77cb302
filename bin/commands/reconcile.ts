/**
 * `millrace reconcile <table>`: rows, dead letters, coverage and the brokers' logs against each other. Everything of the lake is one
 * SQL statement to the query service, so of one moment; aggregates only, whatever the table's size.
 *
 * Exit codes: 0 balanced, 1 findings, 2 it could not look.
 */
import type { Command } from 'commander'
import { quoteName, quoteText } from '../../lake/file-mapping.ts'
import {
  type Counted,
  type Discarded,
  type Discrepancy,
  type Log,
  type Ranged,
  reconcile,
} from '../../lake/reconcile/reconcile.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { OffsetRange } from '../../schemas/coverage.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import { type AskOptions, askRows, orExit } from './ask-services.ts'
import { settingsOf, withSettings } from './settings-options.ts'

type ReconcileOptions = AskOptions & {
  readonly pipeline?: string
  readonly brokers: boolean
  readonly json?: boolean
}

const BALANCED = 0
const FINDINGS = 1
const COULD_NOT_LOOK = 2
const HOLES_SHOWN_MAX = 20

export function addReconcileCommand(program: Command): void {
  withSettings(
    program.command('reconcile').description('Is every record of the topics in the table, once? Changes nothing.'),
  )
    .argument('<table>', 'the table')
    .option('--pipeline <name>', 'only what this pipeline brought')
    .option('--no-brokers', 'do not ask the brokers where their logs begin and end')
    .option('--json', 'one JSON object on standard output')
    .option('--query-url <url>', 'query service (default: MILLRACE_URL, else listen.query of the settings)')
    .option('--token <token>', 'bearer token (default: MILLRACE_TOKEN)')
    .addHelpText(
      'after',
      `
Examples:
  millrace reconcile flights
  millrace reconcile flights --pipeline flights --json | jq .findings

Exit codes: 0 balanced, 1 findings (holes and overlaps, each named), 2 it could not look. Notices explain, and are no findings.`,
    )
    .action((table: string, options: ReconcileOptions) =>
      orExit(COULD_NOT_LOOK, () => run(table.toLowerCase(), options)),
    )
}

async function run(table: string, options: ReconcileOptions): Promise<void> {
  const { counted, ranges, discarded } = await askLake(table, options)
  if (options.pipeline !== undefined && ranges.length === 0) {
    // Nothing found of a name that is mistyped must not read as all is well.
    throw new MillraceError('not-found', `pipeline "${options.pipeline}" brought nothing into table "${table}"`)
  }
  const { logs, why } = options.brokers ? await askBrokers(ranges, options) : { logs: undefined, why: undefined }
  const all: Discrepancy[] = []
  for (const each of reconcile({ counted, ranges, discarded, logs })) {
    all.push(each.kind === 'missing' ? { ...each, ranges: await holesOf(table, each, ranges, options) } : each)
  }
  const findings = all.filter(({ severity }) => severity === 'finding')
  const isUnsure = options.brokers && logs === undefined
  process.exitCode = findings.length > 0 ? FINDINGS : isUnsure ? COULD_NOT_LOOK : BALANCED
  const totals = counted.reduce(
    (sum, { rows, letters }) => ({ rows: sum.rows + rows, letters: sum.letters + letters }),
    {
      rows: 0n,
      letters: 0n,
    },
  )
  if (options.json) {
    const shown = (each: Discrepancy) => ({
      ...each,
      count: String(each.count),
      ranges: each.ranges.map(({ start, end }) => [String(start), String(end)]),
    })
    const notices = all.filter(({ severity }) => severity === 'notice')
    process.stdout.write(
      `${JSON.stringify({
        table,
        balanced: findings.length === 0 && !isUnsure,
        rows: String(totals.rows),
        dead_letters: String(totals.letters),
        findings: findings.map(shown),
        notices: notices.map(shown),
        brokers: why ?? null,
      })}\n`,
    )
    return
  }
  for (const each of all) process.stdout.write(`${lineOf(each)}\n`)
  if (why !== undefined) process.stderr.write(`millrace: the brokers could not be asked: ${why}\n`)
  process.stdout.write(
    `${table}: ${totals.rows} rows and ${totals.letters} dead letters of ${counted.length} topic-partitions, ${findings.length} findings\n`,
  )
}

function lineOf({ severity, kind, pipeline, topic, partition, source, count, ranges, advice }: Discrepancy): string {
  const where = `${pipeline === '' ? '' : `${pipeline} `}${topic}/${partition}`
  const which = ranges.length === 0 ? '' : ` ${ranges.map(({ start, end }) => `[${start}, ${end})`).join(' ')}`
  return `${severity} ${kind} ${where}: ${count} offsets${which} of ${source}: ${advice}`
}

type Row = Readonly<Record<string, unknown>>
const big = (value: unknown) => BigInt(String(value ?? 0))

async function askLake(
  table: string,
  options: ReconcileOptions,
): Promise<{ counted: Counted[]; ranges: Ranged[]; discarded: Discarded[] }> {
  const letters = `${table}${DEAD_LETTERS_SUFFIX}`
  const ofPipeline = options.pipeline === undefined ? '' : `AND pipeline = ${quoteText(options.pipeline)}`
  const { rows } = await askRows(
    `WITH ranges AS (
       SELECT * FROM millrace.offsets WHERE list_contains(tables, ${quoteText(table)}) AND topic IS NOT NULL ${ofPipeline}),
     places AS (
       ${placesSql(table)}),
     counted AS (
       SELECT source, partition, count(*) FILTER (WHERE is_row) AS row_count, count(*) FILTER (WHERE NOT is_row) AS letter_count,
         count(DISTINCT o) FILTER (WHERE is_row) AS distinct_rows, count(DISTINCT o) AS distinct_places
       FROM places GROUP BY ALL),
     outside AS (
       SELECT source, partition, count(*) AS outside FROM places p WHERE NOT EXISTS (
         SELECT 1 FROM millrace.offsets c WHERE c.kind = 'covered' AND c.source = p.source AND c.partition = p.partition
           AND p.o >= c.range_start AND p.o < c.range_end) GROUP BY ALL),
     gone AS (
       SELECT source, partition, discarded FROM millrace.dead_letters WHERE list_contains(tables, ${quoteText(letters)}) ${ofPipeline})
     SELECT 'counted' AS what, source, partition, row_count, letter_count, distinct_rows, distinct_places, coalesce(outside, 0) AS outside
       FROM counted LEFT JOIN outside USING (source, partition)
     UNION ALL BY NAME
     SELECT 'range' AS what, pipeline, topic, partition, source, kind, range_start, range_end, records_in, records_filtered, requested_by, why
       FROM ranges
     UNION ALL BY NAME
     SELECT 'gone' AS what, source, partition, discarded FROM gone`,
    options,
  )
  const of = (what: string) => rows.filter((row) => row.what === what)
  const ranges = of('range').map(rangedOf)
  const isMeant = new Set(ranges.map(({ source, partition }) => `${source}/${partition}`))
  const counted = of('counted').map(countedOf)
  return {
    ranges,
    counted:
      options.pipeline === undefined
        ? counted
        : counted.filter((each) => isMeant.has(`${each.source}/${each.partition}`)),
    discarded: of('gone').map((row) => ({
      // As rows have it: a stretch is coverage of its own only.
      source: String(row.source).replace(/@\d+$/, ''),
      partition: Number(row.partition),
      letters: big(row.discarded),
    })),
  }
}

function placesSql(table: string): string {
  const letters = quoteName(`${table}${DEAD_LETTERS_SUFFIX}`)
  const ofKafka = `starts_with(_source, 'kafka:')`
  return `SELECT _source AS source, _partition AS partition, _offset AS o, true AS is_row FROM ${quoteName(table)} WHERE ${ofKafka}
       UNION ALL SELECT _source, _partition, _offset, false FROM ${letters} WHERE ${ofKafka}`
}

function countedOf(row: Row): Counted {
  return {
    source: String(row.source),
    partition: Number(row.partition),
    rows: big(row.row_count),
    letters: big(row.letter_count),
    distinctRows: big(row.distinct_rows),
    distinctPlaces: big(row.distinct_places),
    outside: big(row.outside),
  }
}

function rangedOf(row: Row): Ranged {
  return {
    pipeline: String(row.pipeline),
    topic: String(row.topic),
    partition: Number(row.partition),
    source: String(row.source),
    kind: row.kind as Ranged['kind'],
    start: big(row.range_start),
    end: big(row.range_end),
    recordsIn: big(row.records_in),
    recordsFiltered: big(row.records_filtered),
    requestedBy: (row.requested_by as string | null) ?? undefined,
    why: (row.why as string | null) ?? undefined,
  }
}

/** Offsets that were consumed and are nowhere, as far as they are not explained by never having been records. */
async function holesOf(
  table: string,
  { source, partition }: Discrepancy,
  ranges: readonly Ranged[],
  options: ReconcileOptions,
): Promise<OffsetRange[]> {
  const edges = ranges
    .filter((each) => each.kind === 'covered' && each.source === source && each.partition === partition)
    .flatMap(({ start, end }) => [`(${start - 1n})`, `(${end})`])
  const { rows } = await askRows(
    `WITH places AS (${placesSql(table)}),
     known AS (SELECT DISTINCT o FROM places WHERE source = ${quoteText(source)} AND partition = ${partition}
       UNION SELECT v::BIGINT FROM (VALUES ${edges.join(', ')}) e(v)),
     steps AS (SELECT o, lead(o) OVER (ORDER BY o) AS following FROM known)
     SELECT o + 1 AS hole_start, following AS hole_end FROM steps WHERE following > o + 1 ORDER BY o LIMIT ${HOLES_SHOWN_MAX}`,
    options,
  )
  return rows.map((row) => ({ start: big(row.hole_start), end: big(row.hole_end) }))
}

async function askBrokers(
  ranges: readonly Ranged[],
  options: ReconcileOptions,
): Promise<{ logs: readonly Log[] | undefined; why: string | undefined }> {
  const { settings, secrets } = settingsOf(options)
  if (settings.kafka.bootstrap.length === 0) return { logs: undefined, why: 'kafka.bootstrap is empty' }
  const world = createSystemWorld({ log: createLog({ level: 'error', fields: { service: 'reconcile' }, secrets }) })
  const { placeEnds } = await import('../../ingest/kafka/place-ends.ts')
  const places = new Map(ranges.map(({ topic, partition }) => [`${topic}/${partition}`, { topic, partition }]))
  try {
    const ends = await placeEnds(settings.kafka, world, [...places.values()])
    const logs = ends.map((each) => ({ ...each, logStart: BigInt(each.logStart), logEnd: BigInt(each.logEnd) }))
    return { logs, why: undefined }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return { logs: undefined, why: error.message }
  }
}
