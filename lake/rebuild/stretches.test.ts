// Sources that a human moved (ADR 27) and letters that left (ADR 26) are sources like any other to a rebuild: stretches, incarnations
// and `letters:<table>` come back with exactly the offsets that are in, and what lies between stretches is told.
import { expect, test } from 'vitest'
import { type Coverage, lettersKey, type SourceKey, sourceKeyText } from '../../schemas/coverage.ts'
import { stretchesOf } from '../../schemas/kafka-source-text.ts'
import { balanceFindings, tableFindings } from '../check/catalog-facts.ts'
import { forgottenIn } from '../dead-letters/rows-of-letters.ts'
import { type BucketFacts, EMPTY_CATALOG, type KnownCatalog, type SegmentFile } from './facts.ts'
import { planRebuild, type RebuildPlan } from './plan.ts'
import { reportText } from './report.ts'
import { segmentPath } from './segment-record.ts'

const ROOT = 'file:///lake'
const LOCATION = `${ROOT}/t-1`
const DEAD = { tableId: 2, name: 't__dead_letters' }
const PLACE = { topic: 'clicks', topicId: '1c', partition: 0 }
const kafka = (mark = ''): SourceKey => ({ pipeline: 'p', source: `kafka:clicks:1c${mark}`, partition: 0 })
const LETTERS = lettersKey('p', DEAD.name)

const SHAPE = { partition: [], sort: [], properties: {}, lastFieldId: 16 }
const WRITER = 1
const CRASHED = 2

type Ticked = {
  readonly key: SourceKey
  readonly start: bigint
  readonly end: bigint
  /** Where the files' record of the source ended before. */
  readonly recordedFrom?: bigint
  readonly isFirst?: boolean
  readonly writer?: number
  /** Of the same process: committed up to here. */
  readonly settled?: number
}

/** Each tick is a segment of the one table. */
function bucketOf(ticks: readonly Ticked[]): BucketFacts {
  const segments = ticks.map((each, index): SegmentFile => {
    const { key, start, end, recordedFrom = start, isFirst = false, writer = WRITER, settled = 0 } = each
    const number = index + 1
    const writerId = `${String(writer).padStart(8, '0')}-0000-4000-8000-000000000000`
    const commitId = `${writerId}/${number}`
    const range = { start, end }
    const rows = Number(end - start)
    const counts = { recordsIn: rows, recordsDead: 0, recordsFiltered: 0 }
    return {
      path: segmentPath(LOCATION, writerId, number),
      bytes: 1,
      etag: 'e',
      checksum: undefined,
      rowCount: rows,
      bounds: [],
      merge: undefined,
      record: {
        table: 't',
        schemaId: 0,
        commitId,
        writerId,
        writerEpoch: writer,
        sources: [{ ...key, range, rows, recordedFrom, isFirst }],
        definition: { ...SHAPE, tableId: 1, name: 't', location: LOCATION, schemaId: 0, columns: [] },
        commit: {
          commitId,
          tick: number,
          settled,
          dropped: [],
          parts: [{ tableId: 1, number }],
          versions: new Map(),
          advances: [{ ...key, range, recordedFrom, isFirst, ...counts }],
          sources: [[0]],
        },
      },
    }
  })
  const folder = { location: LOCATION, metadata: [], segments, damaged: [], paths: segments.map(({ path }) => path) }
  return { root: ROOT, folders: [folder], strangers: [] }
}

const rebuilt = (ticks: readonly Ticked[], known: KnownCatalog = EMPTY_CATALOG): RebuildPlan =>
  planRebuild(bucketOf(ticks), known, { takeUnsequenced: false })

const rangesOf = ({ coverage }: Pick<RebuildPlan, 'coverage'>) =>
  Object.fromEntries(coverage.map(({ source, ranges }) => [source, ranges.map(({ start, end }) => [start, end])]))

const BEGINNING: readonly Ticked[] = [
  { key: kafka(), start: 0n, end: 100n, isFirst: true },
  { key: kafka(), start: 100n, end: 250n, recordedFrom: 100n },
]
const SKIPPED: Ticked = { key: kafka('@500'), start: 500n, end: 600n, isFirst: true }
const BACKFILL: readonly Ticked[] = [
  { key: kafka('@250'), start: 250n, end: 300n, isFirst: true },
  { key: kafka('@250'), start: 300n, end: 350n, recordedFrom: 300n },
]
const DOUBLED: Ticked = { key: kafka('#2'), start: 80n, end: 120n, isFirst: true }
const STRETCHES = [...BEGINNING, SKIPPED, ...BACKFILL]

test('every stretch comes back with its own offsets, the last one is read on, and the gap before it is told', () => {
  const plan = rebuilt(STRETCHES)
  expect(rangesOf(plan)).toEqual({
    'kafka:clicks:1c': [[0n, 250n]],
    'kafka:clicks:1c@250': [[250n, 350n]],
    'kafka:clicks:1c@500': [[500n, 600n]],
  })
  expect(stretchesOf(PLACE, plan.coverage).at(-1)?.source).toBe('kafka:clicks:1c@500')
  expect([plan.problems, plan.leftOut]).toEqual([[], []])
  const text = reportText({ plan, isChanged: true, isDryRun: false, knownTables: 0 })
  expect(text.match(/.* is read on from .*/g)).toEqual(['p: kafka:clicks:1c@500/0 is read on from offset 600'])
  expect(plan.notes).toEqual([expect.stringMatching(/^offsets \[350, 500\) of kafka:clicks:1c\/0 .*offsets backfill/)])
})

