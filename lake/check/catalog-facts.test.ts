import { expect, test } from 'vitest'
import type { Coverage } from '../../schemas/coverage.ts'
import type { Segment, Table } from '../catalog/catalog.ts'
import type { CatalogInspection, InspectedTable } from '../catalog/inspection.ts'
import type { TableMetadata } from '../iceberg/iceberg.ts'
import { balanceFindings, stillnessFindings, tableFindings } from './catalog-facts.ts'

const DAY = 24n * 3_600_000_000n
const SOURCE = { pipeline: 'p', source: 'kafka:t:id', partition: 0 }

function tableOf(tableId: number, name: string, more: Partial<InspectedTable> = {}): InspectedTable {
  const table: Table = {
    tableId,
    name,
    location: `s3://b/${name}`,
    schemas: [{ schemaId: 0, columns: [] }],
    partition: [],
    sort: [],
    properties: {},
    version: 1n,
    metadataLocation: undefined,
    lastFieldId: 16,
  }
  return {
    table,
    createdAt: 0n,
    snapshotRows: 0,
    segments: [],
    removedPaths: new Set(),
    lease: undefined,
    masked: { rows: 0, held: 0 },
    lastSnapshot: undefined,
    ...more,
  }
}

function segmentOf(path: string, start: bigint, end: bigint, more: Partial<Segment> = {}): Segment {
  const rowCount = Number(end - start)
  return {
    tableId: 1,
    schemaId: 0,
    path,
    rowCount,
    bytes: 1,
    etag: undefined,
    bounds: [],
    sources: [{ ...SOURCE, range: { start, end }, rows: rowCount }],
    touched: { grain: 'all', values: [] },
    segmentId: 1,
    addedVersion: 1n,
    addedAt: 0n,
    ...more,
  }
}

function coverageOf(start: bigint, end: bigint, more: Partial<Coverage> = {}): Coverage {
  return {
    ...SOURCE,
    ranges: [{ start, end }],
    recordsIn: end - start,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
    ...more,
  }
}

function catalogOf(more: Partial<CatalogInspection>): CatalogInspection {
  return { readAt: 100n * DAY, tables: [], writers: [], readers: [], coverage: [], bindings: [], ...more }
}

const kinds = (findings: readonly { kind: string; found: string | undefined }[]) =>
  findings.map(({ kind, found }) => `${kind}: ${found}`)

const NOTHING_READ = { metadata: undefined, snapshotRows: 0, checkpoint: [] }

test('segments of unknown schemas, outside the coverage, and twice', () => {
  const segments = [
    segmentOf('a', 0n, 5n),
    segmentOf('b', 4n, 8n),
    segmentOf('c', 8n, 12n, { schemaId: 3 }),
    // A range without rows beside rows is a hole of the topic.
    segmentOf('d', 0n, 0n),
  ]
  const findings = tableFindings(tableOf(1, 't', { segments }), NOTHING_READ, [coverageOf(0n, 10n)])
  expect(findings.map(({ kind, path }) => `${kind} ${path}`)).toEqual(['dangling c', 'overlapping b', 'dangling c'])
})

test('a live segment repeats offsets of the snapshot; a snapshot knows more than the catalog', () => {
  const segments = [segmentOf('a', 3n, 6n)]
  const read = { ...NOTHING_READ, checkpoint: [coverageOf(0n, 4n)] }
  expect(kinds(tableFindings(tableOf(1, 't', { segments }), read, [coverageOf(0n, 6n)]))).toEqual([
    'overlapping: [3, 6) beside [0, 4)',
  ])
  const behind = { ...NOTHING_READ, checkpoint: [coverageOf(0n, 9n)] }
  expect(kinds(tableFindings(tableOf(1, 't'), behind, [coverageOf(0n, 6n)]))).toEqual(['behind: [0, 6)'])
  expect(kinds(tableFindings(tableOf(1, 't'), behind, []))).toEqual(['behind: none'])
  // An HTTP producer that was idle for long leaves the coverage.
  const http = { ...NOTHING_READ, checkpoint: [coverageOf(0n, 9n, { source: 'http:p' })] }
  expect(tableFindings(tableOf(1, 't'), http, [])).toEqual([])
})

test('totals of manifests, summary and catalog, and metadata that is another table’s', () => {
  const inspected = tableOf(1, 't', { snapshotRows: 7 })
  const table = { ...inspected.table, metadataLocation: 's3://b/t/metadata/1.json' }
  const metadata = {
    location: 's3://b/u',
    currentSchemaId: 2,
    snapshots: [],
    currentSnapshot: { summary: { 'total-records': '6' } },
  } as unknown as TableMetadata
  const findings = tableFindings({ ...inspected, table }, { metadata, snapshotRows: 5, checkpoint: [] }, [])
  expect(findings.map(({ kind, expected, found }) => [kind, expected, found])).toEqual([
    ['altered', 'location s3://b/t', 'location s3://b/u'],
    ['dangling', 'one of schemas 0', 'schema 2'],
    ['unbalanced', '6 rows, as its summary says', '5 rows'],
    ['unbalanced', '7 rows, as the catalog says', '5 in its manifests'],
  ])
})

