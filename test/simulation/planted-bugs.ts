/**
 * Bugs that a tired engineer might write, planted from outside: by bending what a component is given, or what lands in the
 * catalog. `simulation.test.ts` shows that each is found within its budget of seeds; a checker that misses one of them is
 * the bug. `node test/simulation/run.ts --bug "<name>"` looks for one by command.
 */
import type { Catalog, FlushTick, SnapshotCommit, Table } from '../../lake/catalog/catalog.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import type { Lake, PlantedBug } from './lake.ts'

type Value = string | number | bigint | null

function change(lake: Lake, sql: string, ...values: Value[]): void {
  lake.database.prepared(sql).run(...values)
}

function rowsOf<R>(lake: Lake, sql: string, ...values: Value[]): R[] {
  return lake.database.prepared(sql).all(...values) as R[]
}

/** As if nobody had fenced this writer. */
async function withoutFence<T>(lake: Lake, writerId: string, run: () => Promise<T>): Promise<T> {
  const [row] = rowsOf<{ fenced_at: bigint | null }>(
    lake,
    'SELECT fenced_at FROM writers WHERE writer_id = ?',
    writerId,
  )
  if (!row || row.fenced_at === null) return run()
  change(lake, 'UPDATE writers SET fenced_at = NULL WHERE writer_id = ?', writerId)
  try {
    return await run()
  } finally {
    change(lake, 'UPDATE writers SET fenced_at = ? WHERE writer_id = ?', row.fenced_at, writerId)
  }
}

/** As if the lease were still this commit's. */
async function withoutLease<T>(lake: Lake, commit: SnapshotCommit, run: () => Promise<T>): Promise<T> {
  const { tableId, lease } = commit
  const [row] = rowsOf<{ holder: string; epoch: bigint }>(
    lake,
    'SELECT holder, epoch FROM leases WHERE table_id = ?',
    tableId,
  )
  const set = 'UPDATE leases SET holder = ?, epoch = ? WHERE table_id = ?'
  change(lake, set, lease.holder, lease.epoch, tableId)
  try {
    return await run()
  } finally {
    if (row) change(lake, set, row.holder, row.epoch, tableId)
  }
}

/** The commit as it would be if it had been planned from what is there now. */
function madeToFit(lake: Lake, commit: SnapshotCommit): SnapshotCommit {
  const [table] = rowsOf<{ metadata_location: string | null }>(
    lake,
    'SELECT metadata_location FROM tables WHERE table_id = ?',
    commit.tableId,
  )
  const live = rowsOf<{ segment_id: bigint }>(
    lake,
    'SELECT segment_id FROM segments WHERE table_id = ? AND removed_version IS NULL',
    commit.tableId,
  )
  const ids = new Set(live.map(({ segment_id }) => Number(segment_id)))
  return {
    ...commit,
    expectedMetadataLocation: table?.metadata_location ?? undefined,
    consumedSegmentIds: commit.consumedSegmentIds.filter((id) => ids.has(id)),
  }
}

