/**
 * Snapshot commits, one after the other, into one table with many sources: what a commit costs beside the rewrite, and
 * whether that grows with the commits before it.
 *
 * The production table worker, planner and Iceberg writer run over a catalog file of SQLite and a store in memory. Only the
 * rewriter is cheap: it writes small real Parquet files, which are merged as planned, so manifests look like those of a
 * table that lives. The clock is moved by hand, 30 s a commit, so that snapshots, manifests and garbage are all at their bounds.
 *
 *   CPU of a commit = user and system time of this process around the worker's turn (reading the version, planning,
 *   manifests, list, checkpoint, metadata, transaction), without opening inputs and rewriting them
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSweep } from '../compactor/sweep.ts'
import { createTableWorker } from '../compactor/table-worker.ts'
import type { NewSegment } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { reachablePaths } from '../lake/iceberg/read.ts'
import { createMemoryObjectStore } from '../lake/object-store/memory.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import type { ColumnType } from '../schemas/column-type.ts'
import { type SourceAdvance, type SourceKey, sourceKeyText } from '../schemas/coverage.ts'
import { type MachineLoad, watchMachine } from './process-cost.ts'
import { type BenchResult, loadText, thousands } from './report.ts'
import { createRowsRewriter } from './rows-rewriter.ts'
import { checkLake, countFiles, countingPuts, type Facts, noSizes, type Sizes } from './snapshot-commits-lake.ts'
import { median } from './statistics.ts'

export type SnapshotCommitOptions = { readonly commits: number; say(line: string): void }

const ROOT = 's3://bench/lake'
const TOPIC_PARTITIONS = 200
const PRODUCERS = 10_000
/** Of the producers this many send something between two snapshot commits, another hundred each time. */
const PRODUCERS_MOVING = 100
const TICKS_PER_COMMIT = 2
const COMMIT_EVERY_MS = 30_000
const COMMITS_WITH_ALL = 20
const COMMITS_PER_SWEEP = 50
const WINDOW = 100
const TARGET_MS = 20
const MIN_AGE_MS = 3_600_000
const FILES_MIN = 8
/** About eight files of one append. */
const TARGET_BYTES = 192 * 1024
const COLUMNS: Readonly<Record<string, ColumnType>> = {
  ts: { kind: 'timestamptz' },
  id: { kind: 'long' },
  user_id: { kind: 'long' },
  country: { kind: 'string' },
  device: { kind: 'string' },
  url: { kind: 'string' },
  status: { kind: 'int' },
  latency: { kind: 'double' },
  amount: { kind: 'decimal', precision: 10, scale: 2 },
  ok: { kind: 'boolean' },
  items: { kind: 'int' },
  session: { kind: 'string' },
}

type Measured = { readonly cpuMs: number; readonly kind: string; readonly sizes: Sizes }

