// A checkpoint gives back exactly the coverage of its snapshot, whatever the steps before it, whole or as changes.
import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type Coverage, sourceKeyText } from '../../schemas/coverage.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import {
  checkpointSummary,
  coverageIn,
  findCoverage,
  loadCheckpoint,
  nextCheckpoint,
  readCheckpoint,
} from './checkpoint.ts'
import type { Checkpoint, TableMetadata } from './iceberg.ts'
import { stringifyLosslessJson } from './lossless-json.ts'
import { checkpointPaths } from './read.ts'

const ROOT = 's3://bucket/lake'

const count = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })
const maybe = fc.option(count, { nil: undefined })
const coverage: fc.Arbitrary<Coverage> = fc.record({
  pipeline: fc.constantFrom('p', 'http:p', 'a "quoted" one'),
  source: fc.oneof(fc.constantFrom('kafka:t:1', 'http:x'), fc.string({ maxLength: 6 })),
  partition: fc.integer({ min: 0, max: 30 }),
  ranges: fc.array(fc.record({ start: count, end: count }), { maxLength: 3 }),
  recordsIn: count,
  recordsDead: count,
  recordsFiltered: count,
  logEnd: maybe,
  caughtUpAt: maybe,
  recordedEnd: maybe,
})

function metadataNaming(summary: Readonly<Record<string, string>>): TableMetadata {
  const currentSnapshot = {
    snapshotId: 1n,
    parentSnapshotId: undefined,
    sequenceNumber: 1n,
    timestampMs: 0,
    manifestList: '',
    schemaId: 0,
    summary,
  }
  return {
    location: `${ROOT}/t`,
    tableUuid: '',
    lastSequenceNumber: 1n,
    currentSnapshot,
    snapshots: [currentSnapshot],
    currentSchemaId: 0,
    properties: {},
    raw: {},
  }
}

function setup() {
  const store = createMemoryObjectStore({ root: ROOT, world: createTestWorld() })
  let names = 0
  const step = async (
    before: Checkpoint | undefined,
    changed: readonly Coverage[],
    format?: number,
  ): Promise<Checkpoint> => {
    const next = nextCheckpoint({ before, changed }, 'commit', format)
    if ('path' in next) return next
    names += 1
    const path = `${ROOT}/t/${names}`
    await store.put(path, next.bytes)
    return next.at(path)
  }
  return { store, step }
}

function sources(amount: number, end: bigint): Coverage[] {
  return Array.from({ length: amount }, (_, index) => ({
    pipeline: 'p',
    source: `http:${index}`,
    partition: 0,
    ranges: [{ start: 0n, end }],
    recordsIn: end,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
    recordedEnd: undefined,
  }))
}

