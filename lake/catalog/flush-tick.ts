/**
 * The flush tick: rows become visible. One transaction for everything an ingest process sealed, of all tables.
 *
 *   1. a commit id that landed before gets the same answer again; the writer must not be fenced (`commit-ids.ts`)
 *   2. every source must continue exactly where its coverage ends, else the answer names the stale ones
 *   3. no idempotency key may be known
 *   4. segments, coverage, keys, masks and the commit id are written, each table's version grows by one
 *
 * Three round trips, however many tables and sources there are: lock and read everything, write everything, COMMIT. Rows
 * are locked in the order of `dialect.ts`, and the time is read when all are held.
 *
 * If we stop before the commit point, a restart sees files that nothing refers to and coverage as it was: the same offsets
 * are read again. If we stop after it, the rows are in, and a retry under the same commit id is told so.
 */
import type { CrashPoint } from '../../runtime/world.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { invariant } from '../../schemas/errors.ts'
import type { Catalog, FlushTick, IdempotencyKey, NewSegment, TickAnswer, TickResult } from './catalog.ts'
import { answerOrLive, findCommit, insertCommit, lockWriter } from './commit-ids.ts'
import type { Tx } from './database.ts'
import { type CatalogDialect, type RowInsert, type RowLookup, together } from './dialect.ts'
import { insertMasks } from './masks.ts'
import { tickAnswerOf, tickAnswerText } from './rows-as-values.ts'
import { encodeSegments, insertSegments } from './segment-rows.ts'
import { extendCoverage, staleSources } from './source-coverage.ts'
import { bumpVersions, insertBindings, lockTables, NO_TOPIC, requireTables } from './tables-and-schemas.ts'
import { checkMasks, checkSegments, type JoinedAdvance, joinAdvances } from './tick-checks.ts'
import type { Time, Transactions } from './transactions.ts'

type Part = Pick<Catalog, 'commitTick' | 'findIdempotencyKey'>

const USED_KEYS: RowLookup = {
  table: 'idempotency_keys',
  keys: { table_id: 'bigint', key: 'text' },
  select: ['table_id', 'key', 'row_count', 'dead_count', 'version'],
}
type UsedKeyRow = {
  readonly table_id: bigint
  readonly key: string
  readonly row_count: bigint
  readonly dead_count: bigint
  readonly version: bigint
}

const KEYS: RowInsert = {
  table: 'idempotency_keys',
  columns: {
    table_id: 'bigint',
    key: 'text',
    row_count: 'bigint',
    dead_count: 'bigint',
    version: 'bigint',
    commit_id: 'text',
    created_at: 'bigint',
  },
}

const SCHEMAS: RowLookup = {
  table: 'schema_versions',
  keys: { table_id: 'bigint', schema_id: 'bigint' },
  select: ['table_id', 'schema_id'],
}

