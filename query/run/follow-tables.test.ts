import { expect, test } from 'vitest'
import type { Segment, TableVersion } from '../../lake/catalog/catalog.ts'
import type { EnsuredFile } from '../../lake/range-cache/range-cache.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createTableFollower } from './follow-tables.ts'

function versionOf(name: string, version: bigint, segmentIds: readonly number[], root = 's3://bucket'): TableVersion {
  const segments = segmentIds.map((segmentId) => ({
    segmentId,
    path: `${root}/${name}/${segmentId}.parquet`,
    bytes: segmentId === 99 ? 1 << 30 : 1000,
    etag: `"${segmentId}"`,
  })) as unknown as Segment[]
  return { table: { name, location: `${root}/${name}` }, version, segments } as unknown as TableVersion
}

function setUp() {
  const world = createTestWorld()
  const fetched: string[] = []
  const tables = new Map<string, TableVersion>()
  let released = 0
  const follower = createTableFollower({
    world,
    catalog: {
      versions: async () => new Map([...tables].map(([name, { version }]) => [name, version])),
      readTables: async (names) => names.map((name) => tables.get(name)!),
    },
    cache: {
      async ensure(path, size, etag, ranges) {
        fetched.push(`${path} ${etag} ${ranges[0].start}-${ranges[0].end} of ${size}`)
        return { requests: 1, release: () => void released++ } as unknown as EnsuredFile
      },
    },
    prefetched: { add: () => {} },
  })
  return { world, follower, tables, fetched, released: () => released }
}

test('segments that came after the question are fetched whole, once, and let go', async () => {
  const { follower, tables, fetched, released } = setUp()
  follower.asked([versionOf('trips', 3n, [1, 2])])
  tables.set('trips', versionOf('trips', 3n, [1, 2]))
  await follower.look()
  expect(fetched).toEqual([])
  tables.set('trips', versionOf('trips', 5n, [2, 3, 4, 99]))
  await follower.look()
  await follower.look()
  expect(fetched).toEqual([
    's3://bucket/trips/3.parquet "3" 0-1000 of 1000',
    's3://bucket/trips/4.parquet "4" 0-1000 of 1000',
  ])
  expect(released()).toBe(2)
  // Another question about the same table does not make it forget what it has seen.
  follower.asked([versionOf('trips', 4n, [2, 3])])
  await follower.look()
  expect(fetched).toHaveLength(2)
})

test('local tables, and tables nobody has asked about for long, are not followed', async () => {
  const { world, follower, tables, fetched } = setUp()
  follower.asked([versionOf('here', 1n, [], 'file:///lake'), versionOf('old', 1n, [])])
  tables.set('here', versionOf('here', 2n, [1], 'file:///lake'))
  tables.set('other', versionOf('other', 2n, [1]))
  tables.set('old', versionOf('old', 1n, []))
  await follower.look()
  await world.advance(601_000)
  tables.set('old', versionOf('old', 2n, [7]))
  await follower.look()
  expect(fetched).toEqual([])
})
