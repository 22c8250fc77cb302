/**
 * What decoding costs: the same 12-column records as JSON, Avro and Protobuf, each through our decoder into column builders
 * and through the usual library into objects and typed arrays. All answers are compared.
 * Run: `node bench/decoder.ts`, or with names of ways (`json avro avro-library …`); each runs in a process of its own, so that
 * none shapes the compiled code of another.
 */
import { execFileSync } from 'node:child_process'
import avro from 'avsc'
import protobuf from 'protobufjs'
import { createBatchBuilder } from '../ingest/decoder/batch-builder.ts'
import type { Decoder } from '../ingest/decoder/decoder.ts'
import { createJsonDecoder } from '../ingest/decoder/json-decoder.ts'
import { openAvro } from '../ingest/formats/avro/avro-format.ts'
import { allTargets, type OpenFormat } from '../ingest/formats/format.ts'
import { openProtobuf } from '../ingest/formats/protobuf/proto-format.ts'
import { parseColumnType } from '../schemas/column-type.ts'
import { FIRST_USER_FIELD_ID, HIDDEN_COLUMNS, type TableSchema } from '../schemas/table-schema.ts'

const DISTINCT = 20_000
const ROUNDS = 50
const TYPES =
  'id:long user_id:long ts:timestamptz url:string device:string country:string amount:double latency:double status:int ok:boolean retries:int bytes:long'

const columns = TYPES.split(' ').map((each, index) => {
  const [name, type] = each.split(':')
  return { fieldId: FIRST_USER_FIELD_ID + index, name, type: parseColumnType(type)!, required: false }
})
const schema: TableSchema = { schemaId: 1, columns: [...columns, ...HIDDEN_COLUMNS] }

type Row = {
  id: number
  user_id: number
  ts: number
  url: string
  device: string
  country: string
  amount: number
  latency: number
  status: number
  ok: boolean
  retries: number
  bytes: number
}

