/**
 * Dead letters looked at, replayed and discarded: bytes as they came, each record a row once, whoever asks how often and
 * wherever a process is killed (G-1, G-2, G-5).
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { checkCommand } from '../lake/check-lake.ts'
import { catalogFileOf, loseCatalog } from './lose-catalog.ts'
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

const SMALL = 'ingest.record.bytes.max=100'
const TIME = Date.UTC(2026, 0, 31, 10, 0, 0, 123)

function settingsFor(topic: string): string {
  return `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.topics.refresh.ms: 300
flush.interval.ms: 50
snapshot.age.ms: 500 ms
compaction.interval.ms: 100
compaction.memory: 256 MiB
sweep.interval.ms: 500 ms
query.memory: 256 MiB
tables:
  events:
    columns: { id: long required, note: string }
    sort: [id]
pipelines:
  main: { topics: [${topic}], tables: [events] }
`
}

const padding = 'x'.repeat(120)

/** 60 records in two topic-partitions: every third is too large, every tenth no JSON. */
async function send(topic: string): Promise<void> {
  await kafka.createTopic(topic, 2)
  for (const partition of [0, 1]) {
    const records = Array.from({ length: 30 }, (_, each) => {
      const id = partition * 1000 + each
      const note = each % 3 === 0 ? padding : 'short'
      const value = each % 10 === 5 ? `{"id": ${id}, oops` : JSON.stringify({ id, note })
      return {
        key: Buffer.from([0xff, each]),
        value,
        timestamp: TIME + each,
        headers: [
          ['trace', `t-${id}`],
          ['trace', null],
          ['raw', Buffer.from([0xfe])],
        ] as const,
      }
    })
    await producer.send(topic, partition, records)
  }
}

const BROKEN = 6
/** Two of every third are broken. */
const TOO_LARGE = 18
const GOOD = 60 - BROKEN - TOO_LARGE

async function lettersIn(millrace: Millrace): Promise<number> {
  return Number(await millrace.value('SELECT count(*) FROM events__dead_letters'))
}

async function expectEveryRecordOnce(millrace: Millrace, rows: number): Promise<void> {
  const { data } = await millrace.sql(
    `SELECT count(*), count(DISTINCT (_source, _partition, _offset)), count(DISTINCT id),
       count(*) FILTER (WHERE id = _partition * 1000 + _offset AND epoch_ms(_timestamp) = ${TIME} + _offset) FROM events`,
  )
  expect(data[0].map(Number)).toEqual([rows, rows, rows, rows])
}

type Taken = { replayed: number; discarded: number; failed: number; failures: { reason: string }[] }
type Listed = { letters: { partition: number; offset: string; kind: string; pipeline: string }[]; next: string | null }

