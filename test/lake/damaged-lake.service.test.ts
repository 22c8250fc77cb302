// `millrace check` names every file that is missing, altered, dangling or an orphan, by path and kind, and nothing else: one
// byte flipped in every kind of file, files cut, deleted, added and swapped, on local disk and in a bucket.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CheckReport } from '../../lake/check/check-lake.ts'
import type { FileKind } from '../../lake/check/finding.ts'
import { createSnapshotReader, readMetadata } from '../../lake/iceberg/read.ts'
import { metadataLogOf } from '../../lake/iceberg/table-metadata.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { bytesOf, check, lakeToCheck, overwrite } from './check-lake.ts'
import { type Lake, s3Yaml } from './open-lake.ts'

const SEED = Number(process.env.DAMAGE_SEED ?? Math.trunc(performance.now() * 1000) % 1_000_000)
/** A bucket takes longer than a disk, and the bytes are compared in the same place. */
const FLIPS = { 'local disk': 3, 'a bucket': 1 } as const

/** Seen without reading data: length, etag, or the small files that are read anyway. */
const SEEN_BY_FAST_CHECK: Readonly<Record<FileKind, readonly ('flip' | 'cut')[]>> = {
  segment: ['flip', 'cut'],
  'data file': ['cut'],
  manifest: ['flip', 'cut'],
  'manifest list': ['flip', 'cut'],
  checkpoint: ['flip', 'cut'],
  metadata: ['flip', 'cut'],
  'older metadata': [],
}
const KINDS = Object.keys(SEEN_BY_FAST_CHECK) as FileKind[]

let server: S3Server
beforeAll(async () => {
  server = await startS3Server()
})
afterAll(async () => {
  await server?.stop()
})

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One file of every kind, of the table's current version where there is a choice. */
async function victims(lake: Lake): Promise<Record<FileKind, string>> {
  const { metadataLocation } = await lake.table('trips')
  const metadata = await readMetadata(lake.store, metadataLocation!)
  const { manifestList, summary } = metadata.currentSnapshot!
  const manifests = await createSnapshotReader({ store: lake.store }).manifestList(manifestList)
  const { segments, files } = await lake.live('trips')
  return {
    segment: segments[1],
    'data file': files[0],
    manifest: manifests[0].path,
    'manifest list': manifestList,
    checkpoint: summary['millrace.checkpoint'],
    metadata: metadataLocation!,
    'older metadata': metadataLogOf(metadata).at(-1)!.path,
  }
}

const named = ({ findings }: CheckReport) => findings.map(({ kind, what, path }) => `${kind} ${what} ${path}`)

async function damaged(lake: Lake, path: string, alter: (bytes: Uint8Array) => Uint8Array, look: () => Promise<void>) {
  const bytes = await bytesOf(lake, path)
  await overwrite(lake, path, alter(bytes.slice()))
  try {
    await look()
  } finally {
    // Restored from a copy: the same bytes, another etag, and sound again.
    await overwrite(lake, path, bytes)
  }
}

async function pairOfEqualLength(lake: Lake, paths: readonly string[]): Promise<[string, string]> {
  const byLength = new Map<number, { path: string; bytes: Uint8Array }>()
  for (const path of paths) {
    const bytes = await bytesOf(lake, path)
    const other = byLength.get(bytes.length)
    if (other && Buffer.compare(other.bytes, bytes) !== 0) return [other.path, path]
    byLength.set(bytes.length, { path, bytes })
  }
  throw new Error(`no two files of equal length among ${paths.length}`)
}

async function swap(lake: Lake, left: string, right: string): Promise<void> {
  const [leftBytes, rightBytes] = [await bytesOf(lake, left), await bytesOf(lake, right)]
  await overwrite(lake, left, rightBytes)
  await overwrite(lake, right, leftBytes)
}

