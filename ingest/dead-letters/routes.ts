/**
 * Taking dead letters away over HTTP, on the ingest service:
 *
 *   POST /v1/dead-letters/{table}   {action: "replay" | "discard", pipeline, topic, partition, from_offset, to_offset, reason,
 *                                    kind, column, since, until, limit, why}
 *
 * Everything but the action may be left out; `discard` wants a filter or `"all": true`. Looking at letters is SQL's matter.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { DEAD_LETTER_KINDS, type LettersFilter } from '../../lake/dead-letters/letters-filter.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { parseMoment } from '../../schemas/moment.ts'
import type { DeadLetters } from './replay.ts'

const LIMIT_DEFAULT = 100_000
const LIMIT_MAX = 1_000_000

const offset = z
  .union([
    z.int().min(0).transform(BigInt),
    z
      .string()
      .regex(/^\d{1,19}$/)
      .transform(BigInt),
  ])
  .optional()
const text = z.string().min(1).max(1000).optional()

const requestSchema = z.strictObject({
  action: z.enum(['replay', 'discard']),
  pipeline: text,
  topic: text,
  partition: z.int().min(0).optional(),
  from_offset: offset,
  to_offset: offset,
  reason: text,
  kind: z.enum(DEAD_LETTER_KINDS).optional(),
  column: text,
  since: text,
  until: text,
  limit: z.int().min(1).max(LIMIT_MAX).default(LIMIT_DEFAULT),
  all: z.boolean().default(false),
  why: z.string().max(1000).default(''),
})

export function addDeadLetterRoutes(
  app: FastifyInstance,
  parts: {
    readonly deadLetters: DeadLetters
    /** Throws `forbidden` when the caller's token is kept to other tables. */
    readonly checkTableAccess: (request: FastifyRequest, table: string) => void
  },
): void {
  app.post<{ Params: { table: string } }>(
    '/v1/dead-letters/:table',
    { config: { right: 'admin' } },
    async (request) => {
      const table = request.params.table.toLowerCase()
      parts.checkTableAccess(request, table)
      const { action, limit, all, why, ...rest } = bodyOf(request.body)
      const filter = filterOf(rest)
      const isEverything = Object.values(filter).every((value) => value === undefined)
      if (action === 'discard' && isEverything && !all) {
        throw new MillraceError(
          'request-invalid',
          'discard without a filter takes every letter: say "all": true (--all of the command line)',
        )
      }
      const requestedBy = request.token?.name ?? 'local'
      return parts.deadLetters.take({ action, table, filter, limit, requestedBy, why })
    },
  )
}

type Rest = Omit<z.infer<typeof requestSchema>, 'action' | 'limit' | 'all' | 'why'>

function filterOf({ from_offset, to_offset, since, until, ...same }: Rest): LettersFilter {
  return {
    ...same,
    fromOffset: from_offset,
    toOffset: to_offset,
    since: since === undefined ? undefined : parseMoment('since', since),
    until: until === undefined ? undefined : parseMoment('until', until),
  }
}

function bodyOf(body: unknown): z.infer<typeof requestSchema> {
  try {
    return requestSchema.parse(JSON.parse(Buffer.from(body as Uint8Array).toString()))
  } catch (cause) {
    const why = cause instanceof z.ZodError ? cause.issues.map(issueText).join('; ') : 'it is no JSON'
    throw new MillraceError('request-invalid', `dead letters: ${why}`, { cause })
  }
}

function issueText({ path, message }: z.core.$ZodIssue): string {
  return path.length === 0 ? message : `${path.join('.')}: ${message}`
}
