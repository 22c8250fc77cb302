import fc from 'fast-check'
import { expect, test } from 'vitest'
import { maskedCount, maskedOffsetsOf, maskedText, parseMasked } from './masked-offsets.ts'

test('offsets become runs of neighbours, and a run is written with both ends', () => {
  const places = [9n, 5n, 7n, 8n].map((offset) => ({ source: 'kafka:t:1', partition: 2, offset }))
  const masked = maskedOffsetsOf(places)
  expect(masked).toEqual([
    {
      source: 'kafka:t:1',
      partition: 2,
      runs: [
        { start: 5n, end: 6n },
        { start: 7n, end: 10n },
      ],
    },
  ])
  expect(maskedText(masked)).toBe('[["kafka:t:1",2,"5","7-9"]]')
  expect(maskedCount(masked)).toBe(4)
})

test('the text reads back as exactly the offsets that were given', () => {
  const place = fc.record({
    source: fc.constantFrom('kafka:a:1', 'kafka:b:2#2', 'http:x'),
    partition: fc.nat(3),
    offset: fc.bigInt({ min: 0n, max: 60n }),
  })
  fc.assert(
    fc.property(fc.array(place), (places) => {
      const masked = parseMasked(maskedText(maskedOffsetsOf(places)))
      const listed = masked.flatMap(({ source, partition, runs }) =>
        runs.flatMap(({ start, end }) =>
          Array.from({ length: Number(end - start) }, (_, each) => `${source}/${partition}/${start + BigInt(each)}`),
        ),
      )
      const wanted = new Set(places.map(({ source, partition, offset }) => `${source}/${partition}/${offset}`))
      expect(new Set(listed)).toEqual(wanted)
      expect(listed).toHaveLength(wanted.size)
      expect(maskedCount(masked)).toBe(wanted.size)
    }),
  )
})
