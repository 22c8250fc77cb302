// The check over a lake in memory: what it says of damage, and that commits and sweeps beside it are never taken for damage,
// wherever between two of its requests they fall.
import { expect, test } from 'vitest'
import { encodeManifestList } from '../iceberg/manifest.ts'
import { metadataLogOf } from '../iceberg/table-metadata.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { type CheckReport, checkLake } from './check-lake.ts'
import { createMemoryLake, type MemoryLake, SETTINGS } from './memory-lake.ts'

const named = ({ findings }: CheckReport) => findings.map(({ kind, what, path }) => `${kind} ${what} ${path}`)

async function smallLake(): Promise<MemoryLake> {
  const lake = await createMemoryLake()
  await lake.tick(5)
  await lake.tick(4)
  await lake.snapshot()
  await lake.tick(3)
  return lake
}

/** Runs `interfere` before the n-th request to the store. */
function interfering(store: ObjectStore, n: number, interfere: () => Promise<void>) {
  let requests = 0
  const before = async () => {
    requests += 1
    if (requests === n) await interfere()
  }
  const wrapped: ObjectStore = {
    ...store,
    async get(path, options) {
      await before()
      return store.get(path, options)
    },
    async head(path) {
      await before()
      return store.head(path)
    },
    async *list(prefix) {
      for await (const info of store.list(prefix)) {
        await before()
        yield info
      }
    },
  }
  return { store: wrapped, requests: () => requests }
}

test('an empty lake and a sound one have no finding', async () => {
  const empty = await createMemoryLake()
  expect(await empty.check(true)).toMatchObject({ findings: [], tables: 1, files: 0 })
  const lake = await smallLake()
  expect(await lake.check()).toMatchObject({ findings: [], inFlight: 0, waiting: 2, deep: undefined })
  const deep = await lake.check(true)
  expect(deep.findings).toEqual([])
  expect(deep.deep).toMatchObject({ proven: deep.files - deep.waiting, unproven: 0 })
})

test('metadata before the oldest snapshot are proven too, each by the one made from it', async () => {
  const lake = await smallLake()
  for (let i = 0; i < 5; i++) {
    await lake.tick(1)
    await lake.snapshot()
  }
  const metadata = await lake.snapshot()
  expect(metadata.snapshots).toHaveLength(2)
  expect((await lake.check(true)).deep).toMatchObject({ unproven: 0 })
  const older = metadataLogOf(metadata)[1].path
  const { bytes } = await lake.store.get(older)
  bytes[bytes.length >> 1] ^= 2
  await lake.store.put(older, bytes)
  const report = await lake.check(true)
  expect(named(report)).toEqual([`altered older metadata ${older}`])
  // What only the altered one tells is not believed.
  expect(report.deep).toMatchObject({ unproven: 1 })
})

test('commits, snapshots and sweeps between any two requests of the check are no damage', async () => {
  for (const deep of [false, true]) {
    let total = Number.POSITIVE_INFINITY
    // The deep check asks the same before it reads every file.
    for (let n = 1; n <= total; n += deep ? 5 : 1) {
      const lake = await smallLake()
      // Already old: what the next snapshot drops, the sweep takes as soon as no reader's row holds it.
      await lake.snapshot()
      await lake.tick(2)
      const beside = interfering(lake.store, n, async () => {
        await lake.tick(2)
        await lake.snapshot()
        await lake.tick(1)
        await lake.snapshot()
        await lake.sweep()
        await lake.tick(1)
        // Whose files nothing refers to would now be orphans.
        await lake.catalog.retireWriter(lake.writer)
        await lake.catalog.retireWriter(lake.compactor)
      })
      expect(named(await lake.check(deep, beside.store)), `before request ${n}, deep ${deep}`).toEqual([])
      total = beside.requests()
      // Once the check is over, nothing is held back.
      expect(await lake.sweep()).toBeGreaterThan(0)
    }
    expect(total).toBeGreaterThan(10)
  }
}, 60_000)

test('a writer that ends beside the check with all its files committed leaves no orphan', async () => {
  const lake = await smallLake()
  const beside = interfering(lake.store, 4, async () => {
    await lake.tick(2)
    await lake.catalog.retireWriter(lake.writer)
  })
  expect(named(await lake.check(false, beside.store))).toEqual([])
})

