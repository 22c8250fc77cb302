/** All rules by name, in lower case. The page `docs/reference/sql.md` has an example of each, and a test runs them. */
import type { Rule } from './rule.ts'
import { AGGREGATES } from './rules-aggregates.ts'
import { BUCKETS } from './rules-buckets.ts'
import { ROWS } from './rules-rows.ts'
import { SKETCHES } from './rules-sketches.ts'
import { TIMES } from './rules-time.ts'

let byName: ReadonlyMap<string, readonly Rule[]> | undefined

export function dialectRules(): ReadonlyMap<string, readonly Rule[]> {
  if (byName) return byName
  const rules = new Map<string, Rule[]>()
  for (const each of [...AGGREGATES, ...BUCKETS, ...TIMES, ...ROWS, ...SKETCHES])
    for (const name of each.names) rules.set(name, [...(rules.get(name) ?? []), each])
  byName = rules
  return rules
}
