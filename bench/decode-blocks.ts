/**
 * What a whole block costs in each format: 12-column records through the block decoder, sealed. One schema for all records, and
 * two versions of it row by row; the rows of both are counted and their sums compared. Run: `node bench/decode-blocks.ts`
 */
import { createBlockDecoder } from '../ingest/decoder/block-decoder.ts'
import type { ConverterPlan, DecodePlan, RegistrySchema } from '../ingest/decoder/decode-plan.ts'
import { parseColumnType } from '../schemas/column-type.ts'
import { DEAD_LETTER_COLUMNS, FIRST_USER_FIELD_ID, HIDDEN_COLUMNS } from '../schemas/table-schema.ts'
import { recordBlock } from '../test/harness/record-block.ts'

const RECORDS = 10_000
const ROUNDS = 50
const TYPES = {
  id: 'long',
  user_id: 'long',
  ts: 'timestamptz',
  url: 'string',
  device: 'string',
  country: 'string',
  amount: 'double',
  latency: 'double',
  status: 'long',
  ok: 'boolean',
  retries: 'long',
  bytes: 'long',
}
const NAMES = Object.keys(TYPES)
/** Version 1 lacks the last three. */
const OLD = NAMES.slice(0, -3)

const columns = Object.entries(TYPES).map(([name, type], index) => {
  return { fieldId: FIRST_USER_FIELD_ID + index, name, type: parseColumnType(type)!, required: false }
})

function record(id: number): Record<string, unknown> {
  return {
    id,
    user_id: (id * 7919) % 100_003,
    ts: new Date(1_767_225_600_000 + id * 37).toISOString(),
    url: `/p/${(id * 31) % 5000}/item`,
    device: id % 3 === 0 ? 'mobile' : 'desktop',
    country: ['DE', 'FR', 'US'][id % 3],
    amount: ((id * 13) % 100_000) / 100,
    latency: ((id * 17) % 9000) / 10,
    status: id % 50 === 0 ? 500 : 200,
    ok: id % 50 !== 0,
    retries: id % 4,
    bytes: (id * 997) % 1_000_000,
  }
}

function planOf(value: ConverterPlan, more: Partial<DecodePlan> = {}): DecodePlan {
  return {
    number: 1,
    pipeline: 'p',
    key: undefined,
    value,
    transforms: [],
    headersColumn: undefined,
    keyColumns: undefined,
    routes: { t: ['t'] },
    tables: {
      t: {
        tableId: 1,
        name: 't',
        schema: { schemaId: 1, columns: [...columns, ...HIDDEN_COLUMNS] },
        deadLetters: { tableId: 2, schema: { schemaId: 1, columns: [...DEAD_LETTER_COLUMNS, ...HIDDEN_COLUMNS] } },
        ignoredKeys: [],
        evolution: 'evolve',
      },
    },
    schemas: {},
    refusedSchemas: {},
    recordBytesMax: 1 << 20,
    ...more,
  }
}

function measure(name: string, plan: DecodePlan, textOf: (id: number) => string | Uint8Array): number {
  const block = recordBlock(
    't',
    Array.from({ length: RECORDS }, (_, id) => ({ value: textOf(id) })),
  )
  const decoder = createBlockDecoder(plan)
  let rows = 0
  let users = 0n
  const run = () => {
    const result = decoder.decode(block, 0, 'kafka:t:x', 5, false)
    if (result.kind === 'needs') throw new Error(`needs ${JSON.stringify(result.columns)}`)
    if (result.dead > 0) throw new Error(result.deadReason)
    for (const { batch } of result.pieces) {
      rows += batch.rowCount
      for (const user of new BigInt64Array(batch.vectors[1].data.buffer, 0, batch.rowCount)) users += user
    }
  }
  for (let round = 0; round < 5; round += 1) run()
  rows = 0
  users = 0n
  const before = process.cpuUsage()
  for (let round = 0; round < ROUNDS; round += 1) run()
  const { user, system } = process.cpuUsage(before)
  let expected = 0n
  for (let id = 0; id < RECORDS; id += 1) expected += BigInt(record(id).user_id as number) * BigInt(ROUNDS)
  if (rows !== RECORDS * ROUNDS || users !== expected) throw new Error(`${name}: ${rows} rows, ${users} ≠ ${expected}`)
  const perMillion = (user + system) / rows
  console.log(`${name}: ${perMillion.toFixed(2)} CPU-s per M rows`)
  return perMillion
}