const isUnknown = (error: unknown) => isMillraceError(error) && error.kind === 'unavailable'

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'a tick is committed before its segments are durable',
    store: (store) => ({
      ...store,
      async put(path, bytes, condition) {
        if (!path.includes('/segments/')) return store.put(path, bytes, condition)
        store.put(path, bytes, condition).catch(() => {})
        return { path, size: bytes.length, etag: '"0"', modifiedAt: 0n }
      },
    }),
  },
  {
    name: 'a tick of a fenced writer is committed',
    landing: (lake, { method, args }, run) =>
      method === 'commitTick' ? withoutFence(lake, (args[0] as FlushTick).writer.writerId, run) : run(),
  },
  {
    name: 'a snapshot is committed whatever the lease says',
    landing: (lake, { method, args }, run) => {
      if (method !== 'commitSnapshot') return run()
      const commit = args[0] as SnapshotCommit
      return withoutFence(lake, commit.writer.writerId, () => withoutLease(lake, commit, run))
    },
  },
  {
    name: 'files of silent writers are deleted by their age, without fencing',
    landing: async (lake, { method, args }, run) => {
      if (method !== 'fenceSilentWriters') return run()
      const since = lake.model.catalogMicros() - BigInt(Math.round((args[0] as number) * 1000))
      const silent = 'SELECT writer_id FROM writers WHERE fenced_at IS NOT NULL OR heartbeat_at < ?'
      return rowsOf<{ writer_id: string }>(lake, silent, since).map(({ writer_id }) => writer_id)
    },
  },
  {
    name: 'a heartbeat brings a fenced writer back',
    landing: async (lake, { method, args }, run) => {
      if (method === 'heartbeat') {
        const { writerId } = args[0] as { writerId: string }
        change(lake, 'UPDATE writers SET fenced_at = NULL WHERE writer_id = ?', writerId)
      }
      return run()
    },
  },
  {
    name: 'a position is kept in memory across rebalances',
    pipelineCatalog(catalog) {
      let known: ReturnType<Catalog['coverage']> | undefined
      return {
        ...catalog,
        coverage(pipeline, sources) {
          known ??= catalog.coverage(pipeline, sources)
          known.catch(() => {
            known = undefined
          })
          return known
        },
        async beginCoverage(key, start) {
          const coverage = await catalog.beginCoverage(key, start)
          return { ...coverage, ranges: [{ start, end: start }] }
        },
      }
    },
  },
  {
    name: 'a conflict is retried with the old plan',
    workerCatalog: (catalog, lake) => ({
      ...catalog,
      async commitSnapshot(commit) {
        const result = await catalog.commitSnapshot(commit)
        if (result.outcome !== 'conflict') return result
        return catalog.commitSnapshot({ ...madeToFit(lake, commit), commitId: `${commit.commitId}-again` })
      },
    }),
  },
  {
    name: 'a retry after an unknown outcome has a new commit id',
    workerCatalog: (catalog) => ({
      ...catalog,
      commitSnapshot: (commit) =>
        catalog.commitSnapshot(commit).catch((error: unknown) => {
          if (!isUnknown(error)) throw error
          return catalog.commitSnapshot({ ...commit, commitId: `${commit.commitId}-again` })
        }),
    }),
  },
  {
    name: 'an unknown outcome is taken for a failure and the files are deleted',
    workerCatalog: (catalog) => ({
      ...catalog,
      commitSnapshot: (commit) =>
        catalog.commitSnapshot(commit).catch((error: unknown) => {
          if (!isUnknown(error)) throw error
          return { outcome: 'conflict' as const, reason: 'no answer' }
        }),
    }),
  },
  {
    name: 'the sweep ignores reader rows',
    landing: async (lake, { method }, run) => {
      if (method !== 'deadFiles') return run()
      change(lake, 'UPDATE readers SET oldest_version = oldest_version + 1000000')
      try {
        return await run()
      } finally {
        change(lake, 'UPDATE readers SET oldest_version = oldest_version - 1000000')
      }
    },
  },
  {
    name: 'files are deleted as soon as a snapshot is without them',
    landing: async (lake, { method }, run) => {
      if (method !== 'deadFiles') return run()
      change(lake, 'UPDATE tombstones SET removed_at = removed_at - 1000000000000')
      try {
        return await run()
      } finally {
        change(lake, 'UPDATE tombstones SET removed_at = removed_at + 1000000000000')
      }
    },
  },
  {
    name: 'what is referred to is read before writers are fenced',
    sweepCatalog(catalog) {
      const tables = new Map<number, Table>()
      const known = new Map<number, ReadonlySet<string>>()
      return {
        ...catalog,
        async fenceSilentWriters(silentMs) {
          for (const { tableId } of await catalog.listTables()) {
            tables.set(tableId, await catalog.getTable(tableId))
            known.set(tableId, await catalog.knownPaths(tableId))
          }
          return catalog.fenceSilentWriters(silentMs)
        },
        getTable: async (tableId) => tables.get(tableId) ?? catalog.getTable(tableId),
        knownPaths: async (tableId) => known.get(tableId) ?? catalog.knownPaths(tableId),
      }
    },
  },
  {
    name: 'a stale source is committed all the same',
    landing: async (lake, { method, args }, run) => {
      if (method !== 'commitTick') return run()
      for (const { pipeline, source, partition, range } of (args[0] as FlushTick).advances) {
        const key = 'pipeline = ? AND source = ? AND partition = ?'
        change(lake, `UPDATE coverage SET range_end = ? WHERE ${key}`, range.start, pipeline, source, partition)
      }
      return run()
    },
  },
  {
    name: 'coverage advances without all of the rows',
    catalog: (catalog) => ({
      ...catalog,
      commitTick: (tick) =>
        catalog.commitTick(tick.segments.length < 2 ? tick : { ...tick, segments: tick.segments.slice(1) }),
    }),
  },
  {
    name: 'segments stay live when a snapshot takes them over',
    workerCatalog: (catalog) => ({
      ...catalog,
      commitSnapshot: (commit) => catalog.commitSnapshot({ ...commit, consumedSegmentIds: [] }),
    }),
  },
  {
    name: 'a snapshot leaves out an older segment of the same source',
    workerCatalog: (catalog) => ({
      ...catalog,
      async readTables(names, options) {
        const versions = await catalog.readTables(names, options)
        return versions.map((version) => ({ ...version, segments: version.segments.slice(1) }))
      },
    }),
    landing: async (lake, { method, args }, run) => {
      if (method !== 'commitSnapshot') return run()
      const { tableId, consumedSegmentIds } = args[0] as SnapshotCommit
      if (consumedSegmentIds.length === 0) return run()
      const older = 'table_id = ? AND segment_id < ?'
      const first = Math.min(...consumedSegmentIds)
      change(
        lake,
        `UPDATE segments SET removed_version = -1 WHERE ${older} AND removed_version IS NULL`,
        tableId,
        first,
      )
      try {
        return await run()
      } finally {
        change(
          lake,
          `UPDATE segments SET removed_version = NULL WHERE ${older} AND removed_version = -1`,
          tableId,
          first,
        )
      }
    },
  },
  {
    name: 'the metadata is swapped whatever was there',
    landing: async (lake, { method, args }, run) => {
      if (method !== 'commitSnapshot') return run()
      Object.assign(args[0] as SnapshotCommit, madeToFit(lake, args[0] as SnapshotCommit))
      return run()
    },
  },
  {
    name: 'idempotency keys are not looked up',
    catalog: (catalog) => ({
      ...catalog,
      commitTick: (tick) => catalog.commitTick({ ...tick, idempotencyKeys: [] }),
      findIdempotencyKey: async () => undefined,
    }),
  },
  {
    name: 'a request is answered committed before its commit',
    httpIntake: (http) => ({ ...http, take: (request) => http.take({ ...request, ack: 'buffered' }) }),
  },
  {
    name: 'a query reads before its reader row is written',
    catalog: (catalog) => ({
      ...catalog,
      async setReader(readerId, oldest) {
        catalog.setReader(readerId, oldest).catch(() => {})
      },
    }),
  },
]
