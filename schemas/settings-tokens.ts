/** Bearer tokens: who calls, what they may do, and limits of their own. */
import { z } from 'zod'
import { zodLeaf } from './settings-leaf.ts'

export type TokenRight = 'read' | 'write' | 'admin'
export type Token = {
  readonly name: string
  readonly token: string
  readonly rights: readonly TokenRight[]
  /** Undefined: every table. */
  readonly tables?: readonly string[]
  /** Instead of the settings `query.*` of the same meaning. */
  readonly limits?: TokenLimits
}
export type TokenLimits = {
  readonly concurrent?: number
  readonly queue?: number
  readonly timeoutMs?: number
  readonly rows?: number
  readonly resultBytes?: number
  readonly scanBytes?: number
  /** `batch`: its queries never run among the small ones of others. */
  readonly priority?: 'interactive' | 'batch'
}

const tokenLimit = (expected: string, min = 1) => z.int(expected).min(min, expected).optional()
const tokenLimitsSchema = z
  .strictObject({
    concurrent: tokenLimit('queries at once, at least 1'),
    queue: tokenLimit('waiting queries, at least 0', 0),
    'timeout-ms': tokenLimit('milliseconds, at least 10', 10),
    rows: tokenLimit('rows of one result, at least 1'),
    'result-bytes': tokenLimit('bytes of one result, at least 1024', 1024),
    'scan-bytes': tokenLimit('bytes that one query may read, at least 1'),
    priority: z.enum(['interactive', 'batch'], 'interactive or batch').optional(),
  })
  .transform(
    ({ 'timeout-ms': timeoutMs, 'result-bytes': resultBytes, 'scan-bytes': scanBytes, ...rest }): TokenLimits => ({
      ...rest,
      timeoutMs,
      resultBytes,
      scanBytes,
    }),
  )

const tokenSchema = z.strictObject({
  name: z.string('a name for the log').min(1, 'a name for the log').max(200),
  token: z
    .string('the secret text, at least 16 characters')
    .min(16, 'the secret text, at least 16 characters')
    .max(4096),
  rights: z
    .array(z.enum(['read', 'write', 'admin'], 'read, write or admin'))
    .min(1, 'at least one of read, write, admin'),
  tables: z.array(z.string('a table name').min(1)).min(1).max(10_000).optional(),
  limits: tokenLimitsSchema.optional(),
})

export const tokensLeaf = zodLeaf<readonly Token[]>({
  description:
    'Bearer tokens and what they may do: `{name, token, rights: [read|write|admin], tables?: […], limits?: {…}}`; `limits` are a token’s own instead of `query.*`: `concurrent`, `queue`, `timeout-ms`, `rows`, `result-bytes`, `scan-bytes`, `priority: batch`. Without any, whoever reaches the loopback address may do everything.',
  expected: 'a list of tokens: {name, token, rights: [read, write, admin], tables?, limits?}',
  fallback: [],
  fallbackText: [],
  schema: z.array(tokenSchema).max(10_000),
  reads: 'yaml',
  secret: true,
})
