// The catalog is gone from a lake whose live segments were merged by ingest: merged files stand for their inputs, whose bytes lie
// beside them, and a merge that died before its commit has left a file that stands for rows twice (G-1, G-2, G-4).
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type LostLake, openLostLake } from './lost-lake.ts'

const MERGED_WITHIN_MS = 60_000

let kafka: KafkaBroker
let producer: Producer
beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
})
afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

async function mergedFiles(lake: LostLake): Promise<number> {
  const names = await readdir(join(lake.millrace.folder, 'data'), { recursive: true })
  return names.filter((name) => name.includes('-merged-')).length
}

/** Small flushes until this many merged files lie there. */
async function feedUntilMerged(lake: LostLake, files: number): Promise<void> {
  for (let round = 0; (await mergedFiles(lake)) < files; round += 1) {
    expect(round).toBeLessThan(40)
    await lake.produce(5)
    await lake.send(7)
  }
}

test('merged segments, their inputs, and one that was never committed: every row once', {
  timeout: 180_000,
}, async () => {
  const lake = await openLostLake({ kafka, producer, topic: 'merged', settings: 'segments.live.max: 8' })
  const { millrace } = lake
  try {
    const query = await millrace.start('query')
    const first = await millrace.start('ingest')
    await feedUntilMerged(lake, 2)
    await lake.arrived()
    await first.kill()
    // Its merged file is there, its commit never was.
    const doomed = await millrace.start('ingest', { crashAt: 'ingest/after-merged-file' })
    let ended = false
    void doomed.exited.then(() => {
      ended = true
    })
    const patienceEnds = performance.now() + MERGED_WITHIN_MS
    while (!ended && performance.now() < patienceEnds) {
      await lake.produce(1)
      await sleep(100)
    }
    expect(ended).toBe(true)
    const last = await millrace.start('ingest')
    await lake.send(20)
    await lake.arrived()
    await lake.expectEverythingOnce()
    await last.kill()
    await query.stop()

    await lake.deleteCatalog()
    const { exit, output } = await lake.rebuild()
    expect(exit.code, output).toBe(0)
    await Promise.all([millrace.start('query'), millrace.start('ingest')])
    await lake.produce(20)
    await lake.send(15)
    await lake.arrived()
    await lake.expectEverythingOnce()
    await millrace.start('compactor')
    const checked = await lake.check()
    expect(checked.exit.code, checked.output).toBe(0)
    await lake.expectEverythingOnce()
  } finally {
    await lake.close()
  }
})
