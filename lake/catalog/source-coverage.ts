/**
 * Coverage: which offsets each pipeline consumed of each source. The only position there is; a flush tick extends it from
 * exactly where it ends (`flush-tick.ts`), everything else here reads it or says how fresh it is.
 */

import type { Selectable } from 'kysely'
import type { Coverage, SourceKey } from '../../schemas/coverage.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { invariant } from '../../schemas/errors.ts'
import type { Catalog } from './catalog.ts'
import { mustBeLive } from './commit-ids.ts'
import type { CoverageRow, ExpiredProducerRow, Tx } from './database.ts'
import type { CatalogDialect, RowInsert, RowLookup, RowUpdate } from './dialect.ts'
import { coverageOf } from './rows-as-values.ts'
import type { JoinedAdvance } from './tick-checks.ts'
import { OvertakenError, type Transactions } from './transactions.ts'

type Part = Pick<Catalog, 'coverage' | 'beginCoverage' | 'touchCaughtUp'>
type Row = Selectable<CoverageRow>

const KEY = { pipeline: 'text', source: 'text', partition: 'bigint' } as const

const COLUMNS = [
  'pipeline',
  'source',
  'partition',
  'earlier_ranges_json',
  'range_start',
  'range_end',
  'records_in',
  'records_dead',
  'records_filtered',
  'log_end',
  'caught_up_at',
  'updated_at',
  'recorded_end',
]

const FOUND: RowLookup = { table: 'coverage', keys: KEY, select: COLUMNS }
/** A tick needs no more of a source than this, unless it is stale. */
const ENDS: RowLookup = {
  table: 'coverage',
  keys: KEY,
  select: ['pipeline', 'source', 'partition', 'range_end'],
  lock: 'all',
}
const FREE_ENDS: RowLookup = { ...ENDS, lock: 'free' }
type EndRow = Pick<Row, 'pipeline' | 'source' | 'partition' | 'range_end'>

/** A row of `coverage`, whole. */
export const COVERAGE_COLUMNS = {
  ...KEY,
  earlier_ranges_json: 'text',
  range_start: 'bigint',
  range_end: 'bigint',
  records_in: 'bigint',
  records_dead: 'bigint',
  records_filtered: 'bigint',
  log_end: 'bigint',
  caught_up_at: 'bigint',
  updated_at: 'bigint',
  recorded_end: 'bigint',
} as const

const BEGUN: RowInsert = { table: 'coverage', columns: COVERAGE_COLUMNS, ending: 'on conflict do nothing' }

/** A new row, or one more range that touches the last. */
const EXTENDED: RowInsert = {
  table: 'coverage',
  columns: COVERAGE_COLUMNS,
  ending: `on conflict (pipeline, source, partition) do update set
    range_end = excluded.range_end,
    records_in = coverage.records_in + excluded.records_in,
    records_dead = coverage.records_dead + excluded.records_dead,
    records_filtered = coverage.records_filtered + excluded.records_filtered,
    log_end = coalesce(excluded.log_end, coverage.log_end),
    caught_up_at = coalesce(excluded.caught_up_at, coverage.caught_up_at),
    updated_at = excluded.updated_at,
    recorded_end = coalesce(excluded.recorded_end, coverage.recorded_end)
    where coverage.range_end = excluded.range_start`,
}

const EXPIRED: RowLookup = {
  table: 'expired_producers',
  keys: { pipeline: 'text', source: 'text' },
  select: ['pipeline', 'source', 'next_sequence', 'recorded_end', 'expired_at'],
}
type ExpiredProducer = Selectable<ExpiredProducerRow>

/** Only these expire. */
const HTTP_SOURCE = 'http:'

const CAUGHT_UP: RowUpdate = { table: 'coverage', set: { caught_up_at: 'bigint', log_end: 'bigint' }, keys: KEY }

export function sourceCoverage({ dialect, read, write }: Transactions): Part {
  return {
    coverage: (pipeline, sources) =>
      read(async (tx) => {
        const all = tx
          .selectFrom('coverage')
          .selectAll()
          .where('pipeline', '=', pipeline)
          .orderBy('source')
          .orderBy('partition')
        const rows = await (sources ? all.where(dialect.textIn('source', [...new Set(sources)])) : all).execute()
        const found = rows.map(coverageOf)
        if (!sources) return found
        const known = new Set(found.map(({ source }) => source))
        const missing = sources.filter((source) => !known.has(source))
        return [
          ...found,
          ...(await expiredProducers(
            tx,
            dialect,
            missing.map((source) => [pipeline, source]),
          )),
        ]
      }),

    beginCoverage: (key, start) => {
      invariant('coverage.start', start >= 0n, { ...key, start })
      return write(async (tx, time) => {
        await beginSource(tx, dialect, key, start, await time())
        const [row] = await dialect.findRows<Row>(tx, FOUND, [keyOf(key)])
        // Between the two an idle producer may have expired.
        if (!row) throw new OvertakenError('coverage was expired')
        return coverageOf(row)
      })
    },

    touchCaughtUp: async (writer, keys) => {
      if (keys.length === 0) return []
      return write(async (tx, time) => {
        const state = await tx
          .selectFrom('writers')
          .select(['epoch', 'fenced_at'])
          .where('writer_id', '=', writer.writerId)
          .executeTakeFirst()
        mustBeLive(state, writer)
        // A source that a tick is writing to is passed over: that tick says how fresh it is.
        const rows = await dialect.findRows<EndRow>(tx, FREE_ENDS, keys.map(keyOf))
        const ends = new Map(
          rows.map((row) => [sourceKeyText({ ...row, partition: Number(row.partition) }), row.range_end]),
        )
        // Coverage that ends elsewhere belongs to another process now: what the caller knows of it says nothing.
        const { same = [], moved = [] } = Object.groupBy(
          keys.filter((key) => ends.has(sourceKeyText(key))),
          (key) => (ends.get(sourceKeyText(key)) === key.end ? 'same' : 'moved'),
        )
        const now = await time()
        await dialect.updateRows(
          tx,
          CAUGHT_UP,
          same.map((key) => [now, key.logEnd, ...keyOf(key)]),
        )
        return moved
      })
    },
  }
}

