/**
 * Three query processes behind a balancer, over PostgreSQL and a bucket, while rows come and are compacted: one version has one
 * answer whoever gives it, and who wrote reads it anywhere (G-3, G-4). A kill -9 of one ends its own queries only, visibly (G-9);
 * what it held is let go after its silence, and its successor has its cache.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StartedService } from '../harness/millrace.ts'
import { catalogRows } from '../lake/catalog-rows.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS } from '../lake/open-lake.ts'
import { type Servers, startServers } from '../lake/places.ts'
import { type Balancer, startBalancer } from './balancer.ts'
import { parseMetrics, until } from './observe.ts'

const PLACE = 'PostgreSQL and a bucket'
const SETTINGS = `${SMALL_STEPS}
query.memory: 256 MiB
query.threads: 1
tables:
  notes: { columns: { id: long required, note: string } }
  others: { columns: { id: long required } }
`
const NAMES = ['a', 'b', 'c'] as const
const ROUNDS = 30
const LOOKERS = 2
const STREAM_ROWS = 40_000
/** More than sockets and chunks under way hold: a client that does not read keeps its query running. */
const STREAM = `SELECT i, repeat('x', 1000) AS x FROM range(${STREAM_ROWS}) r(i), (SELECT max(id) FROM notes)`

let servers: Servers
let lake: Lake
let balancer: Balancer
const queries = new Map<string, StartedService>()

beforeAll(async () => {
  servers = await startServers([PLACE])
  lake = await openLake(`${await servers.settingsFor(PLACE, 'balanced')}\n${SETTINGS}`)
  await lake.millrace.start('ingest')
  await Promise.all(NAMES.map(startOne))
  balancer = await startBalancer(() => NAMES.map((name) => Number(new URL(urlOf(name)).port)))
})
afterAll(async () => {
  await balancer?.close()
  await lake?.close()
  await servers?.stop()
})

const cacheOf = (name: string) => join(lake.millrace.folder, `cache-${name}`)

async function startOne(name: string): Promise<void> {
  const set = [`query.cache.folder=${cacheOf(name)}`]
  queries.set(name, await lake.millrace.start('query', { set, extra: true }))
}

const urlOf = (name: string) => queries.get(name)!.url

type Answer = {
  readonly data: readonly (readonly unknown[])[]
  readonly tables: readonly { readonly name: string; readonly version: string }[]
}

/** A connection of its own each time, so that the balancer chooses each time. */
async function open(url: string, body: Readonly<Record<string, unknown>>): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const headers = { 'content-type': 'application/json' }
  const asked = request(`${url}/v1/sql`, { method: 'POST', headers, agent: false }, resolve)
  asked.on('error', reject)
  asked.end(JSON.stringify(body))
  return promise
}

