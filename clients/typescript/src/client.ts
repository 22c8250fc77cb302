/**
 * The client: every call is one HTTP request. `query` gives a whole result, `rows` gives rows as they come, `arrow` the bytes of
 * an Arrow stream. A signal that aborts, or a loop that is left, closes the connection, and that cancels the query.
 */
import { failure } from './error.ts'
import { requestBody } from './request.ts'
import { chunksOf, type Head, type ResultPart, resultParts, type Tail } from './result-lines.ts'
import type { ClientOptions, Column, QueryOptions, QueryStatus, Stats, TableInfo, TableSeen, Value } from './types.ts'

/** A name that is twice in a result has the last column's value. */
export type Row = { readonly [name: string]: Value }

export type QueryResult<R = Row> = {
  readonly queryId: string
  readonly columns: readonly Column[]
  readonly rows: readonly R[]
  /** A limit cut the result. */
  readonly truncated: boolean
  readonly stats: Stats
  readonly tables: readonly TableSeen[]
}

export type RowStream<R = Row> = AsyncIterable<R> & {
  readonly queryId: string
  readonly columns: readonly Column[]
  /** Versions and freshness of what is read. */
  readonly tables: readonly TableSeen[]
  /** Known when the last row was read; undefined before. */
  readonly truncated: boolean | undefined
}

export type ArrowStream = AsyncIterable<Uint8Array> & {
  readonly queryId: string
  readonly tables: readonly TableSeen[]
}

export type MillraceClient = {
  query<R = Row>(sql: string, options?: QueryOptions): Promise<QueryResult<R>>
  /** Resolves when the first bytes are there. */
  rows<R = Row>(sql: string, options?: QueryOptions): Promise<RowStream<R>>
  /** An Arrow IPC stream, for `tableFromIPC` and the like. */
  arrow(sql: string, options?: QueryOptions): Promise<ArrowStream>
  /** Of a query that waits, runs, or ended of late in the process that answers. */
  status(queryId: string): Promise<QueryStatus>
  cancel(queryId: string): Promise<void>
  tables(): Promise<readonly TableInfo[]>
  ping(): Promise<void>
}

export function createClient(options: ClientOptions): MillraceClient {
  const base = options.url.replace(/\/+$/, '')
  const send = options.fetch ?? fetch
  const headers = {
    ...options.headers,
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
  }

  async function call(method: string, path: string, body?: string, signal?: AbortSignal): Promise<Response> {
    const reply = await send(base + path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    })
    if (!reply.ok) throw await failure(reply)
    return reply
  }

  async function start(sql: string, given: QueryOptions, format: 'json' | 'arrow') {
    const reply = await call('POST', '/v1/sql', requestBody(sql, given, format), given.signal)
    const queryId = reply.headers.get('x-millrace-query-id') ?? ''
    if (reply.body === null) throw new TypeError('this fetch gives no body to read')
    return { body: reply.body, queryId, tables: tablesOfHeaders(reply.headers) }
  }

  async function rows<R>(sql: string, given: QueryOptions) {
    const { body, queryId, tables } = await start(sql, given, 'json')
    const parts = resultParts(body, queryId)
    const first = await parts.next()
    if (first.done || first.value.kind !== 'head') throw new TypeError('a result begins with its head')
    const { columns }: Head = first.value.head
    return { parts, queryId, tables, columns, toRow: rowMaker<R>(columns, given) }
  }

  return {
    async query<R>(sql: string, given: QueryOptions = {}) {
      const { parts, columns, queryId, toRow } = await rows<R>(sql, given)
      const found: R[] = []
      let tail: Tail | undefined
      for await (const part of parts) {
        if (part.kind === 'row') found.push(toRow(part.values))
        else if (part.kind === 'tail') tail = part.tail
      }
      return { queryId, columns, rows: found, ...endOf(tail as Tail) }
    },

    async rows<R>(sql: string, given: QueryOptions = {}) {
      const { parts, columns, queryId, tables, toRow } = await rows<R>(sql, given)
      let truncated: boolean | undefined
      return {
        queryId,
        columns,
        tables,
        get truncated() {
          return truncated
        },
        async *[Symbol.asyncIterator]() {
          for await (const part of parts as AsyncIterable<ResultPart>) {
            if (part.kind === 'row') yield toRow(part.values)
            else if (part.kind === 'tail') truncated = part.tail.truncated
          }
        },
      }
    },

    async arrow(sql, given = {}) {
      const { body, queryId, tables } = await start(sql, given, 'arrow')
      return { queryId, tables, [Symbol.asyncIterator]: () => chunksOf(body, queryId) }
    },

    async status(queryId) {
      return (await (await call('GET', `/v1/queries/${encodeURIComponent(queryId)}`)).json()) as QueryStatus
    },
    async cancel(queryId) {
      await (await call('DELETE', `/v1/queries/${encodeURIComponent(queryId)}`)).text()
    },
    async tables() {
      return ((await (await call('GET', '/v1/tables')).json()) as { tables: TableInfo[] }).tables
    },
    async ping() {
      await (await call('GET', '/ping')).text()
    },
  }
}

function rowMaker<R>(columns: readonly Column[], { int64 }: QueryOptions): (values: readonly Value[]) => R {
  const readers = columns.map(({ type }) => (int64 === 'bigint' ? bigintReader(type) : undefined))
  return (values) =>
    Object.fromEntries(
      columns.map(({ name }, i) => {
        const value = values[i]
        return [name, value === null ? null : (readers[i]?.(value) ?? value)]
      }),
    ) as R
}

const WHOLE = /^(?:BIGINT|UBIGINT|HUGEINT|UHUGEINT)((?:\[\d*\])*)$/

function bigintReader(type: string): ((value: Value) => Value) | undefined {
  if (!WHOLE.test(type)) return undefined
  const read = (value: Value): Value =>
    value === null ? null : Array.isArray(value) ? value.map(read) : BigInt(value as string)
  return read
}

function endOf({ truncated, stats, tables }: Tail) {
  return {
    truncated,
    stats: {
      elapsedMs: stats.elapsed_ms,
      rows: stats.rows,
      files: stats.files,
      filesPruned: stats.files_pruned,
      bytesNeeded: stats.bytes_needed,
      bytesFetched: stats.bytes_fetched,
    },
    tables: tables.map(({ name, version, freshness_ms }) => ({
      name,
      version: BigInt(version),
      freshnessMs: freshness_ms ?? undefined,
    })),
  }
}

/** `flights=17,airports=3` */
function tablesOfHeaders(headers: Headers): TableSeen[] {
  const list = (name: string) =>
    (headers.get(name) ?? '').split(',').flatMap((each) => {
      const at = each.lastIndexOf('=')
      return at < 0 ? [] : [[decodeURIComponent(each.slice(0, at).trim()), each.slice(at + 1)] as const]
    })
  const freshness = new Map(list('x-millrace-freshness'))
  return list('x-millrace-versions').map(([name, version]) => {
    const age = freshness.get(name)
    return {
      name,
      version: BigInt(version),
      freshnessMs: age === undefined || age === 'unknown' ? undefined : Number(age),
    }
  })
}
