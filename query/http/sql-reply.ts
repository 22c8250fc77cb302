/**
 * A result on its way to an HTTP client.
 *
 * Up to `BUFFER_BYTES` or `BUFFER_MS` are held back, whichever comes first: a result that is over by then goes out in one piece,
 * with its length and everything known about it, and an error still has its own status. A longer one is streamed; what goes
 * wrong after the first byte never ends like a good reply:
 *
 *   json    `],"error":{…}}` in place of rows, stats and tables
 *   jsonl   the last line is `{"error":{…}}`
 *   csv, tsv, arrow, parquet   the connection is cut in the middle of the chunked body
 *
 * The trailer `X-Millrace-Status` is `ok` only for a whole result. Text is compressed when the client takes gzip.
 */
import type { ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { ResultColumn } from '../../lake/engine/engine.ts'
import { errorClass, type MillraceError } from '../../schemas/errors.ts'
import type { QueryFacts, QueryOutcome } from '../run/run-query.ts'
import { CONTENT_TYPES, isText, type ResultFormat } from './formats.ts'
import { createReplyBody, type ReplyBody, taken } from './reply-body.ts'
import { factHeaders, statsOf, tablesOf } from './reply-facts.ts'

const BUFFER_BYTES = 1024 * 1024
const BUFFER_MS = 200
/** Below it a compressed body is hardly shorter, with its header. */
const GZIP_BYTES_MIN = 1024

const gzipWhole = promisify(gzip)

export type SqlReply = {
  onColumns(columns: readonly ResultColumn[], facts: QueryFacts): void
  onChunk(chunk: Uint8Array): Promise<void>
  finish(outcome: QueryOutcome, elapsedMs: number): Promise<void>
  /** True when it could end the reply; false when nothing was sent and the caller can answer with a status. */
  fail(error: MillraceError): Promise<boolean>
  readonly bytesSent: number
}

export type SqlReplyOptions = {
  readonly raw: ServerResponse
  readonly format: ResultFormat
  readonly queryId: string
  readonly withSources: boolean
  readonly gzip: boolean
  /** How long a client may take for the last bytes that are buffered for it. */
  readonly drainMs: number
  /** Called once, before anything is written. */
  readonly takeOver: () => void
}

export function createSqlReply(options: SqlReplyOptions): SqlReply {
  const { raw, format, queryId, withSources } = options
  const mayGzip = options.gzip && isText(format)
  let held: Uint8Array[] = []
  let heldBytes = 0
  let bytesSent = 0
  let columns: readonly ResultColumn[] = []
  let facts: QueryFacts | undefined
  let patience: NodeJS.Timeout | undefined
  /** Set when the head is out. */
  let body: ReplyBody | undefined
  /** What was held back, on its way. */
  let flushing: Promise<void> = Promise.resolve()

  function headers(known: QueryFacts, isGzip: boolean): Record<string, string> {
    return {
      'content-type': CONTENT_TYPES[format],
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
      vary: 'accept, accept-encoding',
      ...(isGzip ? { 'content-encoding': 'gzip' } : {}),
      'x-millrace-query-id': queryId,
      ...factHeaders(known),
    }
  }

  function hold(bytes: Uint8Array): void {
    held.push(bytes)
    heldBytes += bytes.length
  }

  function startStreaming(known: QueryFacts): void {
    clearTimeout(patience)
    options.takeOver()
    body = createReplyBody(raw, { gzip: mayGzip, drainMs: options.drainMs })
    if (!raw.destroyed) {
      raw.writeHead(200, {
        ...headers(known, mayGzip),
        ...(hasTrailers(raw) ? { trailer: 'X-Millrace-Status, X-Millrace-Rows, X-Millrace-Truncated' } : {}),
      })
    }
    flushing = write(Buffer.concat(held))
    held = []
  }

  async function write(bytes: Uint8Array): Promise<void> {
    bytesSent += bytes.length
    await body?.write(bytes)
  }

  async function sendWhole(outcome: QueryOutcome, ends: Readonly<Record<string, string>>): Promise<void> {
    clearTimeout(patience)
    const plain = Buffer.concat(held)
    const isGzip = mayGzip && plain.length >= GZIP_BYTES_MIN
    const bytes = isGzip ? await gzipWhole(plain) : plain
    options.takeOver()
    bytesSent = plain.length
    if (raw.destroyed) return
    raw.writeHead(200, { ...headers(outcome, isGzip), ...ends, 'content-length': String(bytes.length) })
    raw.end(bytes)
    await taken(raw, options.drainMs)
  }

  return {
    get bytesSent() {
      return bytesSent
    },
    onColumns(given, known) {
      columns = given
      facts = known
      // A query that is run again begins its reply anew: nothing of the first attempt has left.
      held = []
      heldBytes = 0
      if (format === 'json')
        hold(Buffer.from(`{"query_id":${JSON.stringify(queryId)},"columns":${JSON.stringify(columns)},"data":[`))
    },
    async onChunk(chunk) {
      if (body !== undefined) {
        flushing = flushing.then(() => write(chunk))
        // As much as would have been held back is not waited for: others may share this result as it comes.
        if (bytesSent + chunk.length > BUFFER_BYTES) await flushing
        return
      }
      hold(chunk)
      if (heldBytes > BUFFER_BYTES && facts) {
        startStreaming(facts)
        await flushing
        return
      }
      patience ??= setTimeout(() => {
        if (body === undefined && facts) startStreaming(facts)
      }, BUFFER_MS)
    },
    async finish(outcome, elapsedMs) {
      // From here on it is one or the other.
      clearTimeout(patience)
      const tail =
        format === 'json'
          ? Buffer.from(`],${JSON.stringify(jsonTail(outcome, elapsedMs, withSources)).slice(1)}\n`)
          : Buffer.alloc(0)
      const ends = {
        'x-millrace-rows': String(outcome.result.rowCount),
        'x-millrace-truncated': String(outcome.result.truncated),
      }
      if (body === undefined) {
        hold(tail)
        await sendWhole(outcome, ends)
        return
      }
      await flushing
      bytesSent += tail.length
      await body.end(tail, { ...ends, 'x-millrace-status': 'ok' })
    },
    async fail(error) {
      clearTimeout(patience)
      if (body === undefined) return false
      await flushing
      if (format === 'json' || format === 'jsonl') {
        const text = JSON.stringify(errorBody(error, queryId))
        const last = Buffer.from(format === 'json' ? `],${text.slice(1)}\n` : `${text}\n`)
        await body.end(last, { 'x-millrace-status': error.sqlstate })
      } else body.abort()
      return true
    },
  }
}

/** Only a chunked body has them. */
function hasTrailers({ req }: ServerResponse): boolean {
  return req.httpVersionMajor === 1 && req.httpVersionMinor === 1 && req.method !== 'HEAD'
}

function jsonTail(outcome: QueryOutcome, elapsedMs: number, withSources: boolean): Record<string, unknown> {
  return {
    rows: outcome.result.rowCount,
    truncated: outcome.result.truncated,
    stats: statsOf(outcome, elapsedMs),
    tables: tablesOf(outcome, withSources),
  }
}

export function errorBody(error: MillraceError, queryId: string, hint?: string): Record<string, unknown> {
  const message = error.kind === 'internal' ? 'internal error; the log has it' : error.message
  const { position } = error.facts
  return {
    error: {
      code: error.sqlstate,
      class: errorClass(error.code),
      message,
      ...(position === undefined ? {} : { position }),
      ...(hint === undefined ? {} : { hint }),
      query_id: queryId,
    },
  }
}
