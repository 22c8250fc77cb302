/**
 * Numbers and texts as Java turns them into each other: narrowing that wraps (integers) or saturates (floats), `parseInt` and
 * `parseDouble` with all they accept, `toString` of Float, Double and BigDecimal.
 *
 * Texts of floats are those of Java 19 and later: the shortest that reads back as the same number. Earlier ones sometimes print
 * one digit more.
 */
import { Decimal } from '../data/values.ts'

const INT32_MAX = 2 ** 31 - 1
const INT32_MIN = -(2 ** 31)
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)
/** More zeros than a double or a long can have: what lies beyond is told without computing it. */
const POWER_MAX = 400
/** Longer texts of floats are not looked at digit by digit: no record may take that long. */
const EXACT_TEXT_MAX = 2000

export const INTEGER_BITS = { int8: 8, int16: 16, int32: 32, int64: 64 } as const
export type IntegerType = keyof typeof INTEGER_BITS

/** `(int) value`: saturates, NaN becomes 0. */
export function doubleToInt32(value: number): number {
  if (value >= INT32_MAX) return INT32_MAX
  if (value <= INT32_MIN) return INT32_MIN
  return Number.isNaN(value) ? 0 : Math.trunc(value) + 0
}

/** `(long) value`: saturates, NaN becomes 0. */
export function doubleToInt64(value: number): bigint {
  if (Number.isNaN(value)) return 0n
  if (value >= 2 ** 63) return INT64_MAX
  if (value <= -(2 ** 63)) return INT64_MIN
  return BigInt(Math.trunc(value))
}

/** `Byte.parseByte` and its like; undefined where Java throws. */
export function parseInteger(text: string, type: IntegerType): bigint | undefined {
  if (!/^[+-]?\d+$/.test(text) || text.length > 64) return undefined
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text)
  return BigInt.asIntN(INTEGER_BITS[type], value) === value ? value : undefined
}

const DECIMAL_FLOAT = /^[+-]?(?:NaN|Infinity|(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?))$/
const HEX_FLOAT = /^([+-]?)0[xX]([\da-fA-F]*)\.?([\da-fA-F]*)[pP]([+-]?\d+)[fFdD]?$/

/** `Double.parseDouble`; undefined where Java throws. */
export function parseDouble(text: string): number | undefined {
  const trimmed = javaTrim(text)
  if (DECIMAL_FLOAT.test(trimmed)) return Number(/[fFdD]$/.test(trimmed) ? trimmed.slice(0, -1) : trimmed)
  const hex = HEX_FLOAT.exec(trimmed)
  if (hex === null || hex[2].length + hex[3].length === 0 || hex[2].length + hex[3].length > 13) return undefined
  const value = Number.parseInt(`${hex[2]}${hex[3]}`, 16) * 2 ** (Number(hex[4]) - 4 * hex[3].length)
  return hex[1] === '-' ? -value : value
}

/** `Float.parseFloat`: rounded once, from the text. */
export function parseFloat32(text: string): number | undefined {
  const double = parseDouble(text)
  if (double === undefined) return undefined
  const float = Math.fround(double)
  if (float === double || !Number.isFinite(float)) return float
  // Rounding twice goes wrong only when the double lies halfway between two floats and the text does not.
  if (text.length > EXACT_TEXT_MAX) return float
  const other = neighbour(float, double > float)
  if (float + (other - float) / 2 !== double) return float
  const exact = parseDecimal(javaTrim(text).replace(/[fFdD]$/, ''))
  const halfway = exact && decimalOfDouble(double)
  if (!exact || !halfway) return float
  const side = compareDecimals(exact, halfway)
  return side === 0 ? float : side > 0 === other > float ? other : float
}

function neighbour(float: number, isUp: boolean): number {
  const view = new DataView(new ArrayBuffer(4))
  view.setFloat32(0, float)
  const bits = view.getInt32(0)
  view.setInt32(0, float === 0 ? (isUp ? 1 : INT32_MIN + 1) : bits + (float > 0 === isUp ? 1 : -1))
  return view.getFloat32(0)
}

/** `String.trim`: all up to and with the blank. */
export function javaTrim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && text.charCodeAt(start) <= 32) start += 1
  while (end > start && text.charCodeAt(end - 1) <= 32) end -= 1
  return text.slice(start, end)
}

export function doubleText(value: number): string {
  const size = Math.abs(value)
  // Here both languages print the same digits; Java never without a point.
  if (size >= 1e-3 && size < 1e7) return Number.isInteger(value) ? `${value}.0` : String(value)
  return floatingText(value, String(value), (text) => Number(text) === value)
}

