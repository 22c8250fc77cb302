/**
 * One query from text to result:
 *
 *   wait for what was written → wait for a place → parse and check → all its tables in one catalog read → reader row
 *   → plan (files, ranges, views) → engine → receiver
 *
 * What can go wrong on the way and is healed here, as long as nothing has been handed to the receiver:
 *  - a file is gone (garbage collected under us, tiered away): read the catalog again, plan once more
 *  - a read into a hole of a sparse file, or into bytes of it that are not what was fetched: compare what is there, fetch the
 *    files whole, run once more, counted: a hole is a planner's bug
 *  - the engine died under us because of another query: run once more
 */
import type { Catalog, TableVersions } from '../../lake/catalog/catalog.ts'
import type { EngineProgress, EngineQuery, EngineResult, ResultColumn, ResultFormat } from '../../lake/engine/engine.ts'
import { EXPLAIN_PREFIX } from '../../lake/engine/engine-messages.ts'
import { columnsOfRow, knownRowBytes } from '../../lake/engine/known-row.ts'
import { quoteText } from '../../lake/file-mapping.ts'
import type { ReaderRow } from '../../lake/reader-row.ts'
import type { CounterMetric } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { asTold } from '../dialect/pieces.ts'
import { createCulprits } from '../engines/culprits.ts'
import { type Engines, NeedsBatch } from '../engines/engine-pool.ts'
import { afterFailure, estimatedRows, mayGenerateRows } from '../engines/where-to-run.ts'
import type { PlannedTable, Planner, PlanStats, QueryPlan } from '../plan/plan-tables.ts'
import { withStandardSchema } from '../statement/standard-schema.ts'
import type { Statement } from '../statement/statement.ts'
import { createStatementReader, type ReadStatement } from '../statement/statement-reader.ts'
import type { Caller } from '../system-tables/process-rows.ts'
import { showSql } from '../system-tables/show-sql.ts'
import {
  mayRead,
  othersOf,
  type PreparedSystemTables,
  type SystemTables,
  wantsPipelines,
} from '../system-tables/system-tables.ts'
import type { Admission, Entrant, Seat } from './admission.ts'
import { damagedFileError } from './damaged-file.ts'
import { explainSql } from './explain-sql.ts'
import type { TableFollower } from './follow-tables.ts'
import { pivotValues } from './pivot-values.ts'
import type { QueryState } from './query-list.ts'
import { createSharedReads } from './shared-reads.ts'
import type { WaitFor, Waiting } from './wait-for.ts'

export type QueryRequest = {
  readonly queryId: string
  readonly sql: string
  readonly params: EngineQuery['params']
  readonly format: ResultFormat
  readonly wideNumbers: boolean
  readonly timezone: string | undefined
  readonly rowsMax: number
  readonly bytesMax: number
  readonly timeoutMs: number
  /** Column chunks that it may read, before it is refused. */
  readonly scanBytesMax: number
  /** Who asks, and how urgently. */
  readonly entrant: Entrant
  /** Earlier versions to read, by table name in lower case. */
  readonly atVersions: ReadonlyMap<string, bigint>
  /** Versions and offsets to wait for: whoever wrote reads at least that. */
  readonly waitFor: WaitFor
  /** Throws `forbidden`. */
  readonly checkTable: (name: string) => void
  readonly caller: Caller
}

/** Known before the first row. */
export type QueryFacts = {
  readonly tables: readonly PlannedTable[]
  readonly stats: PlanStats
  /** Where the answer came from, when there is a cache of results and the question is one for it. */
  readonly cache?: 'hit' | 'shared' | 'miss'
}

export type QueryReceiver = {
  onState(state: QueryState): void
  onProgress?(progress: EngineProgress): void
  onColumns(columns: readonly ResultColumn[], facts: QueryFacts): void | Promise<void>
  onChunk(chunk: Uint8Array): void | Promise<void>
}

export type QueryOutcome = QueryFacts & { readonly result: EngineResult }

export type QueryRunner = {
  /** What a request would read, now; undefined when its answer may be another one next time, or is not worth keeping. */
  look(request: QueryRequest, signal: AbortSignal): Promise<TableVersions | undefined>
  run(request: QueryRequest, receiver: QueryReceiver, signal: AbortSignal): Promise<QueryOutcome>
}

