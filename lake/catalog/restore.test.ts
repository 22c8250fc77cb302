// What a rebuild writes: new writers above all epochs, tables with their old ids, files that no sweep takes; all of it or nothing.
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { lettersKey } from '../../schemas/coverage.ts'
import { maskedOffsetsOf } from '../../schemas/masked-offsets.ts'
import { forgottenIn } from '../dead-letters/rows-of-letters.ts'
import type { NewSegment } from './catalog.ts'
import { openCatalog } from './open-catalog.ts'
import type { Restoration, RestoredTable } from './restore.ts'

const COLUMNS = [{ fieldId: 16, name: 'id', type: { kind: 'long' }, required: false }] as const
const SOURCE = { pipeline: 'p', source: 'kafka:t:1', partition: 0 } as const
const LOCATION = 'file:///lake/t-1'

function segment(name: string, start: bigint, end: bigint): NewSegment {
  return {
    tableId: 7,
    schemaId: 0,
    path: `${LOCATION}/segments/${name}.parquet`,
    rowCount: 3,
    bytes: 10,
    etag: 'e',
    checksum: '00c0ffee',
    bounds: [],
    sources: [{ ...SOURCE, range: { start, end }, rows: 3, recordedFrom: start }],
    touched: { grain: 'all', values: [] },
  }
}

const TABLE: RestoredTable = {
  tableId: 7,
  name: 't',
  location: LOCATION,
  schemas: [{ schemaId: 0, columns: COLUMNS }],
  partition: [],
  sort: [],
  properties: { 'millrace.event-time-field-id': '16' },
  lastFieldId: 21,
  version: 40n,
  metadata: {
    location: `${LOCATION}/metadata/3.metadata.json`,
    checksum: '0badf00d',
    rows: 12,
    reachable: new Set([`${LOCATION}/data/a`]),
  },
  leaseEpoch: 5,
  segments: [
    { segment: segment('a', 10n, 20n), commitId: 'c1', writerId: 'w1' },
    { segment: segment('b', 20n, 30n), commitId: 'c2', writerId: 'w2' },
  ],
  endedSegmentIds: [],
  deadPaths: [`${LOCATION}/segments/dead.parquet`],
  heldPaths: [`${LOCATION}/segments/held.parquet`],
}

const RESTORATION: Restoration = {
  commitId: 'r',
  newestEpoch: 0,
  tables: [TABLE],
  coverage: [
    {
      ...SOURCE,
      ranges: [
        { start: 0n, end: 5n },
        { start: 10n, end: 30n },
      ],
      recordsIn: 20n,
      recordsDead: 1n,
      recordsFiltered: 2n,
      logEnd: undefined,
      caughtUpAt: undefined,
      recordedEnd: 30n,
    },
  ],
  bindings: [{ pipeline: 'p', tableId: 7, topic: 't' }],
  writers: [
    { writerId: 'w1', epoch: 3 },
    { writerId: 'w2', epoch: 8 },
    { writerId: 'unknown epoch', epoch: undefined },
  ],
  epochMax: 8,
}

const open = () => openCatalog({ url: 'sqlite::memory:', world: createTestWorld() })

test('a new catalog says what the plan says', async () => {
  const catalog = await open()
  await catalog.restore(RESTORATION)
  const [version] = await catalog.readTables(['t'])
  expect(version).toMatchObject({
    version: 40n,
    metadataLocation: TABLE.metadata?.location,
    table: {
      tableId: 7,
      location: LOCATION,
      lastFieldId: 21,
      metadataChecksum: '0badf00d',
      properties: TABLE.properties,
    },
    segments: [
      { path: segment('a', 10n, 20n).path, checksum: '00c0ffee', addedVersion: 40n },
      { path: segment('b', 20n, 30n).path },
    ],
    coverage: [{ ranges: RESTORATION.coverage[0].ranges, recordedEnd: 30n, recordsFiltered: 2n }],
  })
  expect(
    (await catalog.createTable({ ...TABLE, name: 'u', location: 'file:///lake/u', columns: [...COLUMNS] })).tableId,
  ).toBe(8)
})

