/**
 * Another user's small queries while eight heavy ones want more memory than there is: each groups five million distinct keys
 * under `query.memory: 1 GiB`.
 *
 * A query process over a lake of two tables. The user `dashboard` asks small questions one after the other, each with another
 * literal, first alone, then while `analyst` has eight heavy ones under way. Every answer is compared: small ones with what is
 * computed here, heavy ones with the number of keys; a heavy one may also be refused, with a clean error. The process
 * must live, and the memory of all its processes together is the largest of what was seen every 50 ms.
 */
import { readFileSync } from 'node:fs'
import { request } from 'undici'
import { createSampleLake } from '../query/sample-lake.ts'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { familyOf } from './process-cost.ts'
import { type BenchResult, mebibytes, thousands } from './report.ts'
import type { Stage } from './stage.ts'

const KEYS = 5_000_000
const SMALL_ROWS = 100_000
const GROUPS = 50
const HEAVY = 8
const IDLE_ASKED = 300
const TARGET = 2
const MEMORY_LOOK_MS = 50
const TOKENS = { dashboard: 'the-token-of-the-dashboard', analyst: 'the-token-of-the-analyst' } as const

type Reply = {
  readonly status: number
  readonly ms: number
  readonly body: { data?: unknown[][]; error?: { class: string } }
}

export async function benchManyUsers(stage: Stage): Promise<BenchResult> {
  const keys = Math.min(KEYS, stage.rows)
  const lake = await createSampleLake(createSystemWorld({ log: createTestWorld().log }))
  stage.atEnd(() => lake.close())
  await lake.addRows(
    await lake.createTable('small', { g: 'int', v: 'long' }),
    `SELECT i % ${GROUPS}, i FROM range(${SMALL_ROWS}) r(i)`,
  )
  const large = await lake.createTable('large', { k: 'long', v: 'long' })
  await lake.addRows(large, `SELECT (hash(i) >> 1)::BIGINT, i FROM range(${keys}) r(i)`)
  const millrace = await stage.millrace(
    `
catalog.url: ${lake.catalogUrl}
lake.root: file://${lake.folder}/lake
query.memory: 1 GiB
tokens:
  - { name: dashboard, token: ${TOKENS.dashboard}, rights: [read] }
  - { name: analyst, token: ${TOKENS.analyst}, rights: [read] }
log.level: error
`,
  )
  const query = await millrace.start('query')
  const ask = async (user: keyof typeof TOKENS, sql: string): Promise<Reply> => {
    const started = performance.now()
    const reply = await request(`${query.url}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'text/plain', authorization: `Bearer ${TOKENS[user]}` },
      body: sql,
      headersTimeout: 600_000,
      bodyTimeout: 600_000,
    })
    const body = (await reply.body.json()) as Reply['body']
    return { status: reply.statusCode, ms: performance.now() - started, body }
  }

  let asked = 0
  /** One small question, whose answer nobody has asked for before; checked. */
  async function askSmall(): Promise<number> {
    asked += 1
    const floor = (asked * 37) % 90_000
    const { status, ms, body } = await ask(
      'dashboard',
      `SELECT g, count(*), sum(v) FROM small WHERE v >= ${floor} GROUP BY g ORDER BY g`,
    )
    if (status !== 200) throw new Error(`a small query: ${status} ${JSON.stringify(body)}`)
    const rows = body.data!.reduce((sum, row) => sum + Number(row[1]), 0)
    const total = body.data!.reduce((sum, row) => sum + Number(row[2]), 0)
    const expected = ((SMALL_ROWS - floor) * (SMALL_ROWS - 1 + floor)) / 2
    if (rows !== SMALL_ROWS - floor || total !== expected) throw new Error(`a small query: wrong answer for ${floor}`)
    return ms
  }

  for (let warm = 0; warm < 50; warm += 1) await askSmall()
  const idle: number[] = []
  for (let i = 0; i < IDLE_ASKED; i += 1) idle.push(await askSmall())

  const memory = watchMemory(query.pid)
  const idleBytes = memory.now()
  const outcomes: Record<string, number> = {}
  let left = HEAVY
  const heavySeconds: number[] = []
  const heavies = Array.from({ length: HEAVY }, async (_, index) => {
    const sql = `SELECT count(*), sum(n) FROM (SELECT k + ${index} AS k, count(*) AS n, max(v) FROM large GROUP BY 1)`
    const { status, ms, body } = await ask('analyst', sql)
    left -= 1
    heavySeconds.push(ms / 1000)
    const outcome = status === 200 ? 'answered' : `${status} ${body.error?.class}`
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    if (status !== 200 && status !== 507 && status !== 429) throw new Error(`a heavy query: ${outcome}`)
    if (status === 200 && body.data![0].map(String).join() !== [keys, keys].join())
      throw new Error(`a heavy query: wrong answer ${JSON.stringify(body.data)}`)
  })
  const busy: number[] = []
  while (left > 0) busy.push(await askSmall())
  await Promise.all(heavies)
  const peakBytes = memory.stop()
  await askSmall()
  await query.stop()

  const [idleMedian, busyMedian] = [quantile(idle, 0.5), quantile(busy, 0.5)]
  const ratio = busyMedian / idleMedian
  const answered = outcomes.answered ?? 0
  return {
    name: 'many-users',
    data: `${thousands(keys)} distinct keys in a table, and one of ${thousands(SMALL_ROWS)} rows for the small queries; in one query process`,
    settings:
      'query.memory 1 GiB (interactive engine 256 MiB, one batch engine 768 MiB), query.threads 2, the rest defaults',
    figures: [
      {
        what: 'median of a small query beside eight heavy ones / alone',
        value: ratio.toFixed(2),
        target: { text: `≤ ${TARGET}`, met: ratio <= TARGET },
      },
      {
        what: 'small query alone: median, p99',
        value: `${idleMedian.toFixed(1)} ms, ${quantile(idle, 0.99).toFixed(1)} ms`,
      },
      {
        what: `small query beside them: median, p99 (of ${busy.length})`,
        value: `${busyMedian.toFixed(1)} ms, ${quantile(busy, 0.99).toFixed(1)} ms`,
      },
      {
        what: 'heavy queries',
        value: `${Object.entries(outcomes)
          .map(([outcome, count]) => `${count} ${outcome}`)
          .join(', ')}, within ${Math.max(...heavySeconds).toFixed(1)} s`,
      },
      {
        what: 'memory of all its processes: before, largest',
        value: `${mebibytes(idleBytes)}, ${mebibytes(peakBytes)}`,
      },
    ],
    checked:
      'every small answer (rows and sum), every heavy one (number of keys), and that the same process answers afterwards',
    limitedBy: 'the cores: batch engines give way (nice 10), what is left are caches, memory bandwidth and the door',
    numbers: {
      ratio,
      idleMedian,
      busyMedian,
      idleP99: quantile(idle, 0.99),
      busyP99: quantile(busy, 0.99),
      answered,
      peakBytes,
    },
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** Resident memory of a process with its descendants, seen every MEMORY_LOOK_MS. */
function watchMemory(pid: number): { now(): number; stop(): number } {
  let largest = 0
  const look = () => {
    let bytes = 0
    for (const each of familyOf(pid)) {
      try {
        bytes += Number(readFileSync(`/proc/${each}/statm`, 'utf8').split(' ')[1]) * 4096
      } catch {
        // It ended meanwhile.
      }
    }
    largest = Math.max(largest, bytes)
    return bytes
  }
  const timer = setInterval(look, MEMORY_LOOK_MS)
  return {
    now: look,
    stop() {
      clearInterval(timer)
      return largest
    },
  }
}
