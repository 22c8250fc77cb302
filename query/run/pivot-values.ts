/** Runs the SELECT that tells the columns of a PIVOT, over the versions of the tables that the query itself will read. */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { Engines } from '../engines/engine-pool.ts'
import type { Planner, PlanOptions } from '../plan/plan-tables.ts'
import type { Statement } from '../statement/statement.ts'
import type { Seat } from './admission.ts'

const VALUES_BYTES_MAX = 1024 * 1024

export async function pivotValues(
  parts: { readonly planner: Planner; readonly engines: Engines; readonly seat: Seat },
  request: { readonly queryId: string; readonly params: PlanOptions['params'] },
  select: Statement,
  versions: readonly TableVersion[],
  given: PlanOptions,
): Promise<readonly string[]> {
  const { planner, engines, seat } = parts
  const options = { ...given, params: paramsOf(select.sql, request.params) }
  const plan = await planner.plan(select, versions, options)
  try {
    const chunks: Uint8Array[] = []
    await engines.query(
      seat,
      {
        queryId: request.queryId,
        setup: plan.setup,
        sql: select.sql,
        params: options.params,
        format: 'jsonl',
        rowsMax: Number.MAX_SAFE_INTEGER,
        bytesMax: VALUES_BYTES_MAX,
        timeoutMs: options.timeoutMs,
      },
      { rows: plan.stats.rows, bytes: plan.stats.bytesNeeded },
      { onChunk: (chunk) => void chunks.push(chunk) },
      options.signal,
    )
    const lines = Buffer.concat(chunks).toString('utf8').split('\n')
    return lines.filter((line) => line !== '').map((line) => (JSON.parse(line) as { value: string }).value)
  } finally {
    plan.release()
  }
}

/** Those parameters that the SELECT has: it is a part of the user's statement. */
function paramsOf(sql: string, params: PlanOptions['params']): PlanOptions['params'] {
  const named = new Map<string, unknown>(
    Array.isArray(params) ? params.map((value, index) => [String(index + 1), value]) : Object.entries(params),
  )
  if (named.size === 0) return {}
  const used = [...sql.matchAll(/\$(\w+)/g)].map(([, name]) => name)
  return Object.fromEntries([...named].filter(([name]) => used.includes(name)))
}
