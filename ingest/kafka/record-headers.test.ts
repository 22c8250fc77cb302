import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type BatchRecord, encodeBatch } from '../../test/harness/batch-encoder.ts'
import { RecordArrays } from './record-arrays.ts'
import { BatchWalk } from './record-batch.ts'
import { encodeHeaders, readHeaders } from './record-headers.ts'

const headers = fc.array(
  fc.tuple(fc.string({ unit: 'grapheme' }), fc.option(fc.uint8Array({ maxLength: 300 }), { nil: null })),
  { maxLength: 5 },
)
const codec = fc.constantFrom('none', 'lz4', 'zstd')

test('every header of every record comes back, in order, nulls and repeated names with it (G-1)', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(headers, fc.boolean()), { minLength: 1, maxLength: 20 }), codec, (records, codec) => {
      const sent: BatchRecord[] = records.map(([each, isTombstone], index) => ({
        key: index % 3 === 0 ? null : `key ${index}`,
        value: isTombstone ? null : `value ${index}`,
        headers: each,
      }))
      const buffer = encodeBatch(sent, { codec })
      const walk = new BatchWalk({
        buffer,
        start: 0,
        end: buffer.length,
        position: 0,
        aborted: [],
        name: 't/0',
        unpackedBytesMax: 1 << 20,
      })
      const arrays = new RecordArrays()
      expect(walk.next(arrays)).toBe(true)
      const found = records.map((_, index) =>
        readHeaders(arrays.bytes, arrays.headerStarts[index], arrays.headerEnds[index])?.map(
          ({ name, value }) => [name, value && Array.from(value)] as const,
        ),
      )
      expect(found).toEqual(records.map(([each]) => each.map(([name, value]) => [name, value && Array.from(value)])))
    }),
  )
})

test('bytes that are no headers are told from none', () => {
  expect(readHeaders(Uint8Array.of(0), 0, 1)).toEqual([])
  for (const bytes of [[], [2], [1], [2, 2, 65], [2, 2, 65, 4, 1], [0, 0], [2, 1, 1], [0x80]]) {
    expect([bytes, readHeaders(Uint8Array.from(bytes), 0, bytes.length)]).toEqual([bytes, undefined])
  }
})

test('headers that were encoded read back', () => {
  const part = fc.uint8Array({ maxLength: 200 })
  fc.assert(
    fc.property(fc.array(fc.tuple(part, fc.option(part, { nil: null })), { maxLength: 70 }), (given) => {
      const bytes = encodeHeaders(given)
      const read = readHeaders(bytes, 0, bytes.length)
      expect(read?.map(({ value }) => value && Array.from(value))).toEqual(
        given.map(([, value]) => value && Array.from(value)),
      )
    }),
  )
})
