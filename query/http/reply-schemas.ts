/**
 * What replies of the query service look like, as schemas: `openapi.json` is made of them, and tests hold replies against
 * them. Objects are open: a later release may tell more.
 */
import { z } from 'zod'
import { FORMATS } from './formats.ts'

const digits = z.string().regex(/^\d+$/)
const count = z.number().int().nonnegative()

export const errorSchema = z.looseObject({
  error: z.looseObject({
    code: z
      .string()
      .regex(/^[0-9A-Z]{5}$/)
      .describe('SQLSTATE'),
    class: z
      .string()
      .regex(/^[a-z]+(_[a-z]+)*$/)
      .describe('The fault in words'),
    message: z.string(),
    position: z.object({ line: z.int().positive(), column: z.int().positive() }).optional(),
    hint: z.string().optional().describe('What could be changed'),
    query_id: z.string().optional(),
  }),
})

const sourceSchema = z.looseObject({
  pipeline: z.string(),
  source: z.string(),
  partition: count,
  offset: digits.nullable().describe('Everything before it is committed'),
  log_end: digits.nullable(),
  freshness_ms: count.nullable(),
})

const columnSchema = z.looseObject({ name: z.string(), type: z.string().describe('In the words of DuckDB') })

const resultHead = { query_id: z.string(), columns: z.array(columnSchema), data: z.array(z.array(z.unknown())) }

const wholeResult = z.looseObject({
  ...resultHead,
  rows: count,
  truncated: z.boolean().describe('`max_rows` or a limit of the service cut the result'),
  stats: z.looseObject({
    elapsed_ms: z.number().nonnegative(),
    rows: count,
    files: count,
    files_pruned: count,
    row_groups: count,
    row_groups_pruned: count,
    bytes_needed: count,
    bytes_fetched: count,
    requests: count,
    cache_hits: count,
  }),
  tables: z.array(
    z.looseObject({
      name: z.string(),
      version: digits,
      snapshot_id: digits.nullable(),
      freshness_ms: count.nullable(),
      sources: z.array(sourceSchema).optional(),
    }),
  ),
})

/** A streamed result that failed on its way. */
const brokenResult = z.looseObject({ ...resultHead, error: errorSchema.shape.error })

export const resultSchema = z.union([wholeResult, brokenResult])

const queryHead = {
  query_id: z.string(),
  sql: z.string(),
  format: z.enum(FORMATS),
  started_at: z.iso.datetime(),
  elapsed_ms: count,
  rows: count.nullable(),
  bytes_sent: count,
}

const runningQuery = z.looseObject({
  ...queryHead,
  state: z.enum(['waiting', 'planning', 'running', 'cancelling']),
  progress: z.number().min(0).max(100).nullable().describe('Percent, as DuckDB estimates it'),
  rows_scanned: count.nullable(),
})

const endedQuery = z.looseObject({
  ...queryHead,
  state: z.enum(['finished', 'failed', 'cancelled']),
  error: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
})

export const queriesSchema = z.looseObject({ queries: z.array(runningQuery), recent: z.array(endedQuery) })
export const querySchema = z.union([runningQuery, endedQuery])
export const cancelSchema = z.looseObject({
  query_id: z.string(),
  state: z.enum(['cancelling', 'finished', 'failed', 'cancelled']),
})

export const tablesSchema = z.looseObject({
  tables: z.array(
    z.looseObject({
      name: z.string(),
      version: digits,
      freshness_ms: count.nullable(),
      columns: count,
      segments_live: count,
    }),
  ),
})

export const tableSchema = z.looseObject({
  name: z.string(),
  version: digits,
  location: z.string(),
  metadata_location: z.string().nullable(),
  freshness_ms: count.nullable(),
  schema_id: count.nullable(),
  columns: z.array(
    z.looseObject({
      name: z.string(),
      type: z.string(),
      required: z.boolean(),
      field_id: count,
      hidden: z.boolean(),
    }),
  ),
  segments_live: count,
  rows_in_segments: count,
  sources: z.array(sourceSchema),
})

export const pingSchema = z.looseObject({ status: z.literal('ok') })
export const aliveSchema = z.looseObject({ status: z.literal('alive'), service: z.string() })
export const readySchema = z.looseObject({
  status: z.enum(['healthy', 'degraded', 'unhealthy']),
  reasons: z.array(z.looseObject({ component: z.string(), status: z.string(), reason: z.string() })),
})
