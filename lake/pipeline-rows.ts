/**
 * What the catalog knows of pipelines, as rows: one topic-partition each, and what follows for a pipeline. Pure. The SQL tables
 * `millrace.*` show them, and the status over REST.
 *
 *   lag        records between what is committed and the log's end as last seen; a topic-partition in which nothing happens has 0
 *   freshness  as `freshness.ts` has it: since a consumer last stood at the log's end with everything before committed
 *
 * A log's end is known from the last commit and from what the process that has the topic-partition told since: the later one
 * counts, so that lag grows while nothing can be committed.
 */

import type { Coverage, OffsetRange } from '../schemas/coverage.ts'
import { LETTERS_SOURCE } from '../schemas/coverage.ts'
import { endOf, incarnationOf, rowSourceOf, startOf, topicOf, uncovered } from '../schemas/kafka-source-text.ts'
import { DEAD_LETTERS_SUFFIX } from '../schemas/table-schema.ts'
import type { PipelineFacts, ReportedPartition } from './catalog/pipeline-facts.ts'

/** Rows by column name; undefined and null are NULL. Times are microseconds. */
export type SystemValue =
  | string
  | number
  | bigint
  | boolean
  | readonly string[]
  | { readonly [key: string]: SystemValue }
  | null
  | undefined
export type SystemRow = Readonly<Record<string, SystemValue>>
export type PipelineTable = 'pipelines' | 'partitions' | 'dead_letters' | 'offsets'

/** All that was consumed of one topic-partition by one pipeline, oldest incarnation first. */
type Place = {
  readonly pipeline: string
  readonly topic: string | undefined
  readonly partition: number
  /** By incarnation, then by where they begin. */
  readonly stretches: readonly Coverage[]
  readonly told: ReportedPartition | undefined
}

export function systemRows(
  facts: PipelineFacts,
  isVisible: (pipeline: string) => boolean,
): Record<PipelineTable, SystemRow[]> {
  const places = placesOf(facts).filter(({ pipeline }) => isVisible(pipeline))
  const partitions = places.map((place) => partitionRow(place, facts))
  return {
    partitions,
    pipelines: pipelineNames(facts)
      .filter(isVisible)
      .map((pipeline) => pipelineRow(pipeline, partitions, facts)),
    dead_letters: places.map((place) => deadLettersRow(place, facts)),
    offsets: places.flatMap((place) => offsetRows(place, facts)),
  }
}

function placesOf({ coverage, partitions }: PipelineFacts): Place[] {
  const places = new Map<string, { -readonly [K in keyof Place]: Place[K] } & { stretches: Coverage[] }>()
  const placeOf = (pipeline: string, topic: string | undefined, source: string, partition: number) => {
    const key = JSON.stringify([pipeline, topic ?? source, partition])
    const known = places.get(key)
    if (known) return known
    const place = { pipeline, topic, partition, stretches: [], told: undefined }
    places.set(key, place)
    return place
  }
  for (const each of coverage) {
    if (each.source.startsWith(LETTERS_SOURCE)) continue
    placeOf(each.pipeline, topicOf(each.source), each.source, each.partition).stretches.push(each)
  }
  for (const told of partitions) placeOf(told.pipeline, told.topic, '', told.partition).told = told
  for (const place of places.values()) place.stretches.sort(byAge)
  return [...places.values()].sort((a, b) => (placeText(a) < placeText(b) ? -1 : 1))
}

/** Incarnations in their order, stretches by where they begin; of a topic that was made anew the one that moved last comes last. */
function byAge(a: Coverage, b: Coverage): number {
  const [left, right] = [rowSourceOf(a.source), rowSourceOf(b.source)]
  if (left === right) return startOf(a) < startOf(b) ? -1 : 1
  const incarnations = incarnationOf(left) - incarnationOf(right)
  if (incarnations !== 0) return incarnations
  return (a.caughtUpAt ?? 0n) < (b.caughtUpAt ?? 0n) ? -1 : 1
}

function placeText({ pipeline, topic, partition, stretches }: Place): string {
  return `${pipeline}\u0000${topic ?? stretches[0]?.source}\u0000${String(partition).padStart(6, '0')}`
}

/** The stretch that is read on. */
function currentOf({ stretches, told }: Place): Coverage | undefined {
  return (told?.isLive && stretches.find(({ source }) => source === told.source)) || stretches.at(-1)
}

