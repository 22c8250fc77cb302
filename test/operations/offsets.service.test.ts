/**
 * Positions moved by an operator, gaps filled in, and everything reconciled with the broker: each record a row once, what was
 * skipped told as skipped (G-1, G-2).
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { checkCommand } from '../lake/check-lake.ts'
import { loseCatalog } from './lose-catalog.ts'
import { runJson, runMillrace } from './run-command.ts'

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

const TIME = Date.UTC(2026, 0, 31, 10)

function settingsFor(topic: string): string {
  return `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 50
query.memory: 256 MiB
log.level: warn
tables:
  events:
    columns: { id: long required }
pipelines:
  main: { topics: [${topic}], tables: [events] }
`
}

/** One record a second from TIME on. */
async function send(topic: string, from: number, count: number): Promise<void> {
  const records = Array.from({ length: count }, (_, each) => ({
    value: each === 7 ? '{broken' : JSON.stringify({ id: from + each }),
    timestamp: TIME + (from + each) * 1000,
  }))
  await producer.send(topic, 0, records)
}

type Reconciled = {
  balanced: boolean
  rows: string
  dead_letters: string
  findings: { kind: string; count: string; ranges: string[][] }[]
  notices: { kind: string; count: string; ranges: string[][] }[]
}

const placesOnce = async (millrace: Millrace) =>
  (
    await millrace.sql(
      'SELECT count(*), count(DISTINCT (_source, _partition, _offset)), count(DISTINCT id), count(DISTINCT _source) FROM events',
    )
  ).data[0].map(Number)

test('skipped while stopped, filled in while it runs, doubled only by words; reconcile names all of it', async () => {
  await kafka.createTopic('moved', 1)
  await send('moved', 0, 100)
  const millrace = await createMillrace({ settings: settingsFor('moved') })
  const set = (...args: string[]) => runMillrace(millrace, 'offsets', 'set', '--pipeline', 'main', ...args)
  try {
    const query = await millrace.start('query')
    const first = await millrace.start('ingest')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 99)
    const balanced = await runJson<Reconciled>(millrace, 'reconcile', 'events')
    expect(balanced).toMatchObject({ balanced: true, rows: '99', dead_letters: '1', findings: [], notices: [] })
    await millrace.eventually(
      "SELECT state FROM millrace.partitions WHERE pipeline = 'main'",
      (state) => state === 'running',
    )
    const told = await millrace.sql(
      `SELECT committed_offset, log_end, lag, freshness_ms < 5000, records_in, records_dead, topic FROM millrace.partitions`,
    )
    expect(told.data).toEqual([['100', '100', '0', true, '100', '1', 'moved']])

    const refused = await set('--to', 'latest')
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/pipeline "main" runs in ingest process \S+: stop it first/)
    expect((await first.stop()).code).toBe(0)

    await send('moved', 100, 200)
    const behind = await runJson<Reconciled>(millrace, 'reconcile', 'events')
    expect(behind).toMatchObject({ balanced: true, notices: [{ kind: 'lag', count: '200', ranges: [['100', '300']] }] })
    // By time: the first record that is not older.
    const moved = await set('--to', new Date(TIME + 249_500).toISOString(), '--why', 'a bad day')
    expect(moved.out).toMatch(/^moved\/0 \[100, 250\) goes on behind what is skipped \(kafka:moved:\S+@250\)\n$/)

    const second = await millrace.start('ingest')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 149)
    const skipped = await runJson<Reconciled>(millrace, 'reconcile', 'events')
    expect(skipped).toMatchObject({ balanced: true, findings: [] })
    expect(skipped.notices).toMatchObject([{ kind: 'skipped', count: '150', ranges: [['100', '250']] }])
    expect((await runMillrace(millrace, 'reconcile', 'events')).out).toContain('a bad day')

    // What is mistyped is told, and does not pass for all being well.
    expect(await runMillrace(millrace, 'reconcile', 'events', '--pipeline', 'mian')).toMatchObject({
      code: 2,
      err: 'millrace: pipeline "mian" brought nothing into table "events"\n',
    })
    const backwards = ['--from', 'latest', '--until', 'earliest']
    expect(await runMillrace(millrace, 'offsets', 'backfill', '--pipeline', 'main', ...backwards)).toMatchObject({
      code: 1,
      err: 'millrace: --from latest lies behind --until earliest\n',
    })
    const range = ['--from', '50', '--until', '200']
    const filled = await runMillrace(millrace, 'offsets', 'backfill', '--pipeline', 'main', ...range)
    expect(filled.out).toMatch(/^moved\/0 \[100, 200\) will be read/)
    expect((await runMillrace(millrace, 'offsets', 'backfill', '--pipeline', 'main', ...range)).out).toContain('stays')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 248, 60_000)
    expect(await placesOnce(millrace)).toEqual([248, 248, 248, 1])
    const after = await runJson<Reconciled>(millrace, 'reconcile', 'events')
    expect(after).toMatchObject({ balanced: true, findings: [] })
    expect(after.notices).toMatchObject([{ kind: 'skipped', count: '50', ranges: [['200', '250']] }])
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })

    // The catalog is lost: stretches are what they were, but that the rest was skipped is a gap that somebody has to fill.
    await second.stop()
    await query.stop()
    expect(await loseCatalog(millrace)).toMatch(/offsets \[200, 250\) of kafka:moved:\S+\/0 are between its stretches/)
    await millrace.start('query')
    await millrace.start('ingest')
    await send('moved', 300, 10)
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 257)
    const rest = ['--from', '0', '--until', '310']
    const filledRest = await runMillrace(millrace, 'offsets', 'backfill', '--pipeline', 'main', ...rest)
    expect(filledRest.out).toMatch(/^moved\/0 \[200, 250\) will be read/)
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 307, 60_000)
    expect(await placesOnce(millrace)).toEqual([307, 307, 307, 1])
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  } finally {
    await millrace.close()
  }
})