test('a version of before the rebuild is refused: its segments are added again, as of a later one (G-3)', async () => {
  const world = createTestWorld()
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const at = (version: bigint) => ({ at: { versions: new Map([['t', version]]), windowMs: 600_000 } })
  const writer = await catalog.registerWriter('ingest')
  const table = await catalog.createTable({ ...TABLE, columns: [...COLUMNS] })
  const advance = { ...SOURCE, recordsIn: 3, recordsDead: 0, recordsFiltered: 0, logEnd: undefined, caughtUp: false }
  const own = (name: string, start: bigint, end: bigint) => ({ ...segment(name, start, end), tableId: table.tableId })
  for (const [name, start, end] of [
    ['a', 0n, 10n],
    ['b', 10n, 20n],
  ] as const) {
    const advances = [{ ...advance, range: { start, end } }]
    await catalog.commitTick({
      commitId: name,
      writer,
      segments: [own(name, start, end)],
      advances,
      idempotencyKeys: [],
    })
  }
  expect((await catalog.readTables(['t'], at(1n)))[0].segments).toHaveLength(1)
  const segments = TABLE.segments.map((each) => ({ ...each, segment: { ...each.segment, tableId: table.tableId } }))
  await catalog.restore({
    ...RESTORATION,
    newestEpoch: await catalog.fenceAllWriters(),
    tables: [{ ...TABLE, tableId: table.tableId, metadata: undefined, segments }],
    bindings: [],
  })
  for (const version of [1n, 2n, 39n]) {
    await expect(catalog.readTables(['t'], at(version))).rejects.toMatchObject({ code: 'value-out-of-range' })
  }
  expect((await catalog.readTables(['t'], at(40n)))[0].segments).toHaveLength(2)
  const later = await catalog.registerWriter('ingest')
  const advances = [{ ...advance, range: { start: 30n, end: 40n } }]
  await world.advance(1000)
  await catalog.commitTick({
    commitId: 'c',
    writer: later,
    segments: [own('c', 30n, 40n)],
    advances,
    idempotencyKeys: [],
  })
  expect((await catalog.readTables(['t'], at(40n)))[0].segments).toHaveLength(2)
})

test('new writers and lease holders come after all that files tell of; the old ones never commit again', async () => {
  const catalog = await open()
  await catalog.restore(RESTORATION)
  const writer = await catalog.registerWriter('compactor')
  expect(writer.epoch).toBeGreaterThan(8)
  expect(await catalog.acquireLease(7, writer, 1000)).toMatchObject({ epoch: 6 })
  for (const { writerId } of RESTORATION.writers) expect(await catalog.writerState(writerId)).toBe('fenced')
  await expect(catalog.heartbeat({ writerId: 'w2', epoch: 8, kind: 'ingest' }, 1000)).rejects.toMatchObject({
    code: 'writer-fenced',
  })
})

test('files that nothing refers to are garbage, but those that a human must look at', async () => {
  const catalog = await open()
  await catalog.restore(RESTORATION)
  const dead = await catalog.deadFiles(0, 100)
  expect(dead.map(({ path }) => path)).toEqual(TABLE.deadPaths)
  await catalog.forgetFiles(dead.map(({ tombstoneId }) => tombstoneId))
  expect(await catalog.knownPaths(7)).toContain(TABLE.heldPaths[0])
  const known = await catalog.knownLake()
  expect([...known.tables[0].heldPaths]).toEqual(TABLE.heldPaths)
  // A human decided: it is live now, and what was garbage before can come back too.
  const held = { ...segment('held', 30n, 40n) }
  await catalog.restore({
    ...RESTORATION,
    commitId: 'r2',
    newestEpoch: await catalog.fenceAllWriters(),
    tables: [
      {
        ...TABLE,
        version: 41n,
        segments: [{ segment: held, commitId: 'c3', writerId: 'w1' }],
        endedSegmentIds: [],
        heldPaths: [],
      },
    ],
  })
  const [version] = await catalog.readTables(['t'])
  expect(version.segments.map(({ path }) => path)).toContain(held.path)
})

