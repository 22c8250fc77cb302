// SIGTERM: what was acknowledged is committed, requests under way are answered, running queries finish, all within
// `shutdown.ms`; a second signal ends the process at once.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { until } from './observe.ts'

/** Some seconds of work for the engine, from a few bytes. */
const LONG_QUERY = 'SELECT count(*) FROM range(40000) a, range(20000) b WHERE (a.range * b.range) % 7 = 3'
const LONG_ANSWER = 97_952_245
const ENDLESS_QUERY = 'SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3'

let millrace: Millrace

beforeAll(async () => {
  millrace = await createMillrace({
    settings: `
shutdown.ms: 8 s
# Only a stop commits within the time of a test.
flush.interval.ms: 1 h
compaction.memory: 256 MiB
query.memory: 256 MiB
tables:
  events:
    columns: { id: long required }
`,
  })
})

afterAll(async () => {
  await millrace?.close()
})

async function count(): Promise<number> {
  return Number(await millrace.value('SELECT count(*) FROM events'))
}

async function runningQueries(): Promise<number> {
  const reply = await fetch(`${millrace.url('query')}/v1/queries`)
  const { queries } = (await reply.json()) as { queries: { state: string }[] }
  return queries.filter(({ state }) => state === 'running').length
}

/** A request whose body never ends. */
async function slowRequest(url: string): Promise<ReturnType<typeof connect>> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(`POST /v1/ingest/events HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-length: 1000\r\n\r\n{"id": 1`)
  await sleep(200)
  return socket
}

describe('ingest', () => {
  test('commits what it acknowledged, answers what waits, cuts a client that never ends', async () => {
    const ingest = await millrace.start('ingest')
    const query = await millrace.start('query')
    const before = await count().catch(() => 0)
    for (let request = 0; request < 5; request++) {
      expect((await millrace.ingest('events', '{"id": 1}\n{"id": 2}\n', { query: '?ack=buffered' })).status).toBe(202)
    }
    const waiting = millrace.ingest('events', '{"id": 3}\n')
    const slow = await slowRequest(millrace.url('ingest'))
    expect(await count()).toBe(before)
    ingest.signal('SIGTERM')
    expect((await waiting).status).toBe(200)
    expect(await ingest.exited).toEqual({ code: 0, signal: null })
    slow.destroy()
    expect(await count()).toBe(before + 11)
    expect(await query.stop()).toEqual({ code: 0, signal: null })
  })

  test('a second signal ends it at once', async () => {
    const ingest = await millrace.start('ingest')
    const slow = await slowRequest(millrace.url('ingest'))
    ingest.signal('SIGTERM')
    await ingest.waitForLine(/"message":"stopping"/)
    ingest.signal('SIGTERM')
    expect(await ingest.exited).toEqual({ code: 1, signal: null })
    expect(ingest.output()).toContain('second stop signal')
    expect(ingest.output()).not.toContain('"message":"stopped"')
    slow.destroy()
  })
})

describe('query', () => {
  test('a running query finishes with its whole answer, a new one is refused', async () => {
    const query = await millrace.start('query', { set: ['shutdown.ms=1 min'] })
    const answer = millrace.sql(LONG_QUERY)
    answer.catch(() => {})
    await until('the query runs', runningQueries, (running) => running === 1)
    query.signal('SIGTERM')
    await query.waitForLine(/"message":"stopping"/)
    const { status: refused } = await fetch(`${millrace.url('query')}/v1/sql`, { method: 'POST', body: 'SELECT 1' })
    expect(refused).toBe(503)
    expect((await answer).data.length).toBe(1)
    expect(Number((await answer).data[0][0])).toBe(LONG_ANSWER)
    expect(await query.exited).toEqual({ code: 0, signal: null })
  })

  test('a query that does not end is cancelled in time and told so', async () => {
    const query = await millrace.start('query', { set: ['shutdown.ms=2 s'] })
    const answer = millrace.sql(ENDLESS_QUERY).then(
      () => 'an answer',
      (error: unknown) => String(error),
    )
    await until('the query runs', runningQueries, (running) => running === 1)
    query.signal('SIGTERM')
    expect(await answer).toMatch(/503 .*57P01/)
    expect(await query.exited).toEqual({ code: 0, signal: null })
  })

  test('a second signal ends it at once', async () => {
    const query = await millrace.start('query', { set: ['shutdown.ms=1 min'] })
    const answer = millrace.sql(ENDLESS_QUERY).then(
      () => 'an answer',
      () => 'cut',
    )
    await until('the query runs', runningQueries, (running) => running === 1)
    query.signal('SIGTERM')
    await query.waitForLine(/"message":"stopping"/)
    query.signal('SIGTERM')
    expect(await query.exited).toEqual({ code: 1, signal: null })
    expect(await answer).toBe('cut')
  })
})

describe('compactor', () => {
  test('ends in order with code 0', async () => {
    const compactor = await millrace.start('compactor')
    expect(await compactor.stop()).toEqual({ code: 0, signal: null })
    expect(compactor.output()).toContain('"message":"stopped"')
  })
})