async function ask(url: string, body: Readonly<Record<string, unknown>>): Promise<Answer> {
  const response = await open(url, body)
  let text = ''
  for await (const chunk of response) text += String(chunk)
  if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${text}`)
  return JSON.parse(text) as Answer
}

const line = (id: number) => JSON.stringify({ id, note: `note ${id % 7}` })
const COUNT = 'SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(id) AS sum, min(note) AS note FROM notes'

test('one version has one answer, whoever gives it, and who wrote reads it anywhere', async () => {
  const compactor = await lake.millrace.start('compactor')
  const producer = createProducer(lake.millrace, 'notes', 'p')
  const answers = new Map<string, string>()
  let sent = 0
  let writing = true
  function keep({ data, tables }: Answer): void {
    const { version } = tables[0]
    const text = JSON.stringify(data)
    expect([version, answers.get(version) ?? text]).toEqual([version, text])
    answers.set(version, text)
  }
  // Others look meanwhile, at whatever version is newest for the process that they come to.
  const lookers = Array.from({ length: LOOKERS }, async () => {
    for (; writing; await sleep(20)) keep(await ask(balancer.url, { sql: COUNT }))
  })
  for (let round = 0; round < ROUNDS; round++) {
    const rows = 1 + (round % 5)
    const reply = await producer.send(Array.from({ length: rows }, (_, each) => line(sent + each)))
    sent += rows
    const version = String(reply.version ?? '')
    expect(version).toMatch(/^\d+$/)
    const answer = await ask(balancer.url, { sql: COUNT, wait_for: { notes: version } })
    expect(BigInt(answer.tables[0].version)).toBeGreaterThanOrEqual(BigInt(version))
    expect(answer.data[0].slice(0, 3)).toEqual([String(sent), String(sent), String((sent * (sent - 1)) / 2)])
    keep(answer)
  }
  writing = false
  await Promise.all(lookers)
  await compactor.stop()
  expect(answers.size).toBeGreaterThan(ROUNDS / 2)
  expect([...balancer.taken.values()].every((count) => count > ROUNDS / 4)).toBe(true)
  // The newest ones again, from each process.
  for (const [version, text] of [...answers].slice(-3)) {
    for (const name of NAMES) {
      const { data, tables } = await ask(urlOf(name), { sql: COUNT, at_version: { notes: version } })
      expect([name, tables[0].version, JSON.stringify(data)]).toEqual([name, version, text])
    }
  }
})

test('kill -9 of one ends its running queries only; its successor has its cache, and its garbage goes', async () => {
  const others = createProducer(lake.millrace, 'others', 'p')
  await others.send([JSON.stringify({ id: 0 })])
  const before = await ask(urlOf('b'), { sql: COUNT })
  expect(await cacheRequests('b')).toBeGreaterThan(0)
  const streams = await Promise.all(
    Array.from({ length: 2 * NAMES.length }, async (_, each) => {
      const id = `stream-${each}`
      const response = await open(balancer.url, { sql: STREAM, format: 'jsonl', query_id: id })
      response.pause()
      response.on('error', () => {})
      return { id, response }
    }),
  )
  // While its queries run a process has a row; what it answers from kept results needs none.
  const readersBefore = await readerIds()
  const running = new Map<string, string>()
  for (const name of NAMES) {
    const list = (await (await fetch(`${urlOf(name)}/v1/queries`)).json()) as { queries: { query_id: string }[] }
    for (const { query_id } of list.queries) running.set(query_id, name)
  }
  const countOf = (name: string) => streams.filter(({ id }) => running.get(id) === name).length
  expect(NAMES.map(countOf)).toEqual([2, 2, 2])

  const engines = childrenOf(queries.get('b')!.pid)
  await queries.get('b')!.kill()
  const endings = streams.map(async ({ id, response }) => {
    let rows = 0
    let rest = ''
    let cut = false
    try {
      for await (const chunk of response) {
        const lines = (rest + String(chunk)).split('\n')
        rest = lines.pop() as string
        rows += lines.filter((each) => each.startsWith('{"i":')).length
      }
    } catch {
      cut = true
    }
    return { on: running.get(id), rows, cut, isWhole: response.complete }
  })
  // While one is gone everybody gets answers from the rest, and reads what was written meanwhile.
  for (let id = 1; id <= 12; id++) {
    const { version } = await others.send([JSON.stringify({ id })])
    const { data } = await ask(balancer.url, {
      sql: 'SELECT count(*) FROM others',
      wait_for: { others: String(version) },
    })
    expect(data).toEqual([[String(id + 1)]])
  }
  for (const ending of await Promise.all(endings)) {
    if (ending.on === 'b') {
      expect(ending).toMatchObject({ cut: true, isWhole: false })
      expect(ending.rows).toBeLessThan(STREAM_ROWS)
    } else {
      expect(ending).toEqual({ on: ending.on, rows: STREAM_ROWS, cut: false, isWhole: true })
    }
  }
  await until(
    'its engines ended with it',
    async () => engines.filter(isAlive),
    (left) => left.length === 0,
  )

  // The same files again: nothing of them is fetched, and nothing is left of the work of the one that was killed.
  await startOne('b')
  const { version } = before.tables[0]
  const again = await ask(urlOf('b'), { sql: COUNT, at_version: { notes: version } })
  expect(again.data).toEqual(before.data)
  expect(await cacheRequests('b')).toBe(0)
  expect(readdirSync(cacheOf('b')).filter((name) => name.includes('work'))).toEqual(['objects-work'])
  await ask(balancer.url, { sql: COUNT })

  // Rows of readers: that of the dead one goes after its silence, and then everything that nobody reads.
  expect(readersBefore.length).toBeGreaterThanOrEqual(NAMES.length)
  const compactor = await lake.millrace.start('compactor', {
    withoutGrace: true,
    set: ['query.timeout.ms=8 s', 'sweep.reader-silent.ms=8 s'],
  })
  await until('the row of the dead reader is gone', readerIds, (ids) => !readersBefore.every((id) => ids.includes(id)))
  const { there, referredTo } = await lake.settled(['notes', 'others'])
  expect(there).toEqual(referredTo)
  for (const name of NAMES) expect((await ask(urlOf(name), { sql: COUNT })).data).toEqual(before.data)
  expect(await compactor.stop()).toEqual({ code: 0, signal: null })
})

async function cacheRequests(name: string): Promise<number> {
  const metrics = parseMetrics(await (await fetch(`${urlOf(name)}/metrics`)).text())
  const found = [...metrics].find(([each]) => each.startsWith('millrace_cache_requests'))
  return found?.[1] ?? Number.NaN
}

async function readerIds(): Promise<readonly unknown[]> {
  const rows = await catalogRows(lake.settings.catalog.url, 'SELECT DISTINCT reader_id FROM readers')
  return rows.map(({ reader_id }) => reader_id)
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => statOf(each)?.parent === pid)
}

/** A process that has ended and that nobody has asked about yet is a zombie, `Z`. */
function isAlive(pid: number): boolean {
  const state = statOf(pid)?.state
  return state !== undefined && state !== 'Z'
}

function statOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}
