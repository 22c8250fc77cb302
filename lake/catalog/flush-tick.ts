/**
 * The flush tick: rows become visible. One transaction for everything an ingest process sealed, of all tables.
 *
 *   1. a commit id that landed before gets the same answer again
 *   2. the writer must not be fenced
 *   3. every source must continue exactly where its coverage ends, else the answer names the stale ones
 *   4. no idempotency key may be known
 *   5. segments, coverage, keys and the commit id are written, each table's version grows by one
 *
 * If we stop before the commit point, a restart sees files that nothing refers to and coverage as it was: the same offsets
 * are read again. If we stop after it, the rows are in, and a retry under the same commit id is told so.
 */
import { sql } from 'kysely'
import type { CrashPoint } from '../../runtime/world.ts'
import { type SourceAdvance, type SourceKey, sourceKeyText } from '../../schemas/coverage.ts'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, FlushTick, NewSegment, TickAnswer, TickResult } from './catalog.ts'
import type { Tx } from './database.ts'
import { boundsText, sourcesText, tickAnswerOf, tickAnswerText } from './rows-as-values.ts'
import { coverageByKey, emptyCoverage } from './source-coverage.ts'
import { bumpVersions, insertBinding, NO_TOPIC } from './tables-and-schemas.ts'
import type { Transactions } from './transactions.ts'
import { requireLive } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'commitTick' | 'findIdempotencyKey'>

/** Rows of one INSERT; 17 parameters each stay below every database's limit. */
const ROWS_AT_ONCE = 200

/** One source's advances of a tick, joined. */
type Joined = SourceAdvance & { readonly keyText: string }

export function flushTick({ read, write }: Transactions, crashPoint: CrashPoint): Part {
  /** Pairs of pipeline and table that this process knows to be bound. */
  const bound = new Set<string>()

  async function commit(tx: Tx, tick: FlushTick, advances: readonly Joined[], now: bigint): Promise<TickResult> {
    const landed = await findCommit(tx, tick.commitId, 'tick')
    if (landed !== undefined) return { outcome: 'already-committed', ...tickAnswerOf(landed) }
    await requireLive(tx, tick.writer)
    const stale = await staleSources(tx, advances)
    if (stale.length > 0) return { outcome: 'stale', stale }
    const used = await usedKeys(tx, tick)
    if (used.length > 0) return { outcome: 'duplicate-keys', keys: used }
    await requireSchemas(tx, tick.segments)

    const versions = await bumpVersions(
      tx,
      tick.segments.map(({ tableId }) => tableId),
    )
    await insertSegments(tx, tick, versions, now)
    await extendCoverage(tx, advances, recordedKeys(tick), now)
    await insertKeys(tx, tick, versions, now)
    for (const segment of tick.segments) {
      for (const { pipeline } of segment.sources) {
        if (!bound.has(boundText(pipeline, segment.tableId))) {
          await insertBinding(tx, pipeline, segment.tableId, NO_TOPIC)
        }
      }
    }
    const answer: TickAnswer = { versions, committedAt: now }
    await insertCommit(tx, tick.commitId, 'tick', tickAnswerText(answer), now)
    crashPoint('catalog/tick-before-commit')
    return { outcome: 'committed', ...answer }
  }

  return {
    async commitTick(tick) {
      const advances = joinAdvances(tick.advances)
      checkSegments(tick, advances)
      const result = await write((tx, now) => commit(tx, tick, advances, now))
      if (result.outcome === 'committed') {
        for (const { tableId, sources } of tick.segments) {
          for (const { pipeline } of sources) bound.add(boundText(pipeline, tableId))
        }
        crashPoint('catalog/tick-after-commit')
      }
      return result
    },

    findIdempotencyKey: (tableId, key) =>
      read(async (tx) => {
        const row = await tx
          .selectFrom('idempotency_keys')
          .select(['row_count', 'dead_count', 'version'])
          .where('table_id', '=', BigInt(tableId))
          .where('key', '=', key)
          .executeTakeFirst()
        return row && { rows: Number(row.row_count), dead: Number(row.dead_count), version: row.version }
      }),
  }
}

function boundText(pipeline: string, tableId: number): string {
  return `${tableId}\u0000${pipeline}`
}

