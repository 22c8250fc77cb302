// Every row of the inputs is in exactly one part (G-2), and no part is larger than it may be.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MappedFile } from '../lake/file-mapping.ts'
import { createSortedFiles, inputParts, stretchSql } from './wide-rows.ts'

const file = (path: string, rowCount: number) => ({ path, footer: { rowCount } }) as MappedFile

test('parts cover every row once', () => {
  const rows = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 30 })
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 40 }), (counts, rowsMax) => {
      const inputs = counts.map((count, index) => file(String(index), count))
      const covered: string[] = []
      for (const { inputs: some, stretch } of inputParts(inputs, rowsMax)) {
        const before = covered.length
        for (const { path, footer } of some) {
          const [from, to] = stretch ? [stretch.offset, stretch.offset + stretch.rows] : [0, footer.rowCount]
          for (let row = from; row < to; row += 1) covered.push(`${path} ${row}`)
        }
        expect(covered.length - before).toBeLessThanOrEqual(rowsMax)
      }
      const every = inputs.flatMap(({ path, footer }) =>
        Array.from({ length: footer.rowCount }, (_, row) => `${path} ${row}`),
      )
      expect(covered).toEqual(every)
    }),
  )
})

test('a stretch is read by its place, a whole file as it is', () => {
  const [whole, first, second] = inputParts([file('a', 2), file('b', 5)], 3)
  expect(stretchSql('SELECT 1', whole)).toBe('SELECT 1')
  expect(stretchSql('SELECT 1', first)).toBe('SELECT * FROM (SELECT 1) LIMIT 3 OFFSET 0')
  expect(stretchSql('SELECT 1', second)).toBe('SELECT * FROM (SELECT 1) LIMIT 2 OFFSET 3')
})

test('files of a table partition come together; beyond the most, rows go beside the partitioning', () => {
  const sorted = createSortedFiles(2)
  sorted.add([1], 'a')
  sorted.add(['1'], 'b')
  sorted.add([1], 'c')
  sorted.add([2], 'd')
  sorted.add('aside', 'e')
  expect([...sorted.groups]).toEqual([
    { partition: [1], files: ['a', 'c'] },
    { partition: ['1'], files: ['b'] },
    { partition: 'aside', files: ['d', 'e'] },
  ])
})
