// Bodies of requests, whatever is in them: parsed, or refused with 400 and without repeating what was sent.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRequest, offsetsRequest, parseJson, patchOf, propertiesOf } from './request-bodies.ts'
import { RestError } from './rest-errors.ts'

test('a connector with scalars as texts, null properties left out', () => {
  const body = { name: 'a', config: { 'tasks.max': 2, flag: true, gone: null }, initial_state: 'paused' }
  expect(createRequest(body)).toEqual({ name: 'a', properties: { 'tasks.max': '2', flag: 'true' }, target: 'paused' })
  expect(createRequest({ config: { name: 'b' } })).toEqual({
    name: undefined,
    properties: { name: 'b' },
    target: 'running',
  })
})

test('offsets as numbers or texts, up to the largest; null goes back to the beginning', () => {
  const place = { kafka_topic: 't', kafka_partition: '1' }
  const at = (offset: unknown, partition: unknown = place) => offsetsRequest({ offsets: [{ partition, offset }] })
  expect(at({ kafka_offset: '9223372036854775807' })).toEqual([{ topic: 't', partition: 1, offset: 2n ** 63n - 1n }])
  expect(at({ kafka_offset: 0 })).toEqual([{ topic: 't', partition: 1, offset: 0n }])
  expect(at(null)).toEqual([{ topic: 't', partition: 1, offset: undefined }])
  for (const bad of ['9223372036854775808', -1, 1.5, 2 ** 53, 'x', {}, [], true, '1e3', ' 1']) {
    expect(() => at({ kafka_offset: bad })).toThrow(RestError)
  }
  const twice = { partition: place, offset: null }
  expect(() => offsetsRequest({ offsets: [twice, twice] })).toThrow('expected each topic-partition once')
})

test('names of the object prototype are names like others', () => {
  const body = parseJson(Buffer.from('{"__proto__": "1", "constructor": "2"}'))
  expect(Object.entries(propertiesOf(body))).toEqual([
    ['__proto__', '1'],
    ['constructor', '2'],
  ])
})

test('anything else is 400', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const parse of [createRequest, propertiesOf, patchOf, offsetsRequest]) {
        try {
          parse(value)
        } catch (error) {
          expect(error).toBeInstanceOf(RestError)
          expect(error).toMatchObject({ status: 400 })
        }
      }
    }),
  )
  expect(() => parseJson(Buffer.from('{"password": "hunter2"'))).toThrow(/^the body is not JSON$/)
})
