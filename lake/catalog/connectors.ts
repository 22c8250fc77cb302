/**
 * Connectors: what should run, kept where every ingest process sees it, and who takes part in it. A process looks whether
 * anything changed (`connectorChange`, one number), reads all of it when so, and makes its own pipelines match.
 *
 * A task is one process's part in a connector: it claims a free id below `tasks.max`, renews its row with what it does, and
 * gives it back when it stops. A row that was not renewed for `TASK_SILENT_MS` of the catalog's clock, or whose writer is
 * fenced, is free: its process is dead, or was frozen and finds its claim gone when it looks again. Nothing here protects
 * rows from coming twice; coverage does (`source-coverage.ts`).
 *
 * Each method is one transaction: if we stop before it, a restart sees nothing of it; after it, all of it.
 */
import { type Selectable, sql } from 'kysely'
import type { Random } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Writer } from './catalog.ts'
import type { ConnectorRow, ConnectorTaskRow, Tx } from './database.ts'
import type { CatalogDialect } from './dialect.ts'
import { forgetUnused } from './tables-and-schemas.ts'
import { OvertakenError, type Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

export type ConnectorTarget = 'running' | 'paused' | 'stopped'
export type TaskState = 'unassigned' | 'running' | 'paused' | 'failed' | 'restarting'

export type Connector = {
  readonly name: string
  /** As given. */
  readonly properties: Readonly<Record<string, string>>
  readonly target: ConnectorTarget
  /** Grows with every change of the configuration, and never comes back, also when a connector of the name is made again. */
  readonly generation: number
  /** How often a restart was asked for. */
  readonly restarts: number
  /** Grows when the topics are reset. */
  readonly topicsReset: number
  /** Microseconds. */
  readonly createdAt: bigint
  readonly updatedAt: bigint
}

export type ConnectorTask = {
  readonly connector: string
  readonly taskId: number
  readonly writerId: string
  /** `host:port` of the process. */
  readonly worker: string
  readonly state: TaskState
  /** Why it failed. */
  readonly trace: string | undefined
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[]
  readonly warnings: readonly string[]
  /** Of the configuration that it runs with. */
  readonly generation: number
  /** How often a restart of this task was asked for. */
  readonly restarts: number
  /** Its process renewed it lately. */
  readonly isLive: boolean
  readonly updatedAt: bigint
}

export type TaskReport = Pick<
  ConnectorTask,
  'connector' | 'taskId' | 'state' | 'trace' | 'partitions' | 'warnings' | 'generation'
>

export type ConnectorsSeen = {
  readonly change: number
  readonly connectors: readonly Connector[]
  /** By connector and id. */
  readonly tasks: readonly ConnectorTask[]
}

export type RestartWhich = {
  readonly connector: boolean
  readonly tasks: 'none' | 'all' | 'failed' | number
}

export type Connectors = {
  /** Grows when something changed that ingest processes follow. */
  connectorChange(): Promise<number>
  readConnectors(): Promise<ConnectorsSeen>
  /** `already-exists` when the name is taken. */
  createConnector(name: string, properties: Connector['properties'], target: ConnectorTarget): Promise<Connector>
  /**
   * Makes or changes it; what is the same already stays as it is, generation included. With `expected` only that generation is
   * changed: `commit-conflict` when somebody was first.
   */
  putConnector(
    name: string,
    properties: Connector['properties'],
    expected?: number,
  ): Promise<{ readonly connector: Connector; readonly created: boolean }>
  /** Each of these: undefined when there is no connector of the name. */
  setConnectorTarget(name: string, target: ConnectorTarget): Promise<Connector | undefined>
  restartConnector(name: string, which: RestartWhich): Promise<Connector | undefined>
  deleteConnector(name: string): Promise<boolean>

  /** A free task below `tasksMax`; the one that this writer has already; undefined: all are taken. */
  claimTask(
    writer: Writer,
    task: { readonly connector: string; readonly worker: string; readonly tasksMax: number },
  ): Promise<ConnectorTask | undefined>
  /** Renews tasks with what they do; gives those back that this writer still has. Dead tasks beside them go. */
  renewTasks(writer: Writer, reports: readonly TaskReport[]): Promise<readonly ConnectorTask[]>
  releaseTask(writer: Writer, connector: string): Promise<void>

  /** Topics that records came from. */
  noteTopics(connector: string, topics: readonly string[]): Promise<void>
  connectorTopics(connector: string): Promise<readonly string[]>
  resetTopics(connector: string): Promise<void>
}

/** Every process reads all of them when one changes. */
export const CONNECTORS_MAX = 1_000
/** A process renews its tasks every second or two. */
export const TASK_SILENT_MS = 6_000

export function connectors({ dialect, read, write }: Transactions, random: Random): Connectors {
  return {
    connectorChange: () => read(async (tx) => Number(await latestChange(tx))),

    readConnectors: () =>
      read(async (tx, time) => {
        const now = await time()
        const rows = await tx.selectFrom('connectors').selectAll().orderBy('name').execute()
        const tasks = await tx
          .selectFrom('connector_tasks')
          .selectAll()
          .orderBy('connector')
          .orderBy('task_id')
          .execute()
        return {
          change: Number(await latestChange(tx)),
          connectors: rows.map(connectorOf),
          tasks: tasks.map((row) => taskOf(row, now)),
        }
      }),

    createConnector: (name, properties, target) => {
      const requestId = random.uuid()
      return write(async (tx, time) => {
        const change = await nextChange(tx)
        const known = await lockConnector(tx, dialect, name)
        if (known) {
          // Our own earlier attempt.
          if (known.request_id === requestId) return connectorOf(known)
          throw new MillraceError('already-exists', `Connector ${name} already exists`)
        }
        return insertConnector(tx, { name, properties, target, requestId, change, now: await time() })
      })
    },

    putConnector: (name, properties, expected) => {
      const requestId = random.uuid()
      return write(async (tx, time) => {
        const change = await nextChange(tx)
        const known = await lockConnector(tx, dialect, name)
        const now = await time()
        const isOwn = known?.request_id === requestId
        if (expected !== undefined && !isOwn && known?.generation !== BigInt(expected)) {
          throw new MillraceError('commit-conflict', `connector ${name} was changed by somebody else meanwhile`)
        }
        if (!known) {
          const made = { name, properties, target: 'running' as const, requestId, change, now }
          return { connector: await insertConnector(tx, made), created: true }
        }
        if (known.properties_json === propertiesText(properties)) {
          return { connector: connectorOf(known), created: isOwn && known.created_at === known.updated_at }
        }
        const changed = {
          properties_json: propertiesText(properties),
          generation: BigInt(change),
          request_id: requestId,
          updated_at: now,
        }
        return { connector: await updateConnector(tx, name, changed), created: false }
      })
    },

    setConnectorTarget: (name, target) =>
      write(async (tx, time) => {
        await nextChange(tx)
        const known = await lockConnector(tx, dialect, name)
        if (!known) return undefined
        if (known.target === target) return connectorOf(known)
        return updateConnector(tx, name, { target, updated_at: await time() })
      }),

    restartConnector: (name, which) =>
      write(async (tx, time) => {
        await nextChange(tx)
        const known = await lockConnector(tx, dialect, name)
        if (!known) return undefined
        if (which.tasks !== 'none') {
          let tasks = tx
            .updateTable('connector_tasks')
            .set({ restarts: sql<bigint>`restarts + 1`, state: 'restarting', trace: null })
            .where('connector', '=', name)
          if (which.tasks === 'failed') tasks = tasks.where('state', '=', 'failed')
          if (typeof which.tasks === 'number') tasks = tasks.where('task_id', '=', BigInt(which.tasks))
          await tasks.execute()
        }
        const restarts = known.restarts + (which.connector ? 1n : 0n)
        return updateConnector(tx, name, { restarts, updated_at: await time() })
      }),

    deleteConnector: (name) =>
      write(async (tx, _time, mayHaveLanded) => {
        await nextChange(tx)
        const { numDeletedRows } = await tx.deleteFrom('connectors').where('name', '=', name).executeTakeFirst()
        await tx.deleteFrom('connector_tasks').where('connector', '=', name).execute()
        await tx.deleteFrom('connector_topics').where('connector', '=', name).execute()
        if (numDeletedRows === 1n) await forgetUnused(tx, name)
        return numDeletedRows === 1n || mayHaveLanded
      }),

    claimTask: (writer, { connector, worker, tasksMax }) =>
      write(async (tx, time) => {
        const known = await lockConnector(tx, dialect, connector)
        if (!known || known.target === 'stopped') return undefined
        const now = await time()
        const tasks = await tx.selectFrom('connector_tasks').selectAll().where('connector', '=', connector).execute()
        const own = tasks.find((row) => row.writer_id === writer.writerId && Number(row.task_id) < tasksMax)
        if (own) return taskOf(own, now)
        const fenced = await fencedAmong(tx, dialect, tasks)
        const isTaken = (row: Selectable<ConnectorTaskRow>) =>
          taskOf(row, now).isLive && !fenced.has(row.writer_id) && Number(row.task_id) < tasksMax
        const gone = tasks.filter((row) => !isTaken(row)).map((row) => row.task_id)
        if (gone.length > 0) {
          await tx
            .deleteFrom('connector_tasks')
            .where('connector', '=', connector)
            .where(dialect.idIn('task_id', gone))
            .execute()
        }
        const taken = new Set(tasks.filter(isTaken).map((row) => Number(row.task_id)))
        const taskId = Array.from({ length: Math.min(tasksMax, taken.size + 1) }, (_, id) => id).find(
          (id) => !taken.has(id),
        )
        if (taskId === undefined) return undefined
        const row = {
          connector,
          task_id: taskId,
          writer_id: writer.writerId,
          worker,
          state: 'unassigned',
          trace: null,
          partitions_json: '[]',
          warnings_json: '[]',
          generation: 0,
          // Asked for before its time: whoever takes part now begins anew anyhow.
          restarts: 0,
          heartbeat_at: now,
          updated_at: now,
        }
        const made = await tx.insertInto('connector_tasks').values(row).returningAll().executeTakeFirstOrThrow()
        return taskOf(made, now)
      }),

    renewTasks: (writer, reports) => {
      if (reports.length === 0) return Promise.resolve([])
      return write(async (tx, time) => {
        const now = await time()
        const held: ConnectorTask[] = []
        // In one order, so that two processes never wait for each other in a circle.
        const ordered = [...reports].sort((a, b) => (a.connector < b.connector ? -1 : 1))
        for (const { connector, taskId, state, trace, partitions, warnings, generation } of ordered) {
          const row = await tx
            .updateTable('connector_tasks')
            .set({
              state,
              trace: trace ?? null,
              partitions_json: JSON.stringify(partitions),
              warnings_json: JSON.stringify(warnings),
              generation,
              heartbeat_at: now,
              updated_at: now,
            })
            .where('connector', '=', connector)
            .where('task_id', '=', BigInt(taskId))
            .where('writer_id', '=', writer.writerId)
            .returningAll()
            .executeTakeFirst()
          if (row) held.push(taskOf(row, now))
        }
        // Rows of the dead, beside which somebody lives: their places are free.
        const names = held.map(({ connector }) => connector)
        await tx
          .deleteFrom('connector_tasks')
          .where(dialect.textIn('connector', names))
          .where('heartbeat_at', '<', now - micros(TASK_SILENT_MS))
          .execute()
        return held
      })
    },

    releaseTask: (writer, connector) =>
      write(async (tx) => {
        // Its place is free for somebody who looks when something changed.
        await nextChange(tx)
        await tx
          .deleteFrom('connector_tasks')
          .where('connector', '=', connector)
          .where('writer_id', '=', writer.writerId)
          .execute()
        // Of one that was deleted while it ran.
        await forgetUnused(tx, connector)
      }),

    noteTopics: (connector, topics) => {
      if (topics.length === 0) return Promise.resolve()
      return write(async (tx) => {
        const known = await lockConnector(tx, dialect, connector)
        if (!known) return
        for (const topic of [...topics].sort()) {
          await tx
            .insertInto('connector_topics')
            .values({ connector, topic })
            .onConflict((conflict) => conflict.doNothing())
            .execute()
        }
      })
    },

    connectorTopics: (connector) =>
      read(async (tx) => {
        const rows = await tx
          .selectFrom('connector_topics')
          .select('topic')
          .where('connector', '=', connector)
          .orderBy('topic')
          .execute()
        return rows.map(({ topic }) => topic)
      }),

    resetTopics: (connector) =>
      write(async (tx) => {
        await nextChange(tx)
        const known = await lockConnector(tx, dialect, connector)
        if (!known) return
        await tx.deleteFrom('connector_topics').where('connector', '=', connector).execute()
        await updateConnector(tx, connector, { topics_reset: known.topics_reset + 1n })
      }),
  }
}

const ONLY = 1n

async function latestChange(tx: Tx): Promise<bigint> {
  const row = await tx.selectFrom('connector_changes').select('latest').where('id', '=', ONLY).executeTakeFirstOrThrow()
  return row.latest
}

/** First in every transaction that changes something: those come one after the other, then connector, tasks, topics. */
async function nextChange(tx: Tx): Promise<number> {
  const row = await tx
    .updateTable('connector_changes')
    .set({ latest: sql<bigint>`latest + 1` })
    .where('id', '=', ONLY)
    .returning('latest')
    .executeTakeFirstOrThrow()
  return Number(row.latest)
}

function lockConnector(tx: Tx, dialect: CatalogDialect, name: string): Promise<Selectable<ConnectorRow> | undefined> {
  return tx.selectFrom('connectors').selectAll().where('name', '=', name).modifyEnd(dialect.locked).executeTakeFirst()
}

async function insertConnector(
  tx: Tx,
  made: Pick<Connector, 'name' | 'properties' | 'target'> & { requestId: string; change: number; now: bigint },
): Promise<Connector> {
  const { count } = await tx
    .selectFrom('connectors')
    .select(({ fn }) => fn.countAll<bigint>().as('count'))
    .executeTakeFirstOrThrow()
  if (Number(count) >= CONNECTORS_MAX) {
    throw new MillraceError('value-out-of-range', `there are ${CONNECTORS_MAX} connectors already: delete some first`)
  }
  const inserted = await tx
    .insertInto('connectors')
    .values({
      name: made.name,
      properties_json: propertiesText(made.properties),
      target: made.target,
      generation: made.change,
      restarts: 0,
      topics_reset: 0,
      request_id: made.requestId,
      created_at: made.now,
      updated_at: made.now,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returningAll()
    .executeTakeFirst()
  if (!inserted) throw new OvertakenError('another process made the connector')
  return connectorOf(inserted)
}

async function updateConnector(tx: Tx, name: string, values: Partial<Selectable<ConnectorRow>>): Promise<Connector> {
  const row = await tx.updateTable('connectors').set(values).where('name', '=', name).returningAll().executeTakeFirst()
  if (!row) throw new OvertakenError('the connector was deleted')
  return connectorOf(row)
}

async function fencedAmong(
  tx: Tx,
  dialect: CatalogDialect,
  tasks: readonly Selectable<ConnectorTaskRow>[],
): Promise<ReadonlySet<string>> {
  const ids = [...new Set(tasks.map((row) => row.writer_id))]
  if (ids.length === 0) return new Set()
  const rows = await tx
    .selectFrom('writers')
    .select('writer_id')
    .where(dialect.textIn('writer_id', ids))
    .where('fenced_at', 'is', null)
    .execute()
  const live = new Set(rows.map((row) => row.writer_id))
  return new Set(ids.filter((id) => !live.has(id)))
}

/** In one order: the same properties are the same text. */
function propertiesText(properties: Connector['properties']): string {
  return JSON.stringify(Object.fromEntries(Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1))))
}

function connectorOf(row: Selectable<ConnectorRow>): Connector {
  return {
    name: row.name,
    properties: parsed<Record<string, string>>(row.properties_json),
    target: row.target as ConnectorTarget,
    generation: Number(row.generation),
    restarts: Number(row.restarts),
    topicsReset: Number(row.topics_reset),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

function taskOf(row: Selectable<ConnectorTaskRow>, now: bigint): ConnectorTask {
  return {
    connector: row.connector,
    taskId: Number(row.task_id),
    writerId: row.writer_id,
    worker: row.worker,
    state: row.state as TaskState,
    trace: row.trace ?? undefined,
    partitions: parsed<ConnectorTask['partitions']>(row.partitions_json),
    warnings: parsed<string[]>(row.warnings_json),
    generation: Number(row.generation),
    restarts: Number(row.restarts),
    isLive: row.heartbeat_at + micros(TASK_SILENT_MS) > now,
    updatedAt: row.updated_at,
  }
}

function parsed<T>(text: string): T {
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw new MillraceError('file-damaged', 'catalog: a connector is not JSON', { cause })
  }
}