export async function benchSnapshotCommits({ commits, say }: SnapshotCommitOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-snapshot-commits-'))
  try {
    return await run(folder, commits, say)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function run(folder: string, commits: number, say: (line: string) => void): Promise<BenchResult> {
  const load = watchMachine()
  const startedCpuMs = cpuMs()
  const world = createTestWorld()
  const sizes = noSizes()
  const store = countingPuts(createMemoryObjectStore({ root: ROOT, world }), sizes)
  const catalog = await openCatalog({ url: `sqlite:${join(folder, 'catalog.db')}`, world })
  const table = await catalog.createTable(
    defineTable(
      {
        name: 'events',
        columns: Object.entries(COLUMNS).map(([name, type]) => ({
          name,
          type,
          required: name === 'ts' || name === 'id',
        })),
        partition: ['day(ts)'],
        sort: ['ts'],
        eventTime: 'ts',
      },
      `${ROOT}/events-1`,
    ),
  )
  const kafka = Array.from(
    { length: TOPIC_PARTITIONS },
    (_, partition): SourceKey => ({
      pipeline: 'events',
      source: 'kafka:events:0b9a4c53-6d0c-4a2e-8f0e-1f7e9a0c2d11',
      partition,
    }),
  )
  const producers = Array.from(
    { length: PRODUCERS },
    (_, index): SourceKey => ({
      pipeline: 'http:events',
      source: `http:device-${String(index).padStart(6, '0')}`,
      partition: 0,
    }),
  )
  await catalog.bindPipeline('events', [table.tableId], ['events'])
  await catalog.bindPipeline('http:events', [table.tableId], [''])
  const ingest = await catalog.registerWriter('ingest')
  const writer = await catalog.registerWriter('compactor')
  const rows = createRowsRewriter({ store, writerId: writer.writerId })
  let rewriteCpu = 0
  const apart = async <T>(work: () => Promise<T>): Promise<T> => {
    const before = cpuMs()
    try {
      return await work()
    } finally {
      rewriteCpu += cpuMs() - before
    }
  }
  const worker = createTableWorker({
    catalog,
    store,
    world,
    writer,
    inputs: { open: (files) => apart(async () => rows.open(files)) },
    rewriter: { rewrite: (request) => apart(() => rows.rewrite(request)) },
    tiering: undefined,
    settings: {
      leaseMs: 15_000,
      snapshotBytes: 128 * 1024 ** 2,
      snapshotAgeMs: 1_000,
      appendBytesMax: 128 * 1024 ** 2,
      targetBytes: TARGET_BYTES,
      filesMin: FILES_MIN,
      mergeBytesMax: TARGET_BYTES,
      cold: undefined,
      snapshotAgeMaxMs: MIN_AGE_MS,
      snapshotsMax: 100,
      manifestsMax: 100,
    },
  })
  const sweep = createSweep({
    catalog,
    store,
    world,
    settings: { snapshotMinAgeMs: MIN_AGE_MS, writerSilentMs: 3_600_000, readerSilentMs: 600_000 },
    locations: ({ location }) => [location],
    reachablePaths: (metadataLocation) => reachablePaths(store, metadataLocation),
  })

  const ends = new Map<string, bigint>()
  let rowsMade = 0
  let ticks = 0
  async function tick(sources: readonly SourceKey[]): Promise<void> {
    ticks += 1
    const path = `${table.location}/segments/${ingest.writerId}-${String(ticks).padStart(8, '0')}.parquet`
    const moved = sources.map((key) => {
      const start = ends.get(sourceKeyText(key)) ?? 0n
      return { ...key, range: { start, end: start + 2n } }
    })
    const segment: NewSegment = {
      tableId: table.tableId,
      schemaId: 0,
      path,
      rowCount: moved.length,
      bytes: moved.length * 20,
      etag: undefined,
      bounds: [],
      sources: moved.map((source) => ({ ...source, rows: 1 })),
      touched: { grain: 'all', values: [] },
    }
    const advances = moved.map(
      (source): SourceAdvance => ({
        ...source,
        recordsIn: 2,
        recordsDead: 0,
        recordsFiltered: 1,
        logEnd: undefined,
        caughtUp: true,
      }),
    )
    rows.addSegment(path, {
      first: rowsMade,
      count: moved.length,
      nowMicros: world.clock.nowMicros(),
      late: ticks % 10 === 0,
    })
    const result = await catalog.commitTick({
      commitId: world.random.uuid(),
      writer: ingest,
      segments: [segment],
      advances,
      idempotencyKeys: [],
    })
    if (result.outcome !== 'committed') throw new Error(`a tick was ${result.outcome}`)
    for (const { range, ...key } of moved) ends.set(sourceKeyText(key), range.end)
    rowsMade += moved.length
  }

  const looks: number[] = []
  /** Turns until nothing is left to do. */
  async function turns(measured: Measured[]): Promise<void> {
    for (;;) {
      rewriteCpu = 0
      Object.assign(sizes, noSizes())
      const before = cpuMs()
      const done = await worker.turn(await catalog.getTable(table.tableId))
      const spent = cpuMs() - before - rewriteCpu
      if (done === 'conflict') throw new Error('a conflict, though nobody else is there')
      if (!done) {
        looks.push(spent)
        return
      }
      measured.push({ cpuMs: spent, kind: done.kind, sizes: { ...sizes } })
    }
  }
  let nextProducer = 0
  async function round(measured: Measured[], everybody: boolean): Promise<void> {
    if (everybody) await tick([...kafka, ...producers])
    for (let i = 0; i < TICKS_PER_COMMIT && !everybody; i += 1) {
      const share = PRODUCERS_MOVING / TICKS_PER_COMMIT
      await tick([...kafka, ...producers.slice(nextProducer, nextProducer + share)])
      nextProducer = (nextProducer + share) % PRODUCERS
    }
    await world.advance(COMMIT_EVERY_MS)
    for (const each of [ingest, writer]) await catalog.heartbeat(each, 15_000)
    await worker.refresh()
    await turns(measured)
  }

  const measured: Measured[] = []
  await round([], true)
  for (let swept = 0; measured.length < commits; ) {
    await round(measured, false)
    if (measured.length - swept >= COMMITS_PER_SWEEP) {
      swept = measured.length
      await sweep()
    }
    if (measured.length % 500 < 2 && measured.length > 0)
      say(`${measured.length} commits, ${average(measured.slice(-WINDOW)).toFixed(1)} ms each`)
  }
  const all: Measured[] = []
  while (all.length < Math.min(COMMITS_WITH_ALL, commits)) await round(all, true)

  const facts = await checkLake(store, catalog, rowsMade, ends)
  await world.advance(MIN_AGE_MS + 1)
  for (const each of [ingest, writer]) await catalog.heartbeat(each, 15_000)
  await worker.refresh()
  await sweep()
  const there = await countFiles(store, `${ROOT}/`)
  const referred = facts.reachable
  if (there !== referred) throw new Error(`${there} files lie in the store, ${referred} are referred to`)
  await catalog.close()
  return report({ measured, all, looks, facts, machine: load(), cpu: (cpuMs() - startedCpuMs) / 1000 })
}

type Run = {
  readonly measured: readonly Measured[]
  /** Commits between which all sources moved. */
  readonly all: readonly Measured[]
  readonly looks: readonly number[]
  readonly facts: Facts
  readonly machine: MachineLoad
  readonly cpu: number
}

function report({ measured, all, looks, facts, machine, cpu }: Run): BenchResult {
  const windows: Measured[][] = []
  for (let from = 0; from < measured.length; from += WINDOW) {
    const isLast = measured.length - from < 2 * WINDOW
    windows.push(measured.slice(from, isLast ? undefined : from + WINDOW))
    if (isLast) break
  }
  const shown = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (windows.length - 1)))
  const costs = windows.map(average)
  // The first windows fill up what is kept; after them nothing may grow.
  const settled = costs.slice(Math.min(3, costs.length - 1))
  const early = median(settled.slice(0, Math.max(1, settled.length >> 2)))
  const late = median(settled.slice(-Math.max(1, settled.length >> 2)))
  const worst = Math.max(...costs)
  const ofKind = (kind: string) => measured.filter((each) => each.kind === kind)
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`
  const mean = (list: readonly Measured[], of: (sizes: Sizes) => number) =>
    list.reduce((sum, each) => sum + of(each.sizes), 0) / Math.max(1, list.length)
  const kinds = [...new Set(measured.map(({ kind }) => kind))]
  return {
    name: 'snapshot-commits',
    data: `${thousands(measured.length)} snapshot commits of one table with ${TOPIC_PARTITIONS} topic-partitions and ${thousands(PRODUCERS)} HTTP producers; all topic-partitions and ${PRODUCERS_MOVING} producers move between two appends, in ${TICKS_PER_COMMIT} segments; ${facts.files} live files of 17 columns at the end`,
    settings: `defaults (snapshot.keep.max 100, snapshot.manifests.max 100, snapshot.min-age 1 h), a commit every ${COMMIT_EVERY_MS / 1000} s of the catalog's clock, compaction.files.min ${FILES_MIN}; store in memory, SQLite file; the rewrite itself is not counted`,
    figures: [
      {
        what: 'CPU of a snapshot commit, average',
        value: `${average(measured).toFixed(1)} ms (${kinds.map((kind) => `${kind} ${average(ofKind(kind)).toFixed(1)}, ${thousands(ofKind(kind).length)} of them`).join('; ')})`,
        target: { text: `≤ ${TARGET_MS} ms`, met: average(measured) <= TARGET_MS },
      },
      {
        what: `worst ${WINDOW} commits in a row`,
        value: `${worst.toFixed(1)} ms`,
        target: { text: `≤ ${TARGET_MS} ms`, met: worst <= TARGET_MS },
      },
      {
        what: 'last quarter against first quarter, medians of windows',
        value: `${late.toFixed(1)} ms / ${early.toFixed(1)} ms`,
        target: { text: 'flat (≤ 1.25)', met: late <= early * 1.25 },
      },
      { what: 'bytes written by a commit, beside data files', value: kib(mean(measured, (sizes) => sizes.all)) },
      { what: 'a look at the table that finds nothing to do', value: `${median(looks.slice(-WINDOW)).toFixed(2)} ms` },
      {
        what: `a commit between whose segments all ${thousands(TOPIC_PARTITIONS + PRODUCERS)} sources moved`,
        value: `${average(all).toFixed(1)} ms, ${kib(mean(all, (sizes) => sizes.all))} written`,
      },
    ],
    tables: [
      {
        head: ['commits', 'CPU ms', 'metadata', 'manifest list', 'manifests', 'checkpoint'],
        lines: [...new Set(shown)].map((at) => {
          const list = windows[at]
          return [
            `${thousands(at * WINDOW + 1)}–${thousands(at * WINDOW + list.length)}`,
            average(list).toFixed(1),
            kib(mean(list, (sizes) => sizes.metadata)),
            kib(mean(list, (sizes) => sizes.list)),
            kib(mean(list, (sizes) => sizes.manifests)),
            kib(mean(list, (sizes) => sizes.checkpoint)),
          ]
        }),
      },
    ],
    checked: `every row in exactly one live file by the files' own footers; the checkpoint has every source from its beginning to its end with its count; after a last sweep the store holds the ${facts.reachable} files that the metadata refers to and no other.`,
    limitedBy: `one core: nothing waits for a disk but the catalog. Beside that, ${loadText(machine, cpu, 'this program')}; processes that share cores and caches cost each other CPU time.`,
    numbers: {
      cpuMs: average(measured),
      worstWindowMs: worst,
      earlyMs: early,
      lateMs: late,
      allSourcesMs: average(all),
      lookMs: median(looks.slice(-WINDOW)),
    },
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function average(list: readonly Measured[]): number {
  return list.reduce((sum, each) => sum + each.cpuMs, 0) / Math.max(1, list.length)
}
