/**
 * Errors as Kafka Connect's REST API tells them: `{"error_code": 404, "message": "Connector a not found"}`, the status twice.
 * Where it answers 500 to a request that cannot be read, we answer 400: the caller must change something, and that is no
 * fault of the server.
 */
import { asMillraceError, MillraceError } from '../../../schemas/errors.ts'

export class RestError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.name = 'RestError'
    this.status = status
  }
}

export function badRequest(message: string): RestError {
  return new RestError(400, message)
}

export function notFound(message: string): RestError {
  return new RestError(404, message)
}

export type RestErrorBody = { readonly error_code: number; readonly message: string }

/** Anything thrown → what is shown; `isBug`: its text stays inside. */
export function restErrorOf(thrown: unknown): { status: number; body: RestErrorBody; isBug: boolean } {
  const { status, message, isBug } = readError(thrown)
  return { status, body: { error_code: status, message }, isBug }
}

function readError(thrown: unknown): { status: number; message: string; isBug: boolean } {
  if (thrown instanceof RestError) return { status: thrown.status, message: thrown.message, isBug: false }
  if (!(thrown instanceof MillraceError) && thrown instanceof Error && 'statusCode' in thrown) {
    const status = Number(thrown.statusCode)
    if (status >= 400 && status < 500) return { status, message: thrown.message, isBug: false }
  }
  const error = asMillraceError(thrown)
  if (error.kind === 'internal') return { status: 500, message: 'internal error; the log has it', isBug: true }
  return { status: error.status, message: error.message, isBug: false }
}