export function floatText(value: number): string {
  if (!Number.isFinite(value)) return floatingText(value, '', () => false)
  let digits = 1
  while (digits < 9 && Math.fround(Number(value.toPrecision(digits))) !== value) digits += 1
  return floatingText(value, value.toPrecision(digits), (text) => Math.fround(Number(text)) === value)
}

/** `shortest` in JavaScript's words → Java's: one digit at least on both sides of the point, `E` below 10^-3 and from 10^7. */
function floatingText(value: number, shortest: string, isSame: (text: string) => boolean): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  let [digits, exponent] = digitsOf(shortest)
  // Of all texts with one or two digits Java takes the closest.
  const two = Math.abs(value).toPrecision(2)
  if (digits.length === 1 && isSame((value < 0 ? '-' : '') + two)) [digits, exponent] = digitsOf(two)
  const sign = value < 0 ? '-' : ''
  const size = Math.abs(value)
  if (size >= 1e-3 && size < 1e7) {
    if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
    const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')
    return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`
  }
  return `${sign}${digits[0]}.${digits.slice(1) || '0'}E${exponent}`
}

/** `1.25e-7` → `125` and the exponent of its first digit, without zeros at the end. */
function digitsOf(text: string): [digits: string, exponent: number] {
  const [mantissa, power] = text.replace('-', (_, at) => (at === 0 ? '' : '-')).split('e')
  const [whole, fraction = ''] = mantissa.split('.')
  const all = whole + fraction
  const first = all.search(/[1-9]/)
  const exponent = whole.length - 1 - first + Number(power ?? 0)
  return [all.slice(first).replace(/0+$/, ''), exponent]
}

const BIG_DECIMAL = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,10}))?$/

/** `new BigDecimal(text)`; undefined where Java throws. */
export function parseDecimal(text: string): Decimal | undefined {
  const parts = BIG_DECIMAL.exec(text)
  if (parts === null || parts[2].length + parts[3].length === 0) return undefined
  const scale = parts[3].length - Number(parts[4] ?? 0)
  if (Math.abs(scale) > INT32_MAX) return undefined
  const unscaled = BigInt(parts[2] + parts[3])
  return new Decimal(parts[1] === '-' ? -unscaled : unscaled, scale)
}

export function decimalOfDouble(value: number): Decimal {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const exponent = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xfffffffffffffn
  const mantissa = exponent === 0 ? fraction : fraction | 0x10000000000000n
  const power = (exponent === 0 ? 1 : exponent) - 1075
  const size = power >= 0 ? mantissa << BigInt(power) : mantissa * 5n ** BigInt(-power)
  return new Decimal(value < 0 ? -size : size, Math.max(0, -power))
}

/** Both of a size that a double can have. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale)
  const left = a.unscaled * 10n ** BigInt(scale - a.scale)
  const right = b.unscaled * 10n ** BigInt(scale - b.scale)
  return left < right ? -1 : left > right ? 1 : 0
}

/** `BigDecimal.toBigInteger`, of which at least the lowest 64 bits are right. */
export function decimalToInteger({ unscaled, scale }: Decimal): bigint {
  if (scale <= 0) return scale <= -64 ? 0n : unscaled * 10n ** BigInt(-scale)
  return scale > String(unscaled).length ? 0n : unscaled / 10n ** BigInt(scale)
}

export function decimalToDouble({ unscaled, scale }: Decimal): number {
  const exponent = Math.max(-100_000, Math.min(100_000, -scale))
  return Number(`${unscaled}e${exponent}`)
}

export function decimalToFloat(value: Decimal): number {
  return parseFloat32(decimalText(value)) ?? 0
}

/** `BigDecimal.toString`: without an exponent where the scale is not negative and at most six zeros follow the point. */
export function decimalText({ unscaled, scale }: Decimal): string {
  const digits = String(unscaled < 0n ? -unscaled : unscaled)
  const sign = unscaled < 0n ? '-' : ''
  const exponent = digits.length - 1 - scale
  if (scale === 0) return sign + digits
  if (scale > 0 && exponent >= -6) {
    const padded = digits.padStart(scale + 1, '0')
    return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
  }
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : ''
  return `${sign}${digits[0]}${fraction}E${exponent >= 0 ? '+' : ''}${exponent}`
}

/** `BigDecimal.stripTrailingZeros().scale()`, as far as it is asked: is it a whole number? */
export function isWhole({ unscaled, scale }: Decimal): boolean {
  if (unscaled === 0n || scale <= 0) return true
  return scale <= POWER_MAX && unscaled % 10n ** BigInt(scale) === 0n
}