/** Several advances of one source must follow each other without a gap; they count as one. */
function joinAdvances(advances: readonly SourceAdvance[]): Joined[] {
  const joined = new Map<string, Joined>()
  for (const advance of advances) {
    const { range, recordsIn, recordsDead, recordsFiltered } = advance
    const facts = { ...advance }
    invariant('tick.range', range.start >= 0n && range.start <= range.end, facts)
    invariant('tick.partition', Number.isSafeInteger(advance.partition) && advance.partition >= 0, facts)
    for (const count of [recordsIn, recordsDead, recordsFiltered]) {
      invariant('tick.counts', Number.isSafeInteger(count) && count >= 0, facts)
    }
    invariant('G-1.balance', recordsDead + recordsFiltered <= recordsIn, facts)
    invariant('G-2.counts', BigInt(recordsIn) <= range.end - range.start, facts)
    const keyText = sourceKeyText(advance)
    const before = joined.get(keyText)
    invariant('G-1.gap', !before || before.range.end === range.start, facts)
    joined.set(keyText, {
      ...advance,
      keyText,
      range: { start: before?.range.start ?? range.start, end: range.end },
      recordsIn: recordsIn + (before?.recordsIn ?? 0),
      recordsDead: recordsDead + (before?.recordsDead ?? 0),
      recordsFiltered: recordsFiltered + (before?.recordsFiltered ?? 0),
    })
  }
  // One order for everybody, so that two transactions lock rows the same way round.
  return [...joined.values()].sort((a, b) => (a.keyText < b.keyText ? -1 : 1))
}

/** Rows of a segment come from offsets that this very tick covers, and are as many as the segment says. */
function checkSegments(tick: FlushTick, advances: readonly Joined[]): void {
  const byKey = new Map(advances.map((advance) => [advance.keyText, advance]))
  for (const segment of tick.segments) {
    const facts = { path: segment.path, tableId: segment.tableId }
    invariant('segment.counts', Number.isSafeInteger(segment.rowCount) && segment.rowCount >= 0, facts)
    invariant('segment.bytes', Number.isSafeInteger(segment.bytes) && segment.bytes >= 0, facts)
    let rows = 0
    for (const { range, rows: ofSource, recordedFrom = range.start, ...key } of segment.sources) {
      invariant('G-1.recorded', recordedFrom >= 0n && recordedFrom <= range.start, { ...facts, ...key, recordedFrom })
      const advance = byKey.get(sourceKeyText(key))
      const covered = advance && advance.range.start <= range.start && range.end <= advance.range.end
      invariant('G-1.covered', covered === true && range.start <= range.end, { ...facts, ...key, range })
      invariant('G-2.rows', ofSource >= 0 && BigInt(ofSource) <= range.end - range.start, {
        ...facts,
        ...key,
        ofSource,
      })
      rows += ofSource
    }
    invariant('segment.rows', rows === segment.rowCount, { ...facts, rows, rowCount: segment.rowCount })
  }
}

async function staleSources(tx: Tx, advances: readonly Joined[]) {
  const coverage = await coverageByKey(tx, advances)
  return advances.flatMap((advance) => {
    const known = coverage.get(advance.keyText)
    // A source without coverage may only begin at its first sequence; Kafka's begin elsewhere through beginCoverage.
    const end = known?.ranges.at(-1)?.end ?? 0n
    if (end === advance.range.start) return []
    const key: SourceKey = { pipeline: advance.pipeline, source: advance.source, partition: advance.partition }
    return [{ key, coverage: known }]
  })
}

async function usedKeys(tx: Tx, tick: FlushTick) {
  const used = []
  const seen = new Set<string>()
  for (const { tableId, key } of tick.idempotencyKeys) {
    invariant('tick.keys', !seen.has(`${tableId}/${key}`), { tableId, key })
    seen.add(`${tableId}/${key}`)
    const row = await tx
      .selectFrom('idempotency_keys')
      .select(['row_count', 'dead_count', 'version'])
      .where('table_id', '=', BigInt(tableId))
      .where('key', '=', key)
      .executeTakeFirst()
    if (!row) continue
    used.push({ tableId, key, rows: Number(row.row_count), dead: Number(row.dead_count), version: row.version })
  }
  return used
}

async function requireSchemas(tx: Tx, segments: readonly NewSegment[]): Promise<void> {
  for (const { tableId, schemaId, path } of segments) {
    const row = await tx
      .selectFrom('schema_versions')
      .select('schema_id')
      .where('table_id', '=', BigInt(tableId))
      .where('schema_id', '=', BigInt(schemaId))
      .executeTakeFirst()
    invariant('segment.schema', row !== undefined, { tableId, schemaId, path })
  }
}

