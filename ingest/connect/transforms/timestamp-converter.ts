/**
 * TimestampConverter: a field, or the whole key or value, from text, Unix time or Date, Time, Timestamp to one of these.
 *
 * What a value is, is told by its schema; without one a long is Unix time. Unix time of other precision than milliseconds is cut
 * to milliseconds on the way in, as Java's Date has no more; microseconds that a Timestamp brought along are kept.
 */
import {
  type ConnectSchema,
  DATE,
  DATE_SCHEMA,
  INT64_SCHEMA,
  OPTIONAL_INT64_SCHEMA,
  OPTIONAL_STRING_SCHEMA,
  STRING_SCHEMA,
  TIME,
  TIME_SCHEMA,
  TIMESTAMP,
  TIMESTAMP_SCHEMA,
} from '../data/schema.ts'
import { type ConnectValue, Instant, Struct } from '../data/values.ts'
import { DAY_MS } from '../java/calendar.ts'
import { type DateFormat, dateFormat } from '../java/date-format.ts'
import { oneOf, REPLACE_NULL, type Setting, SettingsProblem, type SettingValues, textSetting } from './settings.ts'
import {
  type ChainContext,
  checkPut,
  describe,
  perSchema,
  refuse,
  requireFields,
  requireMap,
  requireStruct,
  type Side,
  structLike,
  type Transform,
} from './transform.ts'

const TYPES = ['string', 'unix', 'Date', 'Time', 'Timestamp'] as const
const PRECISIONS = ['nanoseconds', 'microseconds', 'milliseconds', 'seconds'] as const
type TimeType = (typeof TYPES)[number]
type Precision = (typeof PRECISIONS)[number]

export const TIMESTAMP_CONVERTER: readonly Setting[] = [
  textSetting('field', 'The field; empty: the whole key or value.', { defaultValue: '', importance: 'HIGH' }),
  textSetting('target.type', 'What to make of it: string, unix, Date, Time or Timestamp.', {
    importance: 'HIGH',
    problem: oneOf('target.type', TYPES),
  }),
  textSetting('format', "Pattern of Java's SimpleDateFormat for the text that is read or made.", { defaultValue: '' }),
  textSetting('unix.precision', 'Unit of Unix times, read or made. Anything below milliseconds is lost.', {
    defaultValue: 'milliseconds',
    importance: 'LOW',
    problem: oneOf('unix.precision', PRECISIONS),
  }),
  REPLACE_NULL,
]

const PURPOSE = 'converting timestamps'
const both = (schema: ConnectSchema) => [schema, schema.with({ optional: true })] as const

const SCHEMAS: Readonly<Record<TimeType, readonly [required: ConnectSchema, optional: ConnectSchema]>> = {
  string: [STRING_SCHEMA, OPTIONAL_STRING_SCHEMA],
  unix: [INT64_SCHEMA, OPTIONAL_INT64_SCHEMA],
  Date: both(DATE_SCHEMA),
  Time: both(TIME_SCHEMA),
  Timestamp: both(TIMESTAMP_SCHEMA),
}

type Conversion = { readonly target: TimeType; readonly format: DateFormat | undefined; readonly precision: Precision }

export function timestampConverter(settings: SettingValues, side: Side, { maps, nowMillis }: ChainContext): Transform {
  const name = settings.text('field') ?? ''
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const conversion = conversionOf(settings, nowMillis)
  const schemaFor = (old: ConnectSchema) => SCHEMAS[conversion.target][old.optional ? 1 : 0]

  const updated = perSchema((old) => {
    const fields = requireFields(old)
    const plain = structLike(
      old,
      fields.map((field) => ({
        name: field.name,
        schema: field.name === name ? schemaFor(field.schema) : field.schema,
      })),
    ).with({ optional: old.optional })
    const given = old.defaultValue
    return given instanceof Struct ? plain.with({ defaultValue: convertField(given, plain) }) : plain
  })

  function convertField(struct: Struct, schema: ConnectSchema): Struct {
    const values = struct.schema.fields.map((field, i) => {
      const value = withDefaults ? struct.get(field) : struct.values[i]
      return checkPut(schema.fields[i], field.name === name ? convert(value, typeOf(field.schema), conversion) : value)
    })
    return new Struct(schema, values)
  }

  return (record) => {
    const value = side.value(record)
    const schema = side.schema(record)
    if (schema === undefined) {
      if (value === null || name === '') return side.with(record, undefined, convert(value, undefined, conversion))
      const fields = maps.editable(requireMap(value, PURPOSE))
      fields.set(name, convert(fields.get(name) ?? null, undefined, conversion))
      return side.with(record, undefined, fields)
    }
    if (name === '') return side.with(record, schemaFor(schema), convert(value, typeOf(schema), conversion))
    const struct = value === null ? null : requireStruct(value, PURPOSE)
    const flat = updated(schema)
    return side.with(record, flat, struct && convertField(struct, flat))
  }
}

