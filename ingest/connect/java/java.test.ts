import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { calendarDate, calendarMillis, DAY_MS } from './calendar.ts'
import { dateFormat } from './date-format.ts'
import { inHashOrder } from './hash-order.ts'
import { decimalText, doubleText, floatText, parseDecimal, parseDouble, parseFloat32, parseInteger } from './numbers.ts'
import { javaRegex, RegexProblem } from './regex.ts'

describe("Java's numbers", () => {
  it('print the shortest text that reads back, with a point', () => {
    const texts = [0, -0, 1, 100, 0.001, 0.0001, 9_999_999, 1e7, 1e21, 1.5e-7, 5e-324, 2e23].map(doubleText)
    expect(texts).toEqual('0.0 -0.0 1.0 100.0 0.001 1.0E-4 9999999.0 1.0E7 1.0E21 1.5E-7 4.9E-324 2.0E23'.split(' '))
    expect([0.1, 3.4028235e38, 1.4e-45, 16_777_216].map((each) => floatText(Math.fround(each)))).toEqual(
      '0.1 3.4028235E38 1.4E-45 1.6777216E7'.split(' '),
    )
    fc.assert(fc.property(fc.double({ noNaN: true }), (value) => Object.is(parseDouble(doubleText(value)), value)))
    fc.assert(fc.property(fc.float({ noNaN: true }), (value) => Object.is(parseFloat32(floatText(value)), value)))
  })

  it('are read with all that Java takes and nothing else', () => {
    expect(['+5', '-128', '128', ' 5', '1.0', ''].map((text) => parseInteger(text, 'int8'))).toEqual([
      5n,
      -128n,
      undefined,
      undefined,
      undefined,
      undefined,
    ])
    expect([' 1.5f ', '.5', '5.', '0x1p3', '1e400', 'NaN', '1_0', '0x10', 'inf'].map(parseDouble)).toEqual([
      1.5,
      0.5,
      5,
      8,
      Number.POSITIVE_INFINITY,
      Number.NaN,
      undefined,
      undefined,
      undefined,
    ])
    // Halfway between two floats as a double, above it as a text: rounded once.
    expect(parseFloat32('1.00000005960464477539062500000000001')).toBe(1 + 2 ** -23)
    expect(parseFloat32('1.000000059604644775390625')).toBe(1)
  })

  it('print decimals without an exponent where Java does', () => {
    const texts = ['0', '0.00', '123.40', '-0.000001', '1E-7', '1E+3', '12e5']
    expect(texts.map((text) => decimalText(parseDecimal(text)!))).toEqual(
      '0 0.00 123.40 -0.000001 1E-7 1E+3 1.2E+6'.split(' '),
    )
  })
})

describe("Java's dates", () => {
  it('give each day its date back, on both sides of 1582', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1_500_000, max: 3_000_000 }), (day) => {
        const { era, year, month, dayOfMonth } = calendarDate(day)
        const fields = new Map([
          ['era', era],
          ['year', year],
          ['month', month],
          ['dayOfMonth', dayOfMonth],
        ] as const)
        expect(calendarMillis(fields)).toBe(day * DAY_MS)
      }),
    )
    expect(calendarDate(-141_427)).toMatchObject({ year: 1582, month: 9, dayOfMonth: 15 })
    expect(calendarDate(-141_428)).toMatchObject({ year: 1582, month: 9, dayOfMonth: 4 })
  })

  it('agree with ISO after 1582', () => {
    const format = dateFormat("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", 0)
    const min = Date.UTC(1600, 0, 1)
    fc.assert(
      fc.property(fc.integer({ min, max: Date.UTC(9999, 11, 31) }), (millis) => {
        const text = new Date(millis).toISOString()
        expect(format.format(millis)).toBe(text)
        expect(format.parse(text)).toBe(millis)
        expect(format.parse(text.replace('Z', '+01:30'))).toBe(millis - 5_400_000)
      }),
    )
  })

  it('are read leniently', () => {
    const read = (pattern: string, text: string) => {
      const millis = dateFormat(pattern, 0).parse(text)
      return millis === undefined ? undefined : new Date(millis).toISOString()
    }
    expect(read('yyyy-MM-dd', '2024-13-45 and more')).toBe('2025-02-14T00:00:00.000Z')
    expect(read('yyyyMMddHHmmss', '20240229123456')).toBe('2024-02-29T12:34:56.000Z')
    expect(read('yyyy-MM-dd', '2024/01/01')).toBe(undefined)
    expect(() => dateFormat('yyyy-bb', 0)).toThrow(RangeError)
    expect(() => dateFormat("yyyy 'x", 0)).toThrow(RangeError)
  })
})

describe("Java's regular expressions", () => {
  it('match whole names', () => {
    const cases = [
      ['.*+', 'orders', true],
      ['.*+s', 'orders', false],
      ['(?>a|ab)', 'ab', false],
      ['a|ab', 'ab', true],
      ['(?i)a(?-i)b|c', 'Ab', true],
      ['(?i)a(?-i)b|c', 'AB', false],
      ['[a-z&&[^b]]', 'b', false],
      ['(?i:[a-c]).+[a-z]', 'A_B', false],
      ['(?-i:(?i)x|[A-C]).+\\p{Lower}+', 'b_b', true],
      ['(?i)[^a]', 'A', false],
      ['\\Qa.b\\E', 'a.b', true],
      ['\\Qa.b\\E', 'axb', false],
      ['(\\w)\\1', 'aa', true],
      ['(\\w)(?<again>x)\\k<again>', 'axx', true],
      ['\\p{Upper}\\d', 'A1', true],
    ] as const
    for (const [pattern, text, isMatch] of cases)
      expect([pattern, javaRegex(pattern).matches(text)]).toEqual([pattern, isMatch])
  })

  it('replace with groups by number and name', () => {
    const { replaceFirst } = javaRegex('(?<db>\\w+)\\.(\\w+)')
    expect(replaceFirst('a.b', '$2_$'.concat('{db}_\\$12$12'))).toEqual({ text: 'b_a_$12a2' })
    expect(replaceFirst('a.b', '$3')).toBe('no group')
    expect(replaceFirst('a.b', '$')).toBe('malformed')
  })

  it('that Java refuses, or that are not translated, are refused', () => {
    for (const pattern of ['(', 'a)', '[a', '*', 'a**', '\\y', '(?x)a', '\\G', '(?<n>a)(?<n>b)', '\\p{Nope}']) {
      expect(() => javaRegex(pattern), pattern).toThrow(RegexProblem)
    }
  })
})

it('a HashMap gives its keys by their hash', () => {
  expect(inHashOrder(['zebra', 'apple', 'b', 'a', 'Aa', 'BB'])).toEqual(['zebra', 'Aa', 'BB', 'apple', 'a', 'b'])
})
