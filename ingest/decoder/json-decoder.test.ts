import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseColumnType } from '../../schemas/column-type.ts'
import { FIRST_USER_FIELD_ID, HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { createBatchBuilder } from './batch-builder.ts'
import { createJsonDecoder } from './json-decoder.ts'

function schemaOf(columns: Record<string, string>): TableSchema {
  const user = Object.entries(columns).map(([name, type], index) => ({
    fieldId: FIRST_USER_FIELD_ID + index,
    name,
    type: parseColumnType(type)!,
    required: false,
  }))
  return { schemaId: 1, columns: [...user, ...HIDDEN_COLUMNS] }
}

/** One record's text → the raw value of column `v`, or the reason. */
function decodeOne(type: string, record: string | Uint8Array): unknown {
  const schema = schemaOf({ v: type })
  const builder = createBatchBuilder(schema)
  const bytes = typeof record === 'string' ? Buffer.from(record) : record
  // Other bytes around the record, which must not matter.
  const padded = Buffer.concat([Buffer.from('1"'), bytes, Buffer.from('}0"')])
  const failure = createJsonDecoder(schema).decode(padded, 2, 2 + bytes.length, builder)
  if (failure) return failure.reason
  builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
  const vector = builder.seal().vectors[0]
  if (vector.nullCount === 1) return null
  const view = new DataView(vector.data.buffer)
  switch (type) {
    case 'boolean':
      return (vector.data[0] & 1) === 1
    case 'int':
    case 'date':
      return view.getInt32(0, true)
    case 'double':
      return view.getFloat64(0, true)
    case 'string':
    case 'json':
    case 'binary':
      return Buffer.from(vector.data).toString()
    case 'uuid':
      return Buffer.from(vector.data).toString('hex')
    default:
      return view.getBigInt64(0, true)
  }
}

const failed = (value: unknown) => typeof value === 'string' && /malformed|expected/.test(value)

function parses(bytes: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

test('strings and doubles are what JSON.parse makes of them', () => {
  const escapes = (text: string) =>
    text.replace(/[^"\\]/g, (c) => (c > 'm' ? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}` : c))
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.double({ noNaN: true, noDefaultInfinity: true }), (text, number) => {
      const json = JSON.stringify(text)
      for (const written of [json, json.includes('\\') ? json : escapes(json)]) {
        expect(decodeOne('string', `{ "v" :${written}}`)).toBe(Buffer.from(JSON.parse(written) as string).toString())
      }
      const plain = JSON.stringify(number)
      expect(decodeOne('double', `{"v":${plain}}`)).toBe(JSON.parse(plain))
    }),
    { numRuns: 2000 },
  )
})

test('accepts and refuses exactly what JSON.parse does, also of mutated texts', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      fc.nat(),
      (record, at, byte, cut) => {
        const text = Buffer.from(JSON.stringify(record))
        const flipped = Buffer.from(text)
        flipped[at % text.length] = byte
        const extended = Buffer.concat([
          text.subarray(0, cut % text.length),
          Buffer.from([byte]),
          text.subarray(cut % text.length),
        ])
        for (const each of [text, flipped, extended, text.subarray(0, cut % text.length)]) {
          expect([failed(decodeOne('json', each)), each.toString()]).toEqual([!parses(each), each.toString()])
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test.each([
  ['int', '{"v":1e3}', 1000],
  ['int', '{"v":-2147483648.0}', -2147483648],
  ['int', '{"v":2147483648}', 'column "v": expected int, found number out of range at byte 5'],
  ['int', '{"v":"1"}', 'column "v": expected int, found string at byte 5'],
  ['int', '{"v":01}', 'malformed JSON: expected a comma or the end of the object at byte 6'],
  ['long', '{"v":-9223372036854775808}', -9223372036854775808n],
  ['long', '{"v":"9223372036854775807"}', 9223372036854775807n],
  ['long', '{"v":9223372036854775808}', 'column "v": expected long, found number out of range at byte 5'],
  ['decimal(10,2)', '{"v":12.340}', 1234n],
  ['decimal(10,2)', '{"v":"-0.05"}', -5n],
  [
    'decimal(10,2)',
    '{"v":1.001}',
    'column "v": expected decimal(10,2), found number with more than 2 fraction digits at byte 5',
  ],
  ['date', '{"v":"2000-02-29"}', 11016],
  ['date', '{"v":"1900-02-29"}', 'column "v": expected date, found text that is no date at byte 5'],
  ['time', '{"v":"23:59:59.5"}', 86399500000n],
  ['timestamptz', '{"v":"2026-01-01T00:00:00.123456Z"}', 1767225600123456n],
  ['timestamptz', '{"v":"2026-01-01 02:00:00+02:00"}', 1767225600000000n],
  ['timestamptz', '{"v":1767225600000}', 1767225600000000n],
  [
    'timestamptz',
    '{"v":"2026-01-01T00:00:00.1234567Z"}',
    'column "v": expected timestamptz, found text with a fraction finer than microseconds at byte 5',
  ],
  ['uuid', '{"v":"00112233-4455-6677-8899-AABBCCDDEEFF"}', '00112233445566778899aabbccddeeff'],
  ['binary', '{"v":"aGVsbG8="}', 'hello'],
  ['string', '{"v":"\\ud800x"}', '\ufffdx'],
  ['string', '{"\\u0076":"x"}', 'x'],
  ['int', '{"v":"x","v":7}', 7],
  ['json', '{"v":{"a": [1]}}', '{"a": [1]}'],
  ['boolean', '{"v":true,"w":[{}]}', true],
  ['string', '{"v":null}', null],
])('%s from %s', (type, text, expected) => {
  expect(decodeOne(type, text)).toBe(expected)
})

test('nesting has a bound and does not overflow the stack', () => {
  const nested = (depth: number) => `{"w":${'['.repeat(depth)}${']'.repeat(depth)}}`
  expect(decodeOne('int', nested(999))).toBe(null)
  expect(decodeOne('int', nested(1000))).toBe('malformed JSON: nested deeper than 1000 at byte 1004')
  expect(decodeOne('int', nested(500_000))).toMatch(/nested deeper/)
})