function conversionOf(settings: SettingValues, nowMillis: number): Conversion {
  const target = TYPES.find((type) => type === settings.text('target.type'))!
  const precision = PRECISIONS.find((each) => each === settings.text('unix.precision'))!
  const pattern = settings.text('format') ?? ''
  if (pattern.trim() === '') {
    if (target === 'string') throw new SettingsProblem('target.type string needs format: the pattern of the text')
    return { target, precision, format: undefined }
  }
  try {
    return { target, precision, format: dateFormat(pattern, nowMillis) }
  } catch (cause) {
    if (cause instanceof RangeError) throw new SettingsProblem(`format: ${cause.message}`)
    throw cause
  }
}

function typeOf(schema: ConnectSchema): TimeType {
  if (schema.name === TIMESTAMP) return 'Timestamp'
  if (schema.name === DATE) return 'Date'
  if (schema.name === TIME) return 'Time'
  if (schema.type === 'string') return 'string'
  return schema.type === 'int64' ? 'unix' : refuse('connect', `a ${schema.type} is no time`)
}

function convert(value: ConnectValue, source: TimeType | undefined, conversion: Conversion): ConnectValue {
  if (value === null) return null
  return fromInstant(toInstant(value, source ?? inferred(value), conversion), conversion)
}

function inferred(value: ConnectValue): TimeType {
  if (value instanceof Instant) return 'Timestamp'
  if (typeof value === 'bigint') return 'unix'
  return typeof value === 'string' ? 'string' : refuse('data', `${describe(value)} is no time`)
}

function toInstant(value: ConnectValue, source: TimeType, { format, precision }: Conversion): Instant {
  if (source === 'string') {
    if (typeof value !== 'string') return refuse('data', `expected a text, found ${describe(value)}`)
    if (format === undefined) return refuse('nullPointer', 'a text needs format: the pattern to read it with')
    const millis = format.parse(value)
    if (millis === undefined) return refuse('data', `"${value.slice(0, 64)}" does not match "${format.pattern}"`)
    return instant(millis)
  }
  if (source === 'unix') {
    return typeof value === 'bigint'
      ? instant(Number(unixToMillis(value, precision)))
      : refuse('data', `expected a long, found ${describe(value)}`)
  }
  return value instanceof Instant ? value : refuse('data', `expected a ${source}, found ${describe(value)}`)
}

/** Beyond the years ±287,000 milliseconds are not exact: none of our columns holds such a time. */
function instant(millis: number): Instant {
  return Number.isSafeInteger(millis) ? new Instant(millis) : refuse('data', 'the time is out of range')
}

const LONG_MAX = 2n ** 63n - 1n
const LONG_MIN = -(2n ** 63n)

function saturated(value: bigint): bigint {
  return value > LONG_MAX ? LONG_MAX : value < LONG_MIN ? LONG_MIN : value
}

/** Cut towards 1970, as Java's TimeUnit does. */
function unixToMillis(value: bigint, precision: Precision): bigint {
  switch (precision) {
    case 'seconds':
      return saturated(value * 1000n)
    case 'milliseconds':
      return value
    case 'microseconds':
      return value / 1000n
    case 'nanoseconds':
      return value / 1_000_000n
  }
}

function fromInstant(instant: Instant, { target, format, precision }: Conversion): ConnectValue {
  const { millis, micros } = instant
  switch (target) {
    case 'string':
      return format!.format(millis)
    case 'unix':
      return unixOf(instant, precision)
    case 'Date':
      return new Instant(Math.floor(millis / DAY_MS) * DAY_MS)
    case 'Time':
      return new Instant(millis - Math.floor(millis / DAY_MS) * DAY_MS, micros)
    case 'Timestamp':
      return instant
  }
}

function unixOf(instant: Instant, precision: Precision): bigint {
  switch (precision) {
    case 'seconds':
      return BigInt(Math.trunc(instant.millis / 1000))
    case 'milliseconds':
      return BigInt(instant.millis)
    case 'microseconds':
      return saturated(instant.epochMicros())
    case 'nanoseconds':
      return saturated(instant.epochMicros() * 1000n)
  }
}
