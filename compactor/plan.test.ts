// The plan is pure: what an append takes, what a merge joins, what tiering moves.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Segment, TableVersion } from '../lake/catalog/catalog.ts'
import type { LiveFile, Snapshot, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { type PlanSettings, partitionText, planAppend, planMerge, planWork, sizeTier } from './plan.ts'

const MiB = 1024 ** 2

const settings: PlanSettings = {
  snapshotBytes: 128 * MiB,
  snapshotAgeMs: 60_000,
  appendBytesMax: 256 * MiB,
  targetBytes: 256 * MiB,
  filesMin: 4,
  mergeBytesMax: 256 * MiB,
  snapshotAgeMaxMs: 3_600_000,
  cold: undefined,
}

const NOW = 1_800_000_000_000_000n

function segment(segmentId: number, bytes: number, ageMs: number): Segment {
  return {
    segmentId,
    tableId: 1,
    schemaId: 0,
    path: `file:///lake/t/segments/w-${segmentId}.parquet`,
    rowCount: 10,
    bytes,
    etag: undefined,
    bounds: [],
    sources: [],
    touched: { grain: 'all', values: [] },
    addedVersion: BigInt(segmentId),
    addedAt: NOW - BigInt(ageMs) * 1000n,
  }
}

function version(segments: readonly Segment[]): TableVersion {
  const table = {
    tableId: 1,
    name: 't',
    location: 'file:///lake/t',
    schemas: [],
    partition: [],
    sort: [],
    properties: {},
    version: 1n,
    metadataLocation: undefined,
    lastFieldId: 16,
  }
  return { table, version: 1n, metadataLocation: undefined, segments, coverage: [], readAt: NOW }
}

/** Snapshots by their commit times, in order; the last one is current. */
function metadata(times: readonly (readonly [bigint, number])[], refs: Record<string, unknown> = {}): TableMetadata {
  const snapshots = times.map(
    ([snapshotId, timestampMs], index): Snapshot => ({
      snapshotId,
      parentSnapshotId: times[index - 1]?.[0],
      sequenceNumber: BigInt(index + 1),
      timestampMs,
      manifestList: '',
      schemaId: 0,
      summary: {},
    }),
  )
  return {
    location: 'file:///lake/t',
    tableUuid: '',
    lastSequenceNumber: BigInt(times.length),
    currentSnapshot: snapshots.at(-1),
    snapshots,
    currentSchemaId: 0,
    properties: {},
    raw: { refs },
  }
}

function file(name: string, bytes: number, partition: LiveFile['partition'] = [], snapshotId = 1n): LiveFile {
  const none = new Map()
  return {
    path: `file:///lake/t/data/${name}.parquet`,
    partition,
    rowCount: 100,
    bytes,
    columnSizes: none,
    valueCounts: none,
    nullCounts: none,
    nanCounts: none,
    lowerBounds: none,
    upperBounds: none,
    splitOffsets: [],
    sortOrderId: 0,
    snapshotId,
    sequenceNumber: 1n,
    manifestPath: '',
  }
}

describe('append', () => {
  test('waits while segments are few and young', () => {
    expect(planAppend(version([segment(1, MiB, 1000)]), settings)).toBeUndefined()
  })

  test('is due by age of the oldest segment', () => {
    const work = planAppend(version([segment(2, MiB, 10), segment(1, MiB, 60_000)]), settings)
    expect(work?.kind === 'append' && work.segments.map((each) => each.segmentId)).toEqual([1, 2])
  })

  test('is due by bytes', () => {
    const segments = Array.from({ length: 8 }, (_, index) => segment(index + 1, 16 * MiB, 100))
    expect(planAppend(version(segments), settings)?.kind).toBe('append')
    expect(planAppend(version(segments.slice(1)), settings)).toBeUndefined()
  })

  test('takes a prefix in commit order, at least one segment, within its bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400 * MiB }), { minLength: 1, maxLength: 30 }), (sizes) => {
        const segments = sizes.map((bytes, index) => segment(index + 1, bytes, 100_000))
        const work = planAppend(version([...segments].reverse()), settings)
        if (work?.kind !== 'append') throw new Error('old segments are due')
        const taken = work.segments
        expect(taken.map((each) => each.segmentId)).toEqual(taken.map((_, index) => index + 1))
        const bytes = taken.reduce((sum, each) => sum + each.bytes, 0)
        expect(taken.length === 1 || bytes <= settings.appendBytesMax).toBe(true)
        const next = segments[taken.length]
        if (next) expect(bytes + next.bytes).toBeGreaterThan(settings.appendBytesMax)
      }),
    )
  })
})

