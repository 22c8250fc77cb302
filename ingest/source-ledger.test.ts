import { expect, test } from 'vitest'
import type { SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { coverageEnd, createSourceLedger, filesRecord } from './source-ledger.ts'

const KEY: SourceKey = { pipeline: 'p', source: 'kafka:t:1', partition: 3 }
const TEXT = sourceKeyText(KEY)

function coverageTo(...ends: bigint[]) {
  return {
    ...KEY,
    ranges: ends.map((end) => ({ start: end - 1n, end })),
    recordsIn: 0n,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
  }
}

test('a source never seen has generation 0 and no position', () => {
  const ledger = createSourceLedger()
  expect(ledger.generation(TEXT)).toBe(0)
  expect(ledger.next(KEY)).toBeUndefined()
  expect(ledger.coveredTo(TEXT)).toBeUndefined()
  expect(ledger.isSettled(KEY)).toBe(false)
})

test('what was taken under an older generation does not count as committed', () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 10n)
  const old = ledger.generation(TEXT)
  ledger.took(KEY, 20n)
  ledger.reload(KEY, 12n)
  expect(ledger.generation(TEXT)).toBe(old + 1)
  ledger.committed(KEY, old, 20n)
  expect(ledger.coveredTo(TEXT)).toBe(12n)
  expect(ledger.next(KEY)).toBe(12n)
  ledger.committed(KEY, old + 1, 15n)
  expect(ledger.coveredTo(TEXT)).toBe(15n)
})

test('a stale source has no position until it is read again, and knows how far it is covered', () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 5n)
  ledger.took(KEY, 9n)
  const before = ledger.generation(TEXT)
  ledger.becameStale(KEY, coverageTo(3n, 7n))
  expect(ledger.generation(TEXT)).toBe(before + 1)
  expect(ledger.next(KEY)).toBeUndefined()
  expect(ledger.coveredTo(TEXT)).toBe(7n)
  ledger.becameStale(KEY, undefined)
  expect(ledger.coveredTo(TEXT)).toBeUndefined()
})

test('settled: a position is known and all before it is committed', () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 0n)
  const generation = ledger.generation(TEXT)
  expect(ledger.isSettled(KEY)).toBe(true)
  ledger.took(KEY, 4n)
  expect(ledger.isSettled(KEY)).toBe(false)
  ledger.committed(KEY, generation, 4n)
  expect(ledger.isSettled(KEY)).toBe(true)
  ledger.took(KEY, 5n)
  expect(ledger.isSettled(KEY)).toBe(false)
  ledger.becameStale(KEY, undefined)
  expect(ledger.isSettled(KEY)).toBe(false)
})

test('forgetting raises the generation, so that rows in a sealed tick are never committed for the next owner', () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 0n)
  const generation = ledger.generation(TEXT)
  ledger.took(KEY, 4n)
  ledger.forget(KEY)
  expect(ledger.generation(TEXT)).toBe(generation + 1)
  expect(ledger.next(KEY)).toBeUndefined()
  const stranger = { ...KEY, partition: 4 }
  ledger.forget(stranger)
  expect(ledger.generation(sourceKeyText(stranger))).toBe(0)
})

test('coverage ends with its last range', () => {
  expect(coverageEnd(undefined)).toBeUndefined()
  expect(coverageEnd(coverageTo())).toBeUndefined()
  expect(coverageEnd(coverageTo(3n, 9n))).toBe(9n)
})

test('what is settled may be dropped, what is under way not; made again, it has another generation', () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 0n)
  const first = ledger.generation(TEXT)
  ledger.took(KEY, 3n)
  expect(ledger.drop(KEY)).toBe(false)
  ledger.committed(KEY, first, 3n)
  expect(ledger.drop(KEY)).toBe(true)
  expect([ledger.size, ledger.generation(TEXT), ledger.next(KEY)]).toEqual([0, 0, undefined])
  ledger.reload(KEY, 3n)
  expect(ledger.generation(TEXT)).toBeGreaterThan(first)
  ledger.becameStale(KEY, undefined)
  expect(ledger.drop(KEY)).toBe(true)
})

test('what files record of a source: up to where the catalog says, nothing at its beginning, unknown for an older release', () => {
  expect(filesRecord(undefined)).toEqual({ end: 0n, isBegun: false })
  expect(filesRecord({ ...coverageTo(9n), recordedEnd: 7n })).toEqual({ end: 7n, isBegun: true })
  expect(filesRecord({ ...coverageTo(), ranges: [{ start: 5n, end: 5n }] })).toEqual({ end: 5n, isBegun: false })
  expect(filesRecord(coverageTo(9n))).toBeUndefined()
})

test("a record goes on where the files' ended, ticks in flight counted or not", () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 9n, { end: 5n, isBegun: false })
  const generation = ledger.generation(TEXT)
  expect(ledger.recordFrom(TEXT, 9n, true)).toEqual({ recordedFrom: 5n, isFirst: true })
  ledger.willRecord(TEXT, generation, 12n)
  expect(ledger.recordFrom(TEXT, 15n, true)).toEqual({ recordedFrom: 12n, isFirst: false })
  expect(ledger.recordFrom(TEXT, 15n, false)).toEqual({ recordedFrom: 5n, isFirst: true })
  expect(ledger.isRecordWhole(TEXT, 12n)).toBe(false)
  ledger.committed(KEY, generation, 12n, true)
  expect(ledger.isRecordWhole(TEXT, 12n)).toBe(true)
  // A tick without files commits, and records nothing.
  ledger.committed(KEY, generation, 15n, false)
  expect(ledger.recordFrom(TEXT, 15n, false)).toEqual({ recordedFrom: 12n, isFirst: false })
  ledger.willRecord(TEXT, generation - 1, 99n)
  expect(ledger.recordFrom(TEXT, 15n, true).recordedFrom).toBe(12n)
})

test('of a source of an older release nothing is claimed but what is written now', () => {
  const ledger = createSourceLedger()
  ledger.reload(KEY, 9n, undefined)
  expect(ledger.recordFrom(TEXT, 9n, true)).toEqual({ recordedFrom: 9n, isFirst: false })
  expect(ledger.isRecordWhole(TEXT, 9n)).toBe(true)
})
