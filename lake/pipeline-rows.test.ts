import { expect, test } from 'vitest'
import type { Coverage } from '../schemas/coverage.ts'
import type { PipelineFacts, ReportedPartition } from './catalog/pipeline-facts.ts'
import { systemRows } from './pipeline-rows.ts'

const NOW = 1_000_000_000n

function coverageOf(source: string, start: bigint, end: bigint, more: Partial<Coverage> = {}): Coverage {
  return {
    pipeline: 'p',
    source,
    partition: 0,
    ranges: [{ start, end }],
    recordsIn: end - start,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: end,
    caughtUpAt: NOW - 500_000n,
    ...more,
  }
}

function toldOf(source: string, more: Partial<ReportedPartition> = {}): ReportedPartition {
  return {
    pipeline: 'p',
    topic: 't',
    partition: 0,
    source,
    state: 'running',
    detail: undefined,
    logStart: 0n,
    logEnd: 100n,
    position: 60n,
    rowsPerSecond: 7,
    bytesPerSecond: 70,
    writerId: 'w',
    isLive: true,
    updatedAt: NOW,
    ...more,
  }
}

function factsOf(coverage: readonly Coverage[], partitions: readonly ReportedPartition[] = []): PipelineFacts {
  const bindings = [
    { pipeline: 'p', topic: 't', tableId: 1, table: 'events' },
    { pipeline: 'p', topic: 't', tableId: 2, table: 'events__dead_letters' },
  ]
  return { readAt: NOW, bindings, coverage, partitions, tasks: [], moves: [], lettersLeft: [] }
}

const all = () => true

test('one that stands at its end has no lag and is fresh; one that waits has what the broker says', () => {
  const coverage = [coverageOf('kafka:t:id', 0n, 50n, { recordsDead: 3n })]
  expect(systemRows(factsOf(coverage), all).partitions).toMatchObject([
    { state: 'unassigned', lag: 0n, freshness_ms: 500n, committed_offset: 50n, records_dead: 3n },
  ])
  const held = systemRows(factsOf(coverage, [toldOf('kafka:t:id', { state: 'waiting', detail: 'the store' })]), all)
  expect(held.partitions).toMatchObject([{ state: 'waiting', lag: 50n, position: 60n, rows_per_s: 7 }])
  expect(held.pipelines).toMatchObject([{ state: 'waiting', detail: 'the store', lag: 50n, tables: ['events'] }])
})

test('a topic that was made anew waits for a decision: what is in its log is behind, not what was read of the old one', () => {
  const waiting = toldOf('kafka:t:id', {
    state: 'needs-decision',
    detail: 'made anew',
    logEnd: 3n,
    position: undefined,
  })
  const { partitions, pipelines } = systemRows(factsOf([coverageOf('kafka:t:id', 0n, 50n)], [waiting]), all)
  expect(partitions).toMatchObject([{ state: 'needs-decision', log_end: 3n, committed_offset: 50n, lag: 3n }])
  expect(pipelines).toMatchObject([{ state: 'needs-decision', lag: 3n }])
})

test('a process that died tells nothing any more: the stretch that begins last is where it goes on', () => {
  const coverage = [coverageOf('kafka:t:id', 0n, 50n), coverageOf('kafka:t:id@80', 80n, 80n)]
  const [row] = systemRows(factsOf(coverage, [toldOf('kafka:t:id', { isLive: false })]), all).partitions
  expect(row).toMatchObject({
    source: 'kafka:t:id@80',
    committed_offset: 80n,
    lag: 20n,
    offsets_skipped: 30n,
    writer: undefined,
  })
})

test('letters that left are taken off, by source and topic-partition', () => {
  const coverage = [coverageOf('kafka:t:id', 0n, 50n, { recordsDead: 9n }), coverageOf('kafka:t:id@80', 80n, 90n)]
  const facts: PipelineFacts = {
    ...factsOf(coverage),
    lettersLeft: [
      { tableId: 2, action: 'replay', source: 'kafka:t:id', partition: 0, rows: 4 },
      { tableId: 2, action: 'discard', source: 'kafka:t:id', partition: 0, rows: 1 },
      { tableId: 2, action: 'discard', source: 'kafka:t:id', partition: 1, rows: 9 },
    ],
  }
  expect(systemRows(facts, all).dead_letters).toMatchObject([
    { records_dead: 9n, replayed: 4, discarded: 1, dead_letters: 4n, tables: ['events__dead_letters'] },
  ])
})

test('pipelines that the caller may not see are in none of the tables', () => {
  const rows = systemRows(factsOf([coverageOf('kafka:t:id', 0n, 50n)]), () => false)
  expect(Object.values(rows)).toEqual([[], [], [], []])
})
