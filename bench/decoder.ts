/**
 * What decoding costs: 12-column JSON records of about 200 bytes through the byte scanner, and the same through
 * `JSON.parse` into typed arrays. Both answers are compared. Run: `node bench/decoder.ts`
 */
import { createBatchBuilder } from '../ingest/decoder/batch-builder.ts'
import { createJsonDecoder } from '../ingest/decoder/json-decoder.ts'
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

const records = Array.from({ length: DISTINCT }, (_, id) =>
  Buffer.from(
    JSON.stringify({
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
    }),
  ),
)

// As a fetch response or an HTTP body brings them: one block of bytes, records by position.
const block = Uint8Array.from(Buffer.concat(records))
const starts = new Int32Array(DISTINCT + 1)
for (let index = 0; index < DISTINCT; index += 1) starts[index + 1] = starts[index] + records[index].length

type Answer = { readonly rows: number; readonly users: number; readonly amount: number }

function scan(): Answer {
  const decoder = createJsonDecoder(schema)
  const builder = createBatchBuilder(schema)
  const sum = { rows: 0, users: 0, amount: 0 }
  for (let round = 0; round < ROUNDS; round += 1) {
    const source = builder.sourceIndex('kafka:events:AAAAAAAAAAAAAAAAAAAAAA')
    for (let index = 0; index < records.length; index += 1) {
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

type Row = { id: number; user_id: number; ts: string; amount: number; latency: number; status: number; bytes: number }

function parse(): Answer {
  const sum = { rows: 0, users: 0, amount: 0 }
  const numbers = Array.from({ length: 7 }, () => new Float64Array(DISTINCT))
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let index = 0; index < records.length; index += 1) {
      const row = JSON.parse(records[index].toString('utf8')) as Row
      numbers[0][index] = row.id
      numbers[1][index] = row.user_id
      numbers[2][index] = Date.parse(row.ts)
      numbers[3][index] = row.amount
      numbers[4][index] = row.latency
      numbers[5][index] = row.status
      numbers[6][index] = row.bytes
    }
    sum.rows += records.length
  }
  for (let index = 0; index < DISTINCT; index += 1) {
    sum.users += numbers[1][index]
    sum.amount += numbers[3][index]
  }
  return sum
}

function measure(name: string, run: () => Answer): Answer {
  const cpu = process.cpuUsage()
  const started = process.hrtime.bigint()
  const answer = run()
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  const used = process.cpuUsage(cpu)
  const perMillion = (used.user + used.system) / answer.rows
  console.log(`${name}: ${perMillion.toFixed(2)} CPU-s per M rows, ${Math.round(answer.rows / seconds)} rows/s`)
  return answer
}

console.log(
  `${records.length * ROUNDS} records of ${Math.round(records.reduce((n, r) => n + r.length, 0) / DISTINCT)} bytes, Node ${process.version}`,
)
const scanned = measure('byte scanner, sealed', scan)
const parsed = measure('JSON.parse, numbers only', parse)
if (JSON.stringify(scanned) !== JSON.stringify(parsed))
  throw new Error(`answers differ: ${JSON.stringify({ scanned, parsed })}`)