export type RunnerParts = {
  readonly engines: Engines
  readonly catalog: Catalog
  readonly planner: Planner
  readonly admission: Admission
  readonly readerRow: ReaderRow
  readonly world: World
  readonly retries: CounterMetric
  readonly timeTravelFineMs: number
  readonly waiting: Waiting
  readonly follower: Pick<TableFollower, 'asked'>
  readonly systemTables: SystemTables
  /** Functions whose result may be another one each time, macros included. */
  readonly unsteady: ReadonlySet<string>
}

const ATTEMPTS_MAX = 3
const DIED_OF_OTHERS: readonly unknown[] = ['innocent', 'among-others']
const GUESS_BYTES_MAX = 16 * 1024 * 1024

type Attempt = { readonly wholeFiles: boolean; readonly number: number }

export function createQueryRunner(parts: RunnerParts): QueryRunner {
  const { engines, catalog, planner, admission, readerRow, world } = parts
  const reads = createSharedReads({ catalog, world })
  const culprits = createCulprits(() => world.clock.monotonicMs())
  const statements = createStatementReader(async (sql, signal) => String((await engines.run(sql, { signal }))[0]?.tree))

  function isSteady(statement: Statement): boolean {
    const { kind, tables, systemTables, usesClock, isSampled, functions } = statement
    if (kind !== 'select' || tables.length === 0 || systemTables.size > 0 || usesClock || isSampled) return false
    return [...functions].every((name) => !parts.unsteady.has(name))
  }

  async function readTables(statement: ReadStatement, request: QueryRequest): Promise<TableVersions> {
    for (const { name } of statement.tables) request.checkTable(name)
    const named = new Set(statement.tables.map(({ name }) => name))
    requireNamed('at_version', request.atVersions, named)
    requireNamed('wait_for', request.waitFor, named)
    const system = { pipelines: wantsPipelines(statement), others: othersOf(statement) }
    if (named.size === 0) {
      return system.pipelines || system.others ? catalog.readTables([], system) : []
    }
    try {
      if (request.atVersions.size === 0 && !system.pipelines && !system.others)
        return await reads.readTables([...named])
      return await catalog.readTables([...named], {
        at: { versions: request.atVersions, windowMs: parts.timeTravelFineMs },
        ...system,
      })
    } catch (error) {
      if (!isMillraceError(error, 'undefined-table')) throw error
      const { tables } = statement.lifted ? await statements.parse(request.sql) : statement
      const position = tables.find(({ name }) => name === error.facts.table)?.position
      throw new MillraceError(error.code, error.message, {
        facts: { ...error.facts, ...(position ? { position } : {}) },
      })
    }
  }

  async function attempt(
    request: QueryRequest,
    given: ReadStatement,
    seat: Seat,
    deadline: number,
    receiver: QueryReceiver,
    signal: AbortSignal,
    { wholeFiles }: Attempt,
  ): Promise<QueryOutcome> {
    receiver.onState('planning')
    const versions = await readTables(given, request)
    parts.follower.asked(versions)
    const letGo = await readerRow.hold(versions)
    let system: PreparedSystemTables | undefined
    try {
      const left = () => Math.max(1, deadline - world.clock.monotonicMs())
      const sessionSetup = request.timezone === undefined ? [] : [`SET TimeZone = ${quoteText(request.timezone)}`]
      if (given.systemTables.size > 0) {
        const query = { ...request, sessionSetup, timeoutMs: left() }
        system = await parts.systemTables.prepare(given, versions, query, signal)
        sessionSetup.push(...system.setup)
      }
      const options = () => ({
        engine: engines.engineOf(seat),
        params: request.params,
        sessionSetup,
        timeoutMs: left(),
        scanBytesMax: request.scanBytesMax,
        signal,
        wholeFiles,
      })
      const statement: ReadStatement = given.withValues
        ? await given.withValues((select) =>
            pivotValues({ planner, engines, seat }, request, select, versions, { ...options(), params: {} }),
          )
        : given
      /** The values of a PIVOT are in a text of their own. */
      const inText = (error: unknown) => (statement === given ? error : asTold(statement.inOriginal(error)))
      const plan = await planner
        .plan(statement, versions, { ...options(), mayReplace: true })
        .catch((error: unknown) => {
          throw inText(error)
        })
      try {
        const { tables, stats } = plan
        const facts = { tables, stats }
        receiver.onState('running')
        const known = knownResult(plan, request)
        if (known) {
          await receiver.onColumns(known.result.columns, facts)
          await receiver.onChunk(known.bytes)
          return { ...facts, result: known.result }
        }
        const asked = plan.sql ?? (await tableListSql(statement.kind, request)) ?? statement.sql
        const rows = Math.max(stats.rows, await generatedRows(asked, request, seat, plan, left(), signal))
        const reads = { rows, bytes: stats.bytesNeeded }
        const query: EngineQuery = {
          queryId: request.queryId,
          setup: plan.setup,
          sql: asked,
          params: request.params,
          format: request.format,
          wideNumbers: request.wideNumbers,
          rowsMax: request.rowsMax,
          bytesMax: request.bytesMax,
          timeoutMs: left(),
        }
        const explained =
          statement.kind === 'explain'
            ? await explainSql(query, stats, (text, onRows) =>
                engines.query(seat, text, reads, { onChunk: () => {}, onRows }, signal),
              )
            : undefined
        const result = await engines.query(
          seat,
          explained === undefined ? query : { ...query, setup: [], sql: explained, params: [], timeoutMs: left() },
          reads,
          {
            onColumns: (columns) => receiver.onColumns(columns, facts),
            onChunk: (chunk) => receiver.onChunk(chunk),
            onProgress: (progress) => receiver.onProgress?.(progress),
          },
          signal,
        )
        return { ...facts, result }
      } catch (error) {
        if (error instanceof NeedsBatch) throw error
        if (plan.hasSparseFiles && mayBeDamage(error)) plan.distrust()
        if (plan.hasSparseFiles && !wholeFiles && isMillraceError(error, 'file-damaged')) throw new HoleRead(error)
        throw await damagedFileError(engines, plan.files, inText(error), signal)
      } finally {
        plan.release()
      }
    } finally {
      letGo()
      await system?.release()
    }
  }

  /** What a statement without tables makes by itself, as DuckDB guesses it. */
  async function generatedRows(
    sql: string,
    request: QueryRequest,
    seat: Seat,
    plan: QueryPlan,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<number> {
    if (plan.tables.length > 0 || seat.lane === 'batch' || !mayGenerateRows(sql)) return 0
    const texts: unknown[] = []
    const explain = {
      queryId: 'guess',
      setup: plan.setup,
      sql: EXPLAIN_PREFIX + sql,
      params: request.params,
      format: 'rows',
      rowsMax: 100,
      bytesMax: GUESS_BYTES_MAX,
      timeoutMs,
    } as const
    try {
      const onRows = (rows: readonly (readonly unknown[])[]) => void texts.push(...rows.map((row) => row.at(-1)))
      await engines.engineOf(seat).query(explain, { onChunk: () => {}, onRows }, signal)
    } catch (error) {
      // What is wrong with the statement itself is told when it runs.
      if (isMillraceError(error) && error.facts.died !== undefined) throw error
    }
    return estimatedRows(texts.join('\n'))
  }

  /** The tables that people made; with `SHOW ALL TABLES` those that tell about Millrace too. */
  async function tableListSql(kind: Statement['kind'], request: QueryRequest): Promise<string | undefined> {
    if (!kind.startsWith('show-')) return undefined
    const tables = (await catalog.listTables()).filter(({ name }) => mayRead(request.checkTable, name))
    return showSql(kind, tables)
  }

  /** What the next attempt should do differently; undefined: there is none. */
  function healing(error: unknown, last: Attempt): Attempt | undefined {
    if (last.number >= ATTEMPTS_MAX) return undefined
    const number = last.number + 1
    if (error instanceof HoleRead) {
      if (last.wholeFiles) return undefined
      parts.retries.add(1, { reason: 'hole' })
      world.log.warn('a read went into bytes that were not fetched; fetching the files whole', { error: error.cause })
      return { number, wholeFiles: true }
    }
    if (isMillraceError(error, 'file-missing') && last.number === 1) {
      parts.retries.add(1, { reason: 'file-missing' })
      return { number, wholeFiles: last.wholeFiles }
    }
    // The engine died while it was planned; what happens to a running statement is settled by the pool of engines.
    if (isMillraceError(error) && DIED_OF_OTHERS.includes(error.facts.died) && last.number === 1) {
      parts.retries.add(1, { reason: 'engine-lost' })
      return { number, wholeFiles: last.wholeFiles }
    }
    return undefined
  }

  return {
    async look(request) {
      if (request.waitFor.size > 0) return undefined
      try {
        const statement = await statements.readEarly(request.sql)
        return statement && isSteady(statement) ? await readTables(statement, request) : undefined
      } catch (error) {
        throw inStandardWords(error)
      }
    },
    async run(request, receiver, signal) {
      receiver.onState('waiting')
      const deadline = world.clock.monotonicMs() + request.timeoutMs
      const timeout = new AbortController()
      const both = AbortSignal.any([signal, timeout.signal])
      const timer = setTimeout(
        () => timeout.abort(new MillraceError('query-timeout', `the query took longer than ${request.timeoutMs} ms`)),
        request.timeoutMs,
      )
      let seat: Seat | undefined
      let delivered = false
      const { user } = request.entrant
      const toBatch = async (from: Seat, reason: NeedsBatch['reason']) => {
        receiver.onState('waiting')
        if (from.lane !== 'batch') await engines.moveToBatch(from, reason, both)
        receiver.onState('planning')
      }
      const counting: QueryReceiver = {
        ...receiver,
        onState: (state) => receiver.onState(state),
        onColumns(columns, facts) {
          return receiver.onColumns(columns, facts)
        },
        onChunk(chunk) {
          delivered = true
          return receiver.onChunk(chunk)
        },
      }
      try {
        // Before a place is taken: who waits for a write keeps nobody from running.
        for (const name of request.waitFor.keys()) request.checkTable(name)
        await parts.waiting.until(request.waitFor, both)
        seat = await admission.enter(request.entrant, both)
        receiver.onState('planning')
        const statement = await statements.read(request.sql, both)
        if (culprits.has(user, request.sql)) await toBatch(seat, 'suspect')
        let current: Attempt = { number: 1, wholeFiles: false }
        for (;;) {
          try {
            return await attempt(request, statement, seat, deadline, counting, both, current)
          } catch (error) {
            culprits.learn(error instanceof NeedsBatch ? error.cause : error, user, request.sql)
            if (error instanceof NeedsBatch) {
              await toBatch(seat, error.reason)
              continue
            }
            const next = delivered || both.aborted ? undefined : healing(error, current)
            if (!next) throw statement.inOriginal(error instanceof HoleRead ? error.cause : error)
            if (afterFailure(error) === 'alone') await toBatch(seat, 'suspect')
            current = next
          }
        }
      } catch (error) {
        if (both.aborted && !isMillraceError(both.reason)) {
          throw new MillraceError('query-cancelled', 'the query was cancelled', { cause: error })
        }
        throw both.aborted && !isMillraceError(error, 'query-timeout') ? both.reason : inStandardWords(error)
      } finally {
        clearTimeout(timer)
        seat?.leave()
      }
    },
  }
}

/** A row that is known, in the bytes that the engine would give; undefined: ask it. */
function knownResult({ row }: QueryPlan, request: QueryRequest) {
  if (row === undefined || request.rowsMax < 1) return undefined
  const bytes = knownRowBytes(row, request)
  if (bytes === undefined || bytes.length > request.bytesMax) return undefined
  return { bytes, result: { columns: columnsOfRow(row), rowCount: 1, truncated: false } satisfies EngineResult }
}

/** The engine calls a schema otherwise than the user does. */
function inStandardWords(error: unknown): unknown {
  if (!isMillraceError(error)) return error
  const message = withStandardSchema(error.message)
  return message === error.message
    ? error
    : new MillraceError(error.code, message, { facts: error.facts, cause: error })
}

function requireNamed(field: string, versions: ReadonlyMap<string, unknown>, named: ReadonlySet<string>): void {
  const unused = [...versions.keys()].find((name) => !named.has(name))
  if (unused === undefined) return
  throw new MillraceError('request-invalid', `${field}: the statement does not read table "${unused}"`)
}

/** A length in damaged bytes asks for any memory, and what no reader expects looks like a bug of its own. */
function mayBeDamage(error: unknown): boolean {
  return (['file-damaged', 'internal', 'out-of-memory'] as const).some((code) => isMillraceError(error, code))
}

/** The engine could not read a file of which only parts are here. */
class HoleRead extends Error {
  constructor(cause: MillraceError) {
    super('a read went into bytes that were not fetched', { cause })
  }
}
