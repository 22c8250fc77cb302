/**
 * The query service as the shell needs it: a statement with an id of ours, how far it is, cancelling it. Its answer comes whole
 * for the terminal, or as a stream of bytes for files and pipes.
 *
 * What can fail: the statement (`StatementError`: the service's own words, and where), the connection, an answer that ends with
 * an error after it began well: a body that is cut, or one that says so at its end.
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { postJson, type ServiceTarget, sendJson } from '../commands/service-target.ts'
import type { ErrorPlace, ShownColumn } from './table-text.ts'

export type Params = readonly unknown[] | Readonly<Record<string, unknown>>

export type Statement = {
  readonly sql: string
  readonly params: Params
  /** Rows at most; undefined: as many as the service gives. */
  readonly rowsMax?: number | undefined
}

export type Answer = {
  readonly columns: readonly ShownColumn[]
  readonly data: readonly (readonly unknown[])[]
  readonly truncated: boolean
  readonly stats: { readonly elapsed_ms?: number }
  readonly tables: readonly { readonly name: string; readonly freshness_ms: number | null }[]
}

export type Progress = {
  readonly state: string
  /** 0 to 100; undefined: nobody knows. */
  readonly percent: number | undefined
  readonly rowsScanned: number | undefined
}

/** What the service says of a statement. */
export class StatementError extends MillraceError {
  readonly place: ErrorPlace | undefined
  readonly hint: string | undefined
  /** SQLSTATE. */
  readonly state: string | undefined

  constructor(
    message: string,
    details: { place?: ErrorPlace | undefined; hint?: string | undefined; state?: string | undefined } = {},
  ) {
    super('query-invalid', message)
    this.place = details.place
    this.hint = details.hint
    this.state = details.state
  }

  /** Nothing will come of asking again with this token. */
  get isRefused(): boolean {
    return this.state?.startsWith('28') === true || this.state === '42501'
  }
}

export type RunningStatement<Result> = {
  readonly result: Promise<Result>
  /** Undefined when the service does not know it (any more). */
  progress(): Promise<Progress | undefined>
  cancel(): Promise<void>
}

export type QueryClient = {
  readonly url: string
  ask(statement: Statement): RunningStatement<Answer>
  /** Pieces of the answer in a format, in order. */
  stream(
    statement: Statement,
    format: string,
    write: (bytes: Uint8Array) => Promise<void>,
  ): RunningStatement<{ readonly truncated: boolean }>
}

export function createQueryClient(
  target: ServiceTarget,
  token: string | undefined,
  { random }: Pick<World, 'random'>,
): QueryClient {
  function start<Result>(
    { sql, params, rowsMax }: Statement,
    format: string,
    read: (body: AsyncIterable<Uint8Array>, ends: () => Readonly<Record<string, unknown>>) => Promise<Result>,
  ): RunningStatement<Result> {
    const queryId = random.uuid()
    const path = `/v1/queries/${queryId}`
    const abort = new AbortController()
    let isOver = false
    const run = async (): Promise<Result> => {
      const body = { sql, params, format, query_id: queryId, ...(rowsMax === undefined ? {} : { max_rows: rowsMax }) }
      const reply = await postJson('query', target, '/v1/sql', token, body, abort.signal)
      if (reply.statusCode !== 200) throw statementError(await reply.body.text(), reply.statusCode)
      // Of a small answer they are in the head, of a long one behind it.
      return read(reply.body, () => ({ ...reply.headers, ...reply.trailers }))
    }
    const result = run()
      .catch((error: unknown) => {
        throw error instanceof MillraceError ? error : cutError(error, abort.signal.aborted)
      })
      .finally(() => {
        isOver = true
      })
    // Whoever awaits it is told; before that nobody need.
    result.catch(() => {})
    return {
      result,
      async progress() {
        if (isOver) return undefined
        const reply = await sendJson('query', target, path, token, 'GET').catch(() => undefined)
        if (reply?.statusCode !== 200) {
          await reply?.body.dump()
          return undefined
        }
        const told = (await reply.body.json()) as Record<string, unknown>
        const number = (value: unknown) => (value === null || value === undefined ? undefined : Number(value))
        return { state: String(told.state), percent: number(told.progress), rowsScanned: number(told.rows_scanned) }
      },
      async cancel() {
        if (isOver) return
        const reply = await sendJson('query', target, path, token, 'DELETE').catch(() => undefined)
        await reply?.body.dump()
        // One that the service does not know is on its way there, or its answer is on its way here.
        if (reply?.statusCode === 404 || reply === undefined) abort.abort()
      },
    }
  }

  return {
    url: target.url,
    ask: (statement) =>
      start(statement, 'json', async (body) => {
        const parts: Uint8Array[] = []
        for await (const part of body) parts.push(part)
        const answer = JSON.parse(Buffer.concat(parts).toString()) as Answer & { error?: ErrorAnswer }
        if (answer.error) throw errorOf(answer.error)
        return answer
      }),
    stream: (statement, format, write) =>
      start(statement, format, async (body, ends) => {
        for await (const part of body) await write(part)
        const { 'x-millrace-status': status, 'x-millrace-truncated': truncated } = ends()
        if (status !== undefined && status !== 'ok') {
          throw new StatementError(`the answer ended with an error (${String(status)}): it is not whole`)
        }
        return { truncated: truncated === 'true' }
      }),
  }
}

type ErrorAnswer = {
  readonly code?: string
  readonly message?: string
  readonly position?: ErrorPlace
  readonly hint?: string
}

export function statementError(body: string, status: number): StatementError {
  try {
    const { error } = JSON.parse(body) as { error?: ErrorAnswer }
    if (error?.message) return errorOf(error)
  } catch {
    // Not from Millrace: some proxy on the way.
  }
  return new StatementError(`the query service answered ${status}: ${body.slice(0, 500)}`)
}

function errorOf({ message = 'unknown error', code, position, hint }: ErrorAnswer): StatementError {
  return new StatementError(code === undefined ? message : `${message} (${code})`, {
    place: position,
    hint,
    state: code,
  })
}

function cutError(error: unknown, wasCancelled: boolean): StatementError {
  if (wasCancelled) return new StatementError('cancelled')
  const why = error instanceof Error ? error.message : String(error)
  return new StatementError(`the connection was cut before the answer was whole: ${why}`)
}
