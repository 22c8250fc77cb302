/**
 * `POST /v1/sql` and `GET /v1/sql` as one request: a JSON body, a text body with the rest as query arguments, or all of it
 * as query arguments. The format is the `format` given, else by `Accept`, else JSON.
 */
import { z } from 'zod'
import { MillraceError } from '../../schemas/errors.ts'

export const FORMATS = ['json', 'jsonl', 'csv', 'arrow'] as const
export type ResultFormat = (typeof FORMATS)[number]

export const CONTENT_TYPES: Readonly<Record<ResultFormat, string>> = {
  json: 'application/json; charset=utf-8',
  jsonl: 'application/x-ndjson; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
  arrow: 'application/vnd.apache.arrow.stream',
}

const QUERY_ID = /^[A-Za-z0-9._:-]{1,128}$/

const tableVersions = z.record(z.string(), z.union([z.int().nonnegative(), z.string().regex(/^\d{1,18}$/)]))

const bodySchema = z.strictObject({
  sql: z.string(),
  params: z.union([z.array(z.unknown()), z.record(z.string(), z.unknown())]).optional(),
  format: z.enum(FORMATS).optional(),
  timeout_ms: z.int().positive().optional(),
  max_rows: z.int().nonnegative().optional(),
  session: z.strictObject({ timezone: z.string().min(1).max(100).optional() }).optional(),
  /** `batch`: it can wait, and runs in a batch engine. */
  priority: z.enum(['interactive', 'batch']).optional(),
  query_id: z.string().regex(QUERY_ID).optional(),
  /** Earlier versions of tables, within `time-travel.fine`: `{"flights": 17}`. */
  at_version: tableVersions.optional(),
  /** Versions that a write's answer named: the query waits until the tables are there. */
  wait_for: tableVersions.optional(),
  /** List every source of every table with its own freshness. */
  sources: z.boolean().optional(),
})

export type SqlRequest = z.infer<typeof bodySchema> & { readonly format: ResultFormat }

export type HttpInput = {
  readonly contentType: string | undefined
  readonly accept: string | undefined
  readonly body: unknown
  readonly query: Readonly<Record<string, unknown>>
}

export function readSqlRequest(input: HttpInput): SqlRequest {
  const fromQuery = queryFields(input.query)
  const type = (input.contentType ?? '').split(';')[0].trim().toLowerCase()
  let fields: unknown
  if (input.body === undefined || input.body === null) fields = fromQuery
  else if (type === 'application/json') {
    if (typeof input.body !== 'object' || Array.isArray(input.body)) throw invalid('expected a JSON object as body')
    fields = { ...fromQuery, ...input.body }
  } else if (typeof input.body === 'string') fields = { ...fromQuery, sql: input.body }
  else throw invalid(`expected application/json or text/plain as content type, found ${type}`)
  const parsed = bodySchema.safeParse(fields)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const path = issue.path.length === 0 ? '' : `${issue.path.join('.')}: `
    throw invalid(`${path}${issue.message.toLowerCase()}`)
  }
  return { ...parsed.data, format: parsed.data.format ?? acceptedFormat(input.accept) }
}

/** Names as in the body; numbers and JSON are read from their text. */
function queryFields(query: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(query)) {
    if (typeof value !== 'string') throw invalid(`${name}: given more than once`)
    if (name === 'q' || name === 'sql') fields.sql = value
    else if (name === 'timezone') fields.session = { timezone: value }
    else if (name === 'params' || name === 'at_version' || name === 'wait_for') fields[name] = jsonOf(name, value)
    else if (name === 'timeout_ms' || name === 'max_rows') fields[name] = /^\d+$/.test(value) ? Number(value) : value
    else if (name === 'sources') fields[name] = value === 'true'
    else fields[name] = value
  }
  return fields
}

function jsonOf(name: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new MillraceError('request-invalid', `${name}: expected JSON, found ${text.slice(0, 100)}`, { cause: error })
  }
}

function acceptedFormat(accept: string | undefined): ResultFormat {
  for (const part of (accept ?? '').split(',')) {
    switch (part.split(';')[0].trim().toLowerCase()) {
      case 'application/json':
        return 'json'
      case 'application/x-ndjson':
      case 'application/jsonl':
      case 'application/x-jsonlines':
        return 'jsonl'
      case 'text/csv':
        return 'csv'
      case 'application/vnd.apache.arrow.stream':
        return 'arrow'
    }
  }
  return 'json'
}

function invalid(message: string): MillraceError {
  return new MillraceError('request-invalid', message)
}