test('the newest incarnation is read on, and what older ones left out is nobody’s concern', () => {
  const plan = rebuilt([...STRETCHES, DOUBLED])
  expect(rangesOf(plan)).toMatchObject({ 'kafka:clicks:1c': [[0n, 250n]], 'kafka:clicks:1c#2': [[80n, 120n]] })
  expect(stretchesOf(PLACE, plan.coverage).map(({ source }) => source)).toEqual(['kafka:clicks:1c#2'])
  expect([plan.problems, plan.notes]).toEqual([[], []])
})

test('of two attempts at a stretch one is in, each offset once', () => {
  const attempt = { ...BACKFILL[0], end: 280n, writer: CRASHED }
  const plan = rebuilt([...STRETCHES, attempt])
  expect(rangesOf(plan)['kafka:clicks:1c@250']).toEqual([[250n, 350n]])
  expect(plan.leftOut.map(({ reason }) => reason)).toEqual(['superseded'])
  expect(plan.rows.segments).toBe(250 + 100 + 100)
})

test('a stretch that lost its beginning is not taken, and told as a gap', () => {
  const plan = rebuilt([...BEGINNING, SKIPPED, BACKFILL[1]])
  expect(Object.keys(rangesOf(plan)).sort()).toEqual(['kafka:clicks:1c', 'kafka:clicks:1c@500'])
  expect(plan.leftOut).toMatchObject([{ reason: 'gap', isHeld: true }])
  expect(plan.notes).toEqual([expect.stringContaining('offsets [250, 500)')])
})

test('an older copy goes on where its stretches are, also those that have consumed nothing by it', () => {
  const begun = (key: SourceKey, start: bigint, end: bigint): Coverage => ({
    ...key,
    ranges: [{ start, end }],
    recordsIn: end - start,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
  })
  const coverage = [begun(kafka(), 0n, 250n), begun(kafka('@500'), 500n, 500n), begun(kafka('@250'), 250n, 250n)]
  const plan = rebuilt(STRETCHES, { ...EMPTY_CATALOG, coverage })
  expect(rangesOf(plan)).toEqual(rangesOf(rebuilt(STRETCHES)))
  const nothingCame = rebuilt(BEGINNING, { ...EMPTY_CATALOG, coverage })
  expect(rangesOf(nothingCame)).toMatchObject({ 'kafka:clicks:1c@500': [[500n, 500n]] })
})

test('what is rebuilt balances: rows, records and ranges of stretches, incarnations and letters', () => {
  const replayed: Ticked = { key: LETTERS, start: 0n, end: 3n, isFirst: true }
  const plan = rebuilt([...STRETCHES, DOUBLED, replayed])
  const [{ added, tableId, name, location, version }] = plan.tables
  const segments = added.map(({ file }, index) => ({
    ...file,
    tableId,
    schemaId: 0,
    sources: file.record.sources,
    touched: { grain: 'all', values: [] } as const,
    segmentId: index + 1,
    addedVersion: 1n,
    addedAt: 0n,
  }))
  const schemas = [{ schemaId: 0, columns: [] }]
  const table = { ...SHAPE, tableId, name, location, version, schemas, metadataLocation: undefined }
  const inspected = {
    table,
    createdAt: 0n,
    snapshotRows: 0,
    segments,
    removedPaths: new Set<string>(),
    lease: undefined,
    masked: { rows: 0, held: 0 },
    lastSnapshot: undefined,
  }
  const read = { metadata: undefined, snapshotRows: 0, checkpoint: [] }
  expect(tableFindings(inspected, read, plan.coverage)).toEqual([])
  const catalog = { readAt: 0n, tables: [inspected], writers: [], readers: [], coverage: plan.coverage }
  expect(balanceFindings({ ...catalog, bindings: [{ pipeline: 'p', tableId }] })).toEqual([])
})

test('letters that were replayed are counted by the rows’ own footers, so a rebuilt catalog knows that it has forgotten some', () => {
  const first: Ticked = { key: LETTERS, start: 0n, end: 3n, isFirst: true }
  // Two letters were discarded between: no file says so, but that the record goes on where it ended.
  const second: Ticked = { key: LETTERS, start: 5n, end: 6n, recordedFrom: 3n }
  const { coverage } = rebuilt([...BEGINNING, first, second])
  expect(coverage.find((each) => sourceKeyText(each) === sourceKeyText(LETTERS))?.ranges).toEqual([
    { start: 0n, end: 6n },
  ])
  expect(forgottenIn({ coverage, lettersLeft: [] }, DEAD)).toBe(6n)
  const since = { tableId: 2, action: 'replay', source: 'kafka:clicks:1c', partition: 0, rows: 2 }
  expect(forgottenIn({ coverage, lettersLeft: [since, { ...since, tableId: 7, rows: 4 }] }, DEAD)).toBe(4n)
  expect(forgottenIn({ coverage, lettersLeft: [{ ...since, rows: 6 }] }, DEAD)).toBe(0n)
  expect(forgottenIn({ coverage: [], lettersLeft: [] }, DEAD)).toBe(0n)
})

test('of two replays with the same numbers the one not taken is kept for a human, unless the other is proven', () => {
  const crashed: Ticked = { key: LETTERS, start: 0n, end: 4n, isFirst: true, writer: CRASHED }
  const committed: Ticked = { key: LETTERS, start: 0n, end: 3n, isFirst: true }
  const unsure = rebuilt([crashed, committed])
  expect(unsure.leftOut).toMatchObject([{ reason: 'replayed', rows: 3, isHeld: true }])
  expect(unsure.tables[0].heldPaths).toEqual(unsure.leftOut.map(({ path }) => path))
  const later: Ticked = { key: kafka(), start: 0n, end: 9n, isFirst: true, settled: 2 }
  const shorter = { ...crashed, end: 2n }
  expect(rebuilt([shorter, committed, later]).leftOut).toMatchObject([{ reason: 'superseded', rows: 2, isHeld: false }])
})
