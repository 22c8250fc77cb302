/**
 * The metadata that follows another one: which snapshots and older metadata files it goes on listing, its JSON, and which
 * files only what it no longer lists referred to.
 *
 * Snapshots leave by age, and by number, so that metadata stays small where they come fast. Their files stay as long as a
 * younger reader may need them all the same: the catalog keeps their removal, and age decides there (PROTOCOL 6).
 *
 * History is one line: a file, manifest or checkpoint that one snapshot has and the next has not never comes back. So what
 * the oldest snapshots leave behind is found beside the oldest one kept, whatever the number of others.
 */
import { inParallel } from '../../runtime/in-parallel.ts'
import type { Snapshot, SnapshotRequest, TableMetadata } from './iceberg.ts'
import { isJsonObject, type JsonObject } from './lossless-json.ts'
import { type ManifestFile, STATUS } from './manifest.ts'
import { checkpointPaths, type SnapshotReader, snapshotPaths } from './read.ts'
import {
  firstMetadata,
  listOf,
  metadataLogOf,
  namedSnapshotIds,
  rawOf,
  snapshotJson,
  withSchemas,
} from './table-metadata.ts'

const METADATA_LOG_MAX = 100

/** What a commit may do to the list of snapshots. */
export type MetadataChange = Pick<SnapshotRequest, 'table' | 'base' | 'world' | 'snapshotAgeMs' | 'snapshotsMax'>

export type NextMetadata = {
  readonly raw: JsonObject
  /** Of the base's snapshots. */
  readonly kept: readonly Snapshot[]
  readonly dropped: readonly Snapshot[]
  /** Places of older metadata that the log no longer names. */
  readonly droppedMetadata: readonly string[]
}

/** @param added the new current snapshot; undefined: nothing but expiry, the current one stays */
export function nextMetadata(change: MetadataChange, added: Snapshot | undefined, nowMs: number): NextMetadata {
  const { table, base, world } = change
  const kept = keptSnapshots(change, added, nowMs)
  const log = metadataLog(change)
  const raw = withSchemas(base ? rawOf(base) : firstMetadata(table, world.random.uuid()), table)
  const ids = new Set(kept.map((each) => each.snapshotId))
  const isKept = (json: JsonObject) => ids.has(BigInt(json['snapshot-id'] as number | bigint))
  const next: JsonObject = {
    ...raw,
    'last-updated-ms': nowMs,
    snapshots: listOf(raw, 'snapshots').filter(isKept),
    'snapshot-log': listOf(raw, 'snapshot-log').filter(isKept),
    'metadata-log': log.kept,
    // Statistics of a snapshot that is gone would name files that nobody keeps.
    statistics: listOf(raw, 'statistics').filter(isKept),
    'partition-statistics': listOf(raw, 'partition-statistics').filter(isKept),
  }
  return {
    raw: added ? withSnapshot(next, added) : next,
    kept,
    dropped: base?.snapshots.filter((each) => !kept.includes(each)) ?? [],
    droppedMetadata: log.dropped,
  }
}

function withSnapshot(raw: JsonObject, snapshot: Snapshot): JsonObject {
  const { snapshotId, sequenceNumber, timestampMs } = snapshot
  return {
    ...raw,
    'last-sequence-number': sequenceNumber,
    'current-snapshot-id': snapshotId,
    refs: {
      ...(isJsonObject(raw.refs) ? raw.refs : {}),
      main: { 'snapshot-id': snapshotId, type: 'branch' },
    },
    snapshots: [...listOf(raw, 'snapshots'), snapshotJson(snapshot)],
    'snapshot-log': [...listOf(raw, 'snapshot-log'), { 'timestamp-ms': timestampMs, 'snapshot-id': snapshotId }],
  }
}

