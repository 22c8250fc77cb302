/**
 * What the flush tick costs at the catalog, on SQLite and on PostgreSQL.
 *
 *   one tick     32 topic-partitions in one or two segments: CPU of the process per `commitTick`, server beside it
 *   many tables  4 processes × 100 tables × 2 ticks a second for a minute on one catalog, each tick with a segment for
 *                every table; a fifth process takes the segments over into snapshots all the while
 *
 * Afterwards the catalog is asked: versions without holes, coverage where the ticks ended, rows as many as were sent.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { type PostgresServer, startPostgres } from '../test/harness/postgres.ts'
import { measureFiles } from './flush-tick-files.ts'
import { createTables, nextTick, pipelineOf, positionsOf, ROWS_PER_SOURCE, tableName } from './flush-tick-load.ts'
import { snapshot, type TickProcessOptions, type TickProcessReport } from './flush-tick-process.ts'
import { cpuSeconds, watchMachine } from './process-cost.ts'
import { type BenchResult, type Figure, loadText, thousands } from './report.ts'
import type { Stage } from './stage.ts'
import { percentile } from './statistics.ts'

const SOURCES = 32
const TICKS = 600
const WARM_UP_TICKS = 200
const SNAPSHOT_EVERY_TICKS = 100

const PROCESSES = 4
const TABLES = 100
const INTERVAL_MS = 500
const SECONDS_MAX = 60
const SNAPSHOTS_PER_SECOND = 10
const LATE_MET_MS = 500
const PUT_DELAY_MS = 30
const FILES = { rowsPerSegment: 100, ticks: 40, warmUpTicks: 10 }

type Engine = {
  readonly name: string
  readonly targetMs: number
  /** A catalog of its own for each measurement. */
  open(): Promise<Home>
}

type Home = {
  readonly url: string
  /** CPU of the database server so far; undefined when there is none. */
  readonly serverSeconds: (() => number) | undefined
  close(): Promise<void>
}

export async function benchFlushTick(stage: Stage): Promise<BenchResult> {
  const server = await startPostgres()
  stage.atEnd(() => server.stop())
  const engines = enginesOf(server)
  const seconds = Math.min(SECONDS_MAX, Math.max(5, Math.ceil(stage.rows / 50_000)))
  const figures: Figure[] = []
  const lines: string[][] = []
  const numbers: Record<string, number> = {}
  const limits: string[] = []
  for (const engine of engines) {
    for (const segments of [1, 2]) {
      stage.say(`flush tick on ${engine.name}, ${segments} segments`)
      const cost = await measureOneTick(engine, segments)
      const server = cost.serverMs === undefined ? '' : `, the server ${cost.serverMs.toFixed(2)} ms`
      figures.push({
        what: `${engine.name}: one tick of ${SOURCES} topic-partitions, ${segments} segment${segments > 1 ? 's' : ''}`,
        value: `${cost.cpuMs.toFixed(2)} ms CPU${server}; ${cost.wallMs.toFixed(2)} ms on the clock`,
        target: { text: `≤ ${engine.targetMs} ms CPU`, met: cost.cpuMs <= engine.targetMs },
      })
      numbers[`${engine.name} tick ${segments} cpuMs`] = cost.cpuMs
      if (cost.serverMs !== undefined) numbers[`${engine.name} tick ${segments} serverMs`] = cost.serverMs
    }
    stage.say(`${PROCESSES} processes × ${TABLES} tables on ${engine.name} for ${seconds} s`)
    const run = await measureManyTables(engine, seconds)
    const { ticks, late, latencies } = run
    const p99 = percentile(latencies, 0.99)
    figures.push({
      what: `${engine.name}: ${PROCESSES} processes × ${TABLES} tables × ${1000 / INTERVAL_MS} ticks/s`,
      value: `${ticks} ticks (${thousands(ticks * TABLES)} segments) in ${seconds} s, ${late} of them late`,
      target: { text: 'sustained', met: late <= ticks / 100 && p99 <= LATE_MET_MS },
    })
    lines.push([
      engine.name,
      `${percentile(latencies, 0.5).toFixed(0)} / ${p99.toFixed(0)} ms`,
      `${run.busyPauses} / ${run.busyErrors}`,
      run.writersCores.toFixed(2),
      run.serverCores === undefined ? '' : run.serverCores.toFixed(2),
      `${run.snapshots} (${run.conflicts} planned again), ${run.compactorCores.toFixed(2)}`,
    ])
    numbers[`${engine.name} many ticks`] = ticks
    numbers[`${engine.name} many late`] = late
    numbers[`${engine.name} many p99Ms`] = p99
    numbers[`${engine.name} many writersCores`] = run.writersCores
    numbers[`${engine.name} many serverCores`] = run.serverCores ?? 0
    limits.push(`${engine.name}: ${run.limit}`)
  }
  stage.say(`${TABLES} tables in one process, files and all`)
  const files = await measureFiles({ tables: TABLES, ...FILES })
  figures.push({
    what: `one process, ${TABLES} tables: seal, write to a local disk and commit ${TABLES} segments of ${FILES.rowsPerSegment} rows`,
    value: `${files.cpuMs.toFixed(0)} ms CPU per tick (encoding ${files.encodeMs.toFixed(0)}, sealing ${files.sealMs.toFixed(0)}), ${files.wallMs.toFixed(0)} ms on the clock; ${thousands(files.segmentBytes)} bytes a segment`,
  })
  const remote = await measureFiles({ tables: TABLES, ...FILES, ticks: 10, warmUpTicks: 2, putDelayMs: PUT_DELAY_MS })
  figures.push({
    what: `the same with ${PUT_DELAY_MS} ms more for every put, as to a bucket`,
    value: `${remote.wallMs.toFixed(0)} ms on the clock`,
    target: { text: '≤ 500 ms, the flush interval', met: remote.wallMs <= INTERVAL_MS },
  })
  numbers['files cpuMs'] = files.cpuMs
  numbers['files encodeMs'] = files.encodeMs
  return {
    name: 'flush-tick',
    data: `segments of 17 columns; one tick: ${SOURCES} advances, ${thousands(TICKS)} ticks after ${WARM_UP_TICKS} to warm up. Many tables: every tick of each process has ${TABLES} segments, ${TABLES} advances and ${TABLES} new versions. No file is written: this is the catalog alone (bench/flush-tick.ts), but in the last figure: JSON records of 12 columns, decoded before the clock starts`,
    settings: `defaults of the catalog; SQLite on a local disk with synchronous=FULL${engines.length > 1 ? ', PostgreSQL on the same machine with fsync and 16 MB of shared_buffers (test/harness/postgres.ts)' : ''}`,
    figures,
    tables: [
      {
        head: [
          'catalog',
          'tick p50 / p99',
          'pauses for a lock / given up',
          'cores of the 4 processes',
          'cores of the server',
          'snapshot commits meanwhile, cores',
        ],
        lines,
      },
    ],
    checked:
      'versions have no hole (ticks and snapshots of a table add up to its version), coverage of every source ends where its ticks ended, and rows in live segments and snapshots are as many as coverage counts.',
    limitedBy: `${limits.join('; ')}.`,
    numbers,
  }
}

