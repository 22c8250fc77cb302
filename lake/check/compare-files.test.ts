import { expect, test } from 'vitest'
import type { InspectedWriter } from '../catalog/inspection.ts'
import { type ComparedFiles, compareFiles } from './compare-files.ts'
import { formatFinding, type Reference } from './finding.ts'

const LIVE = '00000000-0000-4000-8000-000000000001'
const ENDED = '00000000-0000-4000-8000-000000000002'
const HOUR = 3_600_000_000n

const writer = (writerId: string, fencedAt: bigint | undefined): InspectedWriter => ({
  writerId,
  fencedAt,
  epoch: 1,
  kind: 'ingest',
  heartbeatAt: 10n * HOUR,
})
const listed = (path: string, size = 10, etag = 'e') => ({ path, size, etag, modifiedAt: 0n })
const reference = (path: string, more: Partial<Reference> = {}): Reference => ({
  path,
  kind: 'segment',
  table: 't',
  referredBy: 'the catalog',
  needed: true,
  bytes: 10,
  etag: 'e',
  ...more,
})

function compare(
  more: Partial<Omit<ComparedFiles, 'before' | 'after'>> & { before?: Reference[]; after?: Reference[] },
) {
  const { before = [], after = [], ...rest } = more
  const byPath = (references: Reference[]) => new Map(references.map((each) => [each.path, each]))
  return compareFiles({
    removed: new Set(),
    complete: true,
    listed: [],
    writers: [writer(LIVE, undefined), writer(ENDED, 10n * HOUR)],
    table: 't',
    now: 10n * HOUR + 1n,
    sweptWithinMs: 3_600_000,
    silentMs: 3_600_000,
    ...rest,
    before: byPath(before),
    after: byPath(after),
  })
}

test('what is referred to and lies there as recorded is no suspect', () => {
  expect(compare({ before: [reference('a')], listed: [listed('a')] })).toEqual({
    suspects: [],
    orphans: [],
    inFlight: 0,
    waiting: 0,
    unknown: 0,
    files: 1,
    bytes: 10,
  })
})

test('absent, another length, another etag', () => {
  const { suspects } = compare({
    before: [reference('a'), reference('b'), reference('c'), reference('d', { etag: undefined, bytes: undefined })],
    listed: [listed('b', 11), listed('c', 10, 'f'), listed('d', 99, 'g')],
  })
  expect(suspects.map(({ reference: { path }, why }) => [path, why])).toEqual([
    ['b', 'length'],
    ['c', 'etag'],
    ['a', 'absent'],
  ])
})

test('what only the second reading refers to was committed meanwhile: no orphan, and not missed', () => {
  const { suspects, orphans } = compare({ after: [reference('a'), reference('b')], listed: [listed('a')] })
  expect([suspects, orphans]).toEqual([[], []])
})

test('unreferenced files by who wrote them', () => {
  const plain = `x/${LIVE.replaceAll('-', '')}-${ENDED.replace('2', 'f')}.checkpoint.json.zst`
  const names = { plain, live: `x/${LIVE}-1.parquet`, ended: `x/snap-7-${ENDED}-${LIVE.replace('1', 'f')}.avro` }
  const { orphans, inFlight, waiting } = compare({
    removed: new Set(['gone']),
    listed: [listed(names.live), listed(names.plain), listed(names.ended), listed('x/other.parquet'), listed('gone')],
  })
  expect([inFlight, waiting]).toEqual([2, 1])
  expect(orphans.map(({ path, severity }) => [path, severity])).toEqual([
    [names.ended, 'notice'],
    ['x/other.parquet', 'damage'],
  ])
  // The id of a folder says nothing of who wrote the file.
  expect(compare({ listed: [listed(`${LIVE}/x.parquet`)] }).orphans).toHaveLength(1)
})

test('a file that the sweep has forgotten for long is told as damage', () => {
  const { orphans } = compare({ listed: [listed(`x/${ENDED}-1.parquet`)], now: 12n * HOUR })
  expect(orphans).toMatchObject([{ severity: 'damage', advice: expect.stringContaining('compactor') }])
})

test('while metadata cannot be read nothing is an orphan', () => {
  const { orphans, unknown } = compare({ complete: false, listed: [listed('x/other.parquet')] })
  expect([orphans, unknown]).toEqual([[], 1])
})

test('a file of a writer that is silent, and of one that the catalog never saw', () => {
  const unknown = LIVE.replace('1', '9')
  const { orphans } = compare({
    listed: [listed(`x/${LIVE}-1.parquet`), listed(`x/${unknown}-1.parquet`)],
    now: 12n * HOUR,
  })
  expect(orphans.map(({ severity }) => severity)).toEqual(['notice', 'damage'])
  expect(orphans[1].advice).toContain('millrace catalog rebuild')
})

test('a finding is one line', () => {
  const [orphan] = compare({ listed: [listed('x/other\n.parquet')] }).orphans
  expect(formatFinding(orphan)).toBe(
    'orphan  x/other .parquet  (file; table t; referred to by nothing; found 10 bytes of nobody the lake knows): the sweep leaves it alone; find out whose it is, then move it out of the lake',
  )
})
