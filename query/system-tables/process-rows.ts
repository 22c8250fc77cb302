/**
 * What this process knows of itself, as rows: the queries that run and ran here, and the settings in force. A caller sees their
 * own queries; settings, and everybody's queries, are for administrators.
 */
import type { SystemRow } from '../../lake/pipeline-rows.ts'
import type { SettingRow } from '../../runtime/setting-rows.ts'
import type { FinishedQuery, ListedQuery } from '../run/query-list.ts'

export type Caller = { readonly name: string | undefined; readonly isAdmin: boolean }

export function queryRows(
  running: readonly ListedQuery[],
  finished: readonly FinishedQuery[],
  caller: Caller,
  now: bigint,
  /** The query that asks: it runs by the time anybody reads this. */
  askedBy: string,
): SystemRow[] {
  const isOwn = ({ owner }: Pick<ListedQuery, 'owner'>) => caller.isAdmin || owner === caller.name
  return [
    ...running.filter(isOwn).map((query) => ({
      ...common(query),
      state: query.abort.signal.aborted ? 'cancelling' : query.queryId === askedBy ? 'running' : query.state,
      elapsed_ms: (now - query.startedAt) / 1000n,
    })),
    ...finished
      .filter(isOwn)
      .toReversed()
      .map((query) => ({
        ...common(query),
        state: query.isCancelled ? 'cancelled' : query.error ? 'failed' : 'finished',
        ended_at: query.endedAt,
        elapsed_ms: (query.endedAt - query.startedAt) / 1000n,
        rows: query.rows === undefined ? undefined : BigInt(query.rows),
        error_code: query.error?.code,
        error: query.error?.message,
      })),
  ]
}

function common({ queryId, owner, sql, door, format, startedAt, bytesSent }: Omit<ListedQuery, 'abort' | 'state'>) {
  return {
    query_id: queryId,
    owner,
    statement: sql,
    door,
    format,
    started_at: startedAt,
    bytes: BigInt(bytesSent),
  } satisfies SystemRow
}

export function settingRows(settings: readonly SettingRow[], { isAdmin }: Caller): SystemRow[] {
  return isAdmin ? settings.map((setting) => ({ ...setting, source: setting.source ?? 'default' })) : []
}
