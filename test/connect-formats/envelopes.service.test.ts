/**
 * Envelopes written by Kafka Connect's own JsonConverter: the rows are those of the data they were written from, whatever order,
 * defaults and spelling the converter gives them, in the compiled way and through transforms. What it refuses for a missing value
 * is a dead letter here too. The seed is printed.
 */
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { recordSchemaOf } from '../../ingest/connect/data/record-fields.ts'
import { connectSchemaOf } from '../../ingest/formats/json/connect-json.ts'
import { parseJson } from '../../ingest/formats/json/read-json.ts'
import { type ColumnType, formatColumnType } from '../../schemas/column-type.ts'
import { askConnect } from '../harness/connect-runtime.ts'
import { decodeRecords, planOf, tablePlan } from '../harness/decode-block.ts'

const PROGRAM = join(import.meta.dirname, 'WriteEnvelopes.java')
const RECORDS = 300

type Schema = Readonly<Record<string, unknown>>
type Sample = { readonly schema: Schema; readonly value: unknown }

const DATA = 'org.apache.kafka.connect.data.'
const whole = (bits: number) => fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
const scalar = (type: string, value: fc.Arbitrary<unknown>, more: Schema = {}) =>
  value.map((each): Sample => ({ schema: { type, ...more }, value: each }))
