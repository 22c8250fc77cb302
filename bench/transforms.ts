/**
 * CPU of transforms: InsertField + ReplaceField + Cast over a record of 12 fields, without and with a schema.
 *
 *   node bench/transforms.ts [millions of records, default 2]
 */
import type { ConnectRecord } from '../ingest/connect/data/record.ts'
import { ConnectSchema, structSchema } from '../ingest/connect/data/schema.ts'
import { type ConnectValue, Struct } from '../ingest/connect/data/values.ts'
import { compileTransforms } from '../ingest/connect/transforms/compile-transforms.ts'
import type { TransformPlan } from '../ingest/decoder/decode-plan.ts'

const PACKAGE = 'org.apache.kafka.connect.transforms.'
const PLANS: readonly TransformPlan[] = [
  {
    name: 'insert',
    type: `${PACKAGE}InsertField$Value`,
    settings: { 'topic.field': 'topic', 'offset.field': 'at', 'static.field': 'env', 'static.value': 'prod' },
  },
  { name: 'replace', type: `${PACKAGE}ReplaceField$Value`, settings: { exclude: 'note', renames: 'user:customer' } },
  { name: 'cast', type: `${PACKAGE}Cast$Value`, settings: { spec: 'amount:string,count:int32' } },
]

const FIELDS: readonly (readonly [string, ConnectSchema['type'], (i: number) => ConnectValue])[] = [
  ['id', 'int64', (i) => BigInt(i)],
  ['user', 'string', (i) => `user-${i % 1000}`],
  ['amount', 'float64', (i) => (i % 10_000) / 4],
  ['count', 'int64', (i) => BigInt(i % 100)],
  ['isNew', 'boolean', (i) => i % 2 === 0],
  ['country', 'string', (i) => (i % 3 === 0 ? 'DE' : 'FR')],
  ['city', 'string', () => 'Berlin'],
  ['note', 'string', () => 'some words that are left out'],
  ['lat', 'float64', (i) => 52 + (i % 100) / 128],
  ['lon', 'float64', (i) => 13 + (i % 100) / 128],
  ['at_ms', 'int64', (i) => 1_700_000_000_000n + BigInt(i)],
  ['status', 'string', () => 'paid'],
]
const SCHEMA = structSchema(FIELDS.map(([name, type]) => [name, new ConnectSchema({ type, optional: true })]))
const KEPT = 1000

function record(i: number, valueSchema: ConnectSchema | undefined): ConnectRecord {
  const values = FIELDS.map(([, , make]) => make(i))
  const value: ConnectValue = valueSchema
    ? new Struct(valueSchema, values)
    : new Map(FIELDS.map(([name], at) => [name, values[at]]))
  return {
    topic: 'orders',
    partition: 0,
    keySchema: undefined,
    key: null,
    valueSchema,
    value,
    timestamp: 1_700_000_000_000,
    headers: [],
    offset: BigInt(i),
  }
}

const millions = Number(process.argv[2] ?? 2)
for (const [name, schema] of [
  ['without a schema', undefined],
  ['with a schema', SCHEMA],
] as const) {
  const records = Array.from({ length: KEPT }, (_, i) => record(i, schema))
  const transform = compileTransforms(PLANS)
  const run = (count: number) => {
    let made = 0
    for (let i = 0; i < count; i += 1) if (transform(records[i % KEPT]) !== undefined) made += 1
    return made
  }
  run(200_000)
  const before = process.cpuUsage()
  const made = run(millions * 1e6)
  const { user, system } = process.cpuUsage(before)
  console.log(`${name}: ${((user + system) / made).toFixed(2)} CPU-s per M records (${made} records)`)
}