test('backward: nothing is read twice, unless it is asked for, and then as another source', async () => {
  await kafka.createTopic('again', 1)
  await send('again', 0, 60)
  const millrace = await createMillrace({ settings: settingsFor('again') })
  try {
    const query = await millrace.start('query')
    const first = await millrace.start('ingest')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 59)
    expect((await first.stop()).code).toBe(0)
    const back = await runMillrace(millrace, 'offsets', 'set', '--pipeline', 'main', '--to', 'earliest')
    expect(back.out).toContain('stays: all of it was consumed')
    const doubled = await runMillrace(
      millrace,
      ...['offsets', 'set', '--pipeline', 'main', '--to', '40', '--allow-duplicates'],
    )
    expect(doubled.out).toMatch(/^again\/0 \[40, 60\) reads again, as rows of another source \(kafka:again:\S+#2\)/)
    const second = await millrace.start('ingest')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 79)
    expect(await placesOnce(millrace)).toEqual([79, 79, 59, 2])
    expect(await runJson<Reconciled>(millrace, 'reconcile', 'events')).toMatchObject({ balanced: true, findings: [] })
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })

    // The catalog is lost: the incarnation that was read last is read on, and nothing is doubled once more.
    await second.stop()
    await query.stop()
    await loseCatalog(millrace)
    await millrace.start('query')
    await millrace.start('ingest')
    await send('again', 60, 10)
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 88)
    expect(await placesOnce(millrace)).toEqual([88, 88, 68, 2])
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  } finally {
    await millrace.close()
  }
})

test('compacted and transactional holes are told from missing rows; without a broker it could not look', async () => {
  await kafka.createTopic('holes', 1)
  const transaction = await producer.begin('t-holes')
  await transaction.send('holes', 0, [{ value: '{"id": 1}' }, { value: '{"id": 2}' }])
  await transaction.commit()
  const aborted = await producer.begin('t-holes-2')
  await aborted.send('holes', 0, [{ value: '{"id": 3}' }])
  await aborted.abort()
  await producer.send('holes', 0, [{ value: '{"id": 4}' }, { value: null }])
  const millrace = await createMillrace({ settings: settingsFor('holes') })
  try {
    await millrace.start('query')
    await millrace.start('ingest')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 3)
    await millrace.eventually('SELECT lag FROM millrace.partitions', (lag) => lag === '0')
    const reconciled = await runJson<Reconciled>(millrace, 'reconcile', 'events')
    expect(reconciled).toMatchObject({ balanced: true, rows: '3', findings: [] })
    const blind = await runMillrace(millrace, 'reconcile', 'events', '--set', 'kafka.bootstrap=["127.0.0.1:1"]')
    expect(blind.code).toBe(2)
    expect(blind.err).toContain('the brokers could not be asked: broker 127.0.0.1:1')
  } finally {
    await millrace.close()
  }
})
