// Records go on coming while everything around ingest is disturbed, at random and at least twenty times: kill -9, zombies
// (SIGSTOP longer than a session, then SIGCONT), members that join and leave, a broker that dies or freezes. What the log
// holds at the end is in the table or in its dead letters, each offset once, and `reconcile` says so (G-1, G-2, G-5).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EXIT_FENCED } from '../../runtime/lifecycle.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import type { StartedProcess } from '../harness/processes.ts'
import { createProducer } from '../harness/produce.ts'
import { type Place, type Servers, startServers } from '../lake/places.ts'
import { runJson } from '../operations/run-command.ts'
import { seeded } from './table-checks.ts'

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']
const TOPICS = ['orders', 'payments'] as const
const PARTITIONS = 4
/** So many batches, each for itself to lose: how many records one has makes no difference. */
const BATCH = 50
/** One record of so many is no JSON. */
const BAD_EVERY = 97
const DISTURBANCES = 22
const MEMBERS_MAX = 3
const CAUGHT_UP_MS = 90_000

type Member = { process: StartedProcess; isFrozen: boolean }

let kafka: KafkaBroker
let servers: Servers

beforeAll(async () => {
  // A member that is gone is missed after this session time; the broker allows 6 s and more unless told otherwise.
  ;[kafka, servers] = await Promise.all([
    startKafka({ properties: { 'group.min.session.timeout.ms': '500' } }),
    startServers(PLACES),
  ])
})

afterAll(async () => {
  await Promise.all([kafka?.[Symbol.asyncDispose](), servers?.stop()])
})

function settingsFor(names: readonly string[]): string {
  const tables = TOPICS.map((table) => `  ${table}: { columns: { id: long required, kind: string }, sort: [id] }`)
  const pipelines = TOPICS.map((table, index) => `  ${table}: { topics: [${names[index]}], tables: [${table}] }`)
  return `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 1500 ms
flush.interval.ms: 100
snapshot.age.ms: 2 s
leases.ms: 1500 ms
sweep.writer-silent.ms: 4 s
compaction.memory: 256 MiB
query.memory: 256 MiB
log.level: warn
tables:
${tables.join('\n')}
pipelines:
${pipelines.join('\n')}
`
}

/** Sends until told to stop; a broker that is away is waited for. A batch may come twice then: the log counts, not we. */
function startProducing(names: readonly string[]): { stop(): Promise<void> } {
  let isOver = false
  async function run(): Promise<void> {
    let sent = 0
    while (!isOver) {
      try {
        await using producer = await createProducer(kafka.bootstrap)
        while (!isOver) {
          const records = Array.from({ length: BATCH }, (_, each) => {
            const id = sent + each
            return { value: id % BAD_EVERY === 0 ? `no JSON ${id}` : `{"id":${id},"kind":"k${id % 7}"}` }
          })
          for (const name of names) await producer.send(name, (sent / BATCH) % PARTITIONS, records, { codec: 'lz4' })
          sent += BATCH
          await sleep(20)
        }
      } catch {
        await sleep(200)
      }
    }
  }
  const running = run()
  return {
    async stop() {
      isOver = true
      await running
    },
  }
}

/** Where one froze in the middle of a transaction of SQLite, which locks everybody out, all are woken before the next attempt. */
async function startMember(millrace: Millrace, members: Member[]): Promise<void> {
  const start = () => millrace.start('ingest', { extra: true })
  const process = await start().catch((error: unknown) => {
    if (!/the catalog was busy/.test(String(error))) throw error
    for (const member of members) {
      member.process.resume()
      member.isFrozen = false
    }
    return start()
  })
  members.push({ process, isFrozen: false })
}

/** Does one thing to the processes or the broker and says what. */
async function disturb(millrace: Millrace, members: Member[], random: () => number): Promise<string> {
  const pick = Math.floor(random() * 100)
  const member = members[Math.floor(random() * members.length)]
  const start = () => startMember(millrace, members)
  if (pick < 30) {
    await member.process.kill()
    members.splice(members.indexOf(member), 1)
    await start()
    return 'kill -9, another one starts'
  }
  if (pick < 60) {
    if (member.isFrozen) {
      member.process.resume()
      member.isFrozen = false
      return 'a zombie wakes up'
    }
    member.process.pause()
    member.isFrozen = true
    return 'one freezes'
  }
  if (pick < 75) {
    if (members.length < MEMBERS_MAX) {
      await start()
      return 'one joins'
    }
    member.process.resume()
    await member.process.stop()
    members.splice(members.indexOf(member), 1)
    return 'one leaves'
  }
  if (pick < 83) {
    await kafka.kill9()
    await sleep(random() * 1_000)
    await kafka.restart()
    return 'the broker is killed and starts again'
  }
  kafka.pause()
  await sleep(500 + random() * 2_000)
  kafka.resume()
  return 'the broker freezes for a while'
}

