import { describe, expect, it } from 'vitest'
import { isMillraceError } from '../../../schemas/errors.ts'
import type { TransformPlan } from '../../decoder/decode-plan.ts'
import type { ConnectRecord } from '../data/record.ts'
import { ConnectSchema, INT64_SCHEMA, STRING_SCHEMA, structSchema, TIMESTAMP_SCHEMA } from '../data/schema.ts'
import { type ConnectValue, Instant, SizedNumber, Struct } from '../data/values.ts'
import { checkTransforms, pluginDefinitions } from './check-transforms.ts'
import { compileTransforms } from './compile-transforms.ts'
import { TransformFailure } from './transform.ts'

const PACKAGE = 'org.apache.kafka.connect.transforms.'

function plan(
  type: string,
  settings: Record<string, string> = {},
  predicate?: TransformPlan['predicate'],
): TransformPlan {
  return { name: type.toLowerCase(), type: PACKAGE + type, settings, ...(predicate ? { predicate } : {}) }
}

function record(value: ConnectValue, valueSchema?: ConnectSchema): ConnectRecord {
  return {
    topic: 'orders',
    partition: 3,
    keySchema: undefined,
    key: null,
    valueSchema,
    value,
    timestamp: 1_700_000_000_123,
    headers: [],
    offset: 42n,
  }
}

const map = (fields: Record<string, ConnectValue>) => new Map<ConnectValue, ConnectValue>(Object.entries(fields))

describe('a chain of transforms', () => {
  const chain = [
    plan('InsertField$Value', { 'partition.field': 'part', 'static.field': 'env', 'static.value': 'prod' }),
    plan('ReplaceField$Value', { exclude: 'note', renames: 'user:customer' }),
    plan('Cast$Value', { spec: 'amount:string,count:int8' }),
  ]

  it('makes a record without a schema anew and leaves the given one as it was', () => {
    const value = map({ user: 'u', note: 'x', amount: 2.5, count: 300n })
    const transform = compileTransforms(chain)
    const wanted = map({
      amount: '2.5',
      count: new SizedNumber('int8', 44),
      part: new SizedNumber('int32', 3),
      env: 'prod',
      customer: 'u',
    })
    for (const _ of [1, 2]) expect(transform(record(value))?.value).toEqual(wanted)
    expect(value).toEqual(map({ user: 'u', note: 'x', amount: 2.5, count: 300n }))
  })

  it('derives the schema once for records of one schema', () => {
    const schema = structSchema([
      ['user', STRING_SCHEMA],
      ['amount', new ConnectSchema({ type: 'float64' })],
      ['count', INT64_SCHEMA],
    ])
    const transform = compileTransforms(chain)
    const [one, two] = [1, 2].map((n) => transform(record(new Struct(schema, ['u', n, 300n]), schema))!)
    expect(one.valueSchema).toBe(two.valueSchema)
    expect(two.valueSchema!.fields.map(({ name, schema: { type } }) => `${name} ${type}`)).toEqual([
      'customer string',
      'amount string',
      'count int8',
      'part int32',
      'env string',
    ])
    expect((two.value as Struct).values).toEqual(['u', '2.0', 44, 3, 'prod'])
  })

  it('a map that a later transform puts inside another is not changed there', () => {
    const transform = compileTransforms([
      plan('InsertField$Value', { 'static.field': 'a', 'static.value': '1' }),
      plan('HoistField$Value', { field: 'whole' }),
      plan('HeaderFrom$Value', { fields: 'whole', headers: 'h', operation: 'copy' }),
      plan('ExtractField$Value', { field: 'whole' }),
      plan('InsertField$Value', { 'static.field': 'a', 'static.value': '2' }),
    ])
    const made = transform(record(map({})))!
    expect(made.value).toEqual(map({ a: '2' }))
    expect(made.headers).toEqual([{ name: 'h', schema: undefined, value: map({ a: '1' }) }])
  })

  it('drops what its predicate names and passes the rest', () => {
    const when = { type: `${PACKAGE}predicates.RecordIsTombstone`, settings: {}, negate: false }
    const dropTombstones = compileTransforms([plan('Filter', {}, when)])
    expect(dropTombstones(record(null))).toBe(undefined)
    expect(dropTombstones(record('x'))?.value).toBe('x')
    const keepTombstones = compileTransforms([plan('Filter', {}, { ...when, negate: true })])
    expect(keepTombstones(record(null))?.value).toBe(null)
    expect(keepTombstones(record('x'))).toBe(undefined)
  })

  it('says which transform refused a record, why, and what Connect throws there', () => {
    const transform = compileTransforms([plan('Cast$Value', { spec: 'count:int8' })])
    const refused = () => transform(record(map({ count: '1e3' })))
    expect(refused).toThrow(`transform "cast$value" (${PACKAGE}Cast$Value): "1e3" is no int8`)
    try {
      refused()
    } catch (cause) {
      expect(cause).toBeInstanceOf(TransformFailure)
      expect(cause).toMatchObject({ code: 'row-invalid', exception: 'org.apache.kafka.connect.errors.DataException' })
    }
  })

  it('keeps microseconds where a transform moves a timestamp, and gives them to Unix time', () => {
    const schema = structSchema([['at', TIMESTAMP_SCHEMA]])
    const value = new Struct(schema, [new Instant(1_700_000_000_123, 456)])
    const moved = compileTransforms([plan('ReplaceField$Value', { renames: 'at:when' })])(record(value, schema))!
    expect((moved.value as Struct).values).toEqual([new Instant(1_700_000_000_123, 456)])
    const unix = plan('TimestampConverter$Value', {
      field: 'at',
      'target.type': 'unix',
      'unix.precision': 'microseconds',
    })
    expect((compileTransforms([unix])(record(value, schema))!.value as Struct).values).toEqual([1_700_000_000_123_456n])
  })

  it('made of plans that were not checked is refused', () => {
    for (const bad of [plan('Missing'), plan('Cast$Value', { spec: 'a:int9' }), plan('InsertField$Value')]) {
      expect(() => compileTransforms([bad])).toThrow(
        expect.toSatisfy((cause) => isMillraceError(cause, 'settings-invalid')),
      )
    }
  })
})

