/**
 * `millrace offsets`: where the pipelines stand, and moving them. It asks the catalog and the brokers of the settings itself, so that
 * it works also when no service runs; a backfill is read by the next ingest process that runs the pipeline.
 */
import { userInfo } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { MovedOffsets, WantedOffset } from '../../lake/catalog/offset-moves.ts'
import type { SystemRow } from '../../lake/pipeline-rows.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { parseMoment } from '../../schemas/moment.ts'
import type { Settings } from '../../schemas/settings.ts'
import { formatTable } from '../shell/table-text.ts'
import { type SettingsOptions, settingsOf, withSettings } from './settings-options.ts'

type PlaceOptions = SettingsOptions & {
  readonly pipeline: string
  readonly topic?: string
  readonly partition?: number
  readonly why?: string
  readonly json?: boolean
}
type SetOptions = PlaceOptions & { readonly to: string; readonly allowDuplicates?: boolean }
type BackfillOptions = PlaceOptions & { readonly from: string; readonly until: string }

type Opened = { readonly catalog: Catalog; readonly world: World; readonly settings: Settings }

export function addOffsetsCommand(program: Command): void {
  const offsets = program.command('offsets').description('Where pipelines stand in their topics; move them, fill gaps.')
  offsets.addHelpText(
    'after',
    `
Examples:
  millrace offsets show --pipeline flights
  millrace offsets set --pipeline flights --to latest
  millrace offsets set --pipeline flights --topic flights --partition 3 --to 2026-01-31T10:00:00Z
  millrace offsets backfill --pipeline flights --topic flights --from 0 --until 100000`,
  )
  withPlace(offsets.command('show').description('Ranges consumed, skipped and to be filled in.')).action(show)
  withPlace(offsets.command('set').description('Go on elsewhere. The pipeline must be stopped.'))
    .requiredOption('--to <where>', 'earliest, latest, an offset, or a moment such as 2026-01-31T10:00:00Z')
    .option('--allow-duplicates', 'backward: read again what became rows already, as rows of another _source')
    .addHelpText(
      'after',
      '\nForward: what lies between is skipped, and told so. Backward: what was consumed is not read again, unless --allow-duplicates.',
    )
    .action(set)
  withPlace(offsets.command('backfill').description('Read what was skipped or never consumed, into the same table.'))
    .requiredOption('--from <where>', 'earliest, an offset, or a moment')
    .requiredOption('--until <where>', 'latest, an offset (not read itself), or a moment')
    .addHelpText('after', '\nAlso while the pipeline runs. What was consumed already adds nothing.')
    .action(backfill)
}

function withPlace(command: Command): Command {
  return withSettings(command)
    .requiredOption('--pipeline <name>', 'a pipeline of the settings, or a connector')
    .option('--topic <name>', 'only this topic')
    .option('--partition <number>', 'only this topic-partition', (text) => {
      if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number.')
      return Number(text)
    })
    .option('--why <text>', 'kept with what was done')
    .option('--json', 'one JSON object on standard output')
}

async function withCatalog<T>(options: SettingsOptions, work: (opened: Opened) => Promise<T>): Promise<T> {
  const { settings, secrets } = settingsOf(options)
  const world = createSystemWorld({ log: createLog({ level: 'error', fields: { service: 'offsets' }, secrets }) })
  const { openCatalog } = await import('../../lake/catalog/open-catalog.ts')
  const catalog = await openCatalog({ ...settings.catalog, world, asItIs: true })
  try {
    return await work({ catalog, world, settings })
  } finally {
    await catalog.close()
  }
}

const asking = ({ why }: PlaceOptions, what: string) => ({
  requestedBy: userInfo().username,
  why: why ?? `millrace offsets ${what}`,
})