/** Coverage that begins, and ends, at `start`; a source that has coverage keeps it. */
export async function beginSource(
  tx: Tx,
  dialect: CatalogDialect,
  key: SourceKey,
  start: bigint,
  now: bigint,
): Promise<void> {
  await dialect.insertRows(tx, BEGUN, [[...keyOf(key), '[]', start, start, 0, 0, 0, null, null, now, null]])
}

function keyOf({ pipeline, source, partition }: SourceKey) {
  return [pipeline, source, partition] as const
}

/**
 * Of these sources those that do not continue where their coverage ends, with what it is; nobody else moves any of them until
 * this transaction ends.
 */
export async function staleSources(
  tx: Tx,
  dialect: CatalogDialect,
  advances: readonly JoinedAdvance[],
): Promise<{ readonly key: SourceKey; readonly coverage: Coverage | undefined }[]> {
  const ends = new Map<string, bigint>()
  for (const { pipeline, source, partition, range_end } of await dialect.findRows<EndRow>(
    tx,
    ENDS,
    advances.map(keyOf),
  )) {
    ends.set(sourceKeyText({ pipeline, source, partition: Number(partition) }), range_end)
  }
  const doubtful = advances.filter(({ keyText, range }) => ends.get(keyText) !== range.start)
  if (doubtful.length === 0) return []
  const coverage = await coverageByKey(tx, dialect, doubtful)
  return doubtful.flatMap(({ pipeline, source, partition, keyText, range }) => {
    const known = coverage.get(keyText)
    // A source without coverage may only begin at its first sequence; Kafka's begin elsewhere through beginCoverage.
    const end = known?.ranges.at(-1)?.end ?? 0n
    return end === range.start ? [] : [{ key: { pipeline, source, partition }, coverage: known }]
  })
}

/** Coverage of these sources by key text, expired producers' too. */
async function coverageByKey(
  tx: Tx,
  dialect: CatalogDialect,
  keys: readonly SourceKey[],
): Promise<Map<string, Coverage>> {
  const rows = await dialect.findRows<Row>(tx, FOUND, keys.map(keyOf))
  const found = new Map(rows.map(coverageOf).map((coverage) => [sourceKeyText(coverage), coverage]))
  const missing = keys.filter((key) => !found.has(sourceKeyText(key)))
  const expired = await expiredProducers(
    tx,
    dialect,
    missing.map(({ pipeline, source }) => [pipeline, source]),
  )
  for (const coverage of expired) found.set(sourceKeyText(coverage), coverage)
  return found
}

/** Empty coverage at the end of an expired producer's sequence: who goes on there loses nothing and doubles nothing. */
async function expiredProducers(
  tx: Tx,
  dialect: CatalogDialect,
  keys: readonly (readonly [pipeline: string, source: string])[],
): Promise<Coverage[]> {
  const rows = await dialect.findRows<ExpiredProducer>(
    tx,
    EXPIRED,
    keys.filter(([, source]) => source.startsWith(HTTP_SOURCE)),
  )
  return rows.map((row) => ({
    pipeline: row.pipeline,
    source: row.source,
    partition: 0,
    ranges: [{ start: row.next_sequence, end: row.next_sequence }],
    recordsIn: 0n,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
    recordedEnd: row.recorded_end ?? undefined,
    expiredAt: row.expired_at,
  }))
}

/** @param recorded key texts of the sources that files of this tick record */
export async function extendCoverage(
  tx: Tx,
  dialect: CatalogDialect,
  advances: readonly JoinedAdvance[],
  recorded: ReadonlySet<string>,
  now: bigint,
): Promise<void> {
  const rows = advances.map((advance) => [
    ...keyOf(advance),
    '[]',
    advance.range.start,
    advance.range.end,
    advance.recordsIn,
    advance.recordsDead,
    advance.recordsFiltered,
    advance.logEnd ?? null,
    advance.caughtUp ? now : null,
    now,
    recorded.has(advance.keyText) ? advance.range.end : null,
  ])
  const written = await dialect.insertRows(tx, EXTENDED, rows)
  if (written === rows.length) return
  throw new OvertakenError(`coverage of ${rows.length - written} sources moved during the commit`)
}
