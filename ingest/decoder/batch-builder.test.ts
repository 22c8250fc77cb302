import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { createBatchBuilder } from './batch-builder.ts'
import { concatBatches, filterRows } from './filter-rows.ts'
import { splitBody } from './json-lines.ts'

const schema: TableSchema = {
  schemaId: 1,
  columns: [
    { fieldId: 16, name: 's', type: { kind: 'string' }, required: false },
    { fieldId: 17, name: 'b', type: { kind: 'boolean' }, required: false },
    { fieldId: 18, name: 'l', type: { kind: 'long' }, required: false },
    ...HIDDEN_COLUMNS,
  ],
}
type Row = [string | null, boolean | null, bigint | null]

/** The user columns and `_source`, `_offset` of every row. */
function rowsOf(batch: MicroBatch): unknown[] {
  return Array.from({ length: batch.rowCount }, (_, row) =>
    [0, 1, 2, 3, 5].map((index) => {
      const { validity, data, offsets } = batch.vectors[index]
      if (validity && !((validity[row >> 3] >> (row & 7)) & 1)) return null
      if (offsets) return Buffer.from(data.subarray(offsets[row], offsets[row + 1])).toString()
      if (index === 1) return ((data[row >> 3] >> (row & 7)) & 1) === 1
      return new DataView(data.buffer).getBigInt64(row * 8, true)
    }),
  )
}

test('appends, truncates, seals, filters and joins like a list of rows', () => {
  const row: fc.Arbitrary<Row> = fc.tuple(
    fc.option(fc.string({ unit: 'grapheme' })),
    fc.option(fc.boolean()),
    fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  )
  const step = fc.oneof({ weight: 20, arbitrary: row }, { weight: 1, arbitrary: fc.nat(400) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600, size: 'max' }), fc.infiniteStream(fc.boolean()), (steps, flags) => {
      const builder = createBatchBuilder(schema)
      const sealed: MicroBatch[] = []
      for (let round = 0; round < 2; round += 1) {
        let model: unknown[] = []
        for (const each of steps) {
          if (typeof each === 'number') {
            const rows = Math.min(each, model.length)
            builder.truncate(rows)
            model = model.slice(0, rows)
            continue
          }
          const offset = -model.length * 2 ** 40
          const source = model.length % 3 === 0 ? 'one' : 'other'
          builder.appendValues(each)
          builder.finishRow(builder.sourceIndex(source), 0, offset, Number.NaN, 0)
          model.push([...each, source, BigInt(offset)])
        }
        const batch = builder.seal()
        expect(rowsOf(batch)).toEqual(model)
        const keep = Uint8Array.from(model, () => Number(flags.next().value))
        expect(rowsOf(filterRows(batch, keep))).toEqual(model.filter((_, index) => keep[index] === 1))
        sealed.push(batch)
      }
      expect(rowsOf(concatBatches(sealed))).toEqual(sealed.flatMap(rowsOf))
    }),
    { numRuns: 60 },
  )
})

test('splits JSON lines and arrays', () => {
  const split = (text: string) => {
    const { bytes, count, starts, ends } = splitBody(Buffer.from(text))
    return Array.from({ length: count }, (_, index) =>
      Buffer.from(bytes.subarray(starts[index], ends[index])).toString(),
    )
  }
  expect(split('{"a":1}\r\n\n {"b":2} \n')).toEqual(['{"a":1}', '{"b":2}'])
  expect(split(' [ {"a":"],\\""} , [1,2] ] ')).toEqual(['{"a":"],\\""}', '[1,2]'])
  expect(split('[]')).toEqual([])
  expect(() => split('[1,]')).toThrow('malformed JSON array: a value is missing, at byte 3')
  expect(() => split('[1')).toThrow('malformed JSON array: the body ends inside it, at byte 2')
  expect(() => split('[1] 2')).toThrow('malformed JSON array: more text after it, at byte 4')
})
