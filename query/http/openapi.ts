/**
 * `GET /openapi.json`: this service's routes in OpenAPI 3.1, made of the schemas that requests are read with
 * (`sql-request.ts`) and of those that replies are held against in tests (`reply-schemas.ts`). A test compares it with the
 * routes that the service has, another one fuzzes the service with it.
 */
import { z } from 'zod'
import { CONTENT_TYPES, FORMATS, isText } from './formats.ts'
import {
  aliveSchema,
  cancelSchema,
  errorSchema,
  pingSchema,
  queriesSchema,
  querySchema,
  readySchema,
  resultSchema,
  tableSchema,
  tablesSchema,
} from './reply-schemas.ts'
import { sqlRequestSchema } from './sql-request.ts'

type Json = { readonly [key: string]: unknown }

const ERRORS: Readonly<Record<number, string>> = {
  400: 'The request or the statement is wrong',
  401: 'No token, or an unknown one',
  403: 'The token may not; or the request comes from a web page of another origin',
  404: 'There is no such table, query or address',
  405: 'Another method',
  406: 'No format that `Accept` takes',
  408: 'Longer than its time, or what was waited for did not come',
  409: 'The id is in use',
  413: 'Too large: the body, the statement, or the result',
  414: 'A part of the path is too long',
  415: 'A content type that is not taken',
  429: 'Too many queries wait; come back after `Retry-After`',
  431: 'The head of the request is too large',
  499: 'Cancelled',
  500: 'A file of the lake is missing or damaged, or a bug',
  503: 'The catalog, the object store or an engine is away, or the process stops; come back after `Retry-After`',
  507: 'More memory or spill than the statement may have',
}
const ALWAYS = [400, 401, 403, 431, 500, 503]

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
const schemaOf = (schema: z.ZodType, io: 'input' | 'output' = 'output'): Json => {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { target: 'draft-2020-12', io })
  return json
}

/** Whatever was fetched; without its media type's parameters. */
function mediaType(contentType: string): string {
  return contentType.split(';')[0]
}

const text = (description: string): Json => ({ description, schema: { type: 'string' } })
const number = (description: string): Json => ({ description, schema: { type: 'string', pattern: '^\\d+$' } })

const RESULT_HEADERS: Json = {
  'X-Millrace-Query-Id': { ...text('Of this query'), required: true },
  'X-Millrace-Versions': text('Version of each table read: `flights=17,airports=3`'),
  'X-Millrace-Freshness': text('Milliseconds since each table was current; `unknown` before its first time'),
  'X-Millrace-Watermarks': text(
    'Offsets consumed of each topic-partition: `flights=flights-topic/0@1234;flights-topic/1@99`',
  ),
  'X-Millrace-Cache': text('`hit`, `shared` or `miss` where results are kept'),
  'X-Millrace-Files': number('Files of the tables'),
  'X-Millrace-Bytes-Needed': number('Column chunks that the statement needs'),
  'X-Millrace-Bytes-Fetched': number('Of those, what came from the object store'),
  'X-Millrace-Rows': number('Of a result in one piece; of a streamed one a trailer'),
  'X-Millrace-Truncated': text('`true` or `false`; of a streamed result a trailer'),
  Trailer: text('Of a streamed result: X-Millrace-Status (`ok`, or an SQLSTATE), -Rows, -Truncated'),
  Vary: text('`accept, accept-encoding`'),
}

function errors(...more: number[]): Json {
  return Object.fromEntries(
    [...new Set([...ALWAYS, ...more])]
      .sort((a, b) => a - b)
      .map((status) => [
        String(status),
        {
          description: ERRORS[status],
          ...(status === 429 || status === 503
            ? { headers: { 'Retry-After': { description: 'Seconds', required: true, schema: { type: 'string' } } } }
            : {}),
          content: { 'application/json': { schema: ref('Error') } },
        },
      ]),
  )
}

const json = (name: string, description: string): Json => ({
  description,
  content: { 'application/json': { schema: ref(name) } },
})

const result: Json = {
  description: 'The rows, in the format asked for',
  headers: RESULT_HEADERS,
  content: Object.fromEntries(
    FORMATS.map((format) => [
      mediaType(CONTENT_TYPES[format]),
      format === 'json' ? { schema: ref('Result') } : isText(format) ? { schema: { type: 'string' } } : {},
    ]),
  ),
}

const AS_JSON = ['params', 'at_version', 'wait_for']

