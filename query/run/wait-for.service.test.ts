// Read your own writes from Kafka (G-4), over HTTP with a real catalog: a query waits until the offsets that the broker gave
// to a producer are consumed into its table, and no query waits for its place meanwhile.
import { stat } from 'node:fs/promises'
import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table, Writer } from '../../lake/catalog/catalog.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

const KEY = { pipeline: 'clicks-pipeline', source: 'kafka:clicks-topic:first', partition: 0 }

let lake: SampleLake
let table: Table
let writer: Writer
let service: Awaited<ReturnType<typeof startQuery>>

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  table = await lake.createTable('clicks', { n: 'int' })
  writer = await lake.catalog.registerWriter('ingest')
  await lake.catalog.bindPipeline(KEY.pipeline, [table.tableId], ['clicks-topic'])
  await lake.catalog.beginCoverage(KEY, 10n)
  service = await startQuery({ settings: querySettings(lake, { concurrentMax: 2 }), world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

/** Records [start, end) of the topic, some of which became rows. */
async function consume(start: number, end: number, rows = end - start): Promise<void> {
  const range = { start: BigInt(start), end: BigInt(end) }
  const file = rows > 0 ? await lake.writeFile(table, `SELECT i FROM range(${rows}) r(i)`) : undefined
  const segments = file
    ? [
        {
          tableId: table.tableId,
          schemaId: table.schemas.at(-1)!.schemaId,
          path: `file://${file}`,
          rowCount: rows,
          bytes: (await stat(file)).size,
          etag: undefined,
          bounds: [],
          sources: [{ ...KEY, range, rows }],
          touched: { grain: 'all', values: [] } as const,
        },
      ]
    : []
  const { outcome } = await lake.catalog.commitTick({
    commitId: lake.world.random.uuid(),
    writer,
    segments,
    advances: [
      {
        ...KEY,
        range,
        recordsIn: end - start,
        recordsDead: 0,
        recordsFiltered: end - start - rows,
        logEnd: range.end,
        caughtUp: true,
      },
    ],
    idempotencyKeys: [],
  })
  expect(outcome).toBe('committed')
}

async function ask(body: Record<string, unknown>) {
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'SELECT count(*) FROM clicks', ...body }),
  })
  return {
    status: reply.statusCode,
    headers: reply.headers,
    body: (await reply.body.json()) as Record<string, unknown>,
  }
}

const offset = (at: number, partition = 0, topic = 'clicks-topic') => ({
  wait_for: { Clicks: { offsets: { [topic]: { [partition]: at } } } },
})

async function waiting(count: number): Promise<void> {
  for (;;) {
    const text = await (await request(`${service.url}/metrics`)).body.text()
    if (new RegExp(`^millrace_queries_awaiting_writes\\S* ${count}$`, 'm').test(text)) return
  }
}

test('what was produced is there when the query is answered, with the watermark that it stands at', async () => {
  await consume(10, 15)
  const there = await ask(offset(14))
  expect([there.status, there.body.data]).toEqual([200, [['5']]])
  expect(there.headers['x-millrace-watermarks']).toBe('clicks=clicks-topic/0@15')
  // More than there are places to run.
  const later = [15, 16, 17, 17].map((at) => ask(offset(at)))
  await waiting(4)
  expect((await ask({})).body.data).toEqual([['5']])
  await consume(15, 18)
  expect((await Promise.all(later)).map(({ body }) => body.data)).toEqual(Array.from({ length: 4 }, () => [['8']]))
  // A record that was filtered out brings no version, and yet is consumed.
  const filtered = ask(offset(18))
  await waiting(1)
  await consume(18, 19, 0)
  expect((await filtered).body.data).toEqual([['8']])
})

test('what does not come is said: in time, or at once when it never can', async () => {
  const late = await ask({ ...offset(500), timeout_ms: 200 })
  expect(late).toMatchObject({
    status: 408,
    body: {
      error: {
        code: '57014',
        message: expect.stringMatching(/clicks-topic\/0 is consumed up to \d+, expected offset 500/),
        hint: expect.stringContaining('timeout_ms'),
      },
    },
  })
  expect(await ask(offset(3))).toMatchObject({ status: 400, body: { error: { code: '22003' } } })
  expect(await ask(offset(3, 0, 'clicks-topc'))).toMatchObject({
    status: 400,
    body: { error: { code: '22023', message: expect.stringContaining('topics: clicks-topic') } },
  })
  const both = { wait_for: { clicks: { version: 99, offsets: { 'clicks-topic': { 0: 10 } } } }, timeout_ms: 100 }
  expect((await ask(both)).status).toBe(408)
})
