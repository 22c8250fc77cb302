/**
 * Building and merging sketches, beside what DuckDB has without them: an engine process of ours over a table in its memory, so that
 * reading files costs neither side anything. Pairs take turns in one run; both are asked over the same channel.
 *
 *   build   one sketch of all rows, and one for each of 1000 groups, against `approx_count_distinct` of the same column
 *   merge   10,000 stored sketches of 1000 rows each into one
 *
 * Answers are compared with exact ones in every round.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { cpuSeconds, watchMachine } from './process-cost.ts'
import { type BenchResult, loadText, thousands } from './report.ts'
import { median } from './statistics.ts'

const ROWS = 10_000_000
const GROUPS = 1000
const SKETCHES = 10_000
const ROUNDS = 5
const THREADS = 2
const BUILD_TARGET = 2
const MERGE_TARGET_MS = 100

type Ask = { readonly sql: string; readonly near: number; readonly within: number }
type Side = { readonly wall: number[]; readonly cpu: number[] }

export async function benchSketches(): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  const engine = createEngine({
    settings: {
      name: 'bench',
      memoryBytes: 2 * 1024 ** 3,
      threads: THREADS,
      spillFolder: folder,
      spillBytes: 1024 ** 3,
      folders: [],
      mode: 'compaction',
    },
    world: createTestWorld(),
  })
  try {
    return await measure(engine)
  } finally {
    await engine.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(engine: Engine): Promise<BenchResult> {
  await engine.run(`CREATE TABLE t AS SELECT k AS id, 'user-' || k AS name, uuid_text AS long, (i % ${GROUPS})::INT AS g, x FROM (
    SELECT i, (hash(i * 7919) % 1000000)::BIGINT AS k, md5(k::VARCHAR) AS uuid_text, exp((hash(i) % 1000000) / 1e6 * 6) AS x
    FROM range(${ROWS}) r(i))`)
  await engine.run(`CREATE TABLE s AS SELECT hll_build(id) AS users, quantile_sketch_build(x) AS latency
    FROM (SELECT *, row_number() OVER () % ${SKETCHES} AS part FROM t) GROUP BY part`)
  const [exact] = await engine.run(`SELECT count(DISTINCT id)::DOUBLE AS users, quantile_disc(x, 0.95) AS p95 FROM t`)
  const [sizes] = await engine.run(`SELECT avg(octet_length(users)) AS users, avg(octet_length(latency)) AS latency,
    octet_length((SELECT hll_build(id) FROM t)) AS one, octet_length((SELECT quantile_sketch_build(x) FROM t)) AS oneLatency FROM s`)
  const users = Number(exact.users)
  const p95 = Number(exact.p95)
  // DuckDB's own sketch has 64 registers or so: it is up to 10 % off.
  const bare = (column: string): Ask => ({
    sql: `SELECT approx_count_distinct(${column}) FROM t`,
    near: users,
    within: 0.12,
  })
  const built = (column: string): Ask => ({
    sql: `SELECT hll_estimate(hll_build(${column})) FROM t`,
    near: users,
    within: 0.05,
  })
  const grouped = (sketch: string): Ask => ({
    sql: `SELECT sum(n) / 10000 FROM (SELECT g, ${sketch} AS n FROM t GROUP BY g)`,
    near: GROUPS * 0.995,
    within: 0.1,
  })
  const load = watchMachine()
  const cpuBefore = cpuSeconds([process.pid])
  const pairs = [
    ['distinct of BIGINT', bare('id'), built('id')],
    ['distinct of texts of 11 bytes', bare('name'), built('name')],
    ['distinct of texts of 32 bytes', bare('long'), built('long')],
    [
      `distinct of BIGINT, ${GROUPS} groups`,
      grouped('approx_count_distinct(id)'),
      grouped('hll_estimate(hll_build(id))'),
    ],
    [
      'quantiles of DOUBLE',
      bare('id'),
      { sql: 'SELECT quantile_sketch_estimate(quantile_sketch_build(x), 0.95) FROM t', near: p95, within: 1 / 128 },
    ],
    [
      'quantiles of DOUBLE, against approx_quantile',
      { sql: 'SELECT approx_quantile(x, 0.95) FROM t', near: p95, within: 0.02 },
      { sql: 'SELECT quantile_sketch_estimate(quantile_sketch_build(x), 0.95) FROM t', near: p95, within: 1 / 128 },
    ],
  ] as const
  const results: { what: string; other: Side; ours: Side }[] = []
  for (const [what, other, ours] of pairs) results.push({ what, ...(await runPair(engine, other, ours)) })
  const merges: ({ what: string } & Side)[] = []
  for (const [what, ask] of [
    ['distinct values', { sql: 'SELECT hll_estimate(hll_merge(users)) FROM s', near: users, within: 0.05 }],
    [
      'quantiles',
      {
        sql: 'SELECT quantile_sketch_estimate(quantile_sketch_merge(latency), 0.95) FROM s',
        near: p95,
        within: 1 / 128,
      },
    ],
  ] as const) {
    merges.push({ what, ...(await runPair(engine, ask, ask)).ours })
  }
  const machine = load()
  const cpu = cpuSeconds([process.pid]) - cpuBefore
  const ratioOf = (pair: (typeof results)[number]) => median(pair.ours.wall) / median(pair.other.wall)
  return {
    name: 'sketches',
    data: `${thousands(ROWS)} rows in memory: 1,000,000 different numbers and texts, lognormal-like doubles over 2.6 powers of ten; ${thousands(SKETCHES)} stored sketches of 1000 rows each`,
    settings: `one engine process, ${THREADS} threads, 2 GiB; ${ROUNDS} paired rounds, alternating, medians, first round left out`,
    figures: [
      ...results.slice(0, 5).map((pair) => ({
        what: `${thousands(ROWS)} rows built, ${pair.what} / approx_count_distinct`,
        value: ratioOf(pair).toFixed(2),
        target: { text: `≤ ${BUILD_TARGET}`, met: ratioOf(pair) <= BUILD_TARGET },
      })),
      ...merges.map(({ what, wall, cpu: merged }) => ({
        what: `${thousands(SKETCHES)} sketches merged, ${what}`,
        value: `${median(wall).toFixed(0)} ms, ${median(merged).toFixed(0)} ms CPU`,
        target: { text: `≤ ${MERGE_TARGET_MS} ms`, met: median(wall) <= MERGE_TARGET_MS },
      })),
      {
        what: 'bytes of a sketch of 1000 rows, distinct values / quantiles',
        value: `${Number(sizes.users).toFixed(0)} / ${Number(sizes.latency).toFixed(0)}`,
      },
      { what: `bytes of a sketch of ${thousands(ROWS)} rows`, value: `${sizes.one} / ${sizes.oneLatency}` },
    ],
    tables: [
      {
        head: ['build', 'DuckDB ms', 'CPU ms', 'sketch ms', 'CPU ms', 'ratio', 'ratio of CPU'],
        lines: results.map((pair) => {
          const cells = [pair.other.wall, pair.other.cpu, pair.ours.wall, pair.ours.cpu].map(median)
          const ratio = cells[3] / cells[1]
          return [pair.what, ...cells.map((cell) => cell.toFixed(0)), ratioOf(pair).toFixed(2), ratio.toFixed(2)]
        }),
      },
    ],
    checked:
      'in every round: sketches of distinct values within 5 % of count(DISTINCT), of quantiles within 1/128 of quantile_disc.',
    limitedBy: `${loadText(machine, cpu, 'this run')}; the last step of a build runs on one thread.`,
    numbers: {
      buildRatio: ratioOf(results[0]),
      quantileBuildRatio: ratioOf(results[4]),
      mergeMs: median(merges[0].wall),
      quantileMergeMs: median(merges[1].wall),
    },
  }
}

async function runPair(engine: Engine, other: Ask, ours: Ask): Promise<{ other: Side; ours: Side }> {
  const sides = {
    other: { wall: [] as number[], cpu: [] as number[] },
    ours: { wall: [] as number[], cpu: [] as number[] },
  }
  for (let round = 0; round <= ROUNDS; round++) {
    const order = round % 2 === 0 ? (['other', 'ours'] as const) : (['ours', 'other'] as const)
    for (const side of order) {
      const ask = side === 'other' ? other : ours
      const cpuBefore = cpuSeconds([process.pid])
      const started = performance.now()
      const [row] = await engine.run(ask.sql)
      const wall = performance.now() - started
      const cpu = (cpuSeconds([process.pid]) - cpuBefore) * 1000
      const found = Number(Object.values(row)[0])
      if (!(Math.abs(found / ask.near - 1) <= ask.within)) throw new Error(`${ask.sql}: ${found}, expected ${ask.near}`)
      if (round === 0) continue
      sides[side].wall.push(wall)
      sides[side].cpu.push(cpu)
    }
  }
  return sides
}
