/**
 * Positions that a human moves (ADR 27). A position is where coverage ends, so a move begins coverage, or nothing happens:
 *
 *   forward            a new stretch begins at the wanted offset; what lies between was skipped, and is told so
 *   backward           offsets that were consumed stay consumed: only what was never covered is read, as a backfill
 *   backward, doubled  a new incarnation of the source begins at the wanted offset, by `allowDuplicates` only
 *   backfill           the uncovered parts of a range become stretches of their own, which an ingest process reads to their ends
 *
 * Moving a pipeline's positions wants it stopped: no live ingest process has it as a task, looked at in the same transaction. A
 * process that was frozen and wakes up later finds its sources moved, like after any other's commit: nothing comes in twice.
 *
 * Each method is one transaction: if we stop before it, a restart sees nothing of it; after it, all of it.
 */
import { type Coverage, type OffsetRange, sourceKeyText } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import {
  endOf,
  incarnationOf,
  type KafkaPlace,
  kafkaSourceText,
  rowSourceOf,
  startOf,
  stretchesOf,
  stretchText,
  uncovered,
} from '../../schemas/kafka-source-text.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect } from './dialect.ts'
import type {
  Asking,
  MovedOffsets,
  OffsetMove,
  OffsetMoveKind,
  Offsets,
  WantedOffset,
  WantedRange,
} from './offset-moves.ts'
import { coverageOf } from './rows-as-values.ts'
import { beginSource } from './source-coverage.ts'
import type { Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

/** A task whose process shows no sign of life for so long is not live. */
export const TASK_SILENT_MS = 30_000

export function offsets({ dialect, read, write }: Transactions): Offsets {
  return {
    moveOffsets: (pipeline, wanted, asking) =>
      write(async (tx, time) => {
        const now = await time()
        await requireStopped(tx, pipeline, now)
        const moved: MovedOffsets[] = []
        for (const each of inOrder(wanted)) moved.push(...(await move(tx, dialect, pipeline, each, asking, now)))
        return moved
      }),

    beginBackfill: (pipeline, wanted, asking) =>
      write(async (tx, time) => {
        const now = await time()
        const moved: MovedOffsets[] = []
        for (const each of inOrder(wanted)) moved.push(...(await backfill(tx, dialect, pipeline, each, asking, now)))
        return moved
      }),

    backfills: (pipeline) =>
      read(async (tx) => {
        const coverage = new Map((await coverageIn(tx, pipeline)).map((each) => [sourceKeyText(each), each]))
        return (await movesIn(tx, pipeline)).flatMap((each) => {
          const own = coverage.get(sourceKeyText(each))
          return each.kind === 'backfill' && own && endOf(own) < each.range.end ? [{ ...each, coverage: own }] : []
        })
      }),

    offsetMoves: (pipeline) => read((tx) => movesIn(tx, pipeline)),
  }
}

/** One order for everybody: two moves never wait for each other in a circle. */
function inOrder<P extends KafkaPlace>(places: readonly P[]): P[] {
  return [...places].sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1))
}

async function requireStopped(tx: Tx, pipeline: string, now: bigint): Promise<void> {
  const task = await tx
    .selectFrom('pipeline_tasks')
    .innerJoin('writers', 'writers.writer_id', 'pipeline_tasks.writer_id')
    .select('writers.writer_id')
    .where('pipeline_tasks.pipeline', '=', pipeline)
    .where('writers.fenced_at', 'is', null)
    .where('writers.retired_at', 'is', null)
    .where('writers.heartbeat_at', '>=', now - micros(TASK_SILENT_MS))
    .executeTakeFirst()
  if (!task) return
  throw new MillraceError(
    'request-invalid',
    `pipeline "${pipeline}" runs in ingest process ${task.writer_id}: stop it first, then move its offsets`,
    { facts: { pipeline, writer: task.writer_id } },
  )
}

async function coverageIn(tx: Tx, pipeline: string): Promise<Coverage[]> {
  const rows = await tx.selectFrom('coverage').selectAll().where('pipeline', '=', pipeline).execute()
  return rows.map(coverageOf)
}

/** Of one topic-partition, locked: a tick that extends one of them has ended or waits. */
async function lockedStretches(tx: Tx, dialect: CatalogDialect, pipeline: string, place: KafkaPlace) {
  const rows = await tx
    .selectFrom('coverage')
    .selectAll()
    .where('pipeline', '=', pipeline)
    .where('partition', '=', BigInt(place.partition))
    .orderBy('pipeline')
    .orderBy('source')
    .modifyEnd(dialect.locked)
    .execute()
  return stretchesOf(place, rows.map(coverageOf))
}

