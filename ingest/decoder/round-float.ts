/**
 * The float32 nearest to a decimal number, ties to even.
 *
 * Rounding twice (decimal → double → float32) goes wrong only where the double lies exactly between two neighbouring
 * float32 while the decimal does not: then the decimal's exact digits decide. Such a double ends in 28 zero bits, so
 * nearly every number is done after one test.
 */
const float64 = new Float64Array(1)
const float64Words = new Int32Array(float64.buffer)
const float32 = new Float32Array(1)
const float32Word = new Int32Array(float32.buffer)
const FLOAT_LIMIT = 2 ** 128
/** More digits than any number between two float32 has; what follows only says "a little more". */
const DIGITS_KEPT = 200

/** `value` is the double nearest to the number that stands at `bytes[start, end)`. */
export function nearestFloat(value: number, bytes: Uint8Array, start: number, end: number): number {
  float32[0] = value
  const rounded = float32[0]
  if (rounded === value) return rounded
  float64[0] = value
  if ((float64Words[0] & 0x0fffffff) !== 0) return rounded
  return nearestOfTwo(value, rounded, Buffer.from(bytes.subarray(start, end)).toString('latin1'))
}

function nearestOfTwo(value: number, rounded: number, text: string): number {
  const isBeyond = Math.abs(value) > Math.abs(rounded)
  float32Word[0] += isBeyond ? 1 : -1
  const other = float32[0]
  if (!Number.isFinite(value) || (finite(rounded) + finite(other)) / 2 !== value) return rounded
  const difference = compareMagnitude(text, Math.abs(value))
  if (difference === 0) return rounded
  return difference > 0 === isBeyond ? other : rounded
}

/** The number in whose place infinity stands when neighbours are compared. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : Math.sign(value) * FLOAT_LIMIT
}

/** Whether the magnitude of the number in `text` is above (1), below (-1) or exactly (0) `value`. */
function compareMagnitude(text: string, value: number): number {
  const [signed, exponentText = '0'] = text.toLowerCase().split('e')
  const mantissa = signed.startsWith('-') ? signed.slice(1) : signed
  const [whole, fraction = ''] = mantissa.split('.')
  let digits = whole + fraction
  let exponent = Number(exponentText) - fraction.length
  let first = 0
  while (first < digits.length && digits.charCodeAt(first) === 0x30) first += 1
  digits = digits.slice(first)
  if (digits.length > DIGITS_KEPT) {
    exponent += digits.length - DIGITS_KEPT - 1
    const rest = /[1-9]/.test(digits.slice(DIGITS_KEPT)) ? '1' : '0'
    digits = digits.slice(0, DIGITS_KEPT) + rest
  }
  // value = odd * 2^-shift; both sides are multiplied until they are integers.
  let shift = 0
  let scaled = value
  while (!Number.isInteger(scaled)) {
    scaled *= 2
    shift += 1
  }
  let left = BigInt(digits) << BigInt(shift)
  let right = BigInt(scaled)
  if (exponent >= 0) left *= 10n ** BigInt(exponent)
  else right *= 10n ** BigInt(-exponent)
  return left > right ? 1 : left < right ? -1 : 0
}
