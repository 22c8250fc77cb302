/**
 * Connections of a query engine, kept with what their setup made: temp views over the files of a table version, a time zone.
 * A question over the same tables at the same version finds its views there, which saves a millisecond of binding them.
 *
 * A session belongs to exactly the setup it was made with, text by text: it is never used for another, so nothing of one
 * question shows in the next. Only a connection whose statement ended well comes back; any other is closed.
 * At most `SESSIONS_IDLE_MAX` wait, the ones used longest ago go first.
 *
 * The read-only transaction begins in the same call as a new session's setup; it is committed after the answer has left.
 */
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'

export type Session = {
  readonly connection: DuckDBConnection
  readonly key: string
  /** Its setup has been run. */
  isReady: boolean
}

export type Sessions = {
  /** One with this setup, or a new one that has none yet. */
  take(setup: readonly string[]): Promise<Session>
  /** `isClean`: its statement ended well, and its transaction is over. */
  giveBack(session: Session, isClean: boolean): void
}

const SESSIONS_IDLE_MAX = 48

export function createSessions(instance: DuckDBInstance, idleMax = SESSIONS_IDLE_MAX): Sessions {
  /** Longest unused first. */
  const idle: Session[] = []
  return {
    async take(setup) {
      const key = setup.join('\n;\n')
      const index = idle.findLastIndex((session) => session.key === key)
      if (index >= 0) return idle.splice(index, 1)[0]
      return { connection: await instance.connect(), key, isReady: false }
    },
    giveBack(session, isClean) {
      if (!isClean || !session.isReady || idleMax === 0) {
        session.connection.closeSync()
        return
      }
      idle.push(session)
      if (idle.length > idleMax) idle.shift()?.connection.closeSync()
    },
  }
}
