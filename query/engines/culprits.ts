/**
 * Whose statements made an engine end: by taking far more memory than allowed, or by not obeying a cancel. They do it again when
 * they are sent again, and everybody in the interactive engine would be run again each time. So that statement, and for a
 * while whatever else its user asks, is planned and run in a batch engine from the start.
 */
import { isMillraceError } from '../../schemas/errors.ts'
import { createRecent } from '../run/recent.ts'

export type Culprits = {
  /** Looks at how a query ended. */
  learn(error: unknown, user: string | undefined, sql: string): void
  has(user: string | undefined, sql: string): boolean
}

const STATEMENTS_MAX = 1_000
const STATEMENT_LENGTH_MAX = 20_000
const USERS_MAX = 1_000
const USER_MS = 60_000

export function createCulprits(monotonicMs: () => number): Culprits {
  const statements = createRecent<true>(STATEMENTS_MAX)
  const users = createRecent<number>(USERS_MAX)
  return {
    learn(error, user, sql) {
      if (!isMillraceError(error) || !endedItsEngine(error)) return
      if (sql.length <= STATEMENT_LENGTH_MAX) statements.set(sql, true)
      if (user !== undefined) users.set(user, monotonicMs() + USER_MS)
    },
    has(user, sql) {
      const until = user === undefined ? undefined : users.get(user)
      return (until !== undefined && monotonicMs() < until) || statements.get(sql) === true
    },
  }
}

/** An engine that died by itself, or by somebody's hand, says nothing about the statement. */
function endedItsEngine({
  code,
  facts: { died },
}: {
  code: string
  facts: Readonly<Record<string, unknown>>
}): boolean {
  return died === 'culprit' || (died === 'alone' && code === 'out-of-memory')
}