test('records in are rows, dead letters and filtered ones', () => {
  const tables = [
    tableOf(1, 't', { snapshotRows: 5, segments: [segmentOf('a', 0n, 2n)] }),
    tableOf(2, 't__dead_letters', { snapshotRows: 1 }),
  ]
  const bindings = [
    { pipeline: 'p', tableId: 1 },
    { pipeline: 'p', tableId: 2 },
  ]
  const coverage = [coverageOf(0n, 10n, { recordsDead: 1n, recordsFiltered: 2n })]
  expect(balanceFindings(catalogOf({ tables, bindings, coverage }))).toEqual([])
  const lost = balanceFindings(
    catalogOf({ tables: [{ ...tables[0], snapshotRows: 4 }, tables[1]], bindings, coverage }),
  )
  expect(kinds(lost)).toEqual(['unbalanced: 6'])
  expect(lost[0].advice).toContain('lost')
  const letters = balanceFindings(
    catalogOf({ tables: [tables[0], { ...tables[1], snapshotRows: 2 }], bindings, coverage }),
  )
  expect(kinds(letters)).toEqual(['unbalanced: 2'])
  expect(letters[0]).toMatchObject({ table: 't__dead_letters', path: 'pipeline p' })
})

test('letters that left before the catalog was made again may be in files or not, and never beyond that', () => {
  const plain = tableOf(1, 't', { snapshotRows: 9 })
  const bindings = [1, 2].map((tableId) => ({ pipeline: 'p', tableId }))
  const left = { ...coverageOf(0n, 2n), source: 'letters:t__dead_letters' }
  const coverage = [coverageOf(0n, 10n, { recordsDead: 3n }), left]
  const found = (snapshotRows: number, masked = { rows: 0, held: 0 }) =>
    kinds(
      balanceFindings(
        catalogOf({ tables: [plain, tableOf(2, 't__dead_letters', { snapshotRows, masked })], bindings, coverage }),
      ),
    )
  for (const rows of [1, 2, 3]) expect(found(rows)).toEqual([])
  expect([found(0), found(4)]).toEqual([['unbalanced: 0'], ['unbalanced: 4']])
  // With every mask known it is exact.
  expect([found(1, { rows: 2, held: 0 }), found(2, { rows: 2, held: 0 })]).toEqual([[], ['unbalanced: 2']])
})

test('no source has more records than offsets, nor more dead and filtered ones than records', () => {
  const many = [coverageOf(0n, 3n, { recordsIn: 4n }), coverageOf(5n, 9n, { recordsDead: 3n, recordsFiltered: 2n })]
  expect(kinds(balanceFindings(catalogOf({ coverage: many })))).toEqual([
    'unbalanced: 4',
    'unbalanced: 3 dead and 2 filtered ones',
  ])
})

test('where counts cannot tell, nothing is said', () => {
  const both = [
    { pipeline: 'p', tableId: 1 },
    { pipeline: 'p', tableId: 2 },
  ]
  // Every record goes to both tables, or to one of them since it was bound.
  const tables = [tableOf(1, 't'), tableOf(2, 'u')]
  expect(balanceFindings(catalogOf({ tables, bindings: both, coverage: [coverageOf(0n, 9n)] }))).toEqual([])
  // Counts of HTTP producers that were idle for a week are gone; what is lacking is still told.
  const http = [{ pipeline: 'http:t', tableId: 1 }]
  const more = [tableOf(1, 't', { snapshotRows: 5 })]
  expect(balanceFindings(catalogOf({ tables: more, bindings: http }))).toEqual([])
  expect(kinds(balanceFindings(catalogOf({ tables: more, bindings: http, readAt: DAY })))).toEqual(['unbalanced: 5'])
  const coverage = [coverageOf(0n, 9n, { pipeline: 'http:t' })]
  expect(kinds(balanceFindings(catalogOf({ tables: more, bindings: http, coverage })))).toEqual(['unbalanced: 5'])
})

test('several pipelines into one table are counted together', () => {
  const bindings = [
    { pipeline: 'p', tableId: 1 },
    { pipeline: 'q', tableId: 1 },
  ]
  const coverage = [coverageOf(0n, 3n), coverageOf(0n, 4n, { pipeline: 'q' })]
  expect(balanceFindings(catalogOf({ tables: [tableOf(1, 't', { snapshotRows: 7 })], bindings, coverage }))).toEqual([])
})

test('who is silent for long, and leases of nobody, are notices', () => {
  const settings = { writerSilentMs: 600_000, readerSilentMs: 600_000 }
  const writers = [
    { writerId: 'w1', epoch: 1, kind: 'ingest' as const, heartbeatAt: 99n * DAY, fencedAt: undefined },
    { writerId: 'w2', epoch: 2, kind: 'ingest' as const, heartbeatAt: 1n, fencedAt: 2n },
    { writerId: 'w3', epoch: 3, kind: 'compactor' as const, heartbeatAt: 100n * DAY - 1n, fencedAt: undefined },
  ]
  const readers = [
    { readerId: 'r1', tableId: 1, seenAt: 99n * DAY },
    { readerId: 'r1', tableId: 2, seenAt: 99n * DAY },
    { readerId: 'r2', tableId: 1, seenAt: 100n * DAY - 1n },
  ]
  const lease = { tableId: 1, holder: 'nobody', epoch: 1, until: 0n }
  const findings = stillnessFindings(catalogOf({ writers, readers, tables: [tableOf(1, 't', { lease })] }), settings)
  expect(findings.map(({ kind, severity, path }) => `${severity} ${kind} ${path}`)).toEqual([
    'notice stuck ingest w1',
    'notice stuck r1',
    'notice dangling lease of t',
  ])
})
