import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isJsonObject, parseLosslessJson, stringifyLosslessJson, stringifyWithKnownItems } from './lossless-json.ts'

test('64-bit ids keep every digit, and every number its text', () => {
  const text =
    '{"snapshot-id":4263408811920688004,"a":[1.0,1e400,-0,0.1,12345678901234567890.123],"n":-9223372036854775808}'
  const parsed = parseLosslessJson(text, 'test') as { 'snapshot-id': bigint; n: bigint }
  expect(parsed['snapshot-id']).toBe(4263408811920688004n)
  expect(parsed.n).toBe(-(2n ** 63n))
  expect(stringifyLosslessJson(parsed)).toBe(text)
})

test('any JSON text comes back as it was', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const compact = JSON.stringify(JSON.parse(text))
      expect(stringifyLosslessJson(parseLosslessJson(compact, 'test'))).toBe(compact)
    }),
  )
})

test('what is no JSON is a damaged file', () => {
  expect(() => parseLosslessJson('{"a":', 'm.json')).toThrow(expect.objectContaining({ code: 'file-damaged' }))
})

test('with known items it is the same text, the first time and again', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.array(fc.dictionary(fc.string(), fc.bigInt())),
      (rest, list) => {
        const value = parseLosslessJson(stringifyLosslessJson({ ...rest, list }), 'test')
        if (!isJsonObject(value)) throw new Error('no object')
        const plain = stringifyLosslessJson({ ...value, nothing: undefined })
        expect(stringifyWithKnownItems({ ...value, nothing: undefined })).toBe(plain)
        expect(stringifyWithKnownItems(value)).toBe(plain)
        const items = Array.isArray(value.list) ? value.list : []
        const next = { ...value, list: [...items.slice(1), { added: 1n }] }
        expect(stringifyWithKnownItems(next)).toBe(stringifyLosslessJson(next))
      },
    ),
  )
})
