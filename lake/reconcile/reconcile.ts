/**
 * Does a table have what was consumed for it, and was everything consumed that the log has? Three tellers are compared, for each
 * topic-partition: the rows and dead letters that are there, coverage with its counts, and the broker's log. Pure.
 *
 *   rows + dead letters + discarded = records in − filtered      else records are missing, or there twice
 *   offsets covered − records in                                  never were records: compaction, transaction markers, aborted ones
 *   coverage within the log                                       else truncated, recreated, or retention went past what was consumed
 *
 * What a human did (skipped ranges, backfills under way) and what is only not read yet is told as a notice.
 */
import type { OffsetRange } from '../../schemas/coverage.ts'
import { uncovered } from '../../schemas/kafka-source-text.ts'

/** What lies in the table and its dead letters, of one source and topic-partition. */
export type Counted = {
  readonly source: string
  readonly partition: number
  readonly rows: bigint
  readonly letters: bigint
  readonly distinctRows: bigint
  /** Of rows and letters together. */
  readonly distinctPlaces: bigint
  /** Rows and letters outside of everything covered. */
  readonly outside: bigint
}

export type Ranged = OffsetRange & {
  readonly pipeline: string
  readonly topic: string
  readonly partition: number
  readonly source: string
  readonly kind: 'covered' | 'skipped' | 'backfill'
  readonly recordsIn: bigint
  readonly recordsFiltered: bigint
  readonly requestedBy: string | undefined
  readonly why: string | undefined
}

export type Log = {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly logStart: bigint
  readonly logEnd: bigint
}

/** Letters that left without a row. */
export type Discarded = { readonly source: string; readonly partition: number; readonly letters: bigint }

export type Discrepancy = {
  readonly kind:
    | 'missing'
    | 'twice'
    | 'both'
    | 'outside'
    | 'truncated'
    | 'recreated'
    | 'lost-to-retention'
    | 'skipped'
    | 'backfill'
    | 'never-records'
    | 'not-consumed'
    | 'lag'
  /** `notice`: explained. */
  readonly severity: 'finding' | 'notice'
  readonly pipeline: string
  readonly topic: string
  readonly partition: number
  readonly source: string
  readonly count: bigint
  readonly ranges: readonly OffsetRange[]
  readonly advice: string
}

const FINDINGS: ReadonlySet<Discrepancy['kind']> = new Set([
  'missing',
  'twice',
  'both',
  'outside',
  'truncated',
  'recreated',
  'lost-to-retention',
])

export function reconcile(facts: {
  readonly counted: readonly Counted[]
  readonly ranges: readonly Ranged[]
  readonly discarded: readonly Discarded[]
  /** undefined: the brokers were not asked. */
  readonly logs: readonly Log[] | undefined
}): Discrepancy[] {
  const found: Discrepancy[] = []
  const places = Map.groupBy(facts.ranges, ({ pipeline, source, partition }) =>
    JSON.stringify([pipeline, source, partition]),
  )
  for (const ranges of places.values()) found.push(...ofSource(ranges, facts))
  const known = new Set(facts.ranges.map(({ source, partition }) => `${source}/${partition}`))
  for (const counted of facts.counted) {
    if (known.has(`${counted.source}/${counted.partition}`)) continue
    const { source, partition, rows, letters } = counted
    const place = { pipeline: '', topic: /^kafka:([^:]+):/.exec(source)?.[1] ?? '', partition, source }
    found.push(told('outside', place, rows + letters, [], 'no pipeline that is known consumed them'))
  }
  const byTopic = Map.groupBy(facts.ranges, ({ pipeline, topic, partition }) =>
    JSON.stringify([pipeline, topic, partition]),
  )
  for (const ranges of byTopic.values()) found.push(...ofLog(ranges, facts.logs))
  return found
}

type Place = Pick<Discrepancy, 'pipeline' | 'topic' | 'partition' | 'source'>

function told(
  kind: Discrepancy['kind'],
  { pipeline, topic, partition, source }: Place,
  count: bigint,
  ranges: readonly OffsetRange[],
  advice: string,
): Discrepancy {
  const severity = FINDINGS.has(kind) ? 'finding' : 'notice'
  return { kind, severity, pipeline, topic, partition, source, count, ranges, advice }
}

