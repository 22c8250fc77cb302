// What proves that a catalog is an older copy, and what a crash leaves behind, which does not; and how few requests it takes.
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { SourceKey } from '../../schemas/coverage.ts'
import type { Catalog, FlushTick, NewSegment, Table, Writer } from '../catalog/catalog.ts'
import { openCatalog } from '../catalog/open-catalog.ts'
import { countRequests } from '../object-store/count.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import { sampleBatch } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { findEvidence } from './older-catalog.ts'
import {
  COMMIT_ID_KEY,
  COMMIT_KEY,
  commitJsons,
  EPOCH_KEY,
  SOURCES_KEY,
  segmentPath,
  sourcesJson,
  TABLE_KEY,
  WRITER_KEY,
} from './segment-record.ts'

const ROOT = 's3://bucket/lake'
const SOURCE: SourceKey = { pipeline: 'p', source: 'kafka:t:1', partition: 0 }

async function lake() {
  const world = createTestWorld()
  const store = countRequests(createMemoryObjectStore({ root: ROOT, world }))
  const open = () => openCatalog({ url: 'sqlite::memory:', world })
  const column = { fieldId: 16, name: 'id', type: { kind: 'long' }, required: false } as const
  const newTable = { name: 't', location: `${ROOT}/t-1`, columns: [column], partition: [], sort: [], properties: {} }
  const catalog = await open()
  const table = await catalog.createTable(newTable)
  const bytesOf = (keyValues: Record<string, string>) =>
    writeParquet(sampleBatch([{ name: 'id', type: { kind: 'long' }, values: [1n] }]), {
      compression: 'none',
      level: 1,
      rowGroupRows: 10,
      keyValues,
    }).bytes

  /** A segment as ingest writes it; committed only with `tickOf`. */
  async function segment(
    of: Table,
    writer: Writer,
    tick: number,
    settled: number,
    version: bigint | undefined,
  ): Promise<NewSegment> {
    const path = segmentPath(of.location, writer.writerId, tick)
    const range = { start: BigInt(tick - 1), end: BigInt(tick) }
    const sources = [{ ...SOURCE, range, rows: 1, recordedFrom: range.start, isFirst: tick === 1 }]
    const [commit] = commitJsons(
      {
        commitId: `c${tick}`,
        tick,
        settled,
        dropped: [],
        parts: [{ tableId: of.tableId, number: tick }],
        advances: [],
        sources: [[]],
      },
      () => version,
    )
    const info = await store.put(
      path,
      bytesOf({
        [TABLE_KEY]: of.name,
        [COMMIT_ID_KEY]: `c${tick}`,
        [WRITER_KEY]: writer.writerId,
        [EPOCH_KEY]: String(writer.epoch),
        'millrace.schema-id': '0',
        [SOURCES_KEY]: sourcesJson(sources),
        [COMMIT_KEY]: commit,
      }),
    )
    return {
      tableId: of.tableId,
      schemaId: 0,
      path,
      rowCount: 1,
      bytes: info.size,
      etag: info.etag,
      bounds: [],
      sources,
      touched: { grain: 'all', values: [] },
    }
  }
  const tickOf = (writer: Writer, segments: readonly NewSegment[]): FlushTick => ({
    commitId: `c${segments[0].path}`,
    writer,
    segments,
    idempotencyKeys: [],
    advances: [
      {
        ...SOURCE,
        range: segments[0].sources[0].range,
        recordsIn: 1,
        recordsDead: 0,
        recordsFiltered: 0,
        logEnd: undefined,
        caughtUp: false,
      },
    ],
  })
  const evidence = (of: Awaited<ReturnType<typeof open>>) => findEvidence({ catalog: of, store, lakeRoot: ROOT })
  return { catalog, table, newTable, open, segment, tickOf, evidence, store, counts: store.counts }
}

/** As a copy of the catalog from before: the same table and writers, so many of them. */
async function copyOf(
  open: () => ReturnType<typeof openCatalog>,
  newTable: Parameters<Catalog['createTable']>[0],
  writers: readonly Writer[],
  newestEpoch: number,
) {
  const copy = await open()
  await copy.createTable(newTable)
  await copy.restore({
    commitId: 'copy',
    newestEpoch: 0,
    tables: [],
    coverage: [],
    bindings: [],
    writers,
    epochMax: newestEpoch,
  })
  return copy
}

test('a lake in order proves nothing, and costs listings only', async () => {
  const { catalog, table, segment, tickOf, evidence, counts } = await lake()
  const writer = await catalog.registerWriter('ingest')
  await catalog.commitTick(tickOf(writer, [await segment(table, writer, 1, 0, undefined)]))
  const before = counts.get.requests
  expect(await evidence(catalog)).toEqual([])
  expect(counts.get.requests).toBe(before)
  expect(counts.list.requests).toBe(3)
})