test('files of a snapshot before its commit are in flight, whatever their kind; later they are left behind', async () => {
  const lake = await smallLake()
  await lake.snapshot({ commit: false })
  const before = await lake.check(true)
  expect(before.findings).toEqual([])
  // One data file, manifest, manifest list, checkpoint, metadata.
  expect(before.inFlight).toBe(5)
  await lake.catalog.retireWriter(lake.compactor)
  const after = await lake.check()
  expect(after.findings.map(({ kind, severity }) => `${severity} ${kind}`)).toEqual(Array(5).fill('notice orphan'))
})

test('files of an older release: pages with a CRC are proven, others only read', async () => {
  const lake = await createMemoryLake()
  await lake.tick(5)
  await lake.snapshot({ checksums: false })
  const sound = await lake.check(true)
  // Our own writer gives every page a CRC.
  expect(sound).toMatchObject({ findings: [], deep: { unproven: 0 } })
  const path = (await Array.fromAsync(lake.store.list(`${(await lake.table()).location}/data/`)))[0].path
  const { bytes } = await lake.store.get(path)
  bytes[60] ^= 1
  await lake.store.put(path, bytes)
  expect(named(await lake.check())).toEqual([])
  expect(named(await lake.check(true))).toEqual([`altered data file ${path}`])
})

test('what refers to unreadable metadata is not called an orphan', async () => {
  const lake = await smallLake()
  const { metadataLocation } = await lake.table()
  await lake.store.put(metadataLocation!, new TextEncoder().encode('{"half": '))
  const report = await lake.check(true)
  expect(named(report)).toEqual([`altered metadata ${metadataLocation}`])
  expect(report.unknown).toBeGreaterThan(3)
})

test('a manifest that says of its files what they are not', async () => {
  const id = 16
  const long = (value: bigint) => {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigInt64(0, value, true)
    return bytes
  }
  for (const [alter, reason] of [
    [{ lowerBounds: new Map([[id, long(1n)]]) }, 'values of column id lie outside its manifest’s bounds'],
    [{ upperBounds: new Map([[id, long(3n)]]) }, 'values of column id lie outside its manifest’s bounds'],
    [{ nullCounts: new Map([[id, 2]]) }, 'column id has 0 nulls, its manifest says 2'],
    [{ rowCount: 4 }, '5 rows in its footer, 4 recorded'],
    // Wider bounds than needed skip nothing wrongly.
    [{ lowerBounds: new Map([[id, long(-9n)]]), upperBounds: new Map([[id, long(99n)]]) }, undefined],
  ] as const) {
    const lake = await createMemoryLake()
    await lake.tick(5)
    await lake.snapshot({ record: (file) => ({ ...file, ...alter }) })
    const found = (await lake.check(true)).findings.filter(({ what }) => what === 'data file')
    expect(found.map((finding) => finding.found?.replace("'", '’'))).toEqual(reason === undefined ? [] : [reason])
  }
})

test('a manifest list that was replaced as a whole', async () => {
  const lake = await smallLake()
  const metadata = await lake.snapshot()
  const { manifestList } = metadata.currentSnapshot!
  // As a foreign hand would do it: sound Avro, but other numbers; its checksum tells.
  await lake.store.put(manifestList, encodeManifestList([], {}, new Uint8Array(16)))
  const altered = await lake.check()
  expect(named(altered)).toEqual([`altered manifest list ${manifestList}`])
  expect(altered.findings[0].expected).toMatch(/^checksum [0-9a-f]{8}$/)
})

test('the catalog says more rows than the snapshot has', async () => {
  const lake = await smallLake()
  const table = await lake.table()
  const metadata = await lake.snapshot()
  expect(metadata.currentSnapshot?.summary['total-records']).toBe('12')
  const catalog = {
    ...lake.catalog,
    async inspect() {
      const seen = await lake.catalog.inspect()
      return { ...seen, tables: seen.tables.map((each) => ({ ...each, snapshotRows: 13 })) }
    },
  }
  const report = await checkLake(
    { catalog, store: lake.store, world: lake.world, settings: SETTINGS },
    { deep: false, table: table.name },
  )
  expect(report.findings.map(({ kind, expected, found }) => [kind, expected, found])).toEqual([
    ['unbalanced', expect.stringContaining('12 rows'), '13'],
    ['unbalanced', '13 rows, as the catalog says', '12 in its manifests'],
  ])
})

test('a table that is not there is told, and the reader row goes', async () => {
  const lake = await smallLake()
  await expect(checkLake({ ...lake, settings: SETTINGS }, { deep: false, table: 'nobody' })).rejects.toMatchObject({
    code: 'undefined-table',
  })
  await lake.check()
  expect((await lake.catalog.inspect()).readers).toEqual([])
})
