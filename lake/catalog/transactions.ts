/**
 * How the catalog's methods touch the database: `read` sees one version of everything, `write` is one transaction whose
 * conditions hold at its commit, and both try again, without blocking the process, while another process holds what they need
 * or the database is away.
 *
 * Work given to them may run more than once, so it touches nothing but the transaction it is given. When the connection was
 * lost, an earlier run may have landed although nobody said so: every write here is one that may land twice (it finds its
 * commit id, its own row, or nothing left to do), and `mayHaveLanded` tells those that must know.
 *
 * The time is that of the catalog's clock, which never runs backwards. Ask for it when the locks are held: a table's later
 * version then never has an earlier time.
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { CatalogDatabase } from './catalog-database.ts'
import type { Tx } from './database.ts'
import type { CatalogDialect } from './dialect.ts'

export type Time = () => Promise<bigint>

export type Transactions = {
  readonly dialect: CatalogDialect
  read<T>(work: (tx: Tx, time: Time) => Promise<T>): Promise<T>
  write<T>(work: (tx: Tx, time: Time, mayHaveLanded: boolean) => Promise<T>): Promise<T>
  /** Another text after every commit; undefined where the database has no cheap way to tell. */
  changeMark(): Promise<string | undefined>
  /** Migrations, one process at a time. */
  migrate<T>(work: (tx: Tx) => Promise<T>): Promise<T>
}

/** Between two statements of a transaction somebody else was first: the whole transaction runs again and sees it. */
export class OvertakenError extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'OvertakenError'
  }
}

export type Waiting = Pick<CatalogDatabase, 'judge' | 'translateError'> & {
  readonly world: World
  /** How long a busy database is asked again before `catalog-busy`. */
  readonly busyMs: number
}

const PAUSE_FIRST_MS = 1
const PAUSE_MAX_MS = 50
const COLLISIONS_MAX = 5

export function createTransactions(database: CatalogDatabase, world: World, busyMs: number): Transactions {
  const { dialect } = database
  const waiting: Waiting = { world, busyMs, judge: database.judge, translateError: database.translateError }
  return {
    dialect,
    async changeMark() {
      const { changeMark } = database
      return changeMark ? retryWhileBusy(waiting, () => changeMark()) : undefined
    },
    read: (work) => retryWhileBusy(waiting, () => database.read((tx) => work(tx, () => database.time(tx)))),
    write: (work) =>
      retryWhileBusy(waiting, (mayHaveLanded) =>
        database.write(async (tx) => {
          let asked: bigint | undefined
          const time = async () => {
            asked = await database.time(tx)
            return asked
          }
          const result = await work(tx, time, mayHaveLanded)
          if (asked !== undefined) await database.keepTime(tx, asked)
          return result
        }),
      ),
    migrate: (work) =>
      retryWhileBusy(waiting, () =>
        database.write(async (tx) => {
          await database.lockMigrations(tx)
          return work(tx)
        }),
      ),
  }
}

/** Runs `work` until it is not busy; pauses grow and are jittered, so that processes do not meet again and again. */
export async function retryWhileBusy<T>(parts: Waiting, work: (mayHaveLanded: boolean) => Promise<T>): Promise<T> {
  const { clock, random } = parts.world
  const startedMs = clock.monotonicMs()
  let mayHaveLanded = false
  let collisions = 0
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work(mayHaveLanded)
    } catch (error) {
      const trouble = error instanceof OvertakenError ? 'again' : parts.judge(error)
      if (trouble === 'lost') mayHaveLanded = true
      if (trouble === 'collision') collisions += 1
      if (trouble === 'final' || collisions > COLLISIONS_MAX) throw parts.translateError(error)
      const waitedMs = clock.monotonicMs() - startedMs
      if (waitedMs >= parts.busyMs) throw busyError(trouble, Math.round(waitedMs), error)
      const longest = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.min(attempt, 10))
      await clock.sleep(longest * (0.5 + random.float() / 2))
    }
  }
}

function busyError(trouble: string, waitedMs: number, cause: unknown): MillraceError {
  if (trouble !== 'lost') return new MillraceError('catalog-busy', `the catalog was busy for ${waitedMs} ms`, { cause })
  const why =
    cause instanceof Error ? cause.message || ('code' in cause ? String(cause.code) : cause.name) : String(cause)
  return new MillraceError('catalog-busy', `the catalog's database did not answer for ${waitedMs} ms: ${why}`, {
    cause,
  })
}
