/**
 * Transactions over a bounded pool of PostgreSQL connections. Statements of one transaction that are asked for at once travel
 * together (pipelining): the server answers them in their order, each seeing what was committed before its own start. BEGIN
 * travels with the first of them. The query builder's own transactions send one statement after the other; here each
 * connection has a query builder of its own, which lets several through.
 *
 * Each text becomes a statement prepared once per connection; beyond a maximum of texts the rest is parsed every time.
 *
 * A connection whose state is not known (an error of the network, a ROLLBACK that failed) is thrown away, never used again.
 */
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely'
import type { Pool, PoolClient } from 'pg'
import { MillraceError } from '../../schemas/errors.ts'
import type { Database, Tx } from './database.ts'
import { isStalePlan, judgePostgresError } from './postgres-errors.ts'

const STATEMENTS_MAX = 500
const BEGIN_READ = 'begin isolation level repeatable read read only'
const BEGIN_WRITE = 'begin isolation level read committed read write'

export type PostgresTransactions = {
  run<T>(kind: 'read' | 'write', work: (tx: Tx) => Promise<T>): Promise<T>
}

/** One connection, for as long as it lives. */
type Session = {
  readonly client: PoolClient
  readonly tx: Tx
  /** BEGIN under way or done. */
  begun: Promise<unknown>
  isBroken: boolean
}

export function postgresTransactions(pool: Pool): PostgresTransactions {
  const nameOf = statementNames()
  const sessions = new WeakMap<PoolClient, Session>()

  async function acquire(): Promise<Session> {
    const client = await pool.connect()
    const known = sessions.get(client)
    if (known) return known
    const session = createSession(client, nameOf)
    sessions.set(client, session)
    return session
  }

  return {
    async run(kind, work) {
      const session = await acquire()
      try {
        begin(session, kind === 'read' ? BEGIN_READ : BEGIN_WRITE)
        const result = await work(session.tx)
        await commit(session)
        return result
      } catch (error) {
        noteBroken(session, error)
        if (!session.isBroken) await rollback(session)
        throw error
      } finally {
        session.client.release(session.isBroken)
      }
    },
  }
}

function begin(session: Session, text: string): void {
  session.begun = session.client.query(text)
  // Whoever sends the first statement waits for it.
  session.begun.catch((error: unknown) => noteBroken(session, error))
}

async function commit(session: Session): Promise<void> {
  await session.begun
  const { command } = await session.client.query('commit')
  if (command === 'COMMIT') return
  throw new MillraceError('internal', 'catalog: a statement of the transaction had failed, nothing was committed')
}

async function rollback(session: Session): Promise<void> {
  try {
    await session.client.query('rollback')
  } catch {
    session.isBroken = true
  }
}

function noteBroken(session: Session, error: unknown): void {
  if (judgePostgresError(error) === 'lost' || isStalePlan(error)) session.isBroken = true
}

function createSession(client: PoolClient, nameOf: (text: string) => string | undefined): Session {
  const connection: DatabaseConnection = {
    async executeQuery<R>({ sql: text, parameters }: CompiledQuery): Promise<QueryResult<R>> {
      const asked = client.query({ name: nameOf(text), text, values: parameters as unknown[] })
      const [, { rows, command, rowCount }] = await Promise.all([session.begun, asked])
      const writes = command === 'INSERT' || command === 'UPDATE' || command === 'DELETE'
      return { rows: rows as R[], numAffectedRows: writes ? BigInt(rowCount ?? 0) : undefined }
    },
    // biome-ignore lint/correctness/useYield: results of the catalog are small; nothing streams
    async *streamQuery() {
      throw new MillraceError('internal', 'the catalog does not stream')
    },
  }
  const queries = new Kysely<Database>({
    dialect: {
      createDriver: () => oneConnection(connection),
      createAdapter: () => new PostgresAdapter(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
  const session: Session = { client, tx: queries as Tx, begun: Promise.resolve(), isBroken: false }
  return session
}

/** Transactions begin and end above, not in the query builder. */
function oneConnection(connection: DatabaseConnection): Driver {
  const refuse = async (): Promise<void> => {
    throw new MillraceError('internal', 'catalog: a transaction within a transaction')
  }
  return {
    async init() {},
    async acquireConnection() {
      return connection
    },
    beginTransaction: refuse,
    commitTransaction: refuse,
    rollbackTransaction: refuse,
    async releaseConnection() {},
    async destroy() {},
  }
}

function statementNames(): (text: string) => string | undefined {
  const names = new Map<string, string>()
  return (text) => {
    const known = names.get(text)
    if (known !== undefined || names.size >= STATEMENTS_MAX) return known
    const name = `millrace_${names.size + 1}`
    names.set(text, name)
    return name
  }
}
