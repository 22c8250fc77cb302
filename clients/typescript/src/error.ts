/**
 * What went wrong, as the service says it: decide by `sqlstate` and `status`; `hint` says what could be changed.
 */
export type Position = { readonly line: number; readonly column: number }

export class MillraceError extends Error {
  /** Such as `42703`. */
  readonly sqlstate: string
  /** The fault in words: `undefined_column`. */
  readonly errorClass: string
  /** Of the reply; 200 when a result failed on its way. */
  readonly status: number
  /** In the statement, both from 1. */
  readonly position: Position | undefined
  readonly hint: string | undefined
  readonly queryId: string | undefined
  /** When to come back, if the service says so. */
  readonly retryAfterMs: number | undefined

  constructor(
    message: string,
    facts: {
      sqlstate: string
      errorClass: string
      status: number
      position?: Position | undefined
      hint?: string | undefined
      queryId?: string | undefined
      retryAfterMs?: number | undefined
      cause?: unknown
    },
  ) {
    super(message, { cause: facts.cause })
    this.name = 'MillraceError'
    this.sqlstate = facts.sqlstate
    this.errorClass = facts.errorClass
    this.status = facts.status
    this.position = facts.position
    this.hint = facts.hint
    this.queryId = facts.queryId
    this.retryAfterMs = facts.retryAfterMs
  }
}

type ErrorBody = {
  readonly code?: string
  readonly class?: string
  readonly message?: string
  readonly position?: Position
  readonly hint?: string
  readonly query_id?: string
}

/** Of the `error` in a reply. */
export function errorOf(body: ErrorBody, status: number, retryAfter: string | null = null): MillraceError {
  const seconds = Number(retryAfter ?? '')
  return new MillraceError(body.message ?? `the service answered ${status}`, {
    sqlstate: body.code ?? 'XX000',
    errorClass: body.class ?? 'internal',
    status,
    position: body.position,
    hint: body.hint,
    queryId: body.query_id,
    retryAfterMs: retryAfter !== null && Number.isFinite(seconds) ? seconds * 1000 : undefined,
  })
}

/** The connection ended before the result did: what came of it is not the whole. */
export function incomplete(queryId: string | undefined, cause?: unknown): MillraceError {
  return new MillraceError('the result ended before it was whole: the query failed, or the connection did', {
    sqlstate: '08006',
    errorClass: 'result_incomplete',
    status: 200,
    queryId,
    cause,
  })
}

export async function failure(reply: Response): Promise<MillraceError> {
  const text = await reply.text()
  let body: ErrorBody = { message: text.slice(0, 500) }
  try {
    body = (JSON.parse(text) as { error?: ErrorBody }).error ?? body
  } catch {
    // Not ours: something between the service and us answered.
  }
  return errorOf(body, reply.status, reply.headers.get('retry-after'))
}
