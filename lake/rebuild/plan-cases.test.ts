// One case each of what a rebuild leaves out, and of what it tells a human.
import { expect, test } from 'vitest'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { type BucketFacts, EMPTY_CATALOG, type KnownCatalog, type SegmentFile, type TableFolder } from './facts.ts'
import { inCommitOrder, planRebuild, type RebuildPlan } from './plan.ts'
import { type History, runHistory, SOURCES, type Step, TABLES } from './sample-history.ts'

const tick = (a: number, b = 0, c = 1): Step => ({ kind: 'tick', a, b, c })
const compact: Step = { kind: 'compact', a: 0, b: 0, c: 0 }
const [KAFKA, HTTP] = SOURCES

function plan(bucket: BucketFacts, takeUnsequenced = false): RebuildPlan {
  return planRebuild(bucket, EMPTY_CATALOG, { takeUnsequenced })
}

function change({ bucket }: History, location: string, to: (folder: TableFolder) => TableFolder): BucketFacts {
  return { ...bucket, folders: bucket.folders.map((folder) => (folder.location === location ? to(folder) : folder)) }
}

function without(told: History, path: string): BucketFacts {
  const location = path.slice(0, path.indexOf('/segments/'))
  return change(told, location, (folder) => ({
    ...folder,
    segments: folder.segments.filter((file) => file.path !== path),
    paths: folder.paths.filter((each) => each !== path),
  }))
}

function segmentsOf({ bucket }: History, location: string): readonly SegmentFile[] {
  return bucket.folders.find((folder) => folder.location === location)?.segments ?? []
}

function endOf({ coverage }: RebuildPlan, key: (typeof SOURCES)[number]): bigint | undefined {
  return coverage.find((each) => sourceKeyText(each) === sourceKeyText(key))?.ranges.at(-1)?.end
}

test('a file that is gone cuts: what comes after it is read again from Kafka, and its files stay', () => {
  const told = runHistory([tick(3), tick(3), tick(3), tick(3)])
  const [, second, third] = segmentsOf(told, TABLES[0].location)
  const made = plan(without(told, second.path))
  expect(endOf(made, KAFKA)).toBe(3n)
  const gap = made.leftOut.filter(({ reason }) => reason === 'gap')
  expect(gap.map(({ path }) => path)).toContain(third.path)
  expect(gap.every(({ isHeld }) => isHeld)).toBe(true)
  expect(gap[0].detail).toContain('do not continue at 3')
  expect(made.tables.find(({ tableId }) => tableId === 1)?.heldPaths).toContain(third.path)
})

test('rows of an HTTP producer behind a lost file are in when a later file calls them committed', () => {
  // c: 0 makes a file say that all before it are settled.
  const told = runHistory([tick(0, 3), tick(0, 3, 1), tick(0, 3, 1), tick(0, 3, 0)])
  const [, second] = segmentsOf(told, TABLES[0].location)
  const made = plan(without(told, second.path))
  const http = made.coverage.find((each) => each.source === HTTP.source)
  expect(http?.ranges).toEqual([
    { start: 0n, end: 3n },
    { start: 6n, end: 12n },
  ])
  expect(made.problems).toEqual([{ kind: 'lost', text: expect.stringContaining('[3, 6)'), paths: [] }])
})

test('metadata whose files are gone is told, and an older one is taken', () => {
  const told = runHistory([tick(3), tick(3), compact, tick(3), compact])
  const [older, newer] = told.bucket.folders[0].metadata.toSorted((a, b) => Number(a.sequence - b.sequence))
  const missing = [`${TABLES[0].location}/data/x.parquet`]
  const bucket = change(told, TABLES[0].location, (folder) => ({
    ...folder,
    metadata: [older, { ...newer, missing }],
  }))
  const made = plan(bucket)
  expect(made.tables[0].metadata?.path).toBe(older.path)
  expect(made.problems).toEqual([{ kind: 'broken', text: expect.stringContaining(newer.path), paths: missing }])
  // What only the broken one needs does not die.
  expect(made.tables[0].deadPaths).not.toContain(newer.path)
})

test('of two attempts of one compactor at the next metadata the later one is taken: only that can be committed', () => {
  const refused = runHistory([tick(3), compact]).bucket.folders[0].metadata[0]
  const told = runHistory([tick(3), tick(3), { ...compact, b: 1 }])
  const [committed] = told.bucket.folders[0].metadata
  expect([refused.epoch, refused.sequence]).toEqual([committed.epoch, committed.sequence])
  const left = { ...refused, path: refused.path.replace('.metadata.json', '-refused.metadata.json') }
  for (const metadata of [
    [left, committed],
    [committed, left],
  ]) {
    // The segments that the committed one took over were swept.
    const bucket = change(told, TABLES[0].location, (folder) => ({ ...folder, metadata, segments: [] }))
    const made = plan(bucket)
    expect(made.tables[0].metadata?.path).toBe(committed.path)
    expect(endOf(made, KAFKA)).toBe(6n)
  }
})

