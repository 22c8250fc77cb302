// The catalog is gone, the bucket is there: every acknowledged row once, Kafka goes on where the bucket ends (G-1, G-2, G-4).
import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { crashPointsInSource } from '../lake/crash-points.ts'
import { type Servers, startServers } from '../lake/places.ts'
import { type LostLake, openLostLake } from './lost-lake.ts'

let kafka: KafkaBroker
let producer: Producer
let servers: Servers
beforeAll(async () => {
  ;[kafka, servers] = await Promise.all([startKafka(), startServers(['PostgreSQL and a bucket'])])
  producer = await createProducer(kafka.bootstrap)
})
afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
  await servers?.stop()
})

const POINTS = ['rebuild/after-fence', 'rebuild/before-commit', 'rebuild/after-commit'] as const

test('every crash point of a rebuild in the source is one of these', () => {
  expect(crashPointsInSource().filter((name) => name.startsWith('rebuild/'))).toEqual([...POINTS].sort())
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

/** `lose` gives what the commands must be told besides. */
async function lostAndMadeAgain(lake: LostLake, lose: () => Promise<readonly string[]>): Promise<void> {
  await fed(lake)
  const { millrace } = lake
  const into = await lose()
  const dry = await lake.rebuild('--dry-run', '--json', ...into)
  expect(dry.exit.code, dry.output).toBe(0)
  expect((await readdir(`${millrace.folder}/data`)).filter((name) => name.startsWith('catalog.sqlite'))).toEqual([])
  // Records that came meanwhile are read afterwards.
  await lake.produce(70)
  for (const point of POINTS) {
    const killed = await lake.rebuildKilledAt(point, ...into)
    expect([point, killed.exit.signal], killed.output).toEqual([point, 'SIGKILL'])
  }
  // The last one had done all of it, and was not heard.
  const { exit, output } = await lake.rebuild(...into)
  expect(exit.code, output).toBe(0)
  expect(output).toContain('The catalog says what the bucket says already')
  await Promise.all([millrace.start('query'), millrace.start('ingest'), millrace.start('compactor')])
  await lake.send(30)
  await lake.arrived()
  await lake.expectEverythingOnce()
  const checked = await lake.check()
  expect(checked.exit.code, checked.output).toBe(0)
}

test('SQLite on local disk', { timeout: 240_000 }, async () => {
  const lake = await openLostLake({ kafka, producer, topic: 'local' })
  try {
    await lostAndMadeAgain(lake, async () => {
      await lake.deleteCatalog()
      return []
    })
  } finally {
    await lake.close()
  }
})

test('PostgreSQL and a bucket, into a new database', { timeout: 240_000 }, async () => {
  const settings = await servers.settingsFor('PostgreSQL and a bucket', 'lost')
  const lake = await openLostLake({ kafka, producer, topic: 'remote', settings })
  try {
    await lostAndMadeAgain(lake, async () => {
      const url = await servers.postgres?.createDatabase()
      if (url === undefined) throw new Error('no PostgreSQL')
      await lake.useCatalog(url)
      return ['--into', url]
    })
  } finally {
    await lake.close()
  }
})
