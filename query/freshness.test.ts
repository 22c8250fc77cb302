import { expect, test } from 'vitest'
import type { TableVersion } from '../lake/catalog/catalog.ts'
import type { Coverage } from '../schemas/coverage.ts'
import { freshnessMs, sourcesOf } from './freshness.ts'

function coverage(source: string, caughtUpAt: bigint | undefined, partition = 0): Coverage {
  return {
    pipeline: 'p',
    source,
    partition,
    ranges: [{ start: 0n, end: 9n }],
    recordsIn: 9n,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: 9n,
    caughtUpAt,
  }
}

function version(...sources: Coverage[]): TableVersion {
  return { coverage: sources, readAt: 10_000_000n } as unknown as TableVersion
}

test('the table is as fresh as its stalest source; unknown when one is', () => {
  expect(freshnessMs(version())).toBeNull()
  expect(freshnessMs(version(coverage('http:x', undefined)))).toBe(0)
  expect(
    freshnessMs(
      version(coverage('kafka:t:1', 9_000_000n), coverage('kafka:t:1', 7_500_000n, 1), coverage('http:x', undefined)),
    ),
  ).toBe(2500)
  expect(freshnessMs(version(coverage('kafka:t:1', 9_000_000n), coverage('kafka:t:1', undefined, 1)))).toBeNull()
  expect(freshnessMs(version(coverage('kafka:t:1', 11_000_000n)))).toBe(0)
  expect(sourcesOf(version(coverage('kafka:t:1', 9_000_000n)))).toEqual([
    { pipeline: 'p', source: 'kafka:t:1', partition: 0, offset: '9', log_end: '9', freshness_ms: 1000 },
  ])
})

test('an earlier source of a recreated topic, or of before a decision, does not count for ever', () => {
  const old = coverage('kafka:t:1', 1_000_000n)
  expect(freshnessMs(version(old, coverage('kafka:t:2', 9_000_000n)))).toBe(1000)
  expect(freshnessMs(version(coverage('kafka:t:1#2', 9_900_000n), old))).toBe(100)
  expect(freshnessMs(version(old, coverage('kafka:t:1#2', undefined)))).toBe(9000)
  expect(freshnessMs(version(old, coverage('kafka:u:1', 9_000_000n)))).toBe(9000)
})