function partitionRow(place: Place, { readAt }: PipelineFacts): SystemRow {
  const { pipeline, topic, partition, stretches, told } = place
  const current = currentOf(place)
  const committed = current && endOf(current)
  // A log that was made anew ends before what was committed of the one before: all of it waits for the decision.
  const isAnew = told?.isLive === true && told.state === 'needs-decision' && (told.logEnd ?? 0n) < (committed ?? 0n)
  const logEnd = isAnew ? told.logEnd : largest(current?.logEnd, told?.logEnd)
  const behind = isAnew ? told.logStart : committed
  const sum = (count: (each: Coverage) => bigint) => stretches.reduce((total, each) => total + count(each), 0n)
  const isTold = told?.isLive === true
  return {
    pipeline,
    topic,
    partition,
    source: current?.source ?? told?.source,
    state: isTold ? told.state : topic === undefined ? 'http' : 'unassigned',
    detail: isTold ? told.detail : undefined,
    log_start: told?.logStart,
    log_end: logEnd,
    committed_offset: committed,
    position: isTold ? told.position : committed,
    lag: behind === undefined || logEnd === undefined ? undefined : largest(0n, logEnd - behind),
    freshness_ms: freshness(current, readAt),
    rows_per_s: isTold ? told.rowsPerSecond : undefined,
    bytes_per_s: isTold ? told.bytesPerSecond : undefined,
    records_in: sum(({ recordsIn }) => recordsIn),
    records_dead: sum(({ recordsDead }) => recordsDead),
    records_filtered: sum(({ recordsFiltered }) => recordsFiltered),
    offsets_skipped: gapsOf(stretches).reduce((total, { start, end }) => total + end - start, 0n),
    writer: isTold ? told.writerId : undefined,
    told_at: told?.updatedAt,
  }
}

function freshness(current: Coverage | undefined, readAt: bigint): bigint | undefined {
  if (!current) return undefined
  if (current.source.startsWith('http:')) return 0n
  return current.caughtUpAt === undefined ? undefined : largest(0n, (readAt - current.caughtUpAt) / 1000n)
}

function largest(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b
  const isLess = a < b
  return isLess ? b : a
}

function pipelineNames({ bindings, coverage, tasks }: PipelineFacts): string[] {
  return [...new Set([...bindings, ...coverage, ...tasks].map(({ pipeline }) => pipeline))].sort()
}

const WORST_FIRST = ['needs-decision', 'waiting', 'paused', 'running', 'http'] as const

function pipelineRow(pipeline: string, all: readonly SystemRow[], facts: PipelineFacts): SystemRow {
  const own = all.filter((row) => row.pipeline === pipeline)
  const bindings = facts.bindings.filter((each) => each.pipeline === pipeline)
  const tasks = facts.tasks.filter((each) => each.pipeline === pipeline && each.isLive)
  const sum = (name: string) => {
    const known = own.map((row) => row[name]).filter((value) => value !== undefined && value !== null)
    return known.length === 0 ? undefined : known.reduce((total: bigint, value) => total + BigInt(value as bigint), 0n)
  }
  const failed = tasks.find(({ state }) => state === 'failed')
  const worst = WORST_FIRST.map((state) => own.find((row) => row.state === state)).find((row) => row !== undefined)
  const isHttp = pipeline.startsWith('http:')
  const state = failed ? 'failed' : (worst?.state ?? (isHttp ? 'http' : tasks.length > 0 ? 'running' : 'stopped'))
  const fresh = own.map((row) => row.freshness_ms).filter((value) => value !== undefined) as bigint[]
  const left = facts.lettersLeft.filter(({ source, partition }) =>
    facts.coverage.some(
      (each) => each.pipeline === pipeline && rowSourceOf(each.source) === source && each.partition === partition,
    ),
  )
  const dead = sum('records_dead') ?? 0n
  return {
    pipeline,
    state,
    detail: failed?.detail ?? worst?.detail,
    topics: distinct(bindings.map(({ topic }) => topic).filter((topic) => topic !== '')),
    tables: distinct(bindings.map(({ table }) => table).filter((table) => !table.endsWith(DEAD_LETTERS_SUFFIX))),
    tasks: tasks.length,
    partitions: own.length,
    lag: sum('lag'),
    // Of the stalest one; unknown as long as one never stood at its end.
    freshness_ms:
      fresh.length < own.length || own.length === 0
        ? undefined
        : fresh.reduce((most, age) => largest(most, age) as bigint),
    rows_per_s: sum('rows_per_s'),
    bytes_per_s: sum('bytes_per_s'),
    records_in: sum('records_in') ?? 0n,
    records_dead: dead,
    records_filtered: sum('records_filtered') ?? 0n,
    dead_letters: dead - BigInt(left.reduce((total, { rows }) => total + rows, 0)),
  }
}