describe('two-digit years', () => {
  it('lie within 80 years before the given day and 20 after', () => {
    const settings = { 'target.type': 'string', format: 'yyMMdd' }
    const read = (text: string, year: number) => {
      const now = Date.UTC(year, 5, 15)
      const toTime = compileTransforms(
        [plan('TimestampConverter$Value', { ...settings, 'target.type': 'Timestamp' })],
        now,
      )
      return new Date((toTime(record(text))!.value as Instant).millis).getUTCFullYear()
    }
    expect([read('460614', 2026), read('460615', 2026), read('450101', 2026), read('990101', 2099)]).toEqual([
      2046, 1946, 2045, 2099,
    ])
  })
})

describe('checking properties', () => {
  const insert = { transforms: 'a', 'transforms.a.type': `${PACKAGE}InsertField$Value` }

  it('makes plans with their predicates', () => {
    const { plans, problems, groups } = checkTransforms({
      ...insert,
      'transforms.a.topic.field': 'topic',
      'transforms.a.predicate': 'p',
      'transforms.a.negate': 'true',
      predicates: 'p',
      'predicates.p.type': `${PACKAGE}predicates.TopicNameMatches`,
      'predicates.p.pattern': 'orders.*',
    })
    expect(problems).toEqual([])
    expect(groups).toEqual(['Transforms: a', 'Predicates: p'])
    expect(plans).toEqual([
      {
        name: 'a',
        type: `${PACKAGE}InsertField$Value`,
        settings: { 'topic.field': 'topic' },
        predicate: { type: `${PACKAGE}predicates.TopicNameMatches`, settings: { pattern: 'orders.*' }, negate: true },
      },
    ])
  })

  it('finds what Connect finds only when a task starts', () => {
    const { problems, plans } = checkTransforms({ ...insert, 'transforms.a.predicate': 'missing' })
    expect(problems).toEqual([
      { name: 'transforms.a.type', message: expect.stringContaining('no field to insert') },
      { name: 'transforms.a.predicate', message: 'predicates has no "missing"' },
    ])
    expect(plans).toEqual([])
  })

  it('tells the settings of a plugin as the REST API shows them', () => {
    expect(pluginDefinitions('org.apache.kafka.connect.transforms.HoistField$Key')).toEqual([
      {
        name: 'field',
        type: 'STRING',
        required: true,
        default_value: null,
        importance: 'MEDIUM',
        documentation: 'Name of the field.',
        group: null,
        width: 'NONE',
        display_name: 'field',
        dependents: [],
        order_in_group: -1,
      },
    ])
    expect(pluginDefinitions('x')).toBe(undefined)
  })
})
