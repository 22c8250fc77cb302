// `segments.live.max` with nobody who takes segments over: a whole ingest without sockets, over memory.
import { afterEach, expect, test } from 'vitest'
import type { Catalog, Lease } from '../lake/catalog/catalog.ts'
import { checksumOf } from '../lake/checksum.ts'
import { MillraceError } from '../schemas/errors.ts'
import { openSampleLake, type SampleLake, type SampleProcess, TABLE } from './http-samples.ts'

const lakes: SampleLake[] = []
afterEach(async () => {
  for (const lake of lakes.splice(0)) await lake.close()
})

async function open(limits: Parameters<typeof openSampleLake>[1]): Promise<SampleLake> {
  const lake = await openSampleLake(1, limits)
  lakes.push(lake)
  return lake
}

const segmentsOf = async (lake: SampleLake) => (await lake.catalog.readTables([TABLE]))[0].segments

/** One request, one flush, one segment. */
async function tick(lake: SampleLake, process: SampleProcess, producer: string, sequence: number, rows = 1) {
  const body = Array.from({ length: rows }, (_, i) => `{"id": ${sequence + i}, "note": "${producer}"}`).join('\n')
  return lake.settled(process.send(body, { producer, sequence }))
}

async function expectOnce(lake: SampleLake, producers: Readonly<Record<string, number>>): Promise<void> {
  const expected = Object.entries(producers).flatMap(([producer, rows]) =>
    Array.from({ length: rows }, (_, i) => `http:${producer}/${i}`),
  )
  const found = (await lake.rows()).map(({ _source, _offset, id }) => {
    expect(id).toBe(_offset)
    return `${_source}/${_offset}`
  })
  expect(found.sort()).toEqual(expected.sort())
}

test('a thousand ticks and no compactor: never more live segments than allowed, every row once (G-2, G-6)', async () => {
  const lake = await open({ liveMax: 16 })
  const process = await lake.startProcess()
  const counts: number[] = []
  for (let sequence = 0; sequence < 1000; sequence += 1) {
    await tick(lake, process, 'p', sequence)
    if (sequence % 7 === 0) counts.push((await segmentsOf(lake)).length)
  }
  expect(Math.max(...counts)).toBeLessThanOrEqual(16)
  expect(process.full).toEqual([])
  await expectOnce(lake, { p: 1000 })
  // What was merged waits for readers and age, and is known to the sweep.
  const known = await lake.catalog.knownPaths((await segmentsOf(lake))[0].tableId)
  for await (const { path } of lake.store.list('file:///lake/')) expect(known.has(path)).toBe(true)
}, 60_000)

test('two processes beside each other keep the maximum together', async () => {
  const lake = await open({ liveMax: 32 })
  const processes = [await lake.startProcess(), await lake.startProcess()]
  let most = 0
  for (let sequence = 0; sequence < 150; sequence += 1) {
    await Promise.all(processes.map((process, i) => tick(lake, process, `p${i}`, sequence)))
    // A producer that goes from one to the other, so that both have segments of one source.
    await tick(lake, processes[sequence % 2], 'both', sequence)
    most = Math.max(most, (await segmentsOf(lake)).length)
  }
  expect(most).toBeLessThanOrEqual(32)
  expect(processes.flatMap(({ fatal }) => fatal)).toEqual([])
  await expectOnce(lake, { p0: 150, p1: 150, both: 150 })
}, 60_000)

test('a compactor that takes segments over meanwhile: one of the two wins, nothing is lost or there twice (G-1, G-2)', async () => {
  const lake = await open({ liveMax: 16 })
  const consumed = new Set<string>()
  let compact = async () => {}
  const catalog: Catalog = {
    ...lake.catalog,
    async mergeSegments(merge) {
      // Between the merger's look and its commit, each second time.
      if (merges % 2 === 0) await compact()
      merges += 1
      const result = await lake.catalog.mergeSegments(merge)
      outcomes.push(result.outcome)
      return result
    },
  }
  let merges = 0
  const outcomes: string[] = []
  const process = await lake.startProcess({ catalog })
  await tick(lake, process, 'p', 0)
  const compactor = await lake.catalog.registerWriter('compactor')
  const [{ table }] = await lake.catalog.readTables([TABLE])
  const lease = (await lake.catalog.acquireLease(table.tableId, compactor, 1e9)) as Lease
  let snapshots = 0
  let metadata: string | undefined
  const taken: { _source: unknown; _offset: unknown }[] = []
  compact = async () => {
    const segments = await segmentsOf(lake)
    const all = await lake.rows()
    snapshots += 1
    const next = `file:///lake/m${snapshots}.json`
    const result = await lake.catalog.commitSnapshot({
      commitId: `s${snapshots}`,
      writer: compactor,
      lease,
      tableId: table.tableId,
      expectedMetadataLocation: metadata,
      metadataLocation: next,
      consumedSegmentIds: segments.map(({ segmentId }) => segmentId),
      removedPaths: [],
      rowsAdded: 0,
      snapshotRows: 0,
    })
    expect(result.outcome).toBe('committed')
    metadata = next
    for (const { path } of segments) consumed.add(path)
    taken.push(...all.map(({ _source, _offset }) => ({ _source, _offset })))
  }
  const ticks = 120
  for (let sequence = 1; sequence < ticks; sequence += 1) await tick(lake, process, 'p', sequence)
  expect(outcomes).toContain('conflict')
  expect(outcomes).toContain('committed')
  const rows = [...taken, ...(await lake.rows())]
  expect(rows.map(({ _offset }) => Number(_offset)).sort((a, b) => a - b)).toEqual(
    Array.from({ length: ticks }, (_, i) => i),
  )
  // The file of a refused merge is gone; all that lies there is known.
  const known = await lake.catalog.knownPaths(table.tableId)
  for await (const { path } of lake.store.list('file:///lake/t')) expect(known.has(path)).toBe(true)
}, 60_000)

