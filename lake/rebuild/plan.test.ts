// Random histories of writers, crashes, compactions and sweeps: what the files alone give back, and what they add to an older copy of the catalog.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { EMPTY_CATALOG, type KnownCatalog } from './facts.ts'
import { planRebuild } from './plan.ts'
import { type History, runHistory, SOURCES, type Step, TABLES, tableOf } from './sample-history.ts'

const KINDS = [
  'tick',
  'tick',
  'tick',
  'crash',
  'stale',
  'merge',
  'merge-crash',
  'compact',
  'compact-crash',
  'sweep',
  'writer',
  'copy',
] as const
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  a: fc.nat({ max: 30 }),
  b: fc.nat({ max: 30 }),
  c: fc.nat({ max: 30 }),
})
const history = fc.array(step, { maxLength: 40 })
const HTTP = 1
const RUNS = { numRuns: Number(process.env.MILLRACE_TEST_REBUILD_RUNS ?? 800) }
const OPTIONS = { takeUnsequenced: false }

/** What readers see after the rebuild: every row of every table. */
function rowsAfter({ rowsOf }: History, known: KnownCatalog, plan: ReturnType<typeof planRebuild>): string[] {
  return plan.tables.flatMap((table) => {
    const before = known.tables.find(({ tableId }) => tableId === table.tableId)?.live ?? []
    const ended = new Set(table.endedSegmentIds)
    const stay = before.filter(({ segmentId }) => !ended.has(segmentId)).map(({ path }) => path)
    const paths = [
      ...stay,
      ...table.added.map(({ file }) => file.path),
      ...(table.metadata ? [table.metadata.path] : []),
    ]
    return paths.flatMap((path) => rowsOf(path).map((row) => `${table.tableId}: ${row}`))
  })
}

function check(told: History, known: KnownCatalog): void {
  const plan = planRebuild(told.bucket, known, OPTIONS)
  const expected: string[] = []
  const ends = SOURCES.map((key, source) => {
    const ranges = plan.coverage.find((each) => sourceKeyText(each) === sourceKeyText(key))?.ranges ?? []
    // No file was lost, so there is no hole, and what was committed and brought a file is covered.
    expect(ranges.length).toBeLessThanOrEqual(1)
    expect(ranges[0]?.start ?? 0n).toBe(0n)
    const end = Number(ranges[0]?.end ?? 0n)
    for (let offset = 0; offset < end; offset += 1) {
      const tableId = tableOf(source, offset)
      if (tableId !== undefined) expected.push(`${tableId}: ${source}/${offset}`)
    }
    return end
  })
  expect(rowsAfter(told, known, plan).sort()).toEqual(expected.sort())
  // What an HTTP producer was told is in; of Kafka, what is not in is read again.
  expect(ends[HTTP]).toBeGreaterThanOrEqual(told.ends[HTTP])
  for (const { tableId, version } of plan.tables) expect(version).toBeGreaterThanOrEqual(told.versions[tableId - 1])
  const seen = told.bucket.folders.flatMap(({ segments }) => segments.map(({ record }) => record.writerEpoch))
  expect(plan.epochMax).toBeGreaterThanOrEqual(Math.max(0, ...seen))
  expect(plan.problems).toEqual([])
}

test('a rebuild from the bucket alone has every acknowledged row once, and covers exactly what is in (G-1, G-2, G-4)', () => {
  fc.assert(
    fc.property(history, (steps) => check(runHistory(steps), EMPTY_CATALOG)),
    RUNS,
  )
})

test('an older copy of the catalog is brought to where the bucket is', () => {
  fc.assert(
    fc.property(history, (steps) => {
      const told = runHistory(steps)
      check(told, told.copy ?? EMPTY_CATALOG)
    }),
    RUNS,
  )
})

test('what is live or in a snapshot never dies, and what a human must look at neither', () => {
  fc.assert(
    fc.property(history, (steps) => {
      const told = runHistory(steps)
      const plan = planRebuild(told.bucket, told.copy ?? EMPTY_CATALOG, OPTIONS)
      const held = new Set(plan.leftOut.filter(({ isHeld }) => isHeld).map(({ path }) => path))
      for (const table of plan.tables) {
        const live = new Set([...table.added.map(({ file }) => file.path), ...(table.metadata?.reachable ?? [])])
        expect(table.deadPaths.filter((path) => live.has(path) || held.has(path))).toEqual([])
      }
    }),
    RUNS,
  )
})

test('the same files give the same plan, in whatever order they are listed', () => {
  fc.assert(
    fc.property(history, (steps) => {
      const told = runHistory(steps)
      const turned = {
        ...told.bucket,
        folders: told.bucket.folders
          .map((folder) => ({
            ...folder,
            segments: folder.segments.toReversed(),
            metadata: folder.metadata.toReversed(),
          }))
          .toReversed(),
      }
      const summary = (bucket: History['bucket']) => {
        const plan = planRebuild(bucket, EMPTY_CATALOG, OPTIONS)
        const tables = plan.tables.map(({ tableId, metadata, added, version }) => ({
          tableId,
          version,
          metadata: metadata?.path,
          added: added.map(({ file }) => file.path),
        }))
        return {
          tables: tables.sort((a, b) => a.tableId - b.tableId),
          coverage: plan.coverage.flatMap((each) => each.ranges).length,
        }
      }
      expect(summary(turned)).toEqual(summary(told.bucket))
    }),
    { numRuns: 300 },
  )
})

test('a table that nobody wrote to has nothing to be rebuilt from', () => {
  const plan = planRebuild(runHistory([]).bucket, EMPTY_CATALOG, OPTIONS)
  expect(plan).toMatchObject({ tables: [], coverage: [], leftOut: [], problems: [] })
  expect(TABLES).toHaveLength(2)
})

const FOUND: [string, Step[]][] = [
  [
    'rows below what a snapshot has are worth more than a further reach: nobody sends them again',
    [
      { kind: 'crash', a: 0, b: 15, c: 1 },
      { kind: 'tick', a: 1, b: 29, c: 0 },
      { kind: 'tick', a: 0, b: 4, c: 1 },
      { kind: 'compact', a: 9, b: 0, c: 0 },
    ],
  ],
  [
    'a merged segment that alone has rows comes before a larger one that never committed',
    [
      { kind: 'tick', a: 0, b: 1, c: 0 },
      { kind: 'tick', a: 0, b: 1, c: 0 },
      { kind: 'merge', a: 0, b: 0, c: 0 },
      { kind: 'tick', a: 0, b: 10, c: 0 },
      { kind: 'merge-crash', a: 0, b: 0, c: 0 },
      { kind: 'tick', a: 0, b: 1, c: 0 },
      { kind: 'merge', a: 0, b: 0, c: 11 },
    ],
  ],
]

test.each(FOUND)('found once in many thousand histories: %s', (_, steps) => {
  check(runHistory(steps), EMPTY_CATALOG)
})