describe('what is read', () => {
  test('is exactly what the steps say, given the metadata alone or with any earlier checkpoint in memory', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(coverage, { maxLength: 60 }),
        fc.array(fc.tuple(fc.array(coverage, { maxLength: 4 }), fc.constantFrom(1, 2, 2)), { maxLength: 8 }),
        async (first, steps) => {
          const { store, step } = setup()
          const model = new Map<string, Coverage>()
          let checkpoint: Checkpoint | undefined
          const earlier: (Checkpoint | undefined)[] = [undefined]
          for (const [changed, format] of [[first, 2] as const, ...steps]) {
            for (const each of changed) model.set(sourceKeyText(each), each)
            checkpoint = await step(checkpoint, changed, format)
            const metadata = metadataNaming(checkpointSummary(checkpoint))
            const byKey = (list: readonly Coverage[]) => new Map(list.map((each) => [sourceKeyText(each), each]))
            expect(byKey(coverageIn(checkpoint))).toEqual(model)
            const read = await readCheckpoint(store, metadata)
            expect(read.length).toBe(model.size)
            expect(byKey(read)).toEqual(model)
            for (const known of earlier) {
              const loaded = await loadCheckpoint(store, metadata, known)
              expect(loaded && byKey(coverageIn(loaded))).toEqual(model)
              for (const [key, each] of model) expect(findCoverage(loaded, key)).toEqual(each)
            }
            earlier.push(checkpoint)
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  test('is of format 1, whole, as long as somebody reads no other; and of the newest again afterwards', async () => {
    const { store, step } = setup()
    const all = sources(100, 1n)
    const newest = await step(await step(undefined, all), sources(1, 2n))
    const plain = async ({ path }: Checkpoint) => JSON.parse(gunzipSync((await store.get(path)).bytes).toString())
    const older = await step(newest, [], 1)
    expect(older.path).not.toBe(newest.path)
    expect(await plain(older)).toMatchObject({ format: 1, 'commit-id': 'commit' })
    expect((await plain(older)).coverage).toHaveLength(100)
    expect(await step(older, [], 1)).toBe(older)
    const loaded = await loadCheckpoint(store, metadataNaming(checkpointSummary(older)))
    expect(await step(loaded, [], 1)).toBe(loaded)
    const again = await step(older, sources(2, 3n))
    expect(again.whole.path).toBe(older.path)
    expect(
      coverageIn(again)
        .map(({ ranges }) => ranges[0].end)
        .slice(0, 3),
    ).toEqual([3n, 3n, 1n])
    expect(await readCheckpoint(store, metadataNaming(checkpointSummary(again)))).toEqual(coverageIn(again))
  })

  test('is what the release before wrote', async () => {
    const { store } = setup()
    const coverage = sources(3, 2n ** 60n)
    const bytes = gzipSync(stringifyLosslessJson({ format: 1, 'commit-id': 'c', coverage }))
    await store.put(`${ROOT}/old`, bytes)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const summary = { 'millrace.checkpoint': `${ROOT}/old`, 'millrace.checkpoint-sha256': sha256 }
    expect(await readCheckpoint(store, metadataNaming(summary))).toEqual(coverage)
  })
})

describe('what is written', () => {
  test('is a few changes while few of many sources move, and all of them again and again', async () => {
    const { store, step } = setup()
    let checkpoint = await step(undefined, sources(10_000, 1n))
    expect(checkpointPaths(metadataNaming(checkpointSummary(checkpoint)).snapshots[0])).toEqual([checkpoint.path])
    const wholeBytes = (await store.get(checkpoint.path)).bytes.length
    let bytes = 0
    let wholes = 0
    for (let commit = 0; commit < 100; commit += 1) {
      const all = sources(10_000, BigInt(commit + 2))
      checkpoint = await step(checkpoint, all.slice(commit * 100, (commit + 1) * 100))
      bytes += (await store.get(checkpoint.path)).bytes.length
      if (checkpoint.whole.path === checkpoint.path) wholes += 1
      const summary = checkpointSummary(checkpoint)
      expect(checkpointPaths(metadataNaming(summary).snapshots[0])).toEqual([
        ...new Set([checkpoint.path, checkpoint.whole.path]),
      ])
    }
    expect(wholes).toBe(3)
    expect(bytes / 100).toBeLessThan(wholeBytes / 2)
  })

  test('is nothing when no source moved', async () => {
    const { step } = setup()
    const checkpoint = await step(undefined, sources(3, 1n))
    expect(await step(checkpoint, [])).toBe(checkpoint)
  })
})

describe('damage', () => {
  test.each(['the changes', 'the whole one'])(
    'of %s is an error that names the file, never less coverage',
    async (part) => {
      const { store, step } = setup()
      const first = await step(undefined, sources(100, 1n))
      const second = await step(first, sources(2, 5n))
      const { path } = part === 'the changes' ? second : first
      expect(second.whole.path).toBe(first.path)
      const { bytes } = await store.get(path)
      const metadata = metadataNaming(checkpointSummary(second))
      await store.put(
        path,
        bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte)),
      )
      await expect(readCheckpoint(store, metadata)).rejects.toMatchObject({
        code: 'file-damaged',
        message: expect.stringContaining(path),
      })
      await store.delete([path])
      await expect(readCheckpoint(store, metadata)).rejects.toMatchObject({ code: 'file-missing' })
    },
  )

  test('a checkpoint of another snapshot is never taken from memory for the one that is named', async () => {
    const { store, step } = setup()
    const first = await step(undefined, sources(100, 1n))
    const second = await step(first, sources(2, 5n))
    const loaded = await loadCheckpoint(store, metadataNaming(checkpointSummary(first)), second)
    expect(loaded && coverageIn(loaded)).toEqual(sources(100, 1n))
    const forged = { ...second, sha256: 'other' }
    const read = await loadCheckpoint(store, metadataNaming(checkpointSummary(second)), forged)
    expect(read).not.toBe(forged)
    expect(read?.sha256).toBe(second.sha256)
  })
})
