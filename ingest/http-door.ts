/**
 * The HTTP door of ingest.
 *
 *   POST /v1/ingest/{table}      JSON lines or one JSON array of objects; Content-Encoding gzip, zstd or none
 *     ?ack=committed|buffered    committed (default): answered when readers can see the rows
 *     ?errors=reject|dead-letter reject (default): one bad row and none is taken
 *     Millrace-Producer, Millrace-Sequence   exactly once: the sequence number of the request's first row
 *     Idempotency-Key            exactly once within 24 h
 *   GET /v1/ingest/{table}/producers/{producer}   where the producer goes on
 *   POST /v1/pipelines/{pipeline}/decide          {topic, partition, from}: go on where coverage and log disagree
 *   GET /v1/pipelines            pipelines, their topic-partitions, and what waits for a decision
 */
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { MillraceError } from '../schemas/errors.ts'
import { DEAD_LETTERS_SUFFIX } from '../schemas/table-schema.ts'
import { createByteBudget } from './byte-budget.ts'
import { type BodyRows, type HttpIntake, httpPipeline } from './http-intake.ts'
import { coverageEnd } from './source-ledger.ts'
import type { IngestTables } from './tables.ts'

export type HttpDoorSettings = {
  /** Largest body, before and after decompression. */
  readonly requestBytesMax: number
  readonly requestRowsMax: number
  /** Requests being received or worked on at once; more are answered 429. */
  readonly requestsMax: number
  /** Bytes of bodies held at once as they came, and as many again unpacked; more are answered 429, or wait. */
  readonly bodiesBytesMax: number
}

const decompressors = { gzip: promisify(gunzip), zstd: promisify(zstdDecompress) }

const PRODUCER = /^[\x21-\x7e]{1,200}$/
const SEQUENCE_MAX = 2n ** 53n - 1n

export function addIngestRoutes(
  app: FastifyInstance,
  components: {
    catalog: Catalog
    tables: IngestTables
    httpIntake: HttpIntake
    settings: HttpDoorSettings
    splitBody: (bytes: Uint8Array) => BodyRows
    /** Throws `forbidden` when the caller's token is kept to other tables. */
    checkTableAccess: (request: FastifyRequest, table: string) => void
    pipelines: () => unknown
    /** The state after a human's decision. */
    decide: (
      pipeline: string,
      topic: string,
      partition: number,
      from: 'earliest' | 'latest' | bigint,
    ) => Promise<unknown>
    /** A table that requests come for: its HTTP pipeline is bound before its first row. */
    prepare: (table: string) => Promise<void>
  },
): void {
  const { catalog, tables, httpIntake, settings, splitBody, checkTableAccess } = components
  let running = 0
  const received = createByteBudget(settings.bodiesBytesMax)
  const unpacked = createByteBudget(settings.bodiesBytesMax)

  /** A client may go away while its rows are still being taken: room is given back by whoever leaves last. */
  const held = new WeakMap<FastifyRequest, { enter(): () => void }>()

  /** Before the first byte of the body is read: room for it, until the answer is out and nobody works on it any more. */
  async function admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const length = Number(request.headers['content-length'] ?? settings.requestBytesMax)
    const bytes = Math.min(length, settings.requestBytesMax)
    if (running >= settings.requestsMax || !received.tryTake(bytes)) {
      // The body stays unread, so the connection cannot be used again.
      reply.header('retry-after', '1').header('connection', 'close')
      const limit =
        running >= settings.requestsMax
          ? `${running} requests are being taken already (ingest.requests.max)`
          : `requests of ${received.taken} bytes are being taken already (ingest.memory.max)`
      throw new MillraceError('overloaded', `${limit}; try again`)
    }
    running += 1
    let users = 1
    const leave = () => {
      users -= 1
      if (users > 0) return
      running -= 1
      received.give(bytes)
    }
    held.set(request, {
      enter() {
        users += 1
        return leave
      },
    })
    reply.raw.once('close', leave)
  }

  /** Unpacked bytes count from before they are there: a small body may be a large one. */
  async function withBody<T>(request: FastifyRequest, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    if (request.headers['content-encoding'] === undefined) return use(await body(request))
    let taken = settings.requestBytesMax
    await unpacked.take(taken)
    try {
      const bytes = await body(request)
      unpacked.give(taken - bytes.length)
      taken = bytes.length
      return await use(bytes)
    } finally {
      unpacked.give(taken)
    }
  }

  async function body(request: FastifyRequest): Promise<Uint8Array> {
    const bytes = request.body instanceof Uint8Array ? request.body : new Uint8Array()
    const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase()
    if (encoding === 'identity') return bytes
    if (encoding !== 'gzip' && encoding !== 'zstd') {
      throw new MillraceError('request-invalid', `content-encoding "${encoding}" is not known; send gzip, zstd or none`)
    }
    try {
      return await decompressors[encoding](bytes, { maxOutputLength: settings.requestBytesMax })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
        throw new MillraceError(
          'request-too-large',
          `the body is larger than ingest.request.bytes.max (${settings.requestBytesMax}) once decompressed; send fewer rows at a time`,
        )
      }
      throw new MillraceError('request-invalid', `the body is not ${encoding}: ${(error as Error).message}`)
    }
  }

  app.post<{ Params: { table: string }; Querystring: Record<string, string | undefined> }>(
    '/v1/ingest/:table',
    { config: { right: 'write' }, bodyLimit: settings.requestBytesMax, onRequest: admit },
    async (request, reply) => {
      const name = request.params.table.toLowerCase()
      checkTableAccess(request, name)
      if (name.endsWith(DEAD_LETTERS_SUFFIX)) {
        throw new MillraceError(
          'request-invalid',
          `"${name}" holds dead letters; rows go to ${name.slice(0, -DEAD_LETTERS_SUFFIX.length)}`,
        )
      }
      const options = {
        ack: choice(request.query, 'ack', ['committed', 'buffered'] as const),
        onBadRow: choice(request.query, 'errors', ['reject', 'dead-letter'] as const),
        producer: producerOf(request),
        idempotencyKey: keyOf(request),
      }
      const leave = held.get(request)?.enter()
      try {
        const table = await tables.open(name)
        const answer = await withBody(request, async (bytes) => {
          const rows = splitBody(bytes)
          if (rows.count > settings.requestRowsMax) {
            throw new MillraceError(
              'request-too-large',
              `the body has ${rows.count} rows, more than ingest.request.rows.max (${settings.requestRowsMax}); send fewer at a time; no row of this request was taken`,
            )
          }
          await components.prepare(name)
          return httpIntake.take({ table, rows, ...options })
        })
        return reply.code(options.ack === 'buffered' && answer.version === undefined ? 202 : 200).send(answer)
      } finally {
        leave?.()
      }
    },
  )

  app.get<{ Params: { table: string; producer: string } }>(
    '/v1/ingest/:table/producers/:producer',
    { config: { right: 'write' } },
    async (request) => {
      const { table, producer } = request.params
      const name = table.toLowerCase()
      checkTableAccess(request, name)
      await tables.open(name)
      const [coverage] = await catalog.coverage(httpPipeline(name), [`http:${producer}`])
      const expired = coverage?.expiredAt === undefined ? {} : { expired: true }
      return { table: name, producer, next_sequence: String(coverageEnd(coverage) ?? 0n), ...expired }
    },
  )

  app.post<{ Params: { pipeline: string } }>(
    '/v1/pipelines/:pipeline/decide',
    { config: { right: 'admin' } },
    async (request) => {
      const { topic, partition, from } = decisionOf(await body(request))
      return components.decide(request.params.pipeline, topic, partition, from)
    },
  )

  app.get('/v1/pipelines', { config: { right: 'read' } }, async () => ({ pipelines: components.pipelines() }))
}

