/**
 * What an error of PostgreSQL or of its client means for a transaction, and what its callers are told. The codes are those of
 * the manual's appendix "PostgreSQL Error Codes".
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { Trouble } from './catalog-database.ts'

/** Nothing happened. Serialization, deadlock, lock not to be had in time, statement taking too long. */
const AGAIN = ['40001', '40P01', '55P03', '57014']
/** Unique and foreign keys: another transaction was first. */
const COLLISION = ['23505', '23503']
/**
 * The server shuts down, starts, was killed, ended an idle session, has no connection, memory or disk left; or it is a
 * standby, which a name that follows the primary soon leaves.
 */
const LOST = ['57P01', '57P02', '57P03', '57P05', '25P03', '53100', '53200', '53300', '53400', '58030', '25006']
const CONNECTION_CLASS = '08'

const LOST_SOCKET = [
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
]
/** The client's own errors have no code. */
const LOST_MESSAGE =
  /^(?:Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed)/

/** Wrong user, password, database, rights, or no TLS where it was asked for: somebody must change something. */
const SETTINGS = ['28000', '28P01', '3D000', '42501', '3F000']
/** No TLS at the server, or no password in the address: errors of the client, without a code. */
const REFUSED_MESSAGE = /does not support SSL|client password must be/

export function judgePostgresError(error: unknown): Trouble {
  if (!(error instanceof Error)) return 'final'
  const code = codeOf(error)
  if (code === undefined) return LOST_MESSAGE.test(error.message) ? 'lost' : 'final'
  if (AGAIN.includes(code) || isStalePlan(error)) return 'again'
  if (COLLISION.includes(code)) return 'collision'
  const lost =
    LOST.includes(code) || LOST_SOCKET.includes(code) || code.startsWith(CONNECTION_CLASS) || isOfStandby(error, code)
  return lost ? 'lost' : 'final'
}

/** BEGIN … READ WRITE at a standby is refused as a feature that is not there, and not as 25006. */
function isOfStandby(error: Error, code: string): boolean {
  return code === '0A000' && 'routine' in error && error.routine === 'call_bool_check_hook'
}

/** A prepared statement of before a migration by a newer release, or one that the server does not know any more. */
export function isStalePlan(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (codeOf(error) === '26000') return true
  return 'routine' in error && error.routine === 'RevalidateCachedQuery'
}

export function postgresError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof MillraceError) return error
  const code = codeOf(error)
  if ((code !== undefined && SETTINGS.includes(code)) || REFUSED_MESSAGE.test(error.message)) {
    return new MillraceError('settings-invalid', `catalog.url: PostgreSQL refuses: ${error.message}`, { cause: error })
  }
  const fromServer = 'severity' in error || COLLISION.includes(code ?? '')
  if (!fromServer) return error
  return new MillraceError('internal', `catalog statement failed: ${error.message}`, { cause: error })
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
