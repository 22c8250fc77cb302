/**
 * What a reply tells beside its rows: what was read, at which version, how fresh. The same in headers and in the tail of JSON.
 *
 * Headers stay below what clients take by default (16 KiB in all): a list that is longer than `LIST_MAX` is cut after a
 * whole entry and ends with `…`; JSON has all of it.
 */
import { freshnessMs, sourcesOf, watermarksOf } from '../freshness.ts'
import type { QueryFacts, QueryOutcome } from '../run/run-query.ts'

const LIST_MAX = 2048

export function factHeaders({ tables, stats, cache }: QueryFacts): Record<string, string> {
  const perTable = (text: (version: QueryFacts['tables'][number]['version']) => string | undefined) =>
    listText(
      tables.flatMap(({ version }) => {
        const told = text(version)
        return told === undefined ? [] : [`${headerText(version.table.name)}=${told}`]
      }),
    )
  return {
    'x-millrace-versions': perTable(({ version }) => version.toString()),
    'x-millrace-freshness': perTable((version) => String(freshnessMs(version) ?? 'unknown')),
    'x-millrace-watermarks': perTable((version) => {
      const places = [...watermarksOf(version)].map(([place, end]) => `${place}@${end}`)
      return places.length === 0 ? undefined : places.join(';')
    }),
    ...(cache === undefined ? {} : { 'x-millrace-cache': cache }),
    'x-millrace-files': String(stats.files),
    'x-millrace-bytes-needed': String(stats.bytesNeeded),
    'x-millrace-bytes-fetched': String(stats.bytesFetched),
  }
}

function listText(entries: readonly string[]): string {
  let text = ''
  for (const entry of entries) {
    const longer = text === '' ? entry : `${text},${entry}`
    // A header is Latin-1 for most clients: three full stops.
    if (longer.length > LIST_MAX) return text === '' ? '...' : `${text},...`
    text = longer
  }
  return text
}

/** Table names are checked when tables are made; a header takes nothing but plain characters all the same. */
function headerText(name: string): string {
  return encodeURIComponent(name)
}

export function statsOf({ stats, result }: QueryOutcome, elapsedMs: number): Record<string, number> {
  return {
    elapsed_ms: Math.round(elapsedMs * 1000) / 1000,
    rows: result.rowCount,
    files: stats.files,
    files_pruned: stats.filesPruned,
    row_groups: stats.rowGroups,
    row_groups_pruned: stats.rowGroupsPruned,
    bytes_needed: stats.bytesNeeded,
    bytes_fetched: stats.bytesFetched,
    requests: stats.requests,
    cache_hits: stats.cacheHits,
  }
}

export function tablesOf({ tables }: QueryFacts, withSources: boolean): readonly Record<string, unknown>[] {
  return tables.map(({ version, snapshotId }) => ({
    name: version.table.name,
    version: version.version.toString(),
    snapshot_id: snapshotId?.toString() ?? null,
    freshness_ms: freshnessMs(version),
    ...(withSources ? { sources: sourcesOf(version) } : {}),
  }))
}