function enginesOf(server: PostgresServer): Engine[] {
  return [
    {
      name: 'SQLite',
      targetMs: 2,
      async open() {
        const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-tick-'))
        return {
          url: `sqlite:${join(folder, 'catalog.sqlite')}`,
          serverSeconds: undefined,
          close: () => rm(folder, { recursive: true, force: true }),
        }
      },
    },
    {
      name: 'PostgreSQL',
      targetMs: 5,
      async open() {
        return {
          url: await server.createDatabase(),
          serverSeconds: () => cpuSeconds([server.pid]),
          close: async () => {},
        }
      },
    },
  ]
}

async function measureOneTick(engine: Engine, segments: number) {
  const home = await engine.open()
  const world = createSystemWorld({ log: createTestWorld().log })
  const catalog = await openCatalog({ url: home.url, world })
  const serverNow = () => home.serverSeconds?.() ?? 0
  try {
    const tables = await createTables(catalog, segments)
    const writer = await catalog.registerWriter('ingest')
    const compactor = await catalog.registerWriter('compactor')
    const each = SOURCES / segments
    const feeds = tables.map((table, index) => ({ table, positions: positionsOf(index, 0, each) }))
    let cpu = 0
    let wall = 0
    let server = 0
    let serverBefore = 0
    for (let sequence = 0; sequence < WARM_UP_TICKS + TICKS; sequence += 1) {
      const isMeasured = sequence >= WARM_UP_TICKS
      if (sequence % SNAPSHOT_EVERY_TICKS === 0) {
        if (isMeasured && sequence > WARM_UP_TICKS) server += serverNow() - serverBefore
        for (const { name } of tables) await snapshot(catalog, world, compactor, name)
        serverBefore = serverNow()
      }
      const { tick, advance } = nextTick(world, writer, sequence, feeds)
      const cpuBefore = process.cpuUsage()
      const started = performance.now()
      const result = await catalog.commitTick(tick)
      if (isMeasured) {
        const { user, system } = process.cpuUsage(cpuBefore)
        cpu += (user + system) / 1000
        wall += performance.now() - started
      }
      if (result.outcome !== 'committed') throw new Error(`a tick was answered ${result.outcome}`)
      advance()
    }
    server += serverNow() - serverBefore
    return {
      cpuMs: cpu / TICKS,
      wallMs: wall / TICKS,
      serverMs: home.serverSeconds === undefined ? undefined : (server * 1000) / TICKS,
    }
  } finally {
    await catalog.close()
    await home.close()
  }
}