describe.each(['local disk', 'a bucket'] as const)('on %s', (place) => {
  let lake: Lake
  beforeAll(async () => {
    const root = place === 'local disk' ? undefined : `s3://${await server.bucket(`check-${process.pid}`)}/lake`
    lake = await lakeToCheck(root === undefined ? '' : `\n${s3Yaml(server, { root })}`)
  })
  afterAll(async () => {
    await lake?.close()
  })

  test('a sound lake has no finding, and every byte of it is proven', async () => {
    const fast = await check(lake, false)
    expect(named(fast)).toEqual([])
    const deep = await check(lake, true)
    expect(named(deep)).toEqual([])
    expect(deep.deep).toMatchObject({ unproven: 0 })
    expect(deep.deep!.proven).toBe(deep.files - deep.waiting)
    // Each table is listed for its files, its segments and its metadata, and the root once; nothing is asked file by file.
    expect(fast.requests).toMatchObject({ list: 3 * fast.tables + 1, head: 0 })
    expect(fast.requests.get).toBeLessThan(fast.files)
  })

  test.each(KINDS)('one byte flipped in a %s', async (kind) => {
    const path = (await victims(lake))[kind]
    const random = randomOf(SEED)
    for (let flip = 0; flip < FLIPS[place]; flip++) {
      const [where, bit] = [random(), 1 << Math.floor(random() * 8)]
      const alter = (bytes: Uint8Array) => {
        bytes[Math.floor(where * bytes.length)] ^= bit
        return bytes
      }
      await damaged(lake, path, alter, async () => {
        const again = `DAMAGE_SEED=${SEED} npx vitest run --project services test/lake/damaged-lake.service.test.ts`
        expect(named(await check(lake, true)), again).toEqual([`altered ${kind} ${path}`])
        const fast = SEEN_BY_FAST_CHECK[kind].includes('flip') ? [`altered ${kind} ${path}`] : []
        expect(named(await check(lake, false)), again).toEqual(fast)
      })
    }
    if (place === 'local disk') expect(named(await check(lake, true))).toEqual([])
  })

  test.each(KINDS)('a %s that was cut, and one that is gone', async (kind) => {
    const path = (await victims(lake))[kind]
    const cut = (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 7)
    await damaged(lake, path, cut, async () => {
      expect(named(await check(lake, true))).toEqual([`altered ${kind} ${path}`])
      const fast = SEEN_BY_FAST_CHECK[kind].includes('cut') ? [`altered ${kind} ${path}`] : []
      expect(named(await check(lake, false))).toEqual(fast)
    })
    const bytes = await bytesOf(lake, path)
    await lake.store.delete([path])
    const gone = kind === 'older metadata' ? 'dangling' : 'missing'
    expect(named(await check(lake, false))).toEqual([`${gone} ${kind} ${path}`])
    if (place === 'local disk') expect(named(await check(lake, true))).toEqual([`${gone} ${kind} ${path}`])
    await lake.store.put(path, bytes)
    expect(named(await check(lake, false))).toEqual([])
  })

  test('two segments of equal length that were swapped: the fast check reads what has another etag', async () => {
    const pair = await pairOfEqualLength(lake, (await lake.live('trips')).segments)
    await swap(lake, ...pair)
    const expected = pair.map((path) => `altered segment ${path}`).sort()
    expect(named(await check(lake, false)).sort()).toEqual(expected)
    expect(named(await check(lake, true)).sort()).toEqual(expected)
    await swap(lake, ...pair)
    expect(named(await check(lake, false))).toEqual([])
  })

  test('two data files of equal length that were swapped', async () => {
    // Of older snapshots too: a deep check reads them all.
    const files = (await lake.filesReferredTo()).filter((path) => path.includes('/data/'))
    const pair = await pairOfEqualLength(lake, files)
    await swap(lake, ...pair)
    expect(named(await check(lake, false))).toEqual([])
    expect(named(await check(lake, true)).sort()).toEqual(pair.map((path) => `altered data file ${path}`).sort())
    await swap(lake, ...pair)
  })

  test('files that nobody wrote: in a table, and beside all tables', async () => {
    const { location } = await lake.table('visits')
    const inTable = `${location}/data/left-behind.parquet`
    const beside = `${lake.settings.lake.root}/notes.txt`
    await lake.store.put(inTable, new Uint8Array(5))
    await lake.store.put(beside, new Uint8Array(6))
    expect(named(await check(lake, false))).toEqual([`orphan file ${inTable}`])
    expect(named(await check(lake, true)).sort()).toEqual([`orphan file ${inTable}`, `orphan file ${beside}`].sort())
    expect(named(await check(lake, true, 'trips'))).toEqual([])
    await lake.store.delete([inTable, beside])
  })

  test('a file of a writer that lives is in flight; once it is fenced, the sweep has it to do', async () => {
    const { location } = await lake.table('visits')
    const writer = await lake.catalog.registerWriter('ingest')
    const path = `${location}/segments/${writer.writerId}-00000001.parquet`
    await lake.store.put(path, new Uint8Array(5))
    const before = await check(lake, false)
    expect([named(before), before.inFlight]).toEqual([[], 1])
    await lake.catalog.retireWriter(writer)
    const after = await check(lake, false)
    expect(after.findings).toMatchObject([{ kind: 'orphan', severity: 'notice', path }])
    expect(after.inFlight).toBe(0)
    await lake.store.delete([path])
  })
})