describe('merge', () => {
  test('leaves few files, and large ones, alone', () => {
    expect(planMerge([file('a', MiB), file('b', MiB), file('c', MiB)], settings)).toBeUndefined()
    const large = ['a', 'b', 'c', 'd', 'e'].map((name) => file(name, 200 * MiB))
    expect(planMerge(large, settings)).toBeUndefined()
  })

  test('joins only files of one table partition and of like size, never more than the target', () => {
    const sized = fc.record({ bytes: fc.integer({ min: 1, max: 300 * MiB }), day: fc.integer({ min: 0, max: 3 }) })
    fc.assert(
      fc.property(fc.array(sized, { maxLength: 60 }), (shapes) => {
        const files = shapes.map(({ bytes, day }, index) => file(String(index), bytes, [day]))
        const work = planMerge(files, settings)
        if (work?.kind !== 'merge') return
        expect(new Set(work.files.map(partitionText)).size).toBe(1)
        expect(new Set(work.files.map(({ bytes }) => sizeTier(bytes))).size).toBe(1)
        const bytes = work.files.reduce((sum, file) => sum + file.bytes, 0)
        expect(bytes).toBeLessThanOrEqual(settings.targetBytes)
        expect(work.files.length >= settings.filesMin || bytes >= settings.targetBytes * 0.75).toBe(true)
        expect(work.files.length).toBeGreaterThan(1)
      }),
    )
  })

  test('table partitions whose values only look alike when written one after the other are not joined', () => {
    const values = [
      ['a|string b', 'c'],
      ['a', 'b|string c'],
    ]
    const files = values.flatMap((partition) => [1, 2].map((each) => file(`${partition[0]}${each}`, MiB, partition)))
    expect(planMerge(files, settings)).toBeUndefined()
  })

  test('merging again and again ends, and rewrites a row no more often than there are size tiers', () => {
    let files = Array.from({ length: 300 }, (_, index) => ({ file: file(String(index), MiB), rewrites: 0 }))
    let name = 1000
    for (;;) {
      const work = planMerge(
        files.map((each) => each.file),
        settings,
      )
      if (work?.kind !== 'merge') break
      const inputs = new Set(work.files)
      const merged = files.filter((each) => inputs.has(each.file))
      name += 1
      const bytes = merged.reduce((sum, each) => sum + each.file.bytes, 0)
      const rewrites = 1 + Math.max(...merged.map((each) => each.rewrites))
      files = [...files.filter((each) => !inputs.has(each.file)), { file: file(String(name), bytes), rewrites }]
    }
    expect(Math.max(...files.map((each) => each.rewrites))).toBeLessThanOrEqual(sizeTier(settings.targetBytes))
    expect(files.length).toBeLessThan(settings.filesMin * sizeTier(settings.targetBytes))
  })
})

describe('tiering', () => {
  const cold = { root: 's3://cold/lake', afterMs: 86_400_000, filesMax: 10 }
  const nowMs = Number(NOW / 1000n)

  test('moves what is old enough and not there yet, last of all', () => {
    const files = [file('old', 200 * MiB, [], 1n), file('new', 200 * MiB, [], 2n), file('expired', 200 * MiB, [], 9n)]
    const there = { ...file('there', 200 * MiB, [], 1n), path: 's3://cold/lake/t/data/there.parquet' }
    const base = metadata([
      [1n, nowMs - cold.afterMs],
      [2n, nowMs - 1000],
    ])
    const work = planWork(version([]), base, [...files, there], { ...settings, cold })
    expect(work?.kind === 'tier' && work.files.map(({ path }) => path)).toEqual([files[0].path, files[2].path])
    expect(planWork(version([]), metadata([[2n, nowMs]]), files, settings)).toBeUndefined()
  })
})

describe('expiry of a table that stands still', () => {
  const nowMs = Number(NOW / 1000n)
  const old = nowMs - settings.snapshotAgeMaxMs
  const plan = (base: TableMetadata) => planWork(version([]), base, [], settings)

  test('is due once every snapshot but the current one is too old', () => {
    expect(
      plan(
        metadata([
          [1n, old],
          [2n, old],
        ]),
      ),
    ).toEqual({ kind: 'expire', nowMs })
    expect(
      plan(
        metadata([
          [1n, old - 5],
          [2n, old],
          [3n, nowMs],
        ]),
      ),
    ).toEqual({ kind: 'expire', nowMs })
  })

  test('waits for the youngest of them, so that one commit does it; the current and tagged ones are no reason', () => {
    expect(
      plan(
        metadata([
          [1n, old],
          [2n, old + 1],
          [3n, nowMs],
        ]),
      ),
    ).toBeUndefined()
    expect(plan(metadata([[1n, old]]))).toBeUndefined()
    const tag = { v1: { 'snapshot-id': 1, type: 'tag' } }
    expect(
      plan(
        metadata(
          [
            [1n, old],
            [2n, old],
          ],
          tag,
        ),
      ),
    ).toBeUndefined()
  })

  test('comes after everything else', () => {
    const base = metadata([
      [1n, old],
      [2n, old],
    ])
    expect(planWork(version([segment(1, MiB, 60_000)]), base, [], settings)?.kind).toBe('append')
    const small = ['a', 'b', 'c', 'd'].map((name) => file(name, MiB))
    expect(planWork(version([]), base, small, settings)?.kind).toBe('merge')
  })
})