const base64 = fc.uint8Array({ minLength: 1, maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString('base64'))
const finite = fc.double({ noNaN: true, noDefaultInfinity: true })

const flat: fc.Arbitrary<Sample> = fc.oneof(
  scalar('int8', whole(8)),
  scalar('int16', whole(16)),
  scalar('int32', whole(32)),
  scalar('int64', fc.maxSafeInteger()),
  scalar('float', fc.float({ noNaN: true, noDefaultInfinity: true })),
  scalar('double', finite),
  scalar('boolean', fc.boolean()),
  scalar('string', fc.string({ unit: 'grapheme' })),
  scalar('bytes', base64),
  scalar('bytes', base64, { name: `${DATA}Decimal`, version: 1, parameters: { scale: '3' } }),
  scalar('int32', fc.integer({ min: -100_000, max: 100_000 }), { name: `${DATA}Date`, version: 1 }),
  scalar('int32', fc.integer({ min: 0, max: 86_399_999 }), { name: `${DATA}Time`, version: 1 }),
  scalar('int64', fc.integer({ min: -1e13, max: 1e13 }), { name: `${DATA}Timestamp`, version: 1 }),
)

const { sample } = fc.letrec<{ sample: Sample }>((tie) => ({
  sample: fc.oneof(
    { maxDepth: 3, depthSize: 'small', withCrossShrink: true },
    flat,
    fc
      .tuple(tie('sample'), fc.integer({ min: 0, max: 3 }), fc.boolean())
      .map(([{ schema, value }, length, optional]) => ({
        schema: { type: 'array', items: { ...schema, optional } },
        value: [...Array(length).fill(value), ...(optional ? [null] : [])] as unknown[],
      })),
    fc
      .tuple(tie('sample'), fc.uniqueArray(fc.string({ maxLength: 4 }), { maxLength: 3 }))
      .map(([{ schema, value }, keys]) => ({
        schema: { type: 'map', keys: { type: 'string' }, values: schema },
        value: Object.fromEntries(keys.map((key) => [key, value])) as unknown,
      })),
    fc.tuple(tie('sample'), fc.uniqueArray(whole(8), { maxLength: 3 })).map(([{ schema, value }, keys]) => ({
      schema: { type: 'map', keys: { type: 'int32' }, values: schema },
      value: keys.map((key) => [key, value]) as unknown,
    })),
    struct(tie('sample')),
  ),
}))

/** Fields that are there, null, missing, or missing with a default. */
function struct(field: fc.Arbitrary<Sample>): fc.Arbitrary<Sample> {
  const state = fc.constantFrom('there', 'there', 'there', 'null', 'missing', 'default')
  return fc.array(fc.tuple(field, state), { minLength: 1, maxLength: 6 }).map((fields) => ({
    schema: {
      type: 'struct',
      optional: false,
      fields: fields.map(([{ schema }, each], index) => ({
        ...schema,
        field: `f${index}`,
        optional: each === 'null' || each === 'missing',
        ...(each === 'default' && typeof fields[index][0].value !== 'object'
          ? { default: fields[index][0].value }
          : {}),
      })),
    },
    value: Object.fromEntries(
      fields.flatMap(([{ value }, each], index) => {
        if (each === 'missing' || (each === 'default' && typeof value !== 'object')) return []
        return [[`f${index}`, each === 'null' ? null : value]]
      }),
    ) as unknown,
  }))
}

/** Java's maps have no order. */
function withoutOrder(type: ColumnType, value: unknown): unknown {
  if (value === null) return null
  switch (type.kind) {
    case 'list':
      return (value as unknown[]).map((each) => withoutOrder(type.element.type, each))
    case 'map': {
      const pairs = (value as unknown[][]).map(
        ([key, each]) => [String(key), withoutOrder(type.value.type, each)] as const,
      )
      return pairs.sort(([a], [b]) => (a < b ? -1 : 1))
    }
    case 'struct':
      return type.fields.map((field) => withoutOrder(field.type, (value as Record<string, unknown>)[field.name]))
    default:
      return value
  }
}

test('what JsonConverter writes becomes the rows that it was written from', async () => {
  const seed = Number(process.env.MILLRACE_ENVELOPES_SEED ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`seed: MILLRACE_ENVELOPES_SEED=${seed}`)
  const samples = fc.sample(struct(sample), { numRuns: RECORDS, seed })
  const envelopes = samples.map(({ schema, value }) => JSON.stringify({ payload: value, schema }))
  const answers = await askConnect(
    PROGRAM,
    envelopes.map((envelope) => ({ envelope })),
  )
  let rowsSeen = 0
  for (const [index, envelope] of envelopes.entries()) {
    const { bytes, error } = answers[index] as { bytes?: string; error?: string }
    expect([envelope, error]).toEqual([envelope, undefined])
    const schema = connectSchemaOf(parseJson(JSON.stringify(samples[index].schema)))!
    const { fields } = recordSchemaOf(schema, 's')
    const plain = (found: readonly unknown[]) => found.map((row) => withoutOrder({ kind: 'struct', fields }, row))
    const columns = Object.fromEntries(
      fields.map(({ name, type, required }) => [name, `${formatColumnType(type)}${required ? ' required' : ''}`]),
    )
    const plan = planOf([tablePlan('a', columns)], { value: { format: 'json', envelope: true } })
    const [given] = decodeRecords(plan, [{ value: envelope }]).rows
    const written = Buffer.from(bytes!, 'base64')
    const { rows, letters } = decodeRecords(plan, [{ value: written }, { value: written }])
    expect([envelope, letters]).toEqual([envelope, []])
    expect(plain(rows)).toEqual(plain([given, given]))
    const nothing = {
      name: 'n',
      type: 'org.apache.kafka.connect.transforms.DropHeaders',
      settings: { headers: 'none' },
    }
    const through = decodeRecords({ ...plan, transforms: [nothing] }, [{ value: written }])
    expect([envelope, through.letters, plain(through.rows)]).toEqual([envelope, [], plain([given])])
    rowsSeen += rows.length
  }
  expect(rowsSeen).toBe(RECORDS * 2)
})

test('a value that the schema demands and the payload lacks is refused by both', async () => {
  const schema = { type: 'struct', optional: false, fields: [{ type: 'int32', optional: false, field: 'a' }] }
  const envelopes = [{}, { a: null }].map((payload) => JSON.stringify({ schema, payload }))
  const answers = await askConnect(
    PROGRAM,
    envelopes.map((envelope) => ({ envelope })),
  )
  expect(answers).toEqual(envelopes.map(() => ({ error: 'org.apache.kafka.connect.errors.DataException' })))
  const plan = planOf([tablePlan('a', { a: 'int required' })], { value: { format: 'json', envelope: true } })
  expect(
    decodeRecords(
      plan,
      envelopes.map((value) => ({ value })),
    ).letters.map(({ reason }) => reason),
  ).toEqual([
    'column "a": expected int, found nothing; it is required',
    'column "a": expected int, found null; it is required',
  ])
})