async function show(options: PlaceOptions): Promise<void> {
  const { systemRows } = await import('../../lake/pipeline-rows.ts')
  const rows = await withCatalog(options, async ({ catalog }) =>
    systemRows(await catalog.pipelineFacts(), (pipeline) => pipeline === options.pipeline),
  )
  const isMeant = ({ topic, partition }: SystemRow) =>
    (options.topic === undefined || topic === options.topic) &&
    (options.partition === undefined || partition === options.partition)
  const [partitions, offsets] = [rows.partitions.filter(isMeant), rows.offsets.filter(isMeant)]
  if (partitions.length === 0)
    throw new MillraceError('not-found', `pipeline "${options.pipeline}" has consumed nothing yet`)
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ partitions: partitions.map(plain), offsets: offsets.map(plain) })}\n`)
    return
  }
  print(partitions, ['topic', 'partition', 'state', 'committed_offset', 'log_end', 'lag', 'offsets_skipped'])
  print(offsets, ['topic', 'partition', 'source', 'kind', 'range_start', 'range_end', 'requested_by', 'why'])
}

function plain(row: SystemRow): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? String(value) : (value ?? null)]),
  )
}

function print(rows: readonly SystemRow[], names: readonly string[]): void {
  const columns = names.map((name) => ({ name, type: typeof rows[0]?.[name] === 'bigint' ? 'BIGINT' : 'VARCHAR' }))
  const cells = rows.map((row) => names.map((name) => plain(row)[name]))
  process.stdout.write(formatTable(columns, cells))
}

async function set(options: SetOptions): Promise<void> {
  const moved = await withCatalog(options, async (opened) => {
    const places = await placesOf(opened, options)
    const offsets = await resolve(opened, places, options.to)
    const wanted = places.map((place, index): WantedOffset => ({ ...place, offset: offsets[index] }))
    const how = { ...asking(options, 'set'), allowDuplicates: options.allowDuplicates === true }
    return opened.catalog.moveOffsets(options.pipeline, wanted, how)
  })
  tell(moved, options)
}

async function backfill(options: BackfillOptions): Promise<void> {
  const moved = await withCatalog(options, async (opened) => {
    const places = await placesOf(opened, options)
    const starts = await resolve(opened, places, options.from)
    const ends = await resolve(opened, places, options.until)
    if (places.every((_, index) => starts[index] > ends[index])) {
      throw new MillraceError('request-invalid', `--from ${options.from} lies behind --until ${options.until}`)
    }
    const wanted = places.flatMap((place, index) => {
      // What retention took cannot be read.
      const isThere = starts[index] >= place.logStart
      const range = { start: isThere ? starts[index] : place.logStart, end: ends[index] }
      return range.start < range.end ? [{ ...place, range }] : []
    })
    return opened.catalog.beginBackfill(options.pipeline, wanted, asking(options, 'backfill'))
  })
  tell(moved, options)
}

type Place = Omit<WantedOffset, 'offset'> & { readonly logEnd: bigint }

async function placesOf({ catalog, world, settings }: Opened, options: PlaceOptions): Promise<Place[]> {
  const { bindings } = await catalog.pipelineFacts()
  const bound = bindings.filter(({ pipeline, topic }) => pipeline === options.pipeline && topic !== '')
  const topics = [...new Set(bound.map(({ topic }) => topic))].filter((topic) => topic === (options.topic ?? topic))
  if (topics.length === 0) {
    const what = options.topic === undefined ? 'no topics are known' : `topic "${options.topic}" is not known`
    throw new MillraceError('not-found', `${what} of pipeline "${options.pipeline}"`)
  }
  const [{ partitionsOf }, { placeEnds }] = await Promise.all([
    import('../../ingest/kafka/offsets-at.ts'),
    import('../../ingest/kafka/place-ends.ts'),
  ])
  const all = (await partitionsOf(settings.kafka, topics)).filter(
    ({ partition }) => partition === (options.partition ?? partition),
  )
  const ends = await placeEnds(settings.kafka, world, all)
  if (ends.length === 0)
    throw new MillraceError('not-found', `the brokers know no such topic-partition of ${topics.join(', ')}`)
  return ends.map(({ topic, topicId, partition, logStart, logEnd }) => ({
    topic,
    topicId,
    partition,
    logStart: BigInt(logStart),
    logEnd: BigInt(logEnd),
  }))
}

async function resolve({ settings }: Opened, places: readonly Place[], text: string): Promise<bigint[]> {
  if (text === 'earliest') return places.map(({ logStart }) => logStart)
  if (text === 'latest') return places.map(({ logEnd }) => logEnd)
  if (/^\d{1,19}$/.test(text)) return places.map((place) => within(place, BigInt(text)))
  if (!/^\d{4}-/.test(text)) {
    throw new MillraceError(
      'request-invalid',
      `expected earliest, latest, an offset or a moment such as 2026-01-31T10:00:00Z, found "${text}"`,
    )
  }
  // Brokers know milliseconds: the first one at the moment or behind it.
  const moment = Number((parseMoment('moment', text) + 999n) / 1000n)
  const { offsetsAt } = await import('../../ingest/kafka/offsets-at.ts')
  const asked = places.map((place) => ({ ...place, logStart: Number(place.logStart), logEnd: Number(place.logEnd) }))
  return (await offsetsAt(settings.kafka, asked, moment)).map(BigInt)
}

function within({ topic, partition, logStart, logEnd }: Place, offset: bigint): bigint {
  if (offset <= logEnd) return offset
  throw new MillraceError(
    'value-out-of-range',
    `offset ${offset} is past the log of ${topic}/${partition}: [${logStart}, ${logEnd})`,
  )
}

const WORDS: Readonly<Record<MovedOffsets['kind'], string>> = {
  none: 'stays: all of it was consumed, or it stands there',
  begin: 'begins',
  skip: 'goes on behind what is skipped',
  rewind: 'reads again, as rows of another source',
  backfill: 'will be read: nobody consumed it',
}

function tell(moved: readonly MovedOffsets[], { json }: PlaceOptions): void {
  if (json) {
    const shown = moved.map(({ range, ...rest }) => ({ ...rest, start: String(range.start), end: String(range.end) }))
    process.stdout.write(`${JSON.stringify({ moved: shown })}\n`)
    return
  }
  if (moved.length === 0) process.stdout.write('no offsets lie in that range\n')
  for (const { topic, partition, source, kind, range } of moved) {
    process.stdout.write(`${topic}/${partition} [${range.start}, ${range.end}) ${WORDS[kind]} (${source})\n`)
  }
}