test('metadata that others were made from was committed: what it lost is lost', () => {
  const told = runHistory([tick(3), compact, tick(3), compact, tick(3), compact])
  const bucket = change(told, TABLES[0].location, (folder) => ({
    ...folder,
    metadata: folder.metadata.map((each) => (each.sequence > 1n ? { ...each, missing: ['file:///lake/x'] } : each)),
  }))
  expect(
    plan(bucket)
      .problems.map(({ kind }) => kind)
      .sort(),
  ).toEqual(['broken', 'lost'])
})

test('a snapshot that the catalog names and the bucket does not have is lost, unless a newer one took its place', () => {
  const told = runHistory([tick(3), compact, tick(3), compact])
  const [folder] = told.bucket.folders
  const [first, second] = folder.metadata.toSorted((a, b) => Number(a.sequence - b.sequence))
  const location = TABLES[0].location
  const known = (metadataLocation: string): KnownCatalog => {
    const table = {
      ...first.shape,
      tableId: 1,
      name: TABLES[0].name,
      location,
      version: 4n,
      metadataLocation,
      leaseEpoch: 0,
      live: [],
      removedPaths: new Set<string>(),
      heldPaths: new Set<string>(),
    }
    return { ...EMPTY_CATALOG, tables: [table] }
  }
  const kept = (metadata: TableFolder['metadata'], gone: readonly string[]) =>
    change(told, location, (each) => ({
      ...each,
      metadata,
      paths: each.paths.filter((path) => !gone.includes(path)),
    }))
  const problemsOf = (bucket: BucketFacts, named: string) =>
    planRebuild(bucket, known(named), { takeUnsequenced: false }).problems.filter(({ kind }) => kind === 'lost')
  const lost = (how: string) => [{ kind: 'lost', text: expect.stringContaining(how), paths: [second.path] }]
  const both = [first.path, second.path]
  expect(problemsOf(kept([], both), second.path)).toEqual(lost('there is no other'))
  expect(problemsOf(kept([first], [second.path]), second.path)).toEqual(lost('an older one is taken'))
  expect(problemsOf(kept([second], [first.path]), first.path)).toEqual([])
})

/** As if the HTTP producer had been nobody in particular. */
function anonymous(told: History): BucketFacts {
  const { bucket } = told
  const rename = (file: SegmentFile): SegmentFile => {
    const source = `http:${file.record.writerId}`
    const own = <S extends { readonly source: string }>(each: S): S =>
      each.source === HTTP.source ? { ...each, source } : each
    const { commit, sources } = file.record
    return {
      ...file,
      record: {
        ...file.record,
        sources: sources.map(own),
        commit: commit && { ...commit, advances: commit.advances?.map(own) },
      },
    }
  }
  return { ...bucket, folders: bucket.folders.map((folder) => ({ ...folder, segments: folder.segments.map(rename) })) }
}

test('rows of senders without a sequence are taken when something proves them committed; the others wait for a human', () => {
  const told = runHistory([tick(0, 2), tick(0, 2, 0), tick(0, 2, 1)])
  const bucket = anonymous(told)
  const made = plan(bucket)
  expect(made.tables[0].added).toHaveLength(1)
  const waiting = made.leftOut.filter(({ reason }) => reason === 'unsequenced')
  expect(waiting.length).toBeGreaterThan(0)
  expect(waiting.every(({ isHeld }) => isHeld)).toBe(true)
  const all = plan(bucket, true)
  expect(all.leftOut).toEqual([])
  expect(all.tables.flatMap(({ added }) => added)).toHaveLength(
    segmentsOf(told, TABLES[0].location).length + segmentsOf(told, TABLES[1].location).length,
  )
})

test('a tick with such rows beside others is taken whole, and said', () => {
  const made = plan(anonymous(runHistory([tick(3, 2)])))
  expect(made.tables[0].added).toHaveLength(1)
  expect(made.notes).toEqual([expect.stringContaining('without a producer sequence')])
})

test('a tick whose other file is missing does not count', () => {
  const told = runHistory([tick(3), { kind: 'crash', a: 8, b: 0, c: 4 }])
  const made = plan(told.bucket)
  expect(endOf(made, KAFKA)).toBe(3n)
  expect(made.leftOut.map(({ reason }) => reason)).toEqual(['incomplete'])
})

test('two folders of one table are a question, not a choice', () => {
  const told = runHistory([tick(3)])
  const [folder] = told.bucket.folders
  const twin = {
    ...folder,
    location: `${folder.location}-twin`,
    segments: folder.segments.map((file) => ({ ...file, path: `${file.path}-twin` })),
  }
  const made = plan({ ...told.bucket, folders: [folder, twin] })
  expect(made.tables).toEqual([])
  expect(made.problems.map(({ kind }) => kind)).toEqual(['question', 'question'])
})

test('segments come live in the order of their offsets, whatever their names are', () => {
  const told = runHistory([tick(3, 2), tick(3, 0), tick(0, 4), { kind: 'writer', a: 0, b: 0, c: 0 }, tick(5, 5)])
  const files = segmentsOf(told, TABLES[0].location)
  const ordered = inCommitOrder(files.toReversed())
  for (const key of SOURCES) {
    const starts = ordered.flatMap(({ record }) =>
      record.sources.filter(({ source }) => source === key.source).map(({ range }) => range.start),
    )
    expect(starts).toEqual([...starts].sort((a, b) => Number(a - b)))
  }
})
