/**
 * A catalog in PostgreSQL, for processes of many machines. Writers are READ COMMITTED: they lock the rows that they decide by,
 * in one order (`dialect.ts`), read them after that, and check what each statement changed. Readers are REPEATABLE READ READ
 * ONLY. See docs/adr/0013-postgresql-catalog.md.
 *
 * The clock is the server's, and never before what a committed transaction of writers was told: commits and heartbeats
 * carry their times, so the latest of them is known without a row that all writers would wait for. A server whose
 * clock was set back, or a standby that took over, stands still until its clock has caught up.
 *
 * Nothing waits for ever: connecting, a statement, a lock and an idle transaction have a maximum, on the server, and the
 * client gives up shortly after (then the outcome is unknown, and asked for by commit id).
 *
 * What was answered is on the server's disk (`synchronous_commit` is never `off` here). It survives the loss of that server
 * only with synchronous replication, which is the server's setting (G-4).
 */
import { sql } from 'kysely'
import { type ClientBase, Pool, types } from 'pg'
import type { World } from '../../runtime/world.ts'
import type { CatalogDatabase } from './catalog-database.ts'
import type { Tx } from './database.ts'
import { POSTGRESQL } from './postgres-dialect.ts'
import { postgresTransactions } from './postgres-driver.ts'
import { judgePostgresError, postgresError } from './postgres-errors.ts'
import { parsePostgresUrl } from './postgres-url.ts'

export type PostgresOptions = {
  readonly url: string
  readonly world: World
  /** Connections of this process. */
  readonly connectionsMax: number
}

const CONNECT_TIMEOUT_MS = 5_000
const LOCK_TIMEOUT_MS = 5_000
/** A process that stopped in the middle of a transaction gives its locks back after this. */
const IDLE_IN_TRANSACTION_MS = 10_000
const STATEMENT_TIMEOUT_MS = 15_000
/** After the server's own, for a server that says nothing any more. */
const ANSWER_TIMEOUT_MS = 20_000
const IDLE_CONNECTION_MS = 60_000
const KEEP_ALIVE_AFTER_MS = 10_000
const MIGRATIONS_LOCK = 0x6d69_6c6c_7261_6365n // 'millrace'
/** Types of PostgreSQL that are whole numbers: int8, int2, int4. */
const WHOLE_NUMBERS = [20, 21, 23]

export function openPostgresDatabase({ url, world, connectionsMax }: PostgresOptions): CatalogDatabase {
  const { host, port, user, password, database, ssl, applicationName } = parsePostgresUrl(url)
  const pool = new Pool({
    host,
    port,
    user,
    // A function: an empty text would send the client looking for the password file of whoever runs this.
    password: () => password ?? '',
    database,
    ssl,
    application_name: applicationName,
    max: connectionsMax,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_CONNECTION_MS,
    // A connection that nobody uses keeps no process from ending, not even one to a server that is frozen.
    allowExitOnIdle: true,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
    pipeline: true,
    types: { getTypeParser },
    onConnect: prepareSession,
  })
  // A connection that dies while nobody uses it is replaced when one is needed; one in use tells its statement.
  pool.on('error', (error) => world.log.debug('idle catalog connection lost', { reason: error.message }))
  pool.on('connect', (client) => client.on('error', () => {}))
  const transactions = postgresTransactions(pool)
  let latest = 0n
  return {
    dialect: POSTGRESQL,
    read: (work) => transactions.run('read', work),
    write: (work) => transactions.run('write', work),
    async time(tx) {
      const { rows } = await CLOCK.execute(tx)
      if (rows[0].now > latest) latest = rows[0].now
      return latest
    },
    // What must not be forgotten is in the rows that carry it.
    keepTime: async () => {},
    lockMigrations: async (tx: Tx) => {
      await sql`select pg_advisory_xact_lock(${MIGRATIONS_LOCK})`.execute(tx)
    },
    judge: judgePostgresError,
    translateError: postgresError,
    close: () => pool.end(),
  }
}

const CLOCK = sql<{ now: bigint }>`
  select greatest(
    (extract(epoch from clock_timestamp()) * 1000000)::bigint,
    (select latest from clock where id = 1),
    (select max(committed_at) from commits),
    (select max(heartbeat_at) from writers)
  ) as now`

/**
 * Every lookup of the catalog has an index, and tables grow from nothing faster than statistics follow: plans that read
 * whole tables are made for the empty ones and kept.
 */
const SESSION = `
  select
    set_config('statement_timeout', '${STATEMENT_TIMEOUT_MS}', false),
    set_config('lock_timeout', '${LOCK_TIMEOUT_MS}', false),
    set_config('idle_in_transaction_session_timeout', '${IDLE_IN_TRANSACTION_MS}', false),
    set_config('jit', 'off', false),
    set_config('enable_seqscan', 'off', false),
    set_config(
      'synchronous_commit',
      case current_setting('synchronous_commit') when 'off' then 'on' else current_setting('synchronous_commit') end,
      false
    )`

async function prepareSession(client: ClientBase): Promise<void> {
  await client.query(SESSION)
}

function getTypeParser(type: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (WHOLE_NUMBERS.includes(type)) return BigInt
  return types.getTypeParser(type, format as 'text')
}