/** Fields of a request as URL parameters. */
function urlParameters(): Json[] {
  const { properties } = schemaOf(sqlRequestSchema, 'input') as { properties: Readonly<Record<string, Json>> }
  return Object.entries(properties).flatMap(([name, schema]) => {
    if (name === 'sql') return []
    const parameter = name === 'session' ? 'timezone' : name
    const own = name === 'session' ? { type: 'string', minLength: 1, maxLength: 100 } : schema
    const place = { name: parameter, in: 'query', required: false }
    return [
      AS_JSON.includes(name)
        ? { ...place, content: { 'application/json': { schema: own } } }
        : { ...place, schema: own },
    ]
  })
}

const statement: Json = {
  name: 'q',
  in: 'query',
  required: true,
  description: 'The statement; `sql` is another name for it',
  schema: { type: 'string' },
}
const named = (name: string, description: string): Json => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string', minLength: 1, maxLength: 128 },
})

const SQL_ERRORS = [404, 406, 408, 409, 413, 429, 499, 507]
const open: Json = { security: [] }

export function openApiDocument(): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Millrace query service',
      version: '1',
      description: 'SQL over tables that follow Kafka topics. The long form is docs/reference/http.md.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{}, { bearer: [] }, { basic: [] }],
    paths: {
      '/v1/sql': {
        get: {
          summary: 'Run a statement given in the URL',
          parameters: [statement, ...urlParameters()],
          responses: { 200: result, ...errors(...SQL_ERRORS) },
        },
        post: {
          summary: 'Run a statement',
          description: 'A field is given in the body or in the URL, not in both.',
          parameters: urlParameters(),
          requestBody: {
            required: true,
            content: {
              'application/json': { schema: ref('SqlRequest') },
              'text/plain': { schema: { type: 'string' } },
              'application/sql': { schema: { type: 'string' } },
            },
          },
          responses: { 200: result, ...errors(...SQL_ERRORS, 415) },
        },
      },
      '/v1/queries': {
        get: {
          summary: 'Queries that wait and run in this process, and the last that ended',
          responses: { 200: json('Queries', 'One’s own; an admin’s all'), ...errors() },
        },
      },
      '/v1/queries/{id}': {
        parameters: [named('id', 'The query’s id')],
        get: { summary: 'How far a query is', responses: { 200: json('Query', 'The query'), ...errors(404, 414) } },
        delete: {
          summary: 'Cancel a query; again, or when it has ended, nothing happens',
          responses: {
            200: json('Cancel', 'It had ended'),
            202: json('Cancel', 'It is being cancelled'),
            ...errors(404, 414),
          },
        },
      },
      '/v1/tables': {
        get: { summary: 'Tables that the caller may read', responses: { 200: json('Tables', 'Tables'), ...errors() } },
      },
      '/v1/tables/{table}': {
        parameters: [named('table', 'The table’s name, in any case')],
        get: {
          summary: 'One table, with its sources',
          responses: { 200: json('Table', 'The table'), ...errors(404, 414) },
        },
      },
      '/ping': { get: { summary: 'Is anybody there', ...open, responses: { 200: json('Ping', 'Yes'), ...errors() } } },
      '/healthz': {
        get: { summary: 'The process lives', ...open, responses: { 200: json('Alive', 'Yes'), ...errors() } },
      },
      '/readyz': {
        get: {
          summary: 'It can work',
          ...open,
          responses: { ...errors(), 200: json('Ready', 'Healthy or degraded'), 503: json('Ready', 'Unhealthy') },
        },
      },
      '/metrics': {
        get: {
          summary: 'For Prometheus',
          responses: {
            200: { description: 'Metrics', content: { 'text/plain': { schema: { type: 'string' } } } },
            ...errors(),
          },
        },
      },
      '/openapi.json': {
        get: {
          summary: 'This document',
          ...open,
          responses: {
            200: { description: 'OpenAPI 3.1', content: { 'application/json': { schema: { type: 'object' } } } },
            ...errors(),
          },
        },
      },
    },
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token of the settings; none is needed while none are set',
        },
        basic: { type: 'http', scheme: 'basic', description: 'Any user, the token as the password' },
      },
      schemas: {
        SqlRequest: schemaOf(sqlRequestSchema, 'input'),
        Result: schemaOf(resultSchema),
        Error: schemaOf(errorSchema),
        Queries: schemaOf(queriesSchema),
        Query: schemaOf(querySchema),
        Cancel: schemaOf(cancelSchema),
        Tables: schemaOf(tablesSchema),
        Table: schemaOf(tableSchema),
        Ping: schemaOf(pingSchema),
        Alive: schemaOf(aliveSchema),
        Ready: schemaOf(readySchema),
      },
    },
  }
}