function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort()
}

function deadLettersRow(place: Place, { bindings, lettersLeft }: PipelineFacts): SystemRow {
  const { pipeline, topic, partition, stretches } = place
  const sources = new Set(stretches.map(({ source }) => rowSourceOf(source)))
  const tables = bindings.filter((each) => each.pipeline === pipeline && each.table.endsWith(DEAD_LETTERS_SUFFIX))
  const ids = new Set(tables.map(({ tableId }) => tableId))
  const left = (action: string) =>
    lettersLeft
      .filter((each) => each.action === action && ids.has(each.tableId))
      .filter((each) => each.partition === partition && sources.has(each.source))
      .reduce((total, { rows }) => total + rows, 0)
  const dead = stretches.reduce((total, { recordsDead }) => total + recordsDead, 0n)
  const [replayed, discarded] = [left('replay'), left('discard')]
  return {
    pipeline,
    topic,
    partition,
    source: currentOf(place)?.source,
    tables: distinct(tables.map(({ table }) => table)),
    records_dead: dead,
    replayed,
    discarded,
    dead_letters: dead - BigInt(replayed + discarded),
  }
}

/** Offsets between stretches of one source. */
function gapsOf(stretches: readonly Coverage[]): OffsetRange[] {
  return [...Map.groupBy(stretches, ({ source }) => rowSourceOf(source)).values()].flatMap((own) => {
    const ranges = own.flatMap((each) => each.ranges)
    if (ranges.length < 2) return []
    const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1))
    const last = sorted[sorted.length - 1]
    return uncovered({ start: sorted[0].start, end: last.start }, sorted)
  })
}

/** Those that the topic goes to; of a topic that nobody bound by name, all of the pipeline's. */
function tablesOf({ pipeline, topic }: Place, { bindings }: PipelineFacts): string[] {
  const own = bindings.filter((each) => each.pipeline === pipeline && !each.table.endsWith(DEAD_LETTERS_SUFFIX))
  const named = own.filter((each) => each.topic === topic)
  return distinct((named.length > 0 ? named : own).map(({ table }) => table))
}

function offsetRows(place: Place, facts: PipelineFacts): SystemRow[] {
  const { moves } = facts
  const { pipeline, topic, partition, stretches } = place
  const common = { pipeline, topic, partition, tables: tablesOf(place, facts) }
  const covered = stretches.map(
    (each): SystemRow => ({
      ...common,
      source: rowSourceOf(each.source),
      kind: 'covered',
      range_start: startOf(each),
      range_end: endOf(each),
      records_in: each.recordsIn,
      records_dead: each.recordsDead,
      records_filtered: each.recordsFiltered,
    }),
  )
  const own = moves.filter((move) => move.pipeline === pipeline && move.topic === topic && move.partition === partition)
  const pending = own.flatMap((move): SystemRow[] => {
    const stretch = stretches.find(({ source }) => source === move.source)
    if (move.kind !== 'backfill' || !stretch || endOf(stretch) >= move.range.end) return []
    return [
      {
        ...common,
        source: rowSourceOf(move.source),
        kind: 'backfill',
        range_start: endOf(stretch),
        range_end: move.range.end,
        requested_by: move.requestedBy,
        why: move.why,
      },
    ]
  })
  const wanted = pending.map((row) => ({ start: row.range_start as bigint, end: row.range_end as bigint }))
  const skipped = [...Map.groupBy(stretches, ({ source }) => rowSourceOf(source))].flatMap(([source, list]) =>
    gapsOf(list)
      .flatMap((gap) => uncovered(gap, wanted))
      .map((gap): SystemRow => {
        const by = own.findLast(({ kind, range }) => kind === 'skip' && range.start < gap.end && gap.start < range.end)
        return {
          ...common,
          source,
          kind: 'skipped',
          range_start: gap.start,
          range_end: gap.end,
          requested_by: by?.requestedBy,
          why: by?.why,
        }
      }),
  )
  return [...covered, ...skipped, ...pending]
}