test('what a crash leaves behind is no evidence: files of a known process one step ahead', async () => {
  const { catalog, table, segment, tickOf, evidence, store } = await lake()
  const writer = await catalog.registerWriter('ingest')
  await catalog.commitTick(tickOf(writer, [await segment(table, writer, 1, 0, undefined)]))
  // Four ticks in flight, none committed.
  for (const tick of [2, 3, 4, 5]) await segment(table, writer, tick, 1, 1n)
  await store.put(`${table.location}/metadata/00001-${writer.writerId}-x.metadata.json`, new Uint8Array(3))
  expect(await evidence(catalog)).toEqual([])
})

test('files of a process that registered later', async () => {
  const { catalog, table, newTable, open, segment, evidence } = await lake()
  const known = await catalog.registerWriter('ingest')
  const later = await catalog.registerWriter('ingest')
  await segment(table, later, 1, 0, undefined)
  const copy = await copyOf(open, newTable, [known], known.epoch)
  expect(await evidence(copy)).toEqual([expect.stringContaining(`epoch ${later.epoch}, its newest is ${known.epoch}`)])
  // Somebody registered with the older copy since, and got the same epoch.
  const other = await copy.registerWriter('compactor')
  expect(other.epoch).toBe(later.epoch)
  expect(await evidence(copy)).toEqual([
    expect.stringContaining(`epoch ${later.epoch}, there that is ${other.writerId}`),
  ])
})

test('a segment that knows a version which the catalog has not reached', async () => {
  const { catalog, table, newTable, open, segment, evidence } = await lake()
  const writer = await catalog.registerWriter('ingest')
  await segment(table, writer, 1, 0, undefined)
  const copy = await copyOf(open, newTable, [writer], writer.epoch)
  expect(await evidence(copy)).toEqual([])
  await segment(table, writer, 2, 1, 1n)
  expect(await evidence(copy)).toEqual([expect.stringContaining('version 1 of "t" was committed, it is at 0')])
})

test('a segment of a tick that a later one calls committed', async () => {
  const { catalog, table, newTable, open, segment, evidence } = await lake()
  const writer = await catalog.registerWriter('ingest')
  await segment(table, writer, 1, 0, undefined)
  await segment(table, writer, 2, 1, undefined)
  const copy = await copyOf(open, newTable, [writer], writer.epoch)
  expect(await evidence(copy)).toEqual([expect.stringContaining('a committed tick that it does not know')])
})

test('a table that the catalog does not have', async () => {
  const { catalog, table, open, segment, evidence } = await lake()
  await segment(table, await catalog.registerWriter('ingest'), 1, 0, undefined)
  expect(await evidence(await open())).toEqual([`${table.location} is of a table that it does not have`])
})

/** Metadata as far as the question goes. */
function metadataBytes(location: string, from: readonly string[], version: bigint, epoch: number): Uint8Array {
  const summary = { operation: 'append', 'millrace.lease-epoch': String(epoch) }
  const snapshot = {
    'snapshot-id': 1,
    'sequence-number': 1,
    'timestamp-ms': 1,
    summary,
    'manifest-list': 'x',
    'schema-id': 0,
  }
  return new TextEncoder().encode(
    JSON.stringify({
      'format-version': 2,
      'table-uuid': 'u',
      location,
      'last-sequence-number': 1,
      'last-updated-ms': 1,
      'last-column-id': 16,
      'current-schema-id': 0,
      schemas: [],
      properties: { 'millrace.table-version': String(version) },
      'current-snapshot-id': 1,
      snapshots: [snapshot],
      'metadata-log': from.map((file) => ({ 'timestamp-ms': 1, 'metadata-file': file })),
    }),
  )
}

test('metadata made from what the catalog does not know, at a later version, or under a later lease; else it is a leftover', async () => {
  const { catalog, table, evidence, store } = await lake()
  const writer = await catalog.registerWriter('compactor')
  await catalog.acquireLease(table.tableId, writer, 1000)
  const path = (sequence: number) => `${table.location}/metadata/0000${sequence}-${writer.writerId}-x.metadata.json`
  const put = (sequence: number, from: readonly string[], version: bigint, epoch: number) =>
    store.put(path(sequence), metadataBytes(table.location, from, version, epoch))
  await put(1, [], 0n, 1)
  expect(await evidence(catalog)).toEqual([])
  await put(2, [path(1)], 0n, 1)
  expect(await evidence(catalog)).toEqual([expect.stringContaining(`made from ${path(1)}, which it does not know`)])
  await put(2, [], 3n, 1)
  expect(await evidence(catalog)).toEqual([expect.stringContaining('at version 3 of "t", it is at 0')])
  await put(2, [], 0n, 2)
  expect(await evidence(catalog)).toEqual([expect.stringContaining('under epoch 2')])
})
