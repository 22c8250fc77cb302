/**
 * The engine: one DuckDB instance, in memory, in a process of its own. Started by `create-engine.ts` with
 * `child_process.fork`; it lives as long as its parent's channel.
 *
 *   start    open the database with its limits, then shut it in: only the given folders, no extensions, configuration
 *            locked (but for a connection's time zone and whether it counts its progress)
 *   query    a session with its setup (`sessions.ts`): the statement in a read-only transaction, streamed, encoded here;
 *            a small result in one message, a large one in parts of which at most CHUNKS_IN_FLIGHT_MAX are unread
 *   run      all rows as objects
 *   cancel   interrupt; what does not obey is killed by the parent
 *
 * The binding ends a streamed result that fails on its way like a complete one (an empty chunk, no error: seen with 1.5.6).
 * But the result then has no return type any more: so a result counts as complete only if it still has one at its end (G-9).
 * Why it failed is then asked with EXPLAIN ANALYZE.
 *
 * What can fail: a statement (answered with its error), the database as a whole (DuckDB calls itself invalid after an
 * internal error: this process then exits, so that the parent starts a fresh one), the parent (channel closed: exit).
 */
import { mkdirSync, rmSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import {
  type DuckDBConnection,
  DuckDBInstance,
  type DuckDBPreparedStatement,
  type DuckDBResult,
  type DuckDBType,
  ResultReturnType,
  StatementType,
} from '@duckdb/node-api'
import { asMillraceError, MillraceError } from '../../schemas/errors.ts'
import { duckdbError, withoutPrefix } from './duckdb-error.ts'
import type { EngineQuery, EngineResult, EngineSettings, ResultFormat } from './engine.ts'
import {
  CHUNKS_IN_FLIGHT_MAX,
  EXPLAIN_PREFIX,
  type FromEngine,
  PROGRESS_EVERY_MS,
  type ToEngine,
} from './engine-messages.ts'
import { createEngineThreads, type EngineThreads } from './engine-threads.ts'
import { type BoundValue, bindParameters, parameterValues } from './parameters.ts'
import { beginsLikeReading } from './reading-text.ts'
import { createArrowEncoder } from './result-arrow.ts'
import type { ResultEncoder } from './result-encoder.ts'
import { createLinesEncoder } from './result-lines.ts'
import { createParquetEncoder } from './result-parquet.ts'
import { createSending, type Sending } from './sending.ts'
import { createSessions, type Session, type Sessions } from './sessions.ts'
import { installSketches } from './sketch-functions.ts'
import { columnTypeText, internalValue } from './value-internal.ts'

type Running = {
  session: Session | undefined
  /** Its session may serve another question. */
  isClean: boolean
  cancelled: boolean
  credits: number
  /** Of the result so far. */
  rows: number
  /** Rows that are held have been held for long enough. */
  isDue: boolean
  wake: (() => void) | undefined
}

const running = new Map<number, Running>()
let settings: EngineSettings | undefined
let sessions: Sessions | undefined
/** Of a query engine that may use several. */
let threads: EngineThreads | undefined

process.on('message', (message: ToEngine) => {
  switch (message.kind) {
    case 'start':
      void start(message.settings)
      return
    case 'query':
      void answer(message.id, message.query, (run) => query(message.id, run, message.query))
      return
    case 'run':
      void answer(message.id, { sql: message.sql, setup: [] }, (run) => runTrusted(message.id, run, message.sql))
      return
    case 'cancel':
      cancel(message.id)
      return
    case 'credit': {
      const run = running.get(message.id)
      if (run) {
        run.credits++
        run.wake?.()
      }
    }
  }
})
process.on('disconnect', () => process.exit(0))
// The parent decides when this process ends; a Ctrl-C in the terminal reaches the whole group.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})

function send(message: FromEngine): void {
  if (process.connected) process.send?.(message)
}

async function start(given: EngineSettings): Promise<void> {
  try {
    settings = given
    process.title = `millrace engine ${given.name}`
    // What an engine before this one spilled, and could not remove: it was killed.
    if (given.mode === 'query') rmSync(given.spillFolder, { recursive: true, force: true })
    mkdirSync(given.spillFolder, { recursive: true })
    const instance = await DuckDBInstance.create(':memory:', {
      memory_limit: `${Math.floor(given.memoryBytes / 1024)}KiB`,
      threads: String(given.threads),
      temp_directory: given.spillFolder,
      max_temp_directory_size: `${Math.floor(given.spillBytes / 1024)}KiB`,
      enable_external_file_cache: 'false',
      autoload_known_extensions: 'false',
      autoinstall_known_extensions: 'false',
      allow_community_extensions: 'false',
    })
    const connection = await instance.connect()
    const folders = given.folders.map((folder) => `'${folder.replaceAll("'", "''")}'`).join(', ')
    await connection.run("SET GLOBAL TimeZone = 'UTC'")
    await installSketches(connection)
    for (const statement of given.prepare ?? []) await connection.run(statement)
    await connection.run('SET GLOBAL errors_as_json = true')
    await connection.run(`SET GLOBAL allowed_directories = [${folders}]`)
    await connection.run('SET GLOBAL enable_external_access = false')
    // The number of threads is ours to change; what a user writes is no SET (`prepareOne`).
    const changeable = ['TimeZone', 'enable_progress_bar', 'enable_progress_bar_print', 'threads']
    await connection.run(`SET GLOBAL allowed_configs = [${changeable.map((name) => `'${name}'`).join(', ')}]`)
    await connection.run('SET GLOBAL lock_configuration = true')
    if (given.mode === 'query' && given.threads > 1) {
      const set = (count: number) => connection.run(`SET GLOBAL threads = ${count}`)
      await set(1)
      threads = createEngineThreads(given.threads, set)
    } else connection.closeSync()
    // A compaction engine's statements change their connection.
    sessions = given.mode === 'query' ? createSessions(instance) : createSessions(instance, 0)
    send({ kind: 'ready' })
    // This process is killed in the end, too late to keep what was compiled.
    flushCompileCache()
  } catch (error) {
    const { code, message, facts } = asMillraceError(error)
    send({ kind: 'unusable', failure: { code, message, facts } })
  }
}

async function answer(
  id: number,
  { sql, setup }: Pick<EngineQuery, 'sql' | 'setup'>,
  work: (run: Running) => Promise<void>,
): Promise<void> {
  const run: Running = {
    session: undefined,
    isClean: false,
    cancelled: false,
    credits: CHUNKS_IN_FLIGHT_MAX,
    rows: 0,
    isDue: false,
    wake: undefined,
  }
  running.set(id, run)
  try {
    if (!sessions) throw new MillraceError('internal', 'the engine has not been started')
    run.session = await sessions.take(setup)
    stopIfCancelled(run)
    await work(run)
  } catch (error) {
    run.isClean = false
    const known = duckdbError(error, sql)
    const failure = {
      code: run.cancelled ? 'query-cancelled' : known.code,
      message: known.message,
      facts: known.facts,
    } as const
    send({ kind: 'failed', id, failure })
    if (isFatal(error)) setImmediate(() => process.exit(70))
  } finally {
    running.delete(id)
    if (run.session) sessions?.giveBack(run.session, run.isClean && !run.cancelled)
  }
}

function isFatal(error: unknown): boolean {
  const text = error instanceof Error ? error.message : String(error)
  return /"exception_type":"(FATAL|INTERNAL)"|database has been invalidated/i.test(text)
}

function cancel(id: number): void {
  const run = running.get(id)
  if (!run) return
  run.cancelled = true
  run.session?.connection.interrupt()
  run.wake?.()
}

function stopIfCancelled(run: Running): void {
  if (run.cancelled) throw new MillraceError('query-cancelled', 'the statement was cancelled')
}

async function runTrusted(id: number, run: Running, sql: string): Promise<void> {
  const { connection } = run.session as Session
  const result = await connection.run(sql)
  const names = result.deduplicatedColumnNames()
  const rows: Record<string, unknown>[] = []
  for (const row of await result.getRows()) {
    rows.push(Object.fromEntries(row.map((value, index) => [names[index], internalValue(value)])))
  }
  send({ kind: 'objects', id, rows })
}

async function query(id: number, run: Running, request: EngineQuery): Promise<void> {
  const narrow = request.isSmall ? undefined : await threads?.wide()
  try {
    await runQuery(id, run, request)
  } finally {
    narrow?.()
  }
}

async function runQuery(id: number, run: Running, request: EngineQuery): Promise<void> {
  const session = run.session as Session
  const { connection } = session
  const begin = beginSql()
  await connection.run(session.isReady ? begin : [...request.setup, COUNT_PROGRESS + begin].join('\n;\n'))
  session.isReady = true
  stopIfCancelled(run)
  const statement = await prepareOne(connection, request)
  const values = await parameterValues(connection, await forParameters(connection, request, statement), request.params)
  bindParameters(statement, values)
  stopIfCancelled(run)
  const sending = createSending(request, {
    send: (message) => send({ ...message, id }),
    room: () => takeCredit(run),
    isDue: () => run.isDue,
    left: () => {
      run.isDue = false
    },
  })
  const telling = tellProgress(id, run, connection)
  const sent = async () => {
    const rows = await statement.stream()
    return [rows, await sendResult(run, request, rows, sending)] as const
  }
  const [rows, result] = await sent().finally(() => clearInterval(telling))
  if (!result.truncated && rows.returnType === ResultReturnType.INVALID) {
    stopIfCancelled(run)
    await connection.run('ROLLBACK')
    await connection.run(begin)
    throw await reasonOf(connection, request.sql, values)
  }
  await sending.done(result)
  statement.destroySync()
  if (result.truncated) return
  await connection.run('COMMIT').then(
    () => {
      run.isClean = true
    },
    () => {},
  )
}

function beginSql(): string {
  return settings?.mode === 'query' ? 'BEGIN TRANSACTION READ ONLY' : 'BEGIN TRANSACTION'
}

/** Kept for each connection; never printed. */
const COUNT_PROGRESS = 'SET enable_progress_bar_print = false; SET enable_progress_bar = true; '

function tellProgress(id: number, run: Running, connection: DuckDBConnection): NodeJS.Timeout {
  let told = ''
  return setInterval(() => {
    run.isDue = true
    const { percentage, rows_processed } = connection.progress
    const percent = percentage < 0 ? undefined : Math.min(100, percentage)
    const progress = { percent, rowsScanned: Number(rows_processed), rows: run.rows }
    const text = JSON.stringify(progress)
    if (text !== told) send({ kind: 'progress', id, progress })
    told = text
  }, PROGRESS_EVERY_MS)
}

const ANALYZE_PREFIX = 'EXPLAIN ANALYZE '

/** Runs a statement that failed half-way once more, without its rows. */
async function reasonOf(
  connection: DuckDBConnection,
  sql: string,
  values: ReadonlyMap<string, BoundValue>,
): Promise<MillraceError> {
  const text = ANALYZE_PREFIX + sql
  try {
    const statement = await connection.prepare(text)
    bindParameters(statement, values)
    await statement.run()
  } catch (error) {
    return withoutPrefix(duckdbError(error, text), ANALYZE_PREFIX)
  }
  return new MillraceError(
    'engine-lost',
    'the statement failed while its result was read, and not when asked why; try again',
  )
}

async function prepareOne(connection: DuckDBConnection, { sql }: EngineQuery): Promise<DuckDBPreparedStatement> {
  if (settings?.mode === 'query' && !beginsLikeReading(sql)) throw onlySelect()
  const statement = await connection.prepare(sql)
  const type = statement.statementType
  if (settings?.mode === 'query' && type !== StatementType.SELECT && type !== StatementType.EXPLAIN) {
    throw onlySelect()
  }
  return statement
}

function onlySelect(): MillraceError {
  return new MillraceError('statement-refused', 'only a SELECT can be run here')
}

/** EXPLAIN does not tell its parameters' types: ask the statement that it explains. */
async function forParameters(
  connection: DuckDBConnection,
  { sql }: EngineQuery,
  statement: DuckDBPreparedStatement,
): Promise<DuckDBPreparedStatement> {
  const isAsked = statement.parameterCount > 0 && sql.startsWith(EXPLAIN_PREFIX)
  return isAsked ? connection.prepare(sql.slice(EXPLAIN_PREFIX.length)) : statement
}

/** The next chunk is made, in threads of the database, while this one is written. */
async function sendResult(
  run: Running,
  request: EngineQuery,
  result: DuckDBResult,
  sending: Sending,
): Promise<EngineResult> {
  const fetchNext = () => {
    const fetched = result.fetchChunk()
    // It may fail before anybody waits for it.
    fetched.catch(() => {})
    return fetched
  }
  let next = fetchNext()
  let isOver = false
  try {
    const types = result.columnTypes()
    const columns = result.columnNames().map((name, index) => ({ name, type: columnTypeText(types[index]) }))
    const { format } = request
    const encoder = format === 'rows' ? undefined : encoderOf(request, format, types, result.deduplicatedColumnNames())
    sending.columns(columns)
    let rowCount = 0
    let truncated = false
    await sending.bytes(encoder?.begin())
    while (!truncated) {
      const chunk = await next
      stopIfCancelled(run)
      isOver = chunk === null || chunk.rowCount === 0
      if (chunk === null || isOver) break
      const take = Math.min(chunk.rowCount, request.rowsMax - rowCount)
      truncated = take < chunk.rowCount
      if (!truncated) next = fetchNext()
      rowCount += take
      run.rows = rowCount
      if (take === 0) continue
      if (encoder) await sending.bytes(encoder.encode(chunk, take))
      else
        await sending.rows(
          chunk
            .getRows()
            .slice(0, take)
            .map((row) => row.map(internalValue)),
        )
    }
    // What failed has no end: a Parquet file that was cut must not have its footer, nor an Arrow stream its last word.
    if (truncated || result.returnType !== ResultReturnType.INVALID) await sending.bytes(encoder?.end())
    return { columns, rowCount, truncated }
  } finally {
    if (!isOver) run.session?.connection.interrupt()
    // Nothing else is asked of the connection before.
    await next.catch(() => {})
  }
}

function encoderOf(
  { wideNumbers }: EngineQuery,
  format: ResultFormat,
  types: readonly DuckDBType[],
  names: readonly string[],
): ResultEncoder {
  switch (format) {
    case 'json':
    case 'jsonl':
    case 'csv':
    case 'tsv':
      return createLinesEncoder(format, types, names, wideNumbers)
    case 'arrow':
      return createArrowEncoder(types, names)
    case 'parquet':
      return createParquetEncoder(types, names)
  }
}

async function takeCredit(run: Running): Promise<void> {
  while (run.credits === 0) {
    await new Promise<void>((resolve) => {
      run.wake = resolve
    })
    run.wake = undefined
    stopIfCancelled(run)
  }
  run.credits--
}