async function measureManyTables(engine: Engine, seconds: number) {
  const home = await engine.open()
  const world = createSystemWorld({ log: createTestWorld().log })
  const catalog = await openCatalog({ url: home.url, world })
  const serverNow = () => home.serverSeconds?.() ?? 0
  const children: Child[] = []
  try {
    await createTables(catalog, TABLES)
    const common = { url: home.url, tables: TABLES, seconds }
    for (let index = 0; index < PROCESSES; index += 1) {
      const firstMs = (index * INTERVAL_MS) / PROCESSES
      children.push(start({ ...common, role: 'writer', index, intervalMs: INTERVAL_MS, firstMs }))
    }
    children.push(start({ ...common, role: 'compactor', perSecond: SNAPSHOTS_PER_SECOND }))
    await Promise.all(children.map(({ ready }) => ready))
    const pids = children.map(({ process: { pid } }) => pid as number)
    const before = pids.map((pid) => cpuSeconds([pid]))
    const serverBefore = serverNow()
    const load = watchMachine()
    for (const { process: child } of children) child.send('begin')
    // Their CPU is read while they still live, just before the last of them ends.
    const cpu = [...before]
    const reading = setInterval(() => {
      for (const [i, pid] of pids.entries()) cpu[i] = Math.max(cpu[i], cpuSeconds([pid]))
    }, 250)
    const reports = await Promise.all(children.map(({ report }) => report)).finally(() => clearInterval(reading))
    const machine = load()
    const used = cpu.map((seconds, i) => seconds - before[i])
    const server = serverNow() - serverBefore
    const writers = reports.slice(0, PROCESSES)
    const compactor = reports[PROCESSES]
    await check(catalog, writers, compactor)
    const writersCpu = used.slice(0, PROCESSES).reduce((sum, each) => sum + each, 0)
    const sum = (value: (report: TickProcessReport) => number) =>
      writers.reduce((total, report) => total + value(report), 0)
    return {
      ticks: sum(({ commits }) => commits),
      late: sum(({ late }) => late),
      latencies: writers.flatMap(({ latencies }) => latencies),
      busyPauses: sum(({ busyPauses }) => busyPauses),
      busyErrors: sum(({ busyErrors }) => busyErrors),
      writersCores: writersCpu / machine.seconds,
      serverCores: home.serverSeconds === undefined ? undefined : server / machine.seconds,
      compactorCores: used[PROCESSES] / machine.seconds,
      snapshots: compactor.commits,
      conflicts: compactor.conflicts,
      limit: loadText(machine, writersCpu + used[PROCESSES] + server, 'the five processes and the server'),
    }
  } finally {
    for (const { process: child } of children) child.kill()
    await catalog.close()
    await home.close()
  }
}

async function check(
  catalog: Awaited<ReturnType<typeof openCatalog>>,
  writers: readonly TickProcessReport[],
  compactor: TickProcessReport,
): Promise<void> {
  const ticks = writers.reduce((sum, { commits }) => sum + commits, 0)
  let rows = compactor.rows
  let snapshots = 0
  for (let index = 0; index < TABLES; index += 1) {
    const name = tableName(index)
    const [version] = await catalog.readTables([name])
    const expect = (what: string, found: unknown, expected: unknown) => {
      if (found !== expected) throw new Error(`${name}: ${what} is ${found}, expected ${expected}`)
    }
    const ends = new Map(version.coverage.map((each) => [each.partition, each]))
    for (const [partition, { commits }] of writers.entries()) {
      const rows = BigInt(commits * ROWS_PER_SOURCE)
      expect(`coverage of ${pipelineOf(index)}/${partition}`, ends.get(partition)?.ranges.at(-1)?.end, rows)
      expect(`records of ${pipelineOf(index)}/${partition}`, ends.get(partition)?.recordsIn, rows)
    }
    expect('sources', ends.size, writers.length)
    snapshots += Number(version.version) - ticks
    rows += version.segments.reduce((sum, { rowCount }) => sum + rowCount, 0)
    const added = version.segments.map(({ addedVersion }) => addedVersion)
    expect('different versions of live segments', new Set(added).size, added.length)
  }
  if (snapshots !== compactor.commits)
    throw new Error(`${snapshots} snapshots in versions, ${compactor.commits} landed`)
  const sent = ticks * TABLES * ROWS_PER_SOURCE
  if (rows !== sent) throw new Error(`${rows} rows in snapshots and live segments, ${sent} were sent`)
}

type Child = {
  readonly process: ChildProcess
  readonly ready: Promise<void>
  readonly report: Promise<TickProcessReport>
}

function start(options: TickProcessOptions): Child {
  const child = fork(join(import.meta.dirname, 'flush-tick-process.ts'), [JSON.stringify(options)])
  let report: TickProcessReport | undefined
  const ready = new Promise<void>((resolve, reject) => {
    child.on('message', (message) => {
      if (message === 'ready') resolve()
      else report = message as TickProcessReport
    })
    child.once('exit', () => reject(new Error(`a ${options.role} ended before it began`)))
  })
  const done = once(child, 'exit').then(([code]) => {
    if (report === undefined) throw new Error(`a ${options.role} ended with code ${code}`)
    return report
  })
  ready.catch(() => {})
  done.catch(() => {})
  return { process: child, ready, report: done }
}
