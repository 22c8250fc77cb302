// Reading your own writes (G-4): versions and offsets that are waited for, by what the catalog says.
import { describe, expect, test } from 'vitest'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { PipelineFacts } from '../../lake/catalog/pipeline-facts.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { createWaiting, missingOf, type TableWait, type WaitFor } from './wait-for.ts'

function covered(source: string, ranges: readonly (readonly [number, number])[], caughtUpAt?: bigint): Coverage {
  return {
    pipeline: 'p',
    source,
    partition: 0,
    ranges: ranges.map(([start, end]) => ({ start: BigInt(start), end: BigInt(end) })),
    caughtUpAt,
  } as unknown as Coverage
}

function factsOf(coverage: readonly Coverage[], current?: string): PipelineFacts {
  return {
    bindings: [{ pipeline: 'p', topic: 'clicks', table: 'visits', tableId: 1 }],
    coverage,
    partitions: current === undefined ? [] : [{ pipeline: 'p', topic: 'clicks', partition: 0, source: current }],
  } as unknown as PipelineFacts
}

const offset = (at: number, topic = 'clicks', partition = 0): WaitFor =>
  new Map([['visits', { version: undefined, offsets: [{ topic, partition, offset: BigInt(at) }] }]])

function missing(wanted: WaitFor, facts: PipelineFacts | undefined, version = 1n): string[] {
  return missingOf(wanted, { versions: new Map([['visits', version]]), facts })
}

describe('offsets', () => {
  const facts = factsOf([covered('kafka:clicks:id1', [[10, 20]])])

  test('a record is there when its own offset is consumed, not when the one before it is', () => {
    expect(missing(offset(19), facts)).toEqual([])
    expect(missing(offset(20), facts)).toEqual(['clicks/0 is consumed up to 20, expected offset 20'])
    expect(missing(offset(10), facts)).toEqual([])
  })

  test('what will never come is said at once', () => {
    expect(() => missing(offset(9), facts)).toThrow(expect.objectContaining({ code: 'value-out-of-range' }))
    expect(() => missing(offset(9, 'clcks'), facts)).toThrow(
      'no pipeline reads topic "clcks" into table "visits"; topics: clicks',
    )
  })

  test('a partition of which nothing came yet may come', () => {
    expect(missing(offset(0, 'clicks', 3), facts)).toEqual(['nothing of clicks/3 was consumed yet, expected offset 0'])
  })

  test('of a topic that was made anew the offsets of now count, whatever the former one had', () => {
    const both = [covered('kafka:clicks:old', [[0, 1000]], 5n), covered('kafka:clicks:new', [[0, 5]], 9n)]
    expect(missing(offset(7), factsOf(both, 'kafka:clicks:new'))).toEqual([
      'clicks/0 is consumed up to 5, expected offset 7',
    ])
    expect(missing(offset(7), factsOf(both))).toHaveLength(1)
    expect(missing(offset(4), factsOf(both))).toEqual([])
  })

  test('stretches: what lies between them is not there, what is in any of them is', () => {
    const stretches = factsOf([covered('kafka:clicks:id1', [[0, 10]]), covered('kafka:clicks:id1@50', [[50, 60]])])
    expect(missing(offset(5), stretches)).toEqual([])
    expect(missing(offset(55), stretches)).toEqual([])
    expect(missing(offset(30), stretches)).toEqual(['offset 30 of clicks/0 lies in what was skipped'])
    const again = factsOf([covered('kafka:clicks:id1', [[0, 100]]), covered('kafka:clicks:id1#2', [[0, 3]])])
    expect(missing(offset(50), again)).toHaveLength(1)
  })
})

test('a version, and a table that nobody knows, which reading it will say', () => {
  const wanted = (table: string, version: bigint): WaitFor =>
    new Map<string, TableWait>([[table, { version, offsets: [] }]])
  expect(missing(wanted('visits', 2n), undefined)).toEqual(['table "visits" has version 1, expected 2'])
  expect(missing(wanted('visits', 1n), undefined)).toEqual([])
  expect(missing(wanted('nobody', 9n), undefined)).toEqual([])
})

test('all who wait share one look; who is out of time is told what did not come', async () => {
  const world = createTestWorld()
  let looks = 0
  let version = 1n
  const catalog = {
    versions: async () => {
      looks += 1
      return new Map([['visits', version]])
    },
  } as unknown as Catalog
  const waiting = createWaiting({ catalog, world })
  const abort = new AbortController()
  const two = new Map<string, TableWait>([['visits', { version: 2n, offsets: [] }]])
  const three = new Map<string, TableWait>([['visits', { version: 3n, offsets: [] }]])
  const first = waiting.until(two, new AbortController().signal)
  const second = waiting.until(two, new AbortController().signal)
  const late = waiting.until(three, abort.signal)
  late.catch(() => {})
  await world.advance(200)
  const before = looks
  version = 2n
  await world.advance(200)
  await Promise.all([first, second])
  expect(waiting.waiting).toBe(1)
  expect(before).toBeLessThanOrEqual(5)
  abort.abort(new MillraceError('query-timeout', 'the query took longer than 1 ms'))
  await expect(late).rejects.toMatchObject({
    code: 'query-timeout',
    message: expect.stringContaining('table "visits" has version 2, expected 3'),
  })
  expect(waiting.waiting).toBe(0)
})