/** A zombie that was fenced ends by itself with 75; nothing else may end by itself. */
async function replaceFenced(millrace: Millrace, members: Member[]): Promise<void> {
  for (const member of [...members]) {
    const exit = member.process.exit()
    if (!exit) continue
    expect(exit).toEqual({ code: EXIT_FENCED, signal: null })
    members.splice(members.indexOf(member), 1)
    await startMember(millrace, members)
  }
}

async function expectEachOffsetOnce(millrace: Millrace, table: string, topic: string): Promise<void> {
  const ends = await Promise.all(Array.from({ length: PARTITIONS }, (_, each) => kafka.logEnd(topic, each)))
  const { data } = await millrace.sql(`
    WITH both_tables AS (
      SELECT _source, _partition, _offset, 0 AS dead FROM ${table}
      UNION ALL SELECT _source, _partition, _offset, 1 FROM ${table}__dead_letters)
    SELECT _partition, count(*), count(DISTINCT (_source, _offset)), min(_offset), max(_offset), sum(dead) > 0
    FROM both_tables GROUP BY _partition ORDER BY _partition`)
  expect(data.map(([partition, ...rest]) => [Number(partition), ...rest.slice(0, 4).map(Number), rest[4]])).toEqual(
    ends.map((end, each) => [each, end, end, 0, end - 1, true]),
  )
}

test.each(PLACES)('%s: at least twenty disturbances lose and double nothing', { timeout: 300_000 }, async (place) => {
  const seed = Number(process.env.MILLRACE_TEST_SEED ?? Date.now() % 1_000_000)
  console.log(`disturbances of seed ${seed}; again: MILLRACE_TEST_SEED=${seed}`)
  const random = seeded(seed)
  const names = TOPICS.map((topic) => `${topic}-${PLACES.indexOf(place)}`)
  for (const name of names) await kafka.createTopic(name, PARTITIONS)
  const where = await servers.settingsFor(place, 'disturbed')
  const millrace = await createMillrace({ settings: `${where}\n${settingsFor(names)}` })
  const members: Member[] = []
  const said: string[] = []
  let producing: { stop(): Promise<void> } | undefined
  try {
    await Promise.all([millrace.start('query'), millrace.start('compactor')])
    for (let each = 0; each < 2; each++) {
      await startMember(millrace, members)
    }
    producing = startProducing(names)
    for (let count = 0; count < DISTURBANCES; count++) {
      await sleep(200 + random() * 1_200)
      said.push(await disturb(millrace, members, random))
      await replaceFenced(millrace, members)
    }
    for (const member of members) member.process.resume()
    await producing.stop()
    await sleep(500)
    await replaceFenced(millrace, members)
    for (const [index, table] of TOPICS.entries()) {
      const ends = await Promise.all(Array.from({ length: PARTITIONS }, (_, each) => kafka.logEnd(names[index], each)))
      const all = ends.reduce((sum, end) => sum + end, 0)
      expect(all).toBeGreaterThan(1_000)
      await millrace.eventually(
        `SELECT (SELECT count(*) FROM ${table}) + (SELECT count(*) FROM ${table}__dead_letters)`,
        (rows) => Number(rows) >= all,
        CAUGHT_UP_MS,
      )
      await expectEachOffsetOnce(millrace, table, names[index])
      expect(await runJson(millrace, 'reconcile', table)).toMatchObject({ balanced: true, findings: [] })
    }
    await replaceFenced(millrace, members)
    expect(said.length).toBeGreaterThanOrEqual(20)
  } catch (error) {
    throw new Error(`seed ${seed}: after ${said.length} disturbances (${said.join('; ')})`, { cause: error })
  } finally {
    await producing?.stop()
    kafka.resume()
    await millrace.close()
  }
})
