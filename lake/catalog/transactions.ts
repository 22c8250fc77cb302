/**
 * How the catalog's methods touch the database: `read` sees one version of everything, `write` is one transaction under
 * the write lock, and both try again, without blocking the process, while another process holds what they need.
 *
 * Work given to them may run more than once (a busy database makes it start again), so it touches nothing but the
 * transaction it is given. It sees the time of the catalog's clock, which never runs backwards: the later of the host's
 * clock and the latest time any process of this catalog has written.
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Db, Tx } from './database.ts'

export type Transactions = {
  read<T>(work: (tx: Tx, now: bigint) => Promise<T>): Promise<T>
  write<T>(work: (tx: Tx, now: bigint) => Promise<T>): Promise<T>
  /** Without a clock, for the migration that makes it. */
  writeBare<T>(work: (tx: Tx) => Promise<T>): Promise<T>
}

export type TransactionParts = {
  readonly writer: Db
  /** Its transactions see one version; may be the writer itself. */
  readonly reader: Db
  readonly world: World
  /** How long a busy database is asked again before `catalog-busy`. */
  readonly busyMs: number
  readonly isBusy: (error: unknown) => boolean
  readonly translateError: (error: unknown) => unknown
}

const PAUSE_FIRST_MS = 1
const PAUSE_MAX_MS = 50

export function createTransactions(parts: TransactionParts): Transactions {
  const { writer, reader, world } = parts
  let latest = 0n

  /** Called in a transaction, so that what was read stays true. */
  async function clockTime(tx: Tx): Promise<bigint> {
    const stored = await tx.selectFrom('clock').select('latest').where('id', '=', 1n).executeTakeFirstOrThrow()
    const host = world.clock.nowMicros()
    if (stored.latest > latest) latest = stored.latest
    if (host > latest) latest = host
    return latest
  }

  const again = <T>(work: () => Promise<T>) => retryWhileBusy(parts, work)

  return {
    read: (work) =>
      again(() =>
        reader
          .transaction()
          .setAccessMode('read only')
          .execute(async (tx) => work(tx, await clockTime(tx))),
      ),
    write: (work) =>
      again(() =>
        writer.transaction().execute(async (tx) => {
          const now = await clockTime(tx)
          const result = await work(tx, now)
          await tx.updateTable('clock').set({ latest: now }).where('id', '=', 1n).where('latest', '<', now).execute()
          return result
        }),
      ),
    writeBare: (work) => again(() => writer.transaction().execute(work)),
  }
}

/** Runs `work` until it is not busy; pauses grow and are jittered, so that processes do not meet again and again. */
export async function retryWhileBusy<T>(
  parts: Pick<TransactionParts, 'world' | 'busyMs' | 'isBusy' | 'translateError'>,
  work: () => Promise<T>,
): Promise<T> {
  const { clock, random } = parts.world
  const startedMs = clock.monotonicMs()
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (!parts.isBusy(error)) throw parts.translateError(error)
      const waitedMs = clock.monotonicMs() - startedMs
      if (waitedMs >= parts.busyMs) {
        throw new MillraceError('catalog-busy', `the catalog was busy for ${Math.round(waitedMs)} ms`, { cause: error })
      }
      const longest = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.min(attempt, 10))
      await clock.sleep(longest * (0.5 + random.float() / 2))
    }
  }
}