test('listed by pages, shown whole, replayed once after a fix, the rest discarded; the lake is sound all the while', async () => {
  await send('letters')
  const millrace = await createMillrace({ settings: settingsFor('letters') })
  try {
    await millrace.start('query')
    const small = await millrace.start('ingest', { set: [SMALL] })
    await millrace.eventually(
      'SELECT count(*) FROM events__dead_letters',
      (rows) => Number(rows) === BROKEN + TOO_LARGE,
    )
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === GOOD)

    const first = await runJson<Listed>(
      millrace,
      'dead-letters',
      'list',
      'events',
      '--kind',
      'too-large',
      '--limit',
      '15',
    )
    expect(first.letters).toHaveLength(15)
    expect(new Set(first.letters.map(({ pipeline, kind }) => `${pipeline} ${kind}`))).toEqual(
      new Set(['main too-large']),
    )
    const rest = await runJson<Listed>(
      millrace,
      ...['dead-letters', 'list', 'events', '--kind', 'too-large', '--after', first.next ?? ''],
    )
    expect(rest).toMatchObject({ next: null })
    const places = [...first.letters, ...rest.letters].map(({ partition, offset }) => `${partition}/${offset}`)
    expect(places).toEqual(
      [0, 1].flatMap((partition) => [0, 3, 6, 9, 12, 18, 21, 24, 27].map((o) => `${partition}/${o}`)),
    )

    const shown = await runJson<Record<string, unknown>>(
      millrace,
      ...['dead-letters', 'show', 'events', '--partition', '1', '--from-offset', '25', '--reason', 'JSON'],
    )
    expect(shown).toMatchObject({
      topic: 'letters',
      partition: 1,
      offset: '25',
      pipeline: 'main',
      timestamp: '2026-01-31T10:00:00.148Z',
      key: { base64: Buffer.from([0xff, 25]).toString('base64') },
      value: { text: '{"id": 1025, oops' },
      headers: [
        { name: 'trace', value: { text: 't-1025' } },
        { name: 'trace', value: null },
        { name: 'raw', value: { base64: '/g==' } },
      ],
    })

    // Nothing is mended yet: all stay, and it is said why.
    const inVain = await runJson<Taken>(millrace, 'dead-letters', 'replay', 'events')
    expect(inVain).toMatchObject({ replayed: 0, failed: BROKEN + TOO_LARGE })
    expect(inVain.failures.some(({ reason }) => reason.includes('ingest.record.bytes.max (100)'))).toBe(true)
    expect(await lettersIn(millrace)).toBe(BROKEN + TOO_LARGE)

    expect((await small.stop()).code).toBe(0)
    const second = await millrace.start('ingest')
    const other = await millrace.start('ingest', { extra: true })
    const replays = await Promise.all([
      runJson<Taken>(millrace, 'dead-letters', 'replay', 'events', '--partition', '0'),
      runJson<Taken>(millrace, 'dead-letters', 'replay', 'events', '--url', second.url),
      runJson<Taken>(millrace, 'dead-letters', 'replay', 'events', '--url', other.url),
    ])
    expect(replays.reduce((sum, { replayed }) => sum + replayed, 0)).toBe(TOO_LARGE)
    await expectEveryRecordOnce(millrace, GOOD + TOO_LARGE)
    expect(await lettersIn(millrace)).toBe(BROKEN)
    expect(await millrace.value("SELECT count(*) FROM events__dead_letters WHERE kind <> 'value'")).toBe('0')
    expect(await runJson<Taken>(millrace, 'dead-letters', 'replay', 'events')).toMatchObject({
      replayed: 0,
      failed: BROKEN,
    })

    expect((await runMillrace(millrace, 'dead-letters', 'discard', 'events')).err).toContain('"all": true')
    const discarded = await runMillrace(
      millrace,
      ...['dead-letters', 'discard', 'events', '--partition', '0', '--reason', 'json', '--why', 'test records'],
    )
    expect([discarded.code, discarded.out]).toEqual([0, '3 discarded\n'])
    expect(await lettersIn(millrace)).toBe(3)
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })

    // The compactor leaves them out of the bytes, and everything is as before.
    const compactor = await millrace.start('compactor')
    await millrace.eventually('SELECT count(*) FROM events__dead_letters', (rows) => Number(rows) === 3)
    await second.stop()
    await other.stop()
    await compactor.stop()
    await expectEveryRecordOnce(millrace, GOOD + TOO_LARGE)
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  } finally {
    await millrace.close()
  }
})

for (const crashAt of [
  'ingest/after-segment-file',
  'ingest/before-commit',
  'catalog/tick-before-commit',
  'catalog/tick-after-commit',
  'ingest/after-commit',
]) {
  test(`killed at ${crashAt} during a replay: asked again, each record is a row once (G-1, G-2)`, async () => {
    const topic = `killed-${crashAt.replace('/', '-')}`
    await send(topic)
    const millrace = await createMillrace({ settings: settingsFor(topic) })
    try {
      await millrace.start('query')
      const small = await millrace.start('ingest', { set: [SMALL] })
      await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === GOOD)
      await millrace.eventually(
        'SELECT count(*) FROM events__dead_letters',
        (rows) => Number(rows) === BROKEN + TOO_LARGE,
      )
      expect((await small.stop()).code).toBe(0)
      const doomed = await millrace.start('ingest', { crashAt })
      const unanswered = await runMillrace(millrace, 'dead-letters', 'replay', 'events')
      expect(unanswered.code).toBe(1)
      expect((await doomed.exited).signal).toBe('SIGKILL')
      await millrace.start('ingest')
      const again = await runJson<Taken>(millrace, 'dead-letters', 'replay', 'events')
      const isIn = crashAt.includes('after-commit')
      expect(again).toMatchObject({ replayed: isIn ? 0 : TOO_LARGE, failed: BROKEN })
      await expectEveryRecordOnce(millrace, GOOD + TOO_LARGE)
      expect(await lettersIn(millrace)).toBe(BROKEN)
      expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
    } finally {
      await millrace.close()
    }
  })
}

