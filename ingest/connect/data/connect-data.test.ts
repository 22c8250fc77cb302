import { describe, expect, it } from 'vitest'
import { formatColumnType } from '../../../schemas/column-type.ts'
import { columnTypeOf, recordSchemaOf } from './record-fields.ts'
import {
  ConnectSchema,
  DATE_SCHEMA,
  decimalSchema,
  INT64_SCHEMA,
  OPTIONAL_STRING_SCHEMA,
  STRING_SCHEMA,
  sameSchema,
  structSchema,
  TIME_SCHEMA,
  TIMESTAMP_SCHEMA,
} from './schema.ts'
import { Decimal, Instant, instantOfMicros, Struct, sameValue } from './values.ts'

const address = structSchema([
  ['city', STRING_SCHEMA],
  ['zip', new ConnectSchema({ type: 'int16', optional: true })],
])

describe("columns of Connect's schemas", () => {
  it('have the type that holds every value of the schema', () => {
    const types = [
      ['int', new ConnectSchema({ type: 'int8' })],
      ['int', new ConnectSchema({ type: 'int32' })],
      ['long', INT64_SCHEMA],
      ['float', new ConnectSchema({ type: 'float32' })],
      ['double', new ConnectSchema({ type: 'float64' })],
      ['boolean', new ConnectSchema({ type: 'boolean' })],
      ['string', STRING_SCHEMA],
      ['binary', new ConnectSchema({ type: 'bytes' })],
      ['decimal(38,2)', decimalSchema(2)],
      [
        'decimal(10,2)',
        decimalSchema(2, { parameters: new Map(Object.entries({ scale: '2', 'connect.decimal.precision': '10' })) }),
      ],
      ['string', decimalSchema(-2)],
      ['string', decimalSchema(39)],
      ['date', DATE_SCHEMA],
      ['time', TIME_SCHEMA],
      ['timestamptz', TIMESTAMP_SCHEMA],
      ['string', new ConnectSchema({ type: 'string', name: TIMESTAMP_SCHEMA.name })],
      ['list<string>', new ConnectSchema({ type: 'array', valueSchema: OPTIONAL_STRING_SCHEMA })],
      [
        'map<string, long required>',
        new ConnectSchema({ type: 'map', keySchema: STRING_SCHEMA, valueSchema: INT64_SCHEMA }),
      ],
      ['json', new ConnectSchema({ type: 'map', keySchema: address, valueSchema: INT64_SCHEMA })],
      ['struct<city: string required, zip: int>', address],
      ['json', structSchema([])],
      [
        'json',
        structSchema([
          ['a', STRING_SCHEMA],
          ['A', STRING_SCHEMA],
        ]),
      ],
    ] as const
    for (const [type, schema] of types) expect(formatColumnType(columnTypeOf(schema))).toBe(type)
  })

  it('are required unless the schema is optional', () => {
    expect(recordSchemaOf(address, 'a').fields.map(({ name, required }) => [name, required])).toEqual([
      ['city', true],
      ['zip', false],
    ])
  })
})

describe("Connect's values", () => {
  it('keep microseconds on both sides of 1970 and beyond 2255', () => {
    for (const micros of [0n, 1n, -1n, -1001n, 253_402_300_799_999_999n, -62_135_596_800_000_001n]) {
      expect(instantOfMicros(micros).epochMicros()).toBe(micros)
    }
    expect(instantOfMicros(-1n)).toEqual(new Instant(-1, 999))
    expect(new Instant(-86_400_000).epochDays()).toBe(-1)
  })

  it('give the default of a field where the value is null', () => {
    const schema = structSchema([['a', OPTIONAL_STRING_SCHEMA.with({ defaultValue: 'x' })]])
    const struct = new Struct(schema, [null])
    expect(struct.get(schema.field('a')!)).toBe('x')
    expect(struct.values[0]).toBe(null)
  })

  it('are the same when all they hold is', () => {
    const again = structSchema([
      ['city', new ConnectSchema({ type: 'string' })],
      ['zip', new ConnectSchema({ type: 'int16', optional: true })],
    ])
    expect(sameSchema(address, again)).toBe(true)
    expect(sameSchema(address, again.with({ doc: 'x' }))).toBe(false)
    expect(sameValue(new Struct(address, ['a', 1]), new Struct(again, ['a', 1]))).toBe(true)
    expect(sameValue(new Decimal(10n, 1), new Decimal(100n, 2))).toBe(false)
    expect(sameValue(new Map([['a', [1n, null]]]), new Map([['a', [1n, null]]]))).toBe(true)
    expect(sameValue(1n, 1)).toBe(false)
  })
})