test('a merge whose answer is lost is asked for again and happens once', async () => {
  const lake = await open({ liveMax: 8 })
  let lost = 0
  const catalog: Catalog = {
    ...lake.catalog,
    async mergeSegments(merge) {
      const result = await lake.catalog.mergeSegments(merge)
      lost += 1
      if (lost % 2 === 1) throw new MillraceError('catalog-busy', 'no answer')
      expect(result.outcome).toBe('already-committed')
      return result
    },
  }
  const process = await lake.startProcess({ catalog })
  for (let sequence = 0; sequence < 60; sequence += 1) await tick(lake, process, 'p', sequence)
  expect(lost).toBeGreaterThan(2)
  await expectOnce(lake, { p: 60 })
})

test('segments too large to be merged: ingest waits and says why, and goes on when a compactor comes', async () => {
  const lake = await open({ liveMax: 8, mergedBytesMax: 10 })
  const process = await lake.startProcess()
  for (let sequence = 0; sequence < 8; sequence += 1) await tick(lake, process, 'p', sequence)
  let isAnswered = false
  const waiting = process.send('{"id": 8, "note": "p"}', { producer: 'p', sequence: 8 }).then(() => {
    isAnswered = true
  })
  for (let turn = 0; turn < 200; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve))
    void process.intake.drain()
  }
  expect(isAnswered).toBe(false)
  expect(await segmentsOf(lake)).toHaveLength(8)
  expect(process.full[0]).toBe(
    'table t has 8 live segments (segments.live.max 8), too large to be merged here: ingest waits for a compactor',
  )
  const compactor = await lake.catalog.registerWriter('compactor')
  const [first] = await segmentsOf(lake)
  await lake.catalog.commitSnapshot({
    commitId: 's',
    writer: compactor,
    lease: (await lake.catalog.acquireLease(first.tableId, compactor, 1e9)) as Lease,
    tableId: first.tableId,
    expectedMetadataLocation: undefined,
    metadataLocation: 'file:///lake/m.json',
    consumedSegmentIds: [first.segmentId],
    removedPaths: [],
    rowsAdded: 1,
    snapshotRows: 1,
  })
  await lake.settled(waiting)
  expect(await segmentsOf(lake)).toHaveLength(8)
  // What is open when the process is to end is worth more than the maximum.
  process.liveSegments.stop()
  await tick(lake, process, 'p', 9)
  expect(await segmentsOf(lake)).toHaveLength(9)
})

test('a damaged segment is named and left alone; the ones behind it are merged', async () => {
  const lake = await open({ liveMax: 8 })
  const process = await lake.startProcess()
  for (let sequence = 0; sequence < 3; sequence += 1) await tick(lake, process, 'p', sequence)
  const { path } = (await segmentsOf(lake))[1]
  const { bytes } = await lake.store.get(path)
  bytes[20] ^= 1
  await lake.store.put(path, bytes)
  for (let sequence = 3; sequence < 40; sequence += 1) await tick(lake, process, 'p', sequence)
  expect((await segmentsOf(lake)).map((each) => each.path)).toContain(path)
  expect((await segmentsOf(lake)).length).toBeLessThanOrEqual(8)
  expect(lake.world.lines.filter(({ level }) => level === 'error')).toMatchObject([{ path }])
  await expectOnce(lake, { p: 40 })
})

test('a segment that does not go with the others is left out, and ingest goes on', async () => {
  const lake = await open({ liveMax: 8 })
  const checksums = new Map<string, string>()
  const catalog: Catalog = {
    ...lake.catalog,
    async readTables(...args) {
      const versions = await lake.catalog.readTables(...args)
      return versions.map((version) => ({
        ...version,
        segments: version.segments.map((each) => ({ ...each, checksum: checksums.get(each.path) ?? each.checksum })),
      }))
    },
  }
  const process = await lake.startProcess({ catalog })
  for (let sequence = 0; sequence < 2; sequence += 1) await tick(lake, process, 'p', sequence)
  const { path } = (await segmentsOf(lake))[0]
  const { bytes } = await lake.store.get(path)
  // Another writer's name of the same length, so that all else stays.
  bytes.set(Buffer.from('somebody'), Buffer.from(bytes).lastIndexOf('millrace version'))
  await lake.store.put(path, bytes)
  checksums.set(path, checksumOf(bytes))
  for (let sequence = 2; sequence < 40; sequence += 1) await tick(lake, process, 'p', sequence)
  expect((await segmentsOf(lake)).map((each) => each.path)).toContain(path)
  expect((await segmentsOf(lake)).length).toBeLessThanOrEqual(8)
  expect(process.fatal).toEqual([])
  expect(lake.world.lines.filter(({ level }) => level === 'error')).toMatchObject([{ path }])
  await expectOnce(lake, { p: 40 })
})
