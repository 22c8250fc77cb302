/**
 * Connect data → JSON text: for json columns, and for defaults, which stand for missing values of an envelope.
 *
 * As JsonConverter writes it (bytes as base64, dates as days, times and timestamps as milliseconds, maps without text keys as
 * arrays of pairs), except that decimals are numbers. NaN and the infinities, which JSON has not, become null.
 */
import { type ConnectSchema, DATE } from '../../connect/data/schema.ts'
import { type ConnectValue, Decimal, Instant, isArray, isMap, SizedNumber, Struct } from '../../connect/data/values.ts'

export function connectJsonText(value: ConnectValue, schema: ConnectSchema | undefined): string {
  return write(value, schema, false)
}

/** Text that columns are inferred from: a double keeps its fraction, an instant is a timestamp. */
export function sampleText(value: ConnectValue): string {
  return write(value, undefined, true)
}

function write(value: ConnectValue, schema: ConnectSchema | undefined, isSample: boolean): string {
  if (value === null) return 'null'
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'number':
      if (!Number.isFinite(value)) return 'null'
      return isSample && Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : JSON.stringify(value)
    case 'bigint':
    case 'boolean':
      return String(value)
  }
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString('base64')}"`
  if (value instanceof SizedNumber) return String(value.value)
  if (value instanceof Decimal) return decimalText(value)
  if (value instanceof Instant && isSample && Math.abs(value.millis) < 8e15) {
    return `"${new Date(value.millis).toISOString()}"`
  }
  if (value instanceof Instant) return String(schema?.name === DATE ? value.epochDays() : value.millis)
  if (value instanceof Struct) {
    const pairs = value.schema.fields.map(
      (field) => `${JSON.stringify(field.name)}:${write(value.get(field), field.schema, isSample)}`,
    )
    return `{${pairs.join(',')}}`
  }
  if (isArray(value)) return `[${value.map((each) => write(each, schema?.valueSchema, isSample)).join(',')}]`
  if (!isMap(value)) return 'null'
  const entries = [...value]
  if (entries.every(([key]) => typeof key === 'string')) {
    const pairs = entries.map(([key, each]) => `${JSON.stringify(key)}:${write(each, schema?.valueSchema, isSample)}`)
    return `{${pairs.join(',')}}`
  }
  const pairs = entries.map(
    ([key, each]) => `[${write(key, schema?.keySchema, isSample)},${write(each, schema?.valueSchema, isSample)}]`,
  )
  return `[${pairs.join(',')}]`
}

/** Plain digits, as many fraction digits as the scale. */
export function decimalText({ unscaled, scale }: Decimal): string {
  if (scale <= 0) return String(unscaled * 10n ** BigInt(-scale))
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