function subset(id: number, names: readonly string[]): Record<string, unknown> {
  const whole = record(id)
  return Object.fromEntries(names.map((name) => [name, whole[name]]))
}

const PROPERTY: Readonly<Record<string, unknown>> = {
  long: { type: 'integer' },
  double: { type: 'number' },
  string: { type: 'string' },
  boolean: { type: 'boolean' },
  timestamptz: { type: 'string', format: 'date-time' },
}

function jsonSchema(id: number, names: readonly string[]): RegistrySchema {
  const properties = Object.fromEntries(names.map((name) => [name, PROPERTY[TYPES[name as keyof typeof TYPES]]]))
  const text = JSON.stringify({ type: 'object', properties })
  return { id, type: 'JSON', text, references: [], label: `t-value version ${id} (id ${id})` }
}

function framed(id: number, value: unknown): Uint8Array {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(id, 1)
  return Buffer.concat([header, Buffer.from(JSON.stringify(value))])
}

const CONNECT: Readonly<Record<string, unknown>> = {
  long: { type: 'int64' },
  double: { type: 'double' },
  string: { type: 'string' },
  boolean: { type: 'boolean' },
  timestamptz: { type: 'int64', name: 'org.apache.kafka.connect.data.Timestamp', version: 1 },
}

function enveloped(id: number, names: readonly string[]): string {
  const fields = names.map((field) => ({
    ...(CONNECT[TYPES[field as keyof typeof TYPES]] as object),
    optional: true,
    field,
  }))
  const payload = { ...subset(id, names), ts: 1_767_225_600_000 + id * 37 }
  return JSON.stringify({
    schema: { type: 'struct', fields, optional: false, name: 'r', version: names.length },
    payload,
  })
}

console.log(`${RECORDS * ROUNDS} records in blocks of ${RECORDS}, Node ${process.version}`)
const plain = planOf({ format: 'json', envelope: false })
measure('JSON', plain, (id) => JSON.stringify(record(id)))
measure('JSON, two versions in turn', plain, (id) => JSON.stringify(subset(id, id % 2 === 0 ? NAMES : OLD)))
const registry = planOf(
  { format: 'json-schema', registry: true },
  { schemas: { 1: jsonSchema(1, OLD), 2: jsonSchema(2, NAMES) } },
)
measure('JSON Schema, version 1', registry, (id) => framed(1, subset(id, OLD)))
measure('JSON Schema, version 2', registry, (id) => framed(2, record(id)))
measure('JSON Schema, two versions in turn', registry, (id) =>
  id % 2 === 0 ? framed(2, record(id)) : framed(1, subset(id, OLD)),
)
const envelopes = planOf({ format: 'json', envelope: true })
measure('Connect envelope, version 1', envelopes, (id) => enveloped(id, OLD))
measure('Connect envelope, version 2', envelopes, (id) => enveloped(id, NAMES))
measure('Connect envelope, two versions in turn', envelopes, (id) => enveloped(id, id % 2 === 0 ? NAMES : OLD))
const csv = planOf({ format: 'csv', fields: NAMES, delimiter: ',', quote: '"', nullText: '' })
measure('CSV', csv, (id) => Object.values(record(id)).join(','))
const transforms = [
  {
    name: 'mask',
    type: 'org.apache.kafka.connect.transforms.MaskField$Value',
    settings: { fields: 'url', replacement: '-' },
  },
]
measure('JSON through one transform', { ...plain, transforms }, (id) => JSON.stringify(record(id)))
