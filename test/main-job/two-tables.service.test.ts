// One pipeline that writes two tables, with records that are bad for one of them or for both, killed at every crash point
// of a tick: both tables and both dead-letter tables have a record, or none of them has (G-1, G-2, G-5).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { checkCommand } from '../lake/check-lake.ts'

const POINTS = [
  'ingest/between-segments',
  'ingest/between-segments:2',
  'ingest/between-segments:3',
  'ingest/after-segment-file',
  'ingest/after-segment-file:4',
  'ingest/before-commit',
  'ingest/before-commit:2',
  'catalog/tick-before-commit',
  'catalog/tick-after-commit',
  'ingest/after-commit',
  'ingest/after-commit:2',
]
const TOPIC = 'orders'
const PARTITIONS = 2
/** Of ten records: 3 is bad for `amounts`, 5 for `names`, 7 for both, 9 is a tombstone. */
const KINDS = {
  amounts: [0, 1, 2, 4, 5, 6, 8],
  amounts__dead_letters: [3, 7],
  names: [0, 1, 2, 3, 4, 6, 8],
  names__dead_letters: [5, 7],
}
const RECORDS_PER_ROUND = 200

let kafka: KafkaBroker
let producer: Producer
let millrace: Millrace
let sent = 0

beforeAll(async () => {
  kafka = await startKafka({ properties: { 'group.min.session.timeout.ms': '500' } })
  producer = await createProducer(kafka.bootstrap)
  await kafka.createTopic(TOPIC, PARTITIONS)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 500 ms
flush.interval.ms: 50
query.memory: 256 MiB
tables:
  amounts:
    columns: { id: long required, amount: int }
  names:
    columns: { id: long required, name: string required }
pipelines:
  both: { topics: [${TOPIC}], tables: [amounts, names] }
`,
  })
  await millrace.start('query')
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

function recordOf(id: number): string | null {
  switch (id % 10) {
    case 3:
      return JSON.stringify({ id, amount: 'many', name: `n${id}` })
    case 5:
      return JSON.stringify({ id, amount: id })
    case 7:
      return `{"id": ${id}, "amount"`
    case 9:
      return null
    default:
      return JSON.stringify({ id, amount: id, name: `n${id}` })
  }
}

/** To each topic-partition the same number, whole tens, so that the offset tells the kind. */
async function produce(): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const records = Array.from({ length: RECORDS_PER_ROUND / PARTITIONS }, (_, each) => {
      const offset = sent / PARTITIONS + each
      return { key: `k${offset}`, value: recordOf(offset) }
    })
    await producer.send(TOPIC, partition, records, { codec: 'zstd', recordsPerBatch: 20 })
  }
  sent += RECORDS_PER_ROUND
}

const everywhere = (select: string) => `
  SELECT ${select} FROM (SELECT _partition, _offset FROM amounts UNION ALL SELECT _partition, _offset FROM amounts__dead_letters) a
  FULL JOIN (SELECT _partition, _offset FROM names UNION ALL SELECT _partition, _offset FROM names__dead_letters) b
  USING (_partition, _offset)`

/** Records that one side has and the other has not; records that are there; all of them once. */
async function consistency() {
  const [[alone, both, distinct]] = (
    await millrace.sql(
      everywhere(`count(*) FILTER (WHERE a._offset IS NULL OR b._offset IS NULL), count(*),
        count(DISTINCT (_partition, _offset))`),
    )
  ).data
  return { alone: Number(alone), both: Number(both), distinct: Number(distinct) }
}

async function kindsIn(table: string) {
  const { data } = await millrace.sql(
    `SELECT _offset % 10, count(*), count(DISTINCT (_partition, _offset)) FROM ${table} GROUP BY 1 ORDER BY 1`,
  )
  return data.map((row) => row.map(Number))
}

async function coverageEnds(): Promise<number[]> {
  const world = createSystemWorld({ log: createLog({ level: 'error' }), crashAt: '' })
  const catalog = await openCatalog({ url: `sqlite:${millrace.folder}/data/catalog.sqlite`, world })
  try {
    const coverage = await catalog.coverage('both')
    expect(coverage.map(({ ranges }) => [ranges.length, Number(ranges[0].start)])).toEqual(coverage.map(() => [1, 0]))
    return coverage.toSorted((a, b) => a.partition - b.partition).map(({ ranges }) => Number(ranges[0].end))
  } finally {
    await catalog.close()
  }
}

describe.each(POINTS)('killed at %s', (point) => {
  test('each record is in both tables or their dead letters, once, and nothing is missing after a restart', async () => {
    const dying = await millrace.start('ingest', { crashAt: point })
    await produce()
    // Points that count ticks are passed a second time only when more comes.
    const more = sleep(700).then(() => (dying.exit() === undefined ? produce() : undefined))
    const exit = await dying.exited
    await more
    expect(exit).toEqual({ code: null, signal: 'SIGKILL' })

    const dead = await consistency()
    expect(dead.alone).toBe(0)
    expect(dead.both).toBe(dead.distinct)

    const again = await millrace.start('ingest')
    const [endA, endB] = await Promise.all([kafka.logEnd(TOPIC, 0), kafka.logEnd(TOPIC, 1)])
    const withValue = ((endA + endB) / 10) * 9
    await millrace.eventually(everywhere('count(*)'), (count) => Number(count) === withValue)
    expect(await consistency()).toEqual({ alone: 0, both: withValue, distinct: withValue })
    const tens = (endA + endB) / 10
    for (const [table, kinds] of Object.entries(KINDS)) {
      expect([table, await kindsIn(table)]).toEqual([table, kinds.map((kind) => [kind, tens, tens])])
    }
    expect((await again.stop()).code).toBe(0)
    // Tombstones at the end too: covered, and in no table.
    expect(await coverageEnds()).toEqual([endA, endB])
  })
})

test('after all of it every byte and reference is as it should be', async () => {
  expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
})
