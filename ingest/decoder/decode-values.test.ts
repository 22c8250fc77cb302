/**
 * Every column type against a plain conversion of the value's text: exact decimal arithmetic in bigints for numbers,
 * regular expressions and `Date.UTC` for texts. Texts come valid, nearly valid and wrong.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ColumnType, formatColumnType, parseColumnType } from '../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { createBatchBuilder } from './batch-builder.ts'
import { createJsonDecoder } from './json-decoder.ts'

const TYPES =
  'boolean int long float double date time timestamp timestamptz string uuid binary json decimal(1,0) decimal(2,2) decimal(9,3) decimal(18,6) decimal(30,10) decimal(38,0) decimal(38,38)'
    .split(' ')
    .map((text) => parseColumnType(text)!)

const machines = TYPES.map((type) => {
  const schema: TableSchema = {
    schemaId: 1,
    columns: [{ fieldId: 16, name: 'v', type, required: true }, ...HIDDEN_COLUMNS],
  }
  return { type, decoder: createJsonDecoder(schema), builder: createBatchBuilder(schema) }
})

/** The slot's bytes as hex, or undefined when the record was refused because of its column. */
function decoded({ decoder, builder }: (typeof machines)[number], text: string): string | undefined {
  const record = Buffer.from(`{"v":${text}}`)
  const failure = decoder.decode(record, 0, record.length, builder)
  if (failure) {
    expect(failure.column).toBe('v')
    return undefined
  }
  builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
  const { data } = builder.seal().vectors[0]
  return Buffer.from(data).toString('hex')
}

const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/
type Rational = { readonly top: bigint; readonly bottom: bigint }

function rational(text: string): Rational | undefined {
  const match = NUMBER.exec(text)
  if (!match) return undefined
  const [, sign, whole, fraction = '', exponent = '0'] = match
  const digits = BigInt(`${sign}${whole}${fraction}`)
  const power = Number(exponent) - fraction.length
  return power >= 0
    ? { top: digits * 10n ** BigInt(power), bottom: 1n }
    : { top: digits, bottom: 10n ** BigInt(-power) }
}

/** The number times 10^scale when that is an integer of `[-limit, limit)`, or above -limit where `open`. */
function scaled(text: string, scale: number, limit: bigint, open = false): bigint | undefined {
  const number = rational(text)
  if (!number) return undefined
  const top = number.top * 10n ** BigInt(scale)
  if (top % number.bottom !== 0n) return undefined
  const value = top / number.bottom
  return value < limit && (open ? value > -limit : value >= -limit) ? value : undefined
}

function littleEndian(value: bigint | undefined, bytes: number): string | undefined {
  if (value === undefined) return undefined
  const hex = BigInt.asUintN(bytes * 8, value)
    .toString(16)
    .padStart(bytes * 2, '0')
  return Buffer.from(hex, 'hex').reverse().toString('hex')
}

function nearestFloat32(text: string): string | undefined {
  const number = rational(text)
  if (!number) return undefined
  const word = new Int32Array(1)
  const float = new Float32Array(word.buffer)
  float[0] = Math.abs(Number(text))
  const guess = word[0]
  let best = -1
  let bestDistance = -1n
  const magnitude = number.top < 0n ? -number.top : number.top
  for (const bits of [guess - 1, guess, guess + 1]) {
    if (bits < 0 || bits > 0x7f800000) continue
    word[0] = bits
    const value = bits === 0x7f800000 ? 2 ** 128 : float[0]
    // Every float32 times 2^149 is an integer.
    const exact = BigInt(value * 2 ** 149)
    const difference = (magnitude << 149n) - exact * number.bottom
    const distance = difference < 0n ? -difference : difference
    if (best < 0 || distance < bestDistance || (distance === bestDistance && (bits & 1) === 0)) {
      best = bits
      bestDistance = distance
    }
  }
  if (best === 0x7f800000) return undefined
  return littleEndian(BigInt(best) | (text.startsWith('-') ? 0x80000000n : 0n), 4)
}

function float64(text: string): string | undefined {
  const value = Number(text)
  if (!NUMBER.test(text) || !Number.isFinite(value)) return undefined
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes.toString('hex')
}

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/

function days(text: string): bigint | undefined {
  const match = DATE.exec(text)
  if (!match || match[1] === '0000') return undefined
  const instant = new Date(`${text}T00:00:00Z`)
  return !Number.isNaN(instant.getTime()) && instant.toISOString().startsWith(text)
    ? BigInt(instant.getTime() / 86_400_000)
    : undefined
}