/** No segment and no mask is left: the compactor has rewritten all of it. */
async function untilRewritten(millrace: Millrace): Promise<void> {
  const log = createLog({ level: 'error', fields: { service: 'test' }, secrets: [] })
  const world = createSystemWorld({ log, crashAt: '' })
  const catalog = await openCatalog({ url: `sqlite:${catalogFileOf(millrace)}`, world })
  try {
    await expect
      .poll(
        async () => {
          const tables = await catalog.readTables(['events', 'events__dead_letters'])
          return tables.map(({ segments, masks = [] }) => [segments.length, masks.length])
        },
        { timeout: 30_000, interval: 200 },
      )
      .toEqual([
        [0, 0],
        [0, 0],
      ])
  } finally {
    await catalog.close()
  }
}

for (const isCompacted of [false, true]) {
  const how = isCompacted ? 'after the letters were rewritten' : 'while their bytes are still in files'
  test(`the catalog is lost ${how}: no letter becomes a row a second time (G-2)`, async () => {
    const topic = `lost-${isCompacted}`
    await send(topic)
    const millrace = await createMillrace({ settings: settingsFor(topic) })
    try {
      const query = await millrace.start('query')
      const small = await millrace.start('ingest', { set: [SMALL] })
      const letters = BROKEN + TOO_LARGE
      await millrace.eventually('SELECT count(*) FROM events__dead_letters', (rows) => Number(rows) === letters)
      await small.stop()
      const ingest = await millrace.start('ingest')
      expect(await runJson<Taken>(millrace, 'dead-letters', 'replay', 'events')).toMatchObject({ replayed: TOO_LARGE })
      if (isCompacted) {
        const compactor = await millrace.start('compactor')
        await untilRewritten(millrace)
        await compactor.stop()
      }
      await ingest.stop()
      await query.stop()
      await loseCatalog(millrace)

      await millrace.start('query')
      await millrace.start('ingest')
      await expectEveryRecordOnce(millrace, GOOD + TOO_LARGE)
      expect(await lettersIn(millrace)).toBe(isCompacted ? BROKEN : letters)
      expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
      const again = await runJson<Taken>(millrace, 'dead-letters', 'replay', 'events')
      expect(again).toMatchObject({ replayed: 0, already: isCompacted ? 0 : TOO_LARGE, failed: BROKEN })
      await expectEveryRecordOnce(millrace, GOOD + TOO_LARGE)
      expect(await lettersIn(millrace)).toBe(BROKEN)
      expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
    } finally {
      await millrace.close()
    }
  })
}

test('letters of HTTP are replayed too, into the rows of their producer', async () => {
  const millrace = await createMillrace({ settings: settingsFor('unused').replace(/pipelines:[\s\S]*/, '') })
  try {
    await millrace.start('query')
    const small = await millrace.start('ingest', { set: [SMALL] })
    const rows = [{ id: 1 }, { id: 2, note: padding }, { id: 3 }].map((row) => JSON.stringify(row)).join('\n')
    const headers = { 'millrace-producer': 'p', 'millrace-sequence': '0' }
    const { status } = await millrace.ingest('events', rows, { query: '?errors=dead-letter', headers })
    expect(status).toBe(200)
    expect(await lettersIn(millrace)).toBe(1)
    await small.stop()
    await millrace.start('ingest')
    expect(await runJson<Taken>(millrace, 'dead-letters', 'replay', 'events')).toMatchObject({ replayed: 1, failed: 0 })
    const { data } = await millrace.sql('SELECT id, _source, _offset FROM events ORDER BY _offset')
    expect(data).toEqual([1, 2, 3].map((id, offset) => [String(id), 'http:p', String(offset)]))
    expect(await lettersIn(millrace)).toBe(0)
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  } finally {
    await millrace.close()
  }
})
