/**
 * Lines of standard input into a topic, one record each, for `millrace demo --kafka`. Blocks of lines go round the
 * topic's partitions, always the same way: what an earlier run has sent (the partition's log end says how much) is
 * skipped, so that a run that was cut off goes on.
 *
 *   node test/harness/produce-lines.ts --bootstrap host:port --topic flights < lines
 */
import { parseArgs } from 'node:util'
import { createKafkaAdmin } from './kafka-admin.ts'
import { createProducer } from './produce.ts'

const BLOCK_LINES = 2000

const { values } = parseArgs({
  options: { bootstrap: { type: 'string' }, topic: { type: 'string' }, partitions: { type: 'string', default: '1' } },
})
const { bootstrap, topic } = values
if (bootstrap === undefined || topic === undefined) throw new Error('--bootstrap and --topic are needed')
const admin = createKafkaAdmin(bootstrap)
const partitions = Number(values.partitions)
const skip = await Promise.all(Array.from({ length: partitions }, (_, partition) => admin.logEnd(topic, partition)))
const sending: Promise<unknown>[] = Array.from({ length: partitions }, () => Promise.resolve())
await using producer = await createProducer(bootstrap)
process.stdout.write(`${JSON.stringify({ there: skip.reduce((sum, each) => sum + each, 0) })}\n`)

let block = 0
let lines: Buffer[] = []

async function sendBlock(): Promise<void> {
  const partition = block % partitions
  const records = lines.slice(Math.min(lines.length, skip[partition])).map((value) => ({ value }))
  skip[partition] -= lines.length - records.length
  block += 1
  lines = []
  await sending[partition]
  if (records.length > 0) sending[partition] = producer.send(topic as string, partition, records, { codec: 'lz4' })
}

let rest: Buffer = Buffer.alloc(0)
for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
  const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
  let start = 0
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    lines.push(bytes.subarray(start, end))
    start = end + 1
    if (lines.length === BLOCK_LINES) await sendBlock()
  }
  rest = bytes.subarray(start)
}
if (lines.length > 0) await sendBlock()
await Promise.all(sending)