test('segments that a newer snapshot has end, and leave their bytes to the sweep', async () => {
  const catalog = await open()
  await catalog.restore(RESTORATION)
  const [before] = await catalog.readTables(['t'])
  const ended = before.segments[0]
  const tables = [{ ...TABLE, version: 41n, segments: [], endedSegmentIds: [ended.segmentId], deadPaths: [ended.path] }]
  await catalog.restore({ ...RESTORATION, commitId: 'r2', newestEpoch: await catalog.fenceAllWriters(), tables })
  const [after] = await catalog.readTables(['t'])
  expect(after.segments.map(({ path }) => path)).toEqual([before.segments[1].path])
  const dead = (await catalog.deadFiles(0, 100)).map(({ path }) => path)
  expect(dead.filter((path) => path === ended.path)).toHaveLength(1)
})

test('nothing is written when a process registered since all were fenced', async () => {
  const catalog = await open()
  const newestEpoch = await catalog.fenceAllWriters()
  await catalog.registerWriter('ingest')
  await expect(catalog.restore({ ...RESTORATION, newestEpoch })).rejects.toMatchObject({ code: 'commit-conflict' })
  expect(await catalog.listTables()).toEqual([])
})

test('what only the catalog knew stays: keys of requests, commit ids', async () => {
  const catalog = await open()
  const writer = await catalog.registerWriter('ingest')
  const table = await catalog.createTable({ ...TABLE, columns: [...COLUMNS] })
  const own = { ...segment('x', 0n, 5n), tableId: table.tableId }
  const tick = {
    commitId: 'known',
    writer,
    segments: [own],
    advances: [
      {
        ...SOURCE,
        range: { start: 0n, end: 5n },
        recordsIn: 5,
        recordsDead: 0,
        recordsFiltered: 2,
        logEnd: undefined,
        caughtUp: false,
      },
    ],
    idempotencyKeys: [{ tableId: table.tableId, key: 'k', rows: 3 }],
  }
  const answer = await catalog.commitTick(tick)
  await catalog.restore({ ...RESTORATION, newestEpoch: await catalog.fenceAllWriters(), tables: [], bindings: [] })
  expect(await catalog.findIdempotencyKey(table.tableId, 'k')).toMatchObject({ rows: 3 })
  expect(await catalog.commitTick(tick)).toEqual({ ...answer, outcome: 'already-committed' })
})

test('masks hold for the metadata that they were made for: under another one all letters may be back, and the count tells (G-2)', async () => {
  for (const isOther of [false, true]) {
    const catalog = await open()
    const writer = await catalog.registerWriter('ingest')
    const name = 't__dead_letters'
    const table = await catalog.createTable({ ...TABLE, name, columns: [...COLUMNS] })
    const letters = lettersKey('p', name)
    await catalog.commitTick({
      commitId: 'replay',
      writer,
      segments: [],
      advances: [
        {
          ...letters,
          range: { start: 0n, end: 2n },
          recordsIn: 2,
          recordsDead: 0,
          recordsFiltered: 2,
          logEnd: undefined,
          caughtUp: true,
        },
      ],
      idempotencyKeys: [],
      masks: [
        {
          tableId: table.tableId,
          action: 'replay',
          offsets: maskedOffsetsOf([3n, 4n].map((offset) => ({ source: 'kafka:t:1', partition: 0, offset }))),
          requestedBy: 'me',
          why: 'mended',
        },
      ],
    })
    const asked = { tableId: table.tableId, name }
    expect(forgottenIn(await catalog.pipelineFacts(), asked)).toBe(0n)
    await catalog.restore({
      ...RESTORATION,
      newestEpoch: await catalog.fenceAllWriters(),
      tables: [
        {
          ...TABLE,
          ...asked,
          segments: [],
          metadata: isOther ? TABLE.metadata : undefined,
          deadPaths: [],
          heldPaths: [],
        },
      ],
      bindings: [],
    })
    expect(forgottenIn(await catalog.pipelineFacts(), asked)).toBe(isOther ? 2n : 0n)
    const [{ masks = [] }] = await catalog.readTables([name])
    expect(masks).toHaveLength(isOther ? 0 : 1)
    await catalog.close()
  }
})
