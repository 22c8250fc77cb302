// The catalog is gone, the bucket is there: every acknowledged row once, Kafka goes on where the bucket ends (G-1, G-2, G-4).
import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { s3Yaml } from '../lake/open-lake.ts'
import { type LostLake, openLostLake } from './lost-lake.ts'

let kafka: KafkaBroker
let producer: Producer
let s3: S3Server
beforeAll(async () => {
  ;[kafka, s3] = await Promise.all([startKafka(), startS3Server()])
  producer = await createProducer(kafka.bootstrap)
})
afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
  await s3?.stop()
})

/** Rows in snapshots, in live segments, in files that a crash left behind, and on their way. */
async function fed(lake: LostLake): Promise<void> {
  const query = await lake.millrace.start('query')
  const compactor = await lake.millrace.start('compactor')
  const first = await lake.millrace.start('ingest')
  await lake.produce(300)
  await lake.send(100)
  await lake.sendAnonymous(30)
  await lake.arrived()
  await first.kill()
  const doomed = await lake.millrace.start('ingest', { crashAt: 'ingest/before-commit' })
  await lake.produce(200)
  await doomed.exited
  const last = await lake.millrace.start('ingest')
  await lake.send(60)
  await lake.arrived()
  // From here on nothing is compacted: what comes now is in live segments only.
  await compactor.stop()
  await lake.send(45)
  await lake.produce(120)
  await lake.arrived()
  await lake.expectEverythingOnce()
  await last.kill()
  await query.stop()
}

async function lostAndMadeAgain(lake: LostLake): Promise<void> {
  await fed(lake)
  const running = lake.millrace
  await lake.deleteCatalog()
  const dry = await lake.rebuild('--dry-run', '--json')
  expect(dry.exit.code, dry.output).toBe(0)
  expect((await readdir(`${running.folder}/data`)).filter((name) => name.startsWith('catalog.sqlite'))).toEqual([])
  // Records that came meanwhile are read afterwards.
  await lake.produce(70)
  const { exit, output } = await lake.rebuild()
  expect(exit.code, output).toBe(0)
  expect(output).toContain('The catalog is rebuilt')
  await running.start('query')
  await running.start('ingest')
  await running.start('compactor')
  await lake.send(30)
  await lake.arrived()
  await lake.expectEverythingOnce()
}

test('on local disk', { timeout: 150_000 }, async () => {
  const lake = await openLostLake({ kafka, producer, topic: 'local' })
  try {
    await lostAndMadeAgain(lake)
  } finally {
    await lake.close()
  }
})

test('in a bucket', { timeout: 150_000 }, async () => {
  const bucket = await s3.bucket('lost')
  const settings = s3Yaml(s3, { root: `s3://${bucket}/lake` })
  const lake = await openLostLake({ kafka, producer, topic: 'remote', settings })
  try {
    await lostAndMadeAgain(lake)
  } finally {
    await lake.close()
  }
})
