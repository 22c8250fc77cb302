/**
 * `POST /v1/sql` and `GET /v1/sql` as one request: a JSON body, a text body with the rest as query arguments, or all of it
 * as query arguments; a field that is given in both is refused. The format is the `format` given, else by `Accept`.
 */
import { z } from 'zod'
import { MillraceError } from '../../schemas/errors.ts'
import type { OffsetWait, TableWait } from '../run/wait-for.ts'
import { acceptedFormat } from './accept.ts'
import { FORMATS, type ResultFormat } from './formats.ts'
import { strictJson } from './strict-json.ts'

export const QUERY_ID = /^[A-Za-z0-9._:-]{1,128}$/
const PARTITIONS_AWAITED_MAX = 10_000
const OFFSET_MAX = 2n ** 63n - 1n

/** A whole number from 0 on, as a JSON number or as its digits. */
const count = z.union([z.int().nonnegative(), z.string().regex(/^\d{1,18}$/)])

const tableVersions = z.record(z.string(), count).describe('Versions by table name: `{"flights": 17}`')

const offsets = z
  .record(z.string(), z.record(z.string().regex(/^\d{1,9}$/), count))
  .describe('Offsets of records by topic and partition, as the broker gave them: `{"flights-topic": {"0": 1234}}`')

const tableWait = z.union([count, z.strictObject({ version: count.optional(), offsets: offsets.optional() })])

export const sqlRequestSchema = z.strictObject({
  sql: z.string().describe('One statement that reads'),
  params: z
    .union([z.array(z.unknown()), z.record(z.string(), z.unknown())])
    .optional()
    .describe(
      'An array for `$1`, `$2`, …, or an object for `$name`; each a JSON scalar, an array, or `{"type", "value"}`',
    ),
  format: z.enum(FORMATS).optional().describe('Without it what `Accept` asks for, else `json`'),
  int64: z
    .enum(['string', 'number'])
    .optional()
    .describe('How `json` and `jsonl` show 64-bit and wider integers and decimals; text by default'),
  timeout_ms: z.int().positive().optional().describe('Lower than `query.timeout.ms`, never higher'),
  max_rows: z.int().nonnegative().optional().describe('Lower than `query.rows.max`, never higher'),
  session: z.strictObject({ timezone: z.string().min(1).max(100).optional() }).optional(),
  priority: z.enum(['interactive', 'batch']).optional().describe('`batch`: it can wait, and runs in a batch engine'),
  query_id: z.string().regex(QUERY_ID).optional().describe('An id of your own; 409 while a query with it runs'),
  at_version: tableVersions.optional().describe('Earlier versions of tables, within `time-travel.fine`'),
  wait_for: z
    .record(z.string(), tableWait)
    .optional()
    .describe(
      'The query waits until these tables have at least this version, or until these records were consumed into them',
    ),
  sources: z.boolean().optional().describe('Tell every source of every table with its own freshness'),
})

export type SqlRequest = Omit<z.infer<typeof sqlRequestSchema>, 'format'> & { readonly format: ResultFormat }

export type HttpInput = {
  readonly contentType: string | undefined
  readonly accept: string | undefined
  readonly body: unknown
  readonly query: Readonly<Record<string, unknown>>
}

export function readSqlRequest(input: HttpInput): SqlRequest {
  const fromQuery = queryFields(input.query)
  const type = (input.contentType ?? '').split(';')[0].trim().toLowerCase()
  let fromBody: object = {}
  if (typeof input.body === 'string' && type !== 'application/json') fromBody = { sql: input.body }
  else if (input.body !== undefined) {
    if (typeof input.body !== 'object' || input.body === null || Array.isArray(input.body)) {
      throw invalid(`expected a JSON object as body of ${type}`)
    }
    fromBody = input.body
  }
  const twice = Object.keys(fromBody).find((name) => Object.hasOwn(fromQuery, name))
  if (twice !== undefined) throw invalid(`${twice}: given in the URL and in the body`)
  const parsed = sqlRequestSchema.safeParse({ ...fromQuery, ...fromBody })
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const path = issue.path.length === 0 ? '' : `${issue.path.join('.')}: `
    throw invalid(`${path}${issue.message[0].toLowerCase()}${issue.message.slice(1)}`)
  }
  return { ...parsed.data, format: parsed.data.format ?? acceptedFormat(input.accept) }
}

/** Names as in the body; numbers and JSON are read from their text. */
function queryFields(query: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  const set = (name: string, value: unknown) => {
    if (Object.hasOwn(fields, name)) throw invalid(`${name}: given more than once`)
    Object.defineProperty(fields, name, { value, enumerable: true })
  }
  for (const [name, value] of Object.entries(query)) {
    if (typeof value !== 'string') throw invalid(`${name}: given more than once`)
    if (name === 'q' || name === 'sql') set('sql', value)
    else if (name === 'timezone') set('session', { timezone: value })
    else if (name === 'params' || name === 'at_version' || name === 'wait_for') set(name, strictJson(value, name))
    else if (name === 'timeout_ms' || name === 'max_rows') set(name, /^\d+$/.test(value) ? Number(value) : value)
    else if (name === 'sources') set(name, value === 'true' ? true : value === 'false' ? false : value)
    else set(name, value)
  }
  return fields
}

/** By table name in lower case; a table that is named twice is refused. */
function byTable<Given, Value>(
  field: string,
  given: Readonly<Record<string, Given>> | undefined,
  read: (given: Given) => Value,
): Map<string, Value> {
  const tables = new Map<string, Value>()
  for (const [name, each] of Object.entries(given ?? {})) {
    const lower = name.toLowerCase()
    if (tables.has(lower)) throw invalid(`${field}: table "${lower}" is named twice`)
    tables.set(lower, read(each))
  }
  return tables
}

export function atVersionsOf(request: Pick<SqlRequest, 'at_version'>): Map<string, bigint> {
  return byTable('at_version', request.at_version, (version) => BigInt(version))
}

export function waitForOf(request: Pick<SqlRequest, 'wait_for'>): Map<string, TableWait> {
  let partitions = 0
  return byTable('wait_for', request.wait_for, (given): TableWait => {
    if (typeof given !== 'object') return { version: BigInt(given), offsets: [] }
    const offsetsOf: OffsetWait[] = Object.entries(given.offsets ?? {}).flatMap(([topic, byPartition]) =>
      Object.entries(byPartition).map(([partition, offset]) => ({
        topic,
        partition: Number(partition),
        offset: BigInt(offset),
      })),
    )
    partitions += offsetsOf.length
    if (partitions > PARTITIONS_AWAITED_MAX) throw invalid(`wait_for: more than ${PARTITIONS_AWAITED_MAX} offsets`)
    const tooFar = offsetsOf.find(({ offset }) => offset >= OFFSET_MAX)
    if (tooFar) throw invalid(`wait_for: ${tooFar.offset} is no offset`)
    return { version: given.version === undefined ? undefined : BigInt(given.version), offsets: offsetsOf }
  })
}

function invalid(message: string): MillraceError {
  return new MillraceError('request-invalid', message)
}