function rowOf(id: number): Row {
  return {
    id,
    user_id: (id * 7919) % 100_003,
    ts: 1_767_225_600_000 + id * 37,
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

const AVRO_TYPES: Readonly<Record<string, unknown>> = { timestamptz: { type: 'long', logicalType: 'timestamp-millis' } }
const AVRO_SCHEMA = {
  type: 'record',
  name: 'Event',
  fields: columns.map(({ name, type }) => ({ name, type: AVRO_TYPES[type.kind] ?? type.kind })),
}
const PROTO_TYPES: Readonly<Record<string, string>> = {
  timestamptz: 'int64',
  long: 'int64',
  int: 'int32',
  boolean: 'bool',
}
const PROTO_TEXT = `syntax = "proto3"; message Event { ${columns
  .map(({ name, type }, index) => `${PROTO_TYPES[type.kind] ?? type.kind} ${name} = ${index + 1};`)
  .join(' ')} }`
const protoType = protobuf.parse(PROTO_TEXT, { keepCase: true }).root.resolveAll().lookupType('Event')
const avroType = avro.Type.forSchema(AVRO_SCHEMA as avro.Schema)

type Way = {
  readonly encode: (row: Row) => Uint8Array
  /** Ours, or how the library makes an object. */
  readonly decoder?: () => Decoder
  readonly parse?: (record: Buffer) => Row
}

const asJson = (row: Row) => Buffer.from(JSON.stringify({ ...row, ts: new Date(row.ts).toISOString() }))
const asAvro = (row: Row) => avroType.toBuffer(row)
const asProto = (row: Row) => protoType.encode(row).finish()

function decoderOf(open: OpenFormat, format: 'avro' | 'protobuf', text: string): Decoder {
  const opened = open({ text, references: [], label: 'bench' }, { format, registry: false })
  return opened.createDecoder(schema, allTargets(schema))
}

const WAYS: Readonly<Record<string, Way>> = {
  json: { encode: asJson, decoder: () => createJsonDecoder(schema) },
  'json-library': {
    encode: asJson,
    parse(record) {
      const row = JSON.parse(record.toString('utf8')) as Row & { ts: string }
      return { ...row, ts: Date.parse(row.ts) }
    },
  },
  avro: {
    encode: asAvro,
    decoder: () => decoderOf(openAvro, 'avro', JSON.stringify(AVRO_SCHEMA)),
  },
  'avro-library': { encode: asAvro, parse: (record) => avroType.fromBuffer(record) as Row },
  protobuf: { encode: asProto, decoder: () => decoderOf(openProtobuf, 'protobuf', PROTO_TEXT) },
  'protobuf-library': {
    encode: asProto,
    parse(record) {
      const row = protoType.decode(record) as unknown as Row
      // Not spread: default values are on the prototype.
      const { url, device, country, amount, latency, status, ok, retries } = row
      const [id, user_id, ts, bytes] = [Number(row.id), Number(row.user_id), Number(row.ts), Number(row.bytes)]
      return { id, user_id, ts, url, device, country, amount, latency, status, ok, retries, bytes }
    },
  },
}
const NAMES: Readonly<Record<string, string>> = {
  json: 'JSON, byte scanner, sealed',
  'json-library': 'JSON.parse, numbers only',
  avro: 'Avro, sealed',
  'avro-library': 'Avro by avsc, numbers only',
  protobuf: 'Protobuf, sealed',
  'protobuf-library': 'Protobuf by protobufjs, numbers only',
}

type Answer = { readonly rows: number; readonly users: number; readonly amount: number }

/** As a fetch response or an HTTP body brings them: one block of bytes, records by position. */
type Block = { readonly block: Uint8Array; readonly starts: Int32Array }

function blockOf(encode: (row: Row) => Uint8Array): Block {
  const records = Array.from({ length: DISTINCT }, (_, id) => encode(rowOf(id)))
  const starts = new Int32Array(DISTINCT + 1)
  for (let index = 0; index < DISTINCT; index += 1) starts[index + 1] = starts[index] + records[index].length
  return { block: Uint8Array.from(Buffer.concat(records)), starts }
}

function decodeAll({ block, starts }: Block, decoder: Decoder): Answer {
  const builder = createBatchBuilder(schema)
  const sum = { rows: 0, users: 0, amount: 0 }
  for (let round = 0; round < ROUNDS; round += 1) {
    const source = builder.sourceIndex('kafka:events:AAAAAAAAAAAAAAAAAAAAAA')
    for (let index = 0; index < DISTINCT; index += 1) {
      const failure = decoder.decode(block, starts[index], starts[index + 1], builder)
      if (failure) throw new Error(failure.reason)
      builder.finishRow(source, 0, index, 1_767_225_600_000, 1_767_225_600_000_000)
    }
    const batch = builder.seal()
    const users = new BigInt64Array(batch.vectors[1].data.buffer)
    const amounts = new Float64Array(batch.vectors[6].data.buffer)
    sum.rows += batch.rowCount
    if (round > 0) continue
    for (let row = 0; row < batch.rowCount; row += 1) {
      sum.users += Number(users[row])
      sum.amount += amounts[row]
    }
  }
  return sum
}

function parseAll({ block, starts }: Block, parse: (record: Buffer) => Row): Answer {
  const sum = { rows: 0, users: 0, amount: 0 }
  const buffer = Buffer.from(block.buffer)
  const numbers = Array.from({ length: 7 }, () => new Float64Array(DISTINCT))
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let index = 0; index < DISTINCT; index += 1) {
      const row = parse(buffer.subarray(starts[index], starts[index + 1]))
      numbers[0][index] = row.id
      numbers[1][index] = row.user_id
      numbers[2][index] = row.ts
      numbers[3][index] = row.amount
      numbers[4][index] = row.latency
      numbers[5][index] = row.status
      numbers[6][index] = row.bytes
    }
    sum.rows += DISTINCT
  }
  for (let index = 0; index < DISTINCT; index += 1) {
    sum.users += numbers[1][index]
    sum.amount += numbers[3][index]
  }
  return sum
}

/** Prints the figure, then the answer as JSON. */
function measure(name: string): void {
  const way = WAYS[name]
  const block = blockOf(way.encode)
  const decoder = way.decoder?.()
  const cpu = process.cpuUsage()
  const started = process.hrtime.bigint()
  const answer = decoder ? decodeAll(block, decoder) : parseAll(block, way.parse!)
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  const used = process.cpuUsage(cpu)
  const perMillion = (used.user + used.system) / answer.rows
  const bytes = Math.round(block.block.length / DISTINCT)
  console.log(
    `${NAMES[name]}: ${perMillion.toFixed(2)} CPU-s per M rows, ${Math.round(answer.rows / seconds)} rows/s, ${bytes} bytes a record`,
  )
  console.log(JSON.stringify(answer))
}

const [only, ...others] = process.argv.slice(2)
if (only === '--one') measure(others[0])
else {
  const names = only === undefined ? Object.keys(WAYS) : [only, ...others]
  console.log(`${DISTINCT * ROUNDS} records of 12 fields, Node ${process.version}`)
  const answers = new Set<string>()
  for (const name of names) {
    const output = execFileSync(process.execPath, [import.meta.filename, '--one', name], { encoding: 'utf8' })
    const [figure, answer] = output.trim().split('\n')
    console.log(figure)
    answers.add(answer)
  }
  if (answers.size !== 1) throw new Error(`answers differ: ${[...answers].join(' ')}`)
}
