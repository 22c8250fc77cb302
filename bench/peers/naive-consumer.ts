/**
 * The naive way from Kafka to Parquet in JavaScript, as most would write it first: kafkajs `eachBatch`, `JSON.parse` of every
 * record, rows as objects, columns as arrays, a maintained Parquet writer (hyparquet-writer) with zstd, a file for every
 * 100,000 rows. Not exactly-once. A process of its own, so that its CPU seconds can be counted.
 *
 *   node bench/peers/naive-consumer.ts <bootstrap> <topic> <rows> <out folder> <folder with node_modules>
 *
 * Prints one line of JSON with what it wrote when all rows are in files, and waits for its end.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { zstdCompressSync } from 'node:zlib'
import { unpack } from '../../ingest/kafka/record-codecs.ts'

const ROWS_A_FILE = 100_000

type Row = Readonly<Record<string, unknown>>
type KafkaMessage = { readonly value: Buffer | null }
type KafkaJs = {
  readonly Kafka: new (
    options: object,
  ) => {
    consumer(options: object): {
      connect(): Promise<void>
      subscribe(options: object): Promise<void>
      run(options: object): Promise<void>
      disconnect(): Promise<void>
    }
  }
  readonly CompressionTypes: { readonly LZ4: number; readonly ZSTD: number }
  readonly CompressionCodecs: Record<number, unknown>
  readonly logLevel: { readonly ERROR: number }
}
type ParquetWriter = { parquetWriteFile(options: object): void | Promise<void> }

const [bootstrap, topic, rowsText, out, modules] = process.argv.slice(2)
const rowsWanted = Number(rowsText)
const require = createRequire(join(modules, 'package.json'))
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs') as KafkaJs
const { parquetWriteFile } = (await import(
  pathToFileURL(join(modules, 'node_modules/hyparquet-writer/src/node.js')).href
)) as ParquetWriter

// kafkajs has no lz4 and zstd of its own: it gets the ones that we use, which are faster than its plugins.
const BYTES_MAX = 1 << 28
const codecOf = (number: number) => () => ({
  compress: () => Promise.reject(new Error('this program only reads')),
  decompress: async (bytes: Buffer) => Buffer.from(unpack(number, bytes, BYTES_MAX)),
})
CompressionCodecs[CompressionTypes.LZ4] = codecOf(CompressionTypes.LZ4)
CompressionCodecs[CompressionTypes.ZSTD] = codecOf(CompressionTypes.ZSTD)

const TYPES = {
  ts: 'TIMESTAMP',
  id: 'INT64',
  user_id: 'INT64',
  country: 'STRING',
  device: 'STRING',
  url: 'STRING',
  status: 'INT32',
  latency: 'DOUBLE',
  amount: 'DOUBLE',
  ok: 'BOOLEAN',
  items: 'INT32',
  session: 'STRING',
} as const

let rows: Row[] = []
let written = 0
let files = 0
let idSum = 0n

async function writeRows(): Promise<void> {
  const columnData = Object.entries(TYPES).map(([name, type]) => ({
    name,
    type,
    data: rows.map((row) => {
      const value = row[name]
      if (type === 'TIMESTAMP') return new Date(value as string)
      return type === 'INT64' ? BigInt(value as number) : value
    }),
  }))
  await parquetWriteFile({
    filename: join(out, `part-${files}.parquet`),
    columnData,
    codec: 'ZSTD',
    compressors: { ZSTD: (bytes: Uint8Array) => zstdCompressSync(bytes) },
  })
  for (const row of rows) idSum += BigInt(row.id as number)
  written += rows.length
  files += 1
  rows = []
}

const consumer = new Kafka({
  clientId: 'naive',
  brokers: [bootstrap],
  logLevel: logLevel.ERROR,
}).consumer({ groupId: `naive-${process.pid}`, maxBytesPerPartition: 8 << 20 })
await consumer.connect()
await consumer.subscribe({ topics: [topic], fromBeginning: true })
await new Promise<void>((resolve, reject) => {
  void consumer
    .run({
      eachBatch: async ({ batch }: { batch: { readonly messages: readonly KafkaMessage[] } }) => {
        for (const { value } of batch.messages) if (value) rows.push(JSON.parse(value.toString()) as Row)
        if (rows.length >= ROWS_A_FILE || written + rows.length === rowsWanted) await writeRows()
        if (written === rowsWanted) resolve()
      },
    })
    .catch(reject)
})
process.stdout.write(`${JSON.stringify({ rows: written, files, idSum: String(idSum) })}\n`)
await consumer.disconnect()
// It stays, so that what it cost can be read from outside.
setInterval(() => {}, 60_000)
