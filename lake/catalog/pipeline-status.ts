/**
 * Who runs which pipeline, and how it fares: told by ingest processes every few seconds, read by whoever is asked (SQL tables
 * `millrace.*`, the status over REST). Nothing is decided by it but whether a pipeline is stopped. A process that dies leaves its
 * rows behind; they are believed as long as its heartbeat is young.
 */
import type { PipelineStatusPart, Writer } from './catalog.ts'
import { mustBeLive } from './commit-ids.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect, RowInsert } from './dialect.ts'
import { lettersLeftIn } from './masks.ts'
import { movesIn, TASK_SILENT_MS } from './offsets.ts'
import type { PartitionState, PartitionStatus, PipelineFacts, TaskState } from './pipeline-facts.ts'
import { coverageOf } from './rows-as-values.ts'
import type { Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

const STATUS: RowInsert = {
  table: 'partition_status',
  columns: {
    pipeline: 'text',
    topic: 'text',
    partition: 'bigint',
    source: 'text',
    writer_id: 'text',
    state: 'text',
    detail: 'text',
    log_start: 'bigint',
    log_end: 'bigint',
    position: 'bigint',
    rows_per_s: 'bigint',
    bytes_per_s: 'bigint',
    updated_at: 'bigint',
  },
  ending: `on conflict (pipeline, topic, partition) do update set
    source = excluded.source,
    writer_id = excluded.writer_id,
    state = excluded.state,
    detail = excluded.detail,
    log_start = excluded.log_start,
    log_end = excluded.log_end,
    position = excluded.position,
    rows_per_s = excluded.rows_per_s,
    bytes_per_s = excluded.bytes_per_s,
    updated_at = excluded.updated_at`,
}

export function pipelineStatus({ dialect, read, write }: Transactions): PipelineStatusPart {
  return {
    tellPartitions: async (writer, partitions) => {
      if (partitions.length === 0) return
      await write(async (tx, time) => {
        await requireLive(tx, writer)
        await tellIn(tx, dialect, writer, partitions, await time())
      })
    },

    tellTask: (writer, pipeline, state, detail) =>
      write(async (tx, time) => {
        const own = tx
          .deleteFrom('pipeline_tasks')
          .where('pipeline', '=', pipeline)
          .where('writer_id', '=', writer.writerId)
        if (state === undefined) {
          await own.execute()
          return
        }
        await requireLive(tx, writer)
        const before = await own.returning('started_at').executeTakeFirst()
        await tx
          .insertInto('pipeline_tasks')
          .values({
            pipeline,
            writer_id: writer.writerId,
            state,
            detail: detail ?? null,
            started_at: before?.started_at ?? (await time()),
          })
          .execute()
      }),

    pipelineFacts: () => read(async (tx, time) => factsIn(tx, await time())),
  }
}

async function requireLive(tx: Tx, writer: Writer): Promise<void> {
  const state = await tx
    .selectFrom('writers')
    .select(['epoch', 'fenced_at'])
    .where('writer_id', '=', writer.writerId)
    .executeTakeFirst()
  mustBeLive(state, writer)
}

async function tellIn(
  tx: Tx,
  dialect: CatalogDialect,
  writer: Writer,
  partitions: readonly PartitionStatus[],
  now: bigint,
): Promise<void> {
  const rounded = (value: number | undefined) => (value === undefined ? null : Math.round(value))
  const text = ({ pipeline, topic, partition }: PartitionStatus) => `${pipeline}\u0000${topic}\u0000${partition}`
  const rows = [...partitions]
    // One order for everybody, so that two processes lock rows the same way round.
    .sort((a, b) => (text(a) < text(b) ? -1 : 1))
    .map((each) => [
      each.pipeline,
      each.topic,
      each.partition,
      each.source,
      writer.writerId,
      each.state,
      each.detail ?? null,
      each.logStart ?? null,
      each.logEnd ?? null,
      each.position ?? null,
      rounded(each.rowsPerSecond),
      rounded(each.bytesPerSecond),
      now,
    ])
  await dialect.insertRows(tx, STATUS, rows)
}

export async function factsIn(tx: Tx, now: bigint): Promise<PipelineFacts> {
  const silent = now - micros(TASK_SILENT_MS)
  const writers = await tx
    .selectFrom('writers')
    .select('writer_id')
    .where('fenced_at', 'is', null)
    .where('retired_at', 'is', null)
    .where('heartbeat_at', '>=', silent)
    .execute()
  const live = new Set(writers.map(({ writer_id }) => writer_id))
  const bindings = await tx
    .selectFrom('pipeline_bindings')
    .innerJoin('tables', 'tables.table_id', 'pipeline_bindings.table_id')
    .select(['pipeline', 'topic', 'tables.table_id', 'tables.name'])
    .orderBy('pipeline')
    .orderBy('tables.name')
    .orderBy('topic')
    .execute()
  const coverage = await tx
    .selectFrom('coverage')
    .selectAll()
    .orderBy('pipeline')
    .orderBy('source')
    .orderBy('partition')
    .execute()
  const partitions = await tx
    .selectFrom('partition_status')
    .selectAll()
    .orderBy('pipeline')
    .orderBy('topic')
    .orderBy('partition')
    .execute()
  const tasks = await tx.selectFrom('pipeline_tasks').selectAll().orderBy('pipeline').orderBy('writer_id').execute()
  return {
    readAt: now,
    bindings: bindings.map((row) => ({
      pipeline: row.pipeline,
      topic: row.topic,
      tableId: Number(row.table_id),
      table: row.name,
    })),
    coverage: coverage.map(coverageOf),
    partitions: partitions.map((row) => ({
      pipeline: row.pipeline,
      topic: row.topic,
      partition: Number(row.partition),
      source: row.source,
      state: row.state as PartitionState,
      detail: row.detail ?? undefined,
      logStart: row.log_start ?? undefined,
      logEnd: row.log_end ?? undefined,
      position: row.position ?? undefined,
      rowsPerSecond: row.rows_per_s === null ? undefined : Number(row.rows_per_s),
      bytesPerSecond: row.bytes_per_s === null ? undefined : Number(row.bytes_per_s),
      writerId: row.writer_id,
      isLive: live.has(row.writer_id),
      updatedAt: row.updated_at,
    })),
    tasks: tasks.map((row) => ({
      pipeline: row.pipeline,
      writerId: row.writer_id,
      state: row.state as TaskState,
      detail: row.detail ?? undefined,
      startedAt: row.started_at,
      isLive: live.has(row.writer_id),
    })),
    moves: await movesIn(tx, undefined),
    lettersLeft: await lettersLeftIn(tx),
  }
}