function keptSnapshots(change: MetadataChange, added: Snapshot | undefined, nowMs: number): readonly Snapshot[] {
  const { base, snapshotAgeMs, snapshotsMax } = change
  if (!base) return []
  const named = namedSnapshotIds(base)
  // One place is that of the snapshot that will be current.
  const young = bySequence(base.snapshots.filter((each) => added || each !== base.currentSnapshot))
    .reverse()
    .slice(0, Math.max(0, snapshotsMax - 1))
    .filter((each) => nowMs - each.timestampMs < snapshotAgeMs)
  const ids = new Set([...young.map(({ snapshotId }) => snapshotId), ...named])
  if (!added && base.currentSnapshot) ids.add(base.currentSnapshot.snapshotId)
  return base.snapshots.filter(({ snapshotId }) => ids.has(snapshotId))
}

function metadataLog({ base, table }: MetadataChange): { kept: readonly JsonObject[]; dropped: readonly string[] } {
  if (!base || table.metadataLocation === undefined) return { kept: [], dropped: [] }
  const last = { 'timestamp-ms': rawOf(base)['last-updated-ms'], 'metadata-file': table.metadataLocation }
  const log = [...metadataLogOf(base), { path: table.metadataLocation, json: last }]
  return {
    kept: log.slice(-METADATA_LOG_MAX).map((entry) => entry.json),
    dropped: log.slice(0, -METADATA_LOG_MAX).map((entry) => entry.path),
  }
}

/**
 * Is it time for a commit that does nothing but expire? When every snapshot but the current one and the named ones is too
 * old: a table that goes on is expired by its own commits, an idle one once.
 */
export function isExpiryDue(base: TableMetadata, snapshotAgeMs: number, nowMs: number): boolean {
  const named = namedSnapshotIds(base)
  const waiting = base.snapshots.filter((each) => each !== base.currentSnapshot && !named.has(each.snapshotId))
  return waiting.length > 0 && waiting.every(({ timestampMs }) => nowMs - timestampMs >= snapshotAgeMs)
}

/** What the dropped snapshots refer to and those that stay do not. */
export async function unreachablePaths(
  reader: SnapshotReader,
  dropped: readonly Snapshot[],
  stay: readonly Snapshot[],
): Promise<readonly string[]> {
  if (dropped.length === 0) return []
  const all = bySequence([...dropped, ...stay])
  const isOldest = new Set(all.slice(0, dropped.length))
  if (stay.length > 0 && isLine(all) && dropped.every((each) => isOldest.has(each))) {
    return leftBehind(reader, all.slice(0, dropped.length), all[dropped.length])
  }
  const reachable = await snapshotPaths(reader, stay)
  const candidates = await snapshotPaths(reader, dropped)
  return [...candidates].filter((path) => !reachable.has(path))
}

function bySequence(snapshots: readonly Snapshot[]): Snapshot[] {
  return snapshots.toSorted((a, b) => Number(a.sequenceNumber - b.sequenceNumber))
}

function isLine(snapshots: readonly Snapshot[]): boolean {
  return snapshots.every((each, i) => i === 0 || each.parentSnapshotId === snapshots[i - 1].snapshotId)
}

async function leftBehind(reader: SnapshotReader, dropped: readonly Snapshot[], next: Snapshot): Promise<string[]> {
  const [nextList, ...lists] = await inParallel([next, ...dropped], (each) => reader.manifestList(each.manifestList))
  const listed = lists.map((list) => new Set(list.map(({ path }) => path)))
  const nextPaths = new Set(nextList.map(({ path }) => path))
  const gone = new Map<string, ManifestFile>()
  for (const list of lists)
    for (const manifest of list) if (!nextPaths.has(manifest.path)) gone.set(manifest.path, manifest)
  const since = nextList.filter(({ path }) => listed.some((paths) => !paths.has(path)))
  const paths = new Set([
    ...dropped.flatMap((each) => [each.manifestList, ...checkpointPaths(each)]),
    ...gone.keys(),
    ...(await livePaths(reader, [...gone.values()])),
  ])
  for (const path of [next.manifestList, ...checkpointPaths(next), ...(await livePaths(reader, since))])
    paths.delete(path)
  return [...paths]
}

async function livePaths(reader: SnapshotReader, manifests: readonly ManifestFile[]): Promise<string[]> {
  const contents = await inParallel(manifests, reader.manifest)
  return contents.flatMap((entries) =>
    entries.flatMap(({ status, file }) => (status === STATUS.deleted ? [] : [file.path])),
  )
}