function micros(text: string): bigint | undefined {
  const match = /^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?$/.exec(text)
  if (!match) return undefined
  const [, hour, minute, second = '0', fraction = ''] = match
  const nanos = BigInt(fraction.padEnd(9, '0'))
  if (nanos % 1000n !== 0n) return undefined
  return (BigInt(hour) * 3600n + BigInt(minute) * 60n + BigInt(second)) * 1_000_000n + nanos / 1000n
}

function instant(text: string, zoned: boolean): bigint | undefined {
  const match = /^(.{10})[Tt ](.*?)([Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?$/s.exec(text)
  if (!match) return undefined
  const day = days(match[1])
  const time = micros(match[2])
  if (day === undefined || time === undefined) return undefined
  const digits = /\d/.test(match[3] ?? '') ? match[3].replace(':', '').padEnd(5, '0') : '+0000'
  const seconds = BigInt(digits.slice(1, 3)) * 3600n + BigInt(digits.slice(3)) * 60n
  if (seconds !== 0n && !zoned) return undefined
  return day * 86_400_000_000n + time - (digits.startsWith('-') ? -seconds : seconds) * 1_000_000n
}

function base64(text: string): string | undefined {
  if (!/^[\w+/-]*={0,2}$/.test(text)) return undefined
  const bare = text.replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/')
  const bytes = Buffer.from(bare, 'base64')
  const canonical = bytes.toString('base64')
  if (canonical.replace(/=+$/, '') !== bare) return undefined
  return text.endsWith('=') && text.length !== canonical.length ? undefined : bytes.toString('hex')
}

/** The column's bytes of a JSON value, or undefined when it is no value of the type. */
function reference(type: ColumnType, text: string): string | undefined {
  const value: unknown = JSON.parse(text)
  const quoted = typeof value === 'string' ? value : undefined
  const int64 = 2n ** 63n
  switch (type.kind) {
    case 'boolean':
      return typeof value === 'boolean' ? (value ? '01' : '00') : undefined
    case 'int':
      return littleEndian(scaled(text, 0, 2n ** 31n), 4)
    case 'long':
      return littleEndian(scaled(quoted ?? text, 0, int64), 8)
    case 'decimal':
      return littleEndian(scaled(quoted ?? text, type.scale, 10n ** BigInt(type.precision), true), 16)
    case 'float':
      return nearestFloat32(text)
    case 'double':
      return float64(text)
    case 'date':
      return littleEndian(quoted === undefined ? scaled(text, 0, 2n ** 31n) : days(quoted), 4)
    case 'time': {
      const zoneless = quoted?.replace(/(?<=^.{5,})(?:[Zz]|[+-]00(?::?00)?)$/s, '')
      const found = zoneless === undefined ? scaled(text, 3, 86_400_000_000n) : micros(zoneless)
      return found === undefined || found < 0n ? undefined : littleEndian(found, 8)
    }
    case 'timestamp':
    case 'timestamptz':
      return littleEndian(
        quoted === undefined ? scaled(text, 3, int64) : instant(quoted, type.kind === 'timestamptz'),
        8,
      )
    case 'uuid':
      return quoted !== undefined && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(quoted)
        ? quoted.replaceAll('-', '').toLowerCase()
        : undefined
    case 'binary':
      return quoted === undefined ? undefined : base64(quoted)
    case 'string':
      return quoted === undefined ? undefined : Buffer.from(quoted).toString('hex')
    case 'json':
      return Buffer.from(text).toString('hex')
  }
}

const digits = (max: number) => fc.stringMatching(new RegExp(`^[0-9]{1,${max}}$`))
const whole = fc.oneof(fc.constantFrom('0', '9', '1'), digits(41)).map((text) => text.replace(/^0+(?=\d)/, ''))
const numberText = fc
  .tuple(
    fc.constantFrom('', '', '-'),
    whole,
    fc.option(digits(20), { nil: '' }),
    fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e-', 'E+'), fc.nat(45)), { nil: undefined, freq: 4 }),
  )
  .map(([sign, head, fraction, exponent]) => `${sign}${head}${fraction && `.${fraction}`}${exponent?.join('') ?? ''}`)
const edges = [2n ** 31n, 2n ** 63n, 10n ** 9n, 10n ** 18n, 10n ** 38n, 86_400_000n, 2n ** 53n]
const edge = fc
  .tuple(fc.constantFrom(...edges), fc.integer({ min: -2, max: 2 }), fc.boolean())
  .map(([limit, by, negative]) => String(negative ? -limit - BigInt(by) : limit + BigInt(by)))
/** Exactly between two float32, a hair above, a hair below. */
const betweenFloats = fc
  .tuple(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom('', '1', '-'))
  .map(([float, change]) => {
    const word = new Int32Array(1)
    const view = new Float32Array(word.buffer)
    view[0] = Math.abs(float)
    const low = view[0]
    word[0] += 1
    const middle = (low + (Number.isFinite(view[0]) ? view[0] : 2 ** 128)) / 2
    if (middle > 1e20 || middle < 1e-7) return String(middle)
    const text = middle.toFixed(60).replace(/0+$/, '')
    if (change === '1') return `${text}${text.includes('.') ? '' : '.'}${'0'.repeat(20)}1`
    return change === '-' && /[1-9]$/.test(text)
      ? `${text.slice(0, -1)}${Number(text.at(-1)) - 1}9999`
      : text.replace(/\.$/, '')
  })
const two = (max: number) => fc.integer({ min: 0, max }).map((value) => String(value).padStart(2, '0'))
const dateText = fc
  .tuple(fc.constantFrom('2026', '2024', '2000', '1900', '1969', '0001', '9999', '0000'), two(13), two(32))
  .map((parts) => parts.join('-'))
const timeText = fc
  .tuple(two(24), two(60), fc.option(two(60)), fc.option(digits(10), { nil: undefined }))
  .map(([hour, minute, second, fraction]) =>
    second === null
      ? `${hour}:${minute}`
      : `${hour}:${minute}:${second}${fraction === undefined ? '' : `.${fraction}`}`,
  )
const stampText = fc
  .tuple(
    dateText,
    fc.constantFrom('T', 'T', ' ', 't', '_'),
    timeText,
    fc.constantFrom('Z', 'Z', '', 'z', '+02:00', '-0930', '+00', '+24:00', '-00:00', '+1'),
  )
  .map((parts) => parts.join(''))
const typedText = fc.oneof(
  stampText,
  fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((date) => date.toISOString()),
  dateText,
  timeText,
  timeText.map((text) => `${text}Z`),
  fc.uuid(),
  fc.uuid().map((text) => text.toUpperCase()),
  fc.base64String({ maxLength: 40 }),
  fc.base64String({ maxLength: 40 }).map((text) => text.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_')),
  numberText,
  edge,
)
/** One character replaced, left out or doubled, now and then. */
const bent = fc
  .tuple(typedText, fc.nat(), fc.constantFrom('', '', '', '', 'x', '0', ':', '-', 'é'), fc.nat(1))
  .map(([text, at, by, cut]) =>
    by === '' ? text : text.slice(0, at % text.length) + by + text.slice((at % text.length) + cut),
  )
const valueText = fc.oneof(
  { weight: 4, arbitrary: numberText },
  { weight: 1, arbitrary: edge },
  { weight: 2, arbitrary: betweenFloats },
  { weight: 6, arbitrary: bent.map((text) => JSON.stringify(text)) },
  { weight: 1, arbitrary: bent.map((text) => JSON.stringify(text).replace(/\d/, (d) => `\\u003${d}`)) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value, null, 1)) },
)

test('every type takes and refuses what a plain conversion does, with the same value', () => {
  fc.assert(
    fc.property(valueText, (text) => {
      if (text === 'null') return
      for (const machine of machines) {
        expect([formatColumnType(machine.type), text, decoded(machine, text)]).toEqual([
          formatColumnType(machine.type),
          text,
          reference(machine.type, text),
        ])
      }
    }),
    { numRuns: 4000 },
  )
})

test('a float is the nearest to the number as written, not to its double', () => {
  const float = machines.find((machine) => machine.type.kind === 'float')!
  // Just above the middle of 1 and the next float32; the double is the middle itself, which would round to even, down.
  expect(decoded(float, '1.000000059604644775390626')).toBe('0100803f')
  expect(decoded(float, '1.000000059604644775390625')).toBe('0000803f')
  expect(decoded(float, '340282356779733661637539395458142568447')).toBe('ffff7f7f')
  expect(decoded(float, '340282356779733661637539395458142568448')).toBe(undefined)
})