function ofSource(
  ranges: readonly Ranged[],
  { counted, discarded }: { counted: readonly Counted[]; discarded: readonly Discarded[] },
): Discrepancy[] {
  const [place] = ranges
  const isOwn = (each: { source: string; partition: number }) =>
    each.source === place.source && each.partition === place.partition
  const there = counted.find(isOwn)
  const covered = ranges.filter(({ kind }) => kind === 'covered')
  const sum = (count: (each: Ranged) => bigint) => covered.reduce((total, each) => total + count(each), 0n)
  const gone = discarded.filter(isOwn).reduce((total, { letters }) => total + letters, 0n)
  const [recordsIn, filtered] = [sum((each) => each.recordsIn), sum((each) => each.recordsFiltered)]
  const length = sum(({ start, end }) => end - start)
  const [rows, letters, distinctRows] = [there?.rows ?? 0n, there?.letters ?? 0n, there?.distinctRows ?? 0n]
  const distinct = there?.distinctPlaces ?? 0n
  const outside = there?.outside ?? 0n
  const expected = recordsIn - filtered - gone
  const found: Discrepancy[] = []
  const missing = expected - (distinct - outside)
  if (missing > 0n) {
    found.push(
      told(
        'missing',
        place,
        missing,
        [],
        'records were consumed and are neither rows nor dead letters: please report it',
      ),
    )
  }
  if (rows > distinctRows) {
    found.push(told('twice', place, rows - distinctRows, [], 'offsets are there twice: please report it'))
  }
  const both = distinctRows + letters - distinct
  if (both > 0n) {
    found.push(
      told(
        'both',
        place,
        both,
        [],
        'rows are dead letters as well, as after a catalog was made again: discard those letters',
      ),
    )
  }
  if (outside > 0n) {
    found.push(
      told('outside', place, outside, [], 'the catalog is older than the rows: see "millrace catalog rebuild"'),
    )
  }
  if (length > recordsIn) {
    found.push(told('never-records', place, length - recordsIn, [], 'compacted away, transaction markers, or aborted'))
  }
  for (const range of ranges) {
    if (range.kind === 'covered') continue
    const { start, end } = range
    const by = range.requestedBy === undefined ? '' : ` by ${range.requestedBy}: ${range.why}`
    const advice = range.kind === 'skipped' ? `skipped${by}; "millrace offsets backfill" reads them` : `to be read${by}`
    found.push(told(range.kind, place, end - start, [{ start, end }], advice))
  }
  return found
}

function ofLog(ranges: readonly Ranged[], logs: readonly Log[] | undefined): Discrepancy[] {
  const [{ topic, partition }] = ranges
  const log = logs?.find((each) => each.topic === topic && each.partition === partition)
  if (!log) return []
  const own = ranges.filter(({ source }) => source.split('#')[0] === `kafka:${topic}:${log.topicId}`)
  const [place] = own.length > 0 ? own : ranges
  if (own.length === 0) {
    const count = log.logEnd - log.logStart
    return [told('recreated', place, count, [], `its id is ${log.topicId} now: see "millrace decide"`)]
  }
  const end = own.reduce((latest, each) => (each.end > latest && each.kind === 'covered' ? each.end : latest), 0n)
  const found: Discrepancy[] = []
  if (end > log.logEnd) {
    found.push(
      told('truncated', place, end - log.logEnd, [{ start: log.logEnd, end }], 'the log ends before what was consumed'),
    )
  } else if (end < log.logStart) {
    const lost = [{ start: end, end: log.logStart }]
    found.push(
      told(
        'lost-to-retention',
        place,
        log.logStart - end,
        lost,
        'deleted before they were read: see "millrace decide"',
      ),
    )
  } else if (end < log.logEnd) {
    found.push(told('lag', place, log.logEnd - end, [{ start: end, end: log.logEnd }], 'not consumed yet'))
  }
  const [{ start: first }] = [...own].sort((a, b) => (a.start < b.start ? -1 : 1))
  const before = uncovered({ start: log.logStart, end: first }, [])
  for (const range of before) {
    found.push(
      told(
        'not-consumed',
        place,
        range.end - range.start,
        [range],
        'before where the pipeline began; "millrace offsets backfill" reads them',
      ),
    )
  }
  return found
}
