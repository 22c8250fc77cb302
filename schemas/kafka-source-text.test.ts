import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Coverage, OffsetRange } from './coverage.ts'
import { incarnationOf, rowSourceOf, stretchesOf, stretchText, uncovered } from './kafka-source-text.ts'

const place = { topic: 't', topicId: 'id', partition: 3 }

function coverageOf(source: string, start: bigint, end: bigint, partition = 3): Coverage {
  const counts = { recordsIn: 0n, recordsDead: 0n, recordsFiltered: 0n, logEnd: undefined, caughtUpAt: undefined }
  return { pipeline: 'p', source, partition, ranges: [{ start, end }], ...counts }
}

test('a stretch has the rows of its source, and its incarnation', () => {
  expect(rowSourceOf('kafka:t:id#2@50')).toBe('kafka:t:id#2')
  expect(rowSourceOf('http:someone@50')).toBe('http:someone@50')
  expect(incarnationOf('kafka:t:id#2@50')).toBe(2)
  expect(incarnationOf('kafka:t:id@50')).toBe(1)
  expect(stretchText('kafka:t:id', 50n)).toBe('kafka:t:id@50')
})

test('stretches are those of the newest incarnation, the one that is read on last', () => {
  const all = [
    coverageOf('kafka:t:id@90', 90n, 90n),
    coverageOf('kafka:t:id', 10n, 50n),
    coverageOf('kafka:t:id@0', 0n, 5n),
    coverageOf('kafka:t:id', 0n, 7n, 4),
    coverageOf('kafka:t:other', 0n, 7n),
  ]
  expect(stretchesOf(place, all).map(({ source }) => source)).toEqual(['kafka:t:id@0', 'kafka:t:id', 'kafka:t:id@90'])
  expect(stretchesOf(place, [...all, coverageOf('kafka:t:id#2', 0n, 3n)]).map(({ source }) => source)).toEqual([
    'kafka:t:id#2',
  ])
})

test('what is uncovered is exactly the offsets that no range has', () => {
  const range = fc
    .tuple(fc.bigInt({ min: 0n, max: 40n }), fc.bigInt({ min: 0n, max: 10n }))
    .map(([start, length]): OffsetRange => ({ start, end: start + length }))
  fc.assert(
    fc.property(range, fc.array(range, { maxLength: 6 }), (wanted, ranges) => {
      const listed: bigint[] = []
      for (const { start, end } of uncovered(wanted, ranges)) for (let at = start; at < end; at += 1n) listed.push(at)
      const expected: bigint[] = []
      for (let at = wanted.start; at < wanted.end; at += 1n) {
        if (!ranges.some(({ start, end }) => start <= at && at < end)) expected.push(at)
      }
      expect(listed).toEqual(expected)
    }),
  )
})