async function insertSegments(
  tx: Tx,
  tick: FlushTick,
  versions: ReadonlyMap<number, bigint>,
  now: bigint,
): Promise<void> {
  const rows = tick.segments.map((segment) => ({
    table_id: segment.tableId,
    schema_id: segment.schemaId,
    path: segment.path,
    row_count: segment.rowCount,
    bytes: segment.bytes,
    etag: segment.etag ?? null,
    checksum: segment.checksum ?? null,
    bounds_json: boundsText(segment.bounds),
    sources_json: sourcesText(segment.sources),
    touched_grain: segment.touched.grain,
    touched_json: JSON.stringify(segment.touched.values),
    commit_id: tick.commitId,
    writer_id: tick.writer.writerId,
    added_version: versions.get(segment.tableId) as bigint,
    added_at: now,
  }))
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    await tx
      .insertInto('segments')
      .values(rows.slice(from, from + ROWS_AT_ONCE))
      .execute()
  }
}

/** Sources that a file of this very tick records. */
function recordedKeys(tick: FlushTick): ReadonlySet<string> {
  return new Set(tick.segments.flatMap(({ sources }) => sources.map(sourceKeyText)))
}

/** One statement for up to 200 sources: a new row, or one more range that touches the last. */
async function extendCoverage(
  tx: Tx,
  advances: readonly Joined[],
  recorded: ReadonlySet<string>,
  now: bigint,
): Promise<void> {
  for (let from = 0; from < advances.length; from += ROWS_AT_ONCE) {
    const some = advances.slice(from, from + ROWS_AT_ONCE)
    const result = await tx
      .insertInto('coverage')
      .values(
        some.map((advance) => ({
          ...emptyCoverage(advance, advance.range.start, now),
          range_end: advance.range.end,
          records_in: BigInt(advance.recordsIn),
          records_dead: BigInt(advance.recordsDead),
          records_filtered: BigInt(advance.recordsFiltered),
          log_end: advance.logEnd ?? null,
          caught_up_at: advance.caughtUp ? now : null,
          recorded_end: recorded.has(advance.keyText) ? advance.range.end : null,
        })),
      )
      .onConflict((conflict) =>
        conflict
          .columns(['pipeline', 'source', 'partition'])
          .doUpdateSet({
            range_end: sql<bigint>`excluded.range_end`,
            records_in: sql<bigint>`coverage.records_in + excluded.records_in`,
            records_dead: sql<bigint>`coverage.records_dead + excluded.records_dead`,
            records_filtered: sql<bigint>`coverage.records_filtered + excluded.records_filtered`,
            log_end: sql<bigint>`coalesce(excluded.log_end, coverage.log_end)`,
            caught_up_at: sql<bigint>`coalesce(excluded.caught_up_at, coverage.caught_up_at)`,
            updated_at: sql<bigint>`excluded.updated_at`,
            recorded_end: sql<bigint>`coalesce(excluded.recorded_end, coverage.recorded_end)`,
          })
          .whereRef('coverage.range_end', '=', 'excluded.range_start'),
      )
      .executeTakeFirst()
    const written = Number(result.numInsertedOrUpdatedRows ?? 0n)
    if (written !== some.length) {
      throw new MillraceError('commit-conflict', `coverage of ${some.length - written} sources moved during the commit`)
    }
  }
}

async function insertKeys(tx: Tx, tick: FlushTick, versions: ReadonlyMap<number, bigint>, now: bigint): Promise<void> {
  for (const { tableId, key, rows, dead = 0 } of tick.idempotencyKeys) {
    // A request whose rows all went elsewhere is committed at the version the table has.
    const version =
      versions.get(tableId) ??
      (
        await tx
          .selectFrom('tables')
          .select('version')
          .where('table_id', '=', BigInt(tableId))
          .executeTakeFirstOrThrow()
      ).version
    await tx
      .insertInto('idempotency_keys')
      .values({
        table_id: tableId,
        key,
        row_count: rows,
        dead_count: dead,
        version,
        commit_id: tick.commitId,
        created_at: now,
      })
      .execute()
  }
}

export type CommitKind = 'tick' | 'snapshot' | 'merge'

/** The answer of a commit that landed. */
export async function findCommit(tx: Tx, commitId: string, kind: CommitKind): Promise<string | undefined> {
  const row = await tx
    .selectFrom('commits')
    .select(['kind', 'answer_json'])
    .where('commit_id', '=', commitId)
    .executeTakeFirst()
  if (!row) return undefined
  invariant('commit.kind', row.kind === kind, { commitId, kind, known: row.kind })
  return row.answer_json
}

export async function insertCommit(
  tx: Tx,
  commitId: string,
  kind: CommitKind,
  answer: string,
  now: bigint,
): Promise<void> {
  await tx.insertInto('commits').values({ commit_id: commitId, kind, answer_json: answer, committed_at: now }).execute()
}
