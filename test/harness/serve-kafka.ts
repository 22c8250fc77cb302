/**
 * A Kafka broker as a program of its own, for `millrace demo --kafka`: prints `{"bootstrap":"host:port"}`, stays until
 * its standard input ends, keeps its data.
 *
 *   node test/harness/serve-kafka.ts --data <folder> --topics flights:4,airports:1
 */
import { parseArgs } from 'node:util'
import { startKafka } from './kafka.ts'

const { values } = parseArgs({ options: { data: { type: 'string' }, topics: { type: 'string', default: '' } } })

await using kafka = await startKafka({ folder: values.data })
for (const topic of values.topics.split(',').filter(Boolean)) {
  const [name, partitions = '1'] = topic.split(':')
  const isThere = await kafka.logEnd(name, 0).then(
    () => true,
    () => false,
  )
  if (!isThere) await kafka.createTopic(name, Number(partitions))
}
process.stdout.write(`${JSON.stringify({ bootstrap: kafka.bootstrap })}\n`)
const stop = new Promise((resolve) => {
  process.stdin.once('end', resolve)
  process.once('SIGTERM', resolve)
})
process.stdin.resume()
await stop
await kafka.stop()