const decisionSchema = z.strictObject({
  topic: z.string().min(1),
  partition: z.int().min(0),
  from: z.union([
    z.enum(['earliest', 'latest']),
    z
      .string()
      .regex(/^\d{1,19}$/)
      .transform(BigInt),
  ]),
})

function decisionOf(bytes: Uint8Array): z.infer<typeof decisionSchema> {
  try {
    return decisionSchema.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (cause) {
    throw new MillraceError(
      'request-invalid',
      'expected {"topic": "…", "partition": 0, "from": "earliest" | "latest" | "<offset>"}',
      { cause },
    )
  }
}

function choice<const T extends string>(
  query: Record<string, string | undefined>,
  name: string,
  allowed: readonly T[],
): T {
  const value = query[name]
  if (value === undefined) return allowed[0]
  const found = allowed.find((each) => each === value)
  if (found) return found
  throw new MillraceError('request-invalid', `${name}=${value} is not known; expected ${allowed.join(' or ')}`)
}

function producerOf(request: FastifyRequest): { id: string; sequence: bigint } | undefined {
  const id = headerOf(request, 'millrace-producer')
  const sequence = headerOf(request, 'millrace-sequence')
  if (id === undefined && sequence === undefined) return undefined
  if (id === undefined || sequence === undefined) {
    throw new MillraceError('request-invalid', 'Millrace-Producer and Millrace-Sequence go together')
  }
  if (!PRODUCER.test(id)) {
    throw new MillraceError(
      'request-invalid',
      'Millrace-Producer must be 1 to 200 visible ASCII characters without spaces',
    )
  }
  if (!/^\d{1,16}$/.test(sequence) || BigInt(sequence) > SEQUENCE_MAX) {
    throw new MillraceError(
      'request-invalid',
      `Millrace-Sequence "${sequence.slice(0, 40)}" is not a whole number from 0 to ${SEQUENCE_MAX}`,
    )
  }
  return { id, sequence: BigInt(sequence) }
}

function keyOf(request: FastifyRequest): string | undefined {
  const key = headerOf(request, 'idempotency-key')
  if (key !== undefined && (key.length === 0 || key.length > 255)) {
    throw new MillraceError('request-invalid', 'Idempotency-Key must have 1 to 255 characters')
  }
  if (key !== undefined && headerOf(request, 'millrace-producer') !== undefined) {
    throw new MillraceError('request-invalid', 'send either Idempotency-Key or Millrace-Producer, not both')
  }
  return key
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value[0] : value
}
