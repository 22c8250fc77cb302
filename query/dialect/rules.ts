/** All rules by name, in lower case. The page `docs/reference/sql.md` has an example of each, and a test runs them. */
import type { Rule } from './rule.ts'
import { AGGREGATES } from './rules-aggregates.ts'
import { BUCKETS } from './rules-buckets.ts'
import { ROWS } from './rules-rows.ts'
import { SKETCHES } from './rules-sketches.ts'
import { TIMES } from './rules-time.ts'

/** Names that DuckDB has itself, and if only for the parser: calls for which no rule is made are its own. */
const DUCKDB_NAMES: ReadonlySet<string> = new Set([
  ...'approx_quantile countif last first first_value last_value time_bucket date_trunc datetrunc date_add date_sub date_diff datediff to_timestamp decode char_length character_length element_at json_extract_path_text if ifnull every rand date topk quantile'.split(
    ' ',
  ),
  // Our own macros.
  ...SKETCHES.flatMap(({ names }) => names),
])

export function isDuckdbName(name: string): boolean {
  return DUCKDB_NAMES.has(name)
}

let byName: ReadonlyMap<string, readonly Rule[]> | undefined

export function dialectRules(): ReadonlyMap<string, readonly Rule[]> {
  if (byName) return byName
  const rules = new Map<string, Rule[]>()
  for (const each of [...AGGREGATES, ...BUCKETS, ...TIMES, ...ROWS, ...SKETCHES])
    for (const name of each.names) rules.set(name, [...(rules.get(name) ?? []), each])
  byName = rules
  return rules
}
