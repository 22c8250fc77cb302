/**
 * A result on its way to an HTTP client.
 *
 * Up to `BUFFER_BYTES` are held back: a result that is over by then goes out in one piece, with its length and everything
 * known about it, and an error still has its own status. A longer one is streamed; what goes wrong after the first byte
 * never ends like a good reply:
 *
 *   json    `],"error":{…}}` in place of rows, stats and tables
 *   jsonl   the last line is `{"error":{…}}`
 *   csv, arrow   the connection is cut in the middle of the chunked body
 */
import type { ServerResponse } from 'node:http'
import type { ResultColumn } from '../../lake/engine/engine.ts'
import { ERRORS, errorClass, type MillraceError } from '../../schemas/errors.ts'
import { freshnessMs, sourcesOf } from '../freshness.ts'
import type { QueryFacts, QueryOutcome } from '../run/run-query.ts'
import { CONTENT_TYPES, type ResultFormat } from './sql-request.ts'

const BUFFER_BYTES = 1024 * 1024

export type SqlReply = {
  onColumns(columns: readonly ResultColumn[], facts: QueryFacts): void
  onChunk(chunk: Uint8Array): Promise<void>
  finish(outcome: QueryOutcome, elapsedMs: number): Promise<void>
  /** True when it could end the reply; false when nothing was sent and the caller can answer with a status. */
  fail(error: MillraceError): boolean
  readonly bytesSent: number
}

export type SqlReplyOptions = {
  readonly raw: ServerResponse
  readonly format: ResultFormat
  readonly queryId: string
  readonly withSources: boolean
  /** Called once, before anything is written. */
  readonly takeOver: () => void
}

export function createSqlReply(options: SqlReplyOptions): SqlReply {
  const { raw, format, queryId, withSources } = options
  let held: Uint8Array[] = []
  let heldBytes = 0
  let bytesSent = 0
  let streaming = false
  let columns: readonly ResultColumn[] = []
  let facts: QueryFacts | undefined

  function headers(known: QueryFacts): Record<string, string> {
    const versions = known.tables.map(({ version }) => `${headerText(version.table.name)}=${version.version}`)
    const freshness = known.tables.map(
      ({ version }) => `${headerText(version.table.name)}=${freshnessMs(version) ?? 'unknown'}`,
    )
    return {
      'content-type': CONTENT_TYPES[format],
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-millrace-query-id': queryId,
      'x-millrace-versions': versions.join(','),
      'x-millrace-freshness': freshness.join(','),
      ...(known.cache === undefined ? {} : { 'x-millrace-cache': known.cache }),
      'x-millrace-files': String(known.stats.files),
      'x-millrace-bytes-needed': String(known.stats.bytesNeeded),
      'x-millrace-bytes-fetched': String(known.stats.bytesFetched),
    }
  }

  function hold(bytes: Uint8Array): void {
    held.push(bytes)
    heldBytes += bytes.length
  }

  async function write(bytes: Uint8Array): Promise<void> {
    bytesSent += bytes.length
    if (raw.destroyed) return
    if (raw.write(bytes)) return
    await new Promise<void>((resolve) => {
      const go = () => {
        raw.off('drain', go)
        raw.off('close', go)
        resolve()
      }
      raw.once('drain', go)
      raw.once('close', go)
    })
  }

  async function startStreaming(known: QueryFacts): Promise<void> {
    streaming = true
    options.takeOver()
    raw.writeHead(200, { ...headers(known), trailer: 'X-Millrace-Status, X-Millrace-Rows, X-Millrace-Truncated' })
    await write(Buffer.concat(held))
    held = []
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
      if (streaming) return write(chunk)
      hold(chunk)
      if (heldBytes > BUFFER_BYTES && facts) await startStreaming(facts)
    },
    async finish(outcome, elapsedMs) {
      if (format === 'json') {
        const tail = {
          rows: outcome.result.rowCount,
          truncated: outcome.result.truncated,
          stats: statsOf(outcome, elapsedMs),
          tables: tablesOf(outcome, withSources),
        }
        const bytes = Buffer.from(`],${JSON.stringify(tail).slice(1)}\n`)
        if (streaming) await write(bytes)
        else hold(bytes)
      }
      const ends = {
        'x-millrace-rows': String(outcome.result.rowCount),
        'x-millrace-truncated': String(outcome.result.truncated),
      }
      if (streaming) {
        raw.addTrailers({ ...ends, 'x-millrace-status': 'ok' })
        raw.end()
        return
      }
      options.takeOver()
      const body = Buffer.concat(held)
      bytesSent = body.length
      raw.writeHead(200, { ...headers(outcome), ...ends, 'content-length': String(body.length) })
      raw.end(body)
    },
    fail(error) {
      if (!streaming) return false
      if (format === 'json' || format === 'jsonl') {
        const body = JSON.stringify(errorBody(error, queryId))
        raw.addTrailers({ 'x-millrace-status': ERRORS[error.code].sqlstate })
        raw.end(format === 'json' ? `],${body.slice(1)}\n` : `${body}\n`)
      } else raw.destroy()
      return true
    },
  }
}

export function errorBody(error: MillraceError, queryId: string): Record<string, unknown> {
  const message = error.kind === 'internal' ? 'internal error; the log has it' : error.message
  const { position } = error.facts
  return {
    error: {
      code: error.sqlstate,
      class: errorClass(error.code),
      message,
      ...(position === undefined ? {} : { position }),
      query_id: queryId,
    },
  }
}

function statsOf({ stats, result }: QueryOutcome, elapsedMs: number): Record<string, number> {
  return {
    elapsed_ms: Math.round(elapsedMs * 1000) / 1000,
    rows: result.rowCount,
    files: stats.files,
    files_pruned: stats.filesPruned,
    row_groups: stats.rowGroups,
    row_groups_pruned: stats.rowGroupsPruned,
    bytes_needed: stats.bytesNeeded,
    bytes_fetched: stats.bytesFetched,
    requests: stats.requests,
  }
}

function tablesOf({ tables }: QueryFacts, withSources: boolean): readonly Record<string, unknown>[] {
  return tables.map(({ version, snapshotId }) => ({
    name: version.table.name,
    version: version.version.toString(),
    snapshot_id: snapshotId?.toString() ?? null,
    freshness_ms: freshnessMs(version),
    ...(withSources ? { sources: sourcesOf(version) } : {}),
  }))
}

/** Table names are checked when tables are made; a header takes nothing but plain characters all the same. */
function headerText(name: string): string {
  return encodeURIComponent(name)
}