async function move(
  tx: Tx,
  dialect: CatalogDialect,
  pipeline: string,
  wanted: WantedOffset,
  asking: Asking & { readonly allowDuplicates: boolean },
  now: bigint,
): Promise<MovedOffsets[]> {
  const { topic, partition, offset } = wanted
  const stretches = await withoutEmptySkips(tx, await lockedStretches(tx, dialect, pipeline, wanted), offset)
  const current = stretches.at(-1)
  const begin = async (source: string, kind: OffsetMoveKind, range: OffsetRange): Promise<MovedOffsets> => {
    await beginSource(tx, dialect, { pipeline, source, partition }, offset, now)
    await noteMove(tx, { pipeline, topic, partition, source, kind, range, ...asking }, now)
    return { topic, partition, source, kind, range }
  }
  if (!current) return [await begin(kafkaSourceText(wanted), 'begin', { start: offset, end: offset })]
  const end = endOf(current)
  const rowSource = rowSourceOf(current.source)
  if (offset > end) return [await begin(stretchText(rowSource, offset), 'skip', { start: end, end: offset })]
  if (offset === end) return [{ topic, partition, source: current.source, kind: 'none', range: { start: end, end } }]
  if (asking.allowDuplicates) {
    const source = kafkaSourceText(wanted, incarnationOf(current.source) + 1)
    return [await begin(source, 'rewind', { start: offset, end })]
  }
  const isThere = offset >= wanted.logStart
  const range = { start: isThere ? offset : wanted.logStart, end }
  return backfill(tx, dialect, pipeline, { ...wanted, range }, asking, now)
}

/** A skip that brought nothing yet is taken back by a move to before it. */
async function withoutEmptySkips(tx: Tx, stretches: readonly Coverage[], offset: bigint): Promise<Coverage[]> {
  const kept = [...stretches]
  for (;;) {
    const last = kept.at(-1)
    if (kept.length < 2 || !last || startOf(last) !== endOf(last) || endOf(last) <= offset) return kept
    await tx
      .deleteFrom('coverage')
      .where('pipeline', '=', last.pipeline)
      .where('source', '=', last.source)
      .where('partition', '=', BigInt(last.partition))
      .execute()
    kept.pop()
  }
}

async function backfill(
  tx: Tx,
  dialect: CatalogDialect,
  pipeline: string,
  wanted: WantedRange,
  asking: Asking,
  now: bigint,
): Promise<MovedOffsets[]> {
  const { topic, partition, range } = wanted
  const stretches = await lockedStretches(tx, dialect, pipeline, wanted)
  const current = stretches.at(-1)
  if (!current) {
    throw new MillraceError(
      'request-invalid',
      `pipeline "${pipeline}" has consumed nothing of ${topic}/${partition}: there is nothing to fill in`,
    )
  }
  const taken = [
    ...stretches.flatMap(({ ranges }) => ranges),
    ...(await movesIn(tx, pipeline))
      .filter((each) => each.kind === 'backfill' && stretches.some(({ source }) => source === each.source))
      .filter((each) => each.partition === partition)
      .map((each) => each.range),
  ]
  // What lies behind the current stretch is read by the pipeline itself.
  const behind = { start: endOf(current), end: range.end }
  const gaps = uncovered(range, behind.start < behind.end ? [...taken, behind] : taken)
  const rowSource = rowSourceOf(current.source)
  const moved: MovedOffsets[] = []
  for (const gap of gaps) {
    const source = stretchText(rowSource, gap.start)
    await beginSource(tx, dialect, { pipeline, source, partition }, gap.start, now)
    await noteMove(tx, { pipeline, topic, partition, source, kind: 'backfill', range: gap, ...asking }, now)
    moved.push({ topic, partition, source, kind: 'backfill', range: gap })
  }
  return moved.length > 0 ? moved : [{ topic, partition, source: current.source, kind: 'none', range }]
}

async function noteMove(tx: Tx, move: Omit<OffsetMove, 'moveId' | 'movedAt'>, now: bigint): Promise<void> {
  const { pipeline, topic, partition, source, kind, range, requestedBy, why } = move
  await tx
    .insertInto('offset_moves')
    .values({
      pipeline,
      topic,
      partition,
      source,
      kind,
      range_start: range.start,
      range_end: range.end,
      requested_by: requestedBy,
      why,
      moved_at: now,
    })
    .execute()
}

export async function movesIn(tx: Tx, pipeline: string | undefined): Promise<OffsetMove[]> {
  const all = tx.selectFrom('offset_moves').selectAll().orderBy('move_id')
  const rows = await (pipeline === undefined ? all : all.where('pipeline', '=', pipeline)).execute()
  return rows.map((row) => ({
    moveId: Number(row.move_id),
    pipeline: row.pipeline,
    topic: row.topic,
    partition: Number(row.partition),
    source: row.source,
    kind: row.kind as OffsetMoveKind,
    range: { start: row.range_start, end: row.range_end },
    requestedBy: row.requested_by,
    why: row.why,
    movedAt: row.moved_at,
  }))
}