export function flushTick({ dialect, read, write }: Transactions, crashPoint: CrashPoint): Part {
  /** Pairs of pipeline and table that this process knows to be bound. */
  const bound = new Set<string>()

  async function commit(tx: Tx, tick: FlushTick, advances: readonly JoinedAdvance[], time: Time): Promise<TickResult> {
    const [state, landed, stale, tables, used, unknown, now] = await together([
      lockWriter(tx, dialect, tick.writer),
      findCommit(tx, tick.commitId),
      staleSources(tx, dialect, advances),
      lockTables(tx, dialect, tablesOf(tick)),
      usedKeys(tx, dialect, tick.idempotencyKeys),
      unknownSchemas(tx, dialect, tick.segments),
      time(),
    ])
    const answered = answerOrLive(state, landed, tick.writer, tick.commitId, 'tick')
    if (answered !== undefined) return { outcome: 'already-committed', ...tickAnswerOf(answered) }
    if (stale.length > 0) return { outcome: 'stale', stale }
    if (used.length > 0) return { outcome: 'duplicate-keys', keys: used }
    for (const { tableId, schemaId, path } of unknown) invariant('segment.schema', false, { tableId, schemaId, path })
    requireTables(tables, tablesOf(tick))

    const masks = tick.masks ?? []
    const grown = new Set([...tick.segments, ...masks].map(({ tableId }) => tableId))
    const versions = new Map([...tables].map(([id, version]) => [id, grown.has(id) ? version + 1n : version]))
    const answer: TickAnswer = {
      versions: new Map([...versions].filter(([id]) => grown.has(id))),
      committedAt: now,
    }
    await together([
      bumpVersions(tx, dialect, [...grown]),
      insertSegments(tx, dialect, tick.segments, versions, { ...tick, now }),
      extendCoverage(tx, dialect, advances, recordedKeys(tick), now),
      insertKeys(tx, dialect, tick, versions, now),
      insertMasks(tx, dialect, masks, versions, { commitId: tick.commitId, now }),
      insertBindings(tx, dialect, unbound(tick)),
      insertCommit(tx, tick.commitId, 'tick', tickAnswerText(answer), now),
    ])
    crashPoint('catalog/tick-before-commit')
    return { outcome: 'committed', ...answer }
  }

  function unbound(tick: FlushTick) {
    const rows = new Map<string, readonly [pipeline: string, tableId: number, topic: string]>()
    for (const { tableId, sources } of tick.segments) {
      for (const { pipeline } of sources) {
        const text = boundText(pipeline, tableId)
        if (!bound.has(text)) rows.set(text, [pipeline, tableId, NO_TOPIC])
      }
    }
    return [...rows.values()]
  }

  return {
    async commitTick(tick) {
      const advances = joinAdvances(tick.advances)
      checkSegments(tick, advances)
      checkKeys(tick.idempotencyKeys)
      checkMasks(tick)
      encodeSegments(tick.segments)
      const result = await write((tx, time) => commit(tx, tick, advances, time))
      if (result.outcome === 'committed') {
        for (const [pipeline, tableId] of unbound(tick)) bound.add(boundText(pipeline, tableId))
        crashPoint('catalog/tick-after-commit')
      }
      return result
    },

    findIdempotencyKey: (tableId, key) =>
      read(async (tx) => {
        const [row] = await dialect.findRows<UsedKeyRow>(tx, USED_KEYS, [[tableId, key]])
        return row && { rows: Number(row.row_count), dead: Number(row.dead_count), version: row.version }
      }),
  }
}

function boundText(pipeline: string, tableId: number): string {
  return `${tableId}\u0000${pipeline}`
}

/** A request whose rows all went elsewhere is committed at the version its table has: that table is locked too. */
function tablesOf({ segments, idempotencyKeys, masks = [] }: FlushTick): number[] {
  return [...new Set([...segments, ...idempotencyKeys, ...masks].map(({ tableId }) => tableId))]
}

function checkKeys(keys: readonly IdempotencyKey[]): void {
  const seen = new Set<string>()
  for (const { tableId, key } of keys) {
    invariant('tick.keys', !seen.has(`${tableId}/${key}`), { tableId, key })
    seen.add(`${tableId}/${key}`)
  }
}

/** Asked for when their tables are locked: two ticks with one key take turns. */
async function usedKeys(tx: Tx, dialect: CatalogDialect, keys: readonly IdempotencyKey[]) {
  const rows = await dialect.findRows<UsedKeyRow>(
    tx,
    USED_KEYS,
    keys.map(({ tableId, key }) => [tableId, key]),
  )
  return rows.map((row) => ({
    tableId: Number(row.table_id),
    key: row.key,
    rows: Number(row.row_count),
    dead: Number(row.dead_count),
    version: row.version,
  }))
}

/** Segments of schemas that the catalog does not know. */
async function unknownSchemas(tx: Tx, dialect: CatalogDialect, segments: readonly NewSegment[]) {
  const wanted = new Map(segments.map((segment) => [`${segment.tableId}/${segment.schemaId}`, segment]))
  const rows = await dialect.findRows<{ table_id: bigint; schema_id: bigint }>(
    tx,
    SCHEMAS,
    [...wanted.values()].map(({ tableId, schemaId }) => [tableId, schemaId]),
  )
  for (const row of rows) wanted.delete(`${row.table_id}/${row.schema_id}`)
  return [...wanted.values()]
}

/** Sources that a file of this very tick records. */
function recordedKeys(tick: FlushTick): ReadonlySet<string> {
  return new Set(tick.segments.flatMap(({ sources }) => sources.map(sourceKeyText)))
}

async function insertKeys(
  tx: Tx,
  dialect: CatalogDialect,
  { commitId, idempotencyKeys }: FlushTick,
  versions: ReadonlyMap<number, bigint>,
  now: bigint,
): Promise<void> {
  await dialect.insertRows(
    tx,
    KEYS,
    idempotencyKeys.map(({ tableId, key, rows, dead = 0 }) => [
      tableId,
      key,
      rows,
      dead,
      versions.get(tableId) as bigint,
      commitId,
      now,
    ]),
  )
}
