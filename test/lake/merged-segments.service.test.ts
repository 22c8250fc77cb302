// Live segments at their maximum with nobody who takes them over, over SQLite and PostgreSQL: queries read merged files, health says
// so, `millrace check --deep` finds every byte in order, and a compactor that comes at last finds all rows (G-1, G-2, G-6, G-8).
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readiness, until } from '../processes/observe.ts'
import { checkCommand } from './check-lake.ts'
import { createProducer, type Lake, openLake, type Producer, SMALL_STEPS } from './open-lake.ts'
import { type Place, type Servers, startServers } from './places.ts'

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']
const LIVE_MAX = 12
const REQUESTS = 60
const ROWS = 5

const TABLES = `
segments.live.max: ${LIVE_MAX}
tables:
  events:
    columns: { id: long required, name: string, at: timestamptz, amount: "decimal(10,2)" }
    event-time: at
    partition: [day(at)]
    sort: [id]
`

let servers: Servers
beforeAll(async () => {
  servers = await startServers(PLACES)
})
afterAll(() => servers?.stop())

function lineOf(id: number): string {
  const at = new Date(Date.UTC(2026, 0, 1 + (id % 3), 0, 0, id)).toISOString()
  return JSON.stringify({ id, name: id % 4 === 0 ? null : `name ${id}`, at, amount: `${id}.25` })
}

describe.each(PLACES)('%s', (place) => {
  let lake: Lake
  let producers: Producer[]
  beforeAll(async () => {
    const settings = await servers.settingsFor(place, 'merged')
    lake = await openLake(
      `${SMALL_STEPS.replace('flush.interval.ms: 50', 'flush.interval.ms: 10')}\n${settings}\n${TABLES}`,
    )
    await lake.millrace.start('ingest')
    await lake.millrace.start('query')
    producers = ['a', 'b'].map((id) => createProducer(lake.millrace, 'events', id))
  })
  afterAll(() => lake?.close())

  async function send(producer: Producer): Promise<void> {
    await producer.send(Array.from({ length: ROWS }, (_, i) => lineOf(producer.next + i)))
  }

  async function expectAll(): Promise<void> {
    const ids = producers.flatMap(({ next }) => Array.from({ length: next }, (_, i) => i))
    const sum = ids.reduce((total, id) => total + id, 0)
    const { data } = await lake.millrace.sql(
      `SELECT count(*)::INT, sum(id)::INT, count(name)::INT, (sum(amount) * 100)::INT,
        count(DISTINCT (_source, _partition, _offset))::INT FROM events`,
    )
    const named = ids.filter((id) => id % 4 !== 0).length
    expect(data).toEqual([[ids.length, sum, named, sum * 100 + ids.length * 25, ids.length]])
  }

  test('queries read merged segments while more are committed, and the maximum holds', {
    timeout: 90_000,
  }, async () => {
    let most = 0
    let sawDegraded = false
    for (let request = 0; request < REQUESTS; request += 1) {
      await send(producers[request % 2])
      most = Math.max(most, (await lake.live('events')).segments.length)
      if (request % 10 === 9) {
        await expectAll()
        const { reasons } = await readiness(lake.millrace.url('ingest'))
        sawDegraded ||= reasons.some(({ component, reason }) => component === 'segments' && reason.includes('merged'))
      }
    }
    expect(most).toBeLessThanOrEqual(LIVE_MAX)
    expect((await lake.live('events')).segments.some((path) => path.includes('-merged-'))).toBe(true)
    expect(sawDegraded).toBe(true)
    await expectAll()
    expect((await checkCommand(lake, '--deep')).code).toBe(0)
  })

  test('a compactor that comes at last takes all over, and the replaced files go', { timeout: 90_000 }, async () => {
    const compactor = await lake.startCompactor()
    for (let request = 0; request < 10; request += 1) await send(producers[request % 2])
    const { there, referredTo } = await lake.settled(['events'])
    expect(there).toEqual(referredTo)
    await expectAll()
    await until(
      'ingest is healthy again',
      () => readiness(lake.millrace.url('ingest')),
      ({ status }) => status === 'healthy',
    )
    await compactor.stop()
    expect((await checkCommand(lake, '--deep')).code).toBe(0)
  })
})
