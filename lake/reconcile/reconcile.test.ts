import { expect, test } from 'vitest'
import { type Counted, type Log, type Ranged, reconcile } from './reconcile.ts'

const SOURCE = 'kafka:t:id'

function ranged(start: bigint, end: bigint, more: Partial<Ranged> = {}): Ranged {
  return {
    pipeline: 'p',
    topic: 't',
    partition: 0,
    source: SOURCE,
    kind: 'covered',
    start,
    end,
    recordsIn: end - start,
    recordsFiltered: 0n,
    requestedBy: undefined,
    why: undefined,
    ...more,
  }
}

function counted(rows: bigint, letters = 0n, more: Partial<Counted> = {}): Counted {
  const distinct = { distinctRows: rows, distinctPlaces: rows + letters, outside: 0n }
  return { source: SOURCE, partition: 0, rows, letters, ...distinct, ...more }
}

const log = (logStart: bigint, logEnd: bigint, topicId = 'id'): Log => ({
  topic: 't',
  topicId,
  partition: 0,
  logStart,
  logEnd,
})

function kinds(
  countedPlaces: readonly Counted[],
  ranges: readonly Ranged[],
  logs: readonly Log[] | undefined = undefined,
  discarded = 0n,
): string[] {
  const gone = discarded === 0n ? [] : [{ source: SOURCE, partition: 0, letters: discarded }]
  return reconcile({ counted: countedPlaces, ranges, discarded: gone, logs }).map(
    ({ severity, kind, count }) => `${severity} ${kind} ${count}`,
  )
}

test('rows, letters, filtered and discarded ones together are the records: nothing to say', () => {
  expect(kinds([counted(90n, 5n)], [ranged(0n, 100n, { recordsFiltered: 3n })], [log(0n, 100n)], 2n)).toEqual([])
})

test('fewer are missing, whether or not the source has any row', () => {
  expect(kinds([counted(99n)], [ranged(0n, 100n)])).toEqual(['finding missing 1'])
  expect(kinds([], [ranged(0n, 100n)])).toEqual(['finding missing 100'])
})

test('offsets twice, rows that are letters as well, and rows that nobody consumed', () => {
  expect(kinds([counted(101n, 0n, { distinctRows: 100n, distinctPlaces: 100n })], [ranged(0n, 100n)])).toEqual([
    'finding twice 1',
  ])
  expect(kinds([counted(100n, 4n, { distinctPlaces: 100n })], [ranged(0n, 100n)])).toEqual(['finding both 4'])
  expect(kinds([counted(102n, 0n, { outside: 2n })], [ranged(0n, 100n)])).toEqual(['finding outside 2'])
  expect(kinds([counted(2n, 0n, { source: 'kafka:t:other' })], [])).toEqual(['finding outside 2'])
})

test('holes that never were records are no missing rows', () => {
  expect(kinds([counted(60n)], [ranged(0n, 100n, { recordsIn: 60n })])).toEqual(['notice never-records 40'])
})

test('skipped ranges and backfills are told, and count for nothing', () => {
  const ranges = [
    ranged(0n, 50n),
    ranged(50n, 70n, { kind: 'skipped', recordsIn: 0n }),
    ranged(70n, 80n, { kind: 'backfill', recordsIn: 0n }),
    ranged(80n, 90n),
  ]
  expect(kinds([counted(60n)], ranges)).toEqual(['notice skipped 20', 'notice backfill 10'])
})

test('coverage against the log: behind, truncated, lost to retention, recreated, begun late', () => {
  const ranges = [ranged(10n, 100n)]
  const there = [counted(90n)]
  expect(kinds(there, ranges, [log(10n, 130n)])).toEqual(['notice lag 30'])
  expect(kinds(there, ranges, [log(10n, 80n)])).toEqual(['finding truncated 20'])
  expect(kinds(there, ranges, [log(120n, 130n)])).toEqual(['finding lost-to-retention 20'])
  expect(kinds(there, ranges, [log(0n, 5n, 'new')])).toEqual(['finding recreated 5'])
  expect(kinds(there, ranges, [log(4n, 100n)])).toEqual(['notice not-consumed 6'])
})
