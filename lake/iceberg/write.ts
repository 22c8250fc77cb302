/**
 * Writes a new snapshot of a table: manifests, manifest list, checkpoint, metadata, in this order. Nothing of it is
 * visible until the catalog's `commitSnapshot` swaps the table's metadata location; until then it is garbage that
 * carries the writer's id in every name, so that a sweep can tell whose it is.
 *
 *   1 manifests        if we stop here, a restart sees files that nothing refers to
 *   2 manifest list    the same
 *   3 checkpoint       the same
 *   4 metadata         the same: the catalog still names the old one
 *
 * Expiry happens in the same metadata: snapshots beyond age or number leave it (the current one and those with a branch
 * or tag stay), and what only they referred to is returned as `removedPaths` for the catalog's tombstones.
 *
 * Errors: `commit-conflict` when a file to remove is not live (plan again), those of the store, `invariant-broken`.
 */
import { createHash } from 'node:crypto'
import { invariant } from '../../schemas/errors.ts'
import { checksumOf } from '../checksum.ts'
import { encodeCheckpoint } from './checkpoint.ts'
import type { DataFile, PreparedSnapshot, Snapshot, SnapshotRequest } from './iceberg.ts'
import { isJsonObject, type JsonObject, stringifyLosslessJson } from './lossless-json.ts'
import {
  encodeManifest,
  encodeManifestList,
  type ManifestEntry,
  type ManifestFile,
  STATUS,
  summarizePartitions,
} from './manifest.ts'
import { addedEntries, chooseJoined, joinedEntries, type ManifestDraft, removeFiles } from './manifest-plan.ts'
import { type SpecField, specFields } from './manifest-schema.ts'
import { createSnapshotReader, inParallel, type SnapshotReader, snapshotPaths } from './read.ts'
import { snapshotSummary } from './summary.ts'
import {
  BASE_METADATA_CHECKSUM_KEY,
  firstMetadata,
  listOf,
  MANIFEST_LIST_CHECKSUM_KEY,
  metadataLogOf,
  namedSnapshotIds,
  partitionSpecFields,
  rawOf,
  schemaJson,
  snapshotJson,
  withSchemas,
} from './table-metadata.ts'

const METADATA_LOG_MAX = 100
const SPEC_ID = 0

/** @param reader keeps manifests between commits; without one they are read anew */
export async function prepareSnapshot(
  request: SnapshotRequest,
  reader: SnapshotReader = createSnapshotReader({ store: request.store }),
): Promise<PreparedSnapshot> {
  checkRequest(request)
  const { store, world, table, base, writerId, commitId } = request
  const folder = `${table.location}/metadata`
  const writtenPaths: string[] = []
  const put = async (path: string, bytes: Uint8Array, crashPoint: string) => {
    writtenPaths.push(path)
    await store.put(path, bytes, { ifNoneMatch: '*' })
    world.crashPoint(crashPoint)
    return path
  }

  const snapshotId = newSnapshotId(request)
  const sequenceNumber = (base?.lastSequenceNumber ?? 0n) + 1n
  const { drafts, removed } = await draftManifests(request, reader, snapshotId)
  const manifests: ManifestFile[] = []
  for (const [i, draft] of drafts.entries()) {
    if (draft.kind === 'kept') {
      manifests.push(draft.manifest)
      continue
    }
    const path = `${folder}/${writerId}-${world.random.uuid()}-m${i}.avro`
    const { bytes, manifest } = manifestOf(request, path, draft.entries, snapshotId, sequenceNumber)
    await put(path, bytes, 'iceberg/after-manifest')
    manifests.push(manifest)
  }

  const listPath = `${folder}/snap-${snapshotId}-${writerId}-${world.random.uuid()}.avro`
  const parentId = base?.currentSnapshot?.snapshotId
  const listMetadata = {
    'snapshot-id': String(snapshotId),
    'parent-snapshot-id': parentId === undefined ? 'null' : String(parentId),
    'sequence-number': String(sequenceNumber),
    'format-version': '2',
  }
  const list = encodeManifestList(manifests, listMetadata, syncMarker(listPath))
  await put(listPath, list, 'iceberg/after-manifest-list')

  const checkpoint = encodeCheckpoint(request.coverage, commitId)
  const checkpointPath = `${folder}/${writerId}-${world.random.uuid()}.checkpoint.json.gz`
  await put(checkpointPath, checkpoint.bytes, 'iceberg/after-checkpoint')

  const totals = totalsOf(manifests)
  const nowMs = Number(world.clock.nowMicros() / 1000n)
  const snapshot: Snapshot = {
    snapshotId,
    parentSnapshotId: parentId,
    sequenceNumber,
    // Never before its parent, whatever the clocks of two machines say: time travel goes by it.
    timestampMs: Math.max(nowMs, base?.currentSnapshot?.timestampMs ?? 0),
    manifestList: listPath,
    schemaId: table.schemas.at(-1)?.schemaId ?? 0,
    summary: {
      ...snapshotSummary(request, removed, totals, { path: checkpointPath, sha256: checkpoint.sha256 }),
      [MANIFEST_LIST_CHECKSUM_KEY]: checksumOf(list),
      ...(table.metadataChecksum === undefined ? {} : { [BASE_METADATA_CHECKSUM_KEY]: table.metadataChecksum }),
    },
  }
  const kept = keptSnapshots(request, snapshot.timestampMs)
  const log = metadataLog(request)
  const raw = nextMetadata(request, snapshot, kept, log.kept)
  const metadataName = `${String(sequenceNumber).padStart(5, '0')}-${writerId}-${world.random.uuid()}`
  const metadataLocation = `${folder}/${metadataName}.metadata.json`
  const metadata = new TextEncoder().encode(stringifyLosslessJson(raw))
  await put(metadataLocation, metadata, 'iceberg/after-metadata')

  const dropped = base?.snapshots.filter((each) => !kept.includes(each)) ?? []
  const removedPaths = [...log.dropped, ...(await unreachablePaths(reader, dropped, [...kept, snapshot]))]
  const metadataChecksum = checksumOf(metadata)
  return { metadataLocation, metadataChecksum, snapshotId, snapshotRows: totals.rows, writtenPaths, removedPaths }
}

function checkRequest({ table, base, add, remove, operation }: SnapshotRequest): void {
  const facts = { table: table.name, metadataLocation: table.metadataLocation }
  invariant('iceberg.base-is-current', (base === undefined) === (table.metadataLocation === undefined), facts)
  invariant('iceberg.base-location', base === undefined || base.location === table.location, {
    ...facts,
    location: base?.location,
  })
  invariant('iceberg.schema-known', table.schemas.length > 0, facts)
  const paths = new Set(add.map((file) => file.path))
  invariant('G-2.file-added-once', paths.size === add.length, { ...facts, files: add.length })
  invariant('G-2.added-is-not-removed', !remove.some((path) => paths.has(path)), facts)
  invariant('iceberg.append-removes-nothing', operation !== 'append' || remove.length === 0, facts)
  for (const file of add) {
    invariant('iceberg.partition-values', file.partition.length === table.partition.length, {
      ...facts,
      path: file.path,
    })
    invariant('iceberg.file-has-rows', file.rowCount > 0 && file.bytes > 0, { ...facts, path: file.path })
  }
}

function newSnapshotId({ world, base }: SnapshotRequest): bigint {
  const taken = new Set(base?.snapshots.map((snapshot) => snapshot.snapshotId))
  for (;;) {
    const id = BigInt(world.random.id53())
    if (!taken.has(id)) return id
  }
}

async function draftManifests(
  request: SnapshotRequest,
  reader: SnapshotReader,
  snapshotId: bigint,
): Promise<{ drafts: readonly ManifestDraft[]; removed: readonly DataFile[] }> {
  const { base, add, remove, manifestsMax } = request
  const listed = base?.currentSnapshot ? await reader.manifestList(base.currentSnapshot.manifestList) : []
  const alive = listed.filter((manifest) => manifest.addedFiles + manifest.existingFiles > 0)
  const { drafts: old, removed } =
    remove.length === 0
      ? { drafts: alive.map((manifest): ManifestDraft => ({ kind: 'kept', manifest })), removed: [] }
      : removeFiles(alive, await inParallel(alive, reader.manifest), new Set(remove), snapshotId)
  if (request.operation === 'replace') {
    const rowsIn = removed.reduce((sum, file) => sum + file.rowCount, 0)
    const rowsOut = add.reduce((sum, file) => sum + file.rowCount, 0)
    invariant('G-2.replace-keeps-rows', rowsIn === rowsOut, { table: request.table.name, rowsIn, rowsOut })
  }
  const all: ManifestDraft[] = [...old]
  if (add.length > 0) all.push({ kind: 'written', entries: addedEntries(add, snapshotId) })
  const joined = chooseJoined(all, manifestsMax)
  if (joined.size === 0) return { drafts: all, removed }
  const contents = await inParallel(
    [...joined].sort((a, b) => a - b),
    async (i) => {
      const draft = all[i]
      return draft.kind === 'written' ? draft.entries : joinedEntries(await reader.manifest(draft.manifest))
    },
  )
  const rest = all.filter((_, i) => !joined.has(i))
  return { drafts: [...rest, { kind: 'written', entries: contents.flat() }], removed }
}

function manifestOf(
  { table }: SnapshotRequest,
  path: string,
  entries: readonly ManifestEntry[],
  snapshotId: bigint,
  sequenceNumber: bigint,
): { bytes: Uint8Array; manifest: ManifestFile } {
  const spec: readonly SpecField[] = specFields(table)
  const schema = table.schemas.at(-1)!
  const metadata = {
    schema: JSON.stringify(schemaJson(schema)),
    'schema-id': String(schema.schemaId),
    'partition-spec': JSON.stringify(partitionSpecFields(table)),
    'partition-spec-id': String(SPEC_ID),
    'format-version': '2',
    content: 'data',
  }
  const bytes = encodeManifest(entries, spec, metadata, syncMarker(path))
  const of = (status: number) => entries.filter((entry) => entry.status === status)
  const rows = (status: number) => of(status).reduce((sum, entry) => sum + BigInt(entry.file.rowCount), 0n)
  // The spec asks for the smallest of the live entries; with none it is the snapshot's own.
  const live = entries.filter(({ status }) => status !== STATUS.deleted)
  let smallest = sequenceNumber
  for (const { sequenceNumber: own } of live) if (own !== undefined && own < smallest) smallest = own
  return {
    bytes,
    manifest: {
      path,
      bytes: bytes.length,
      checksum: checksumOf(bytes),
      specId: SPEC_ID,
      sequenceNumber,
      minSequenceNumber: smallest,
      addedSnapshotId: snapshotId,
      addedFiles: of(STATUS.added).length,
      existingFiles: of(STATUS.existing).length,
      deletedFiles: of(STATUS.deleted).length,
      addedRows: rows(STATUS.added),
      existingRows: rows(STATUS.existing),
      deletedRows: rows(STATUS.deleted),
      partitions: summarizePartitions(
        entries.map((entry) => entry.file),
        spec,
      ),
    },
  }
}

function syncMarker(path: string): Uint8Array {
  return createHash('md5').update(path).digest()
}

export type Totals = { readonly files: number; readonly rows: number }

function totalsOf(manifests: readonly ManifestFile[]): Totals {
  let files = 0
  let rows = 0n
  for (const manifest of manifests) {
    files += manifest.addedFiles + manifest.existingFiles
    rows += manifest.addedRows + manifest.existingRows
  }
  return { files, rows: Number(rows) }
}

function keptSnapshots(request: SnapshotRequest, nowMs: number): readonly Snapshot[] {
  const { base, snapshotAgeMs, snapshotsMax } = request
  if (!base) return []
  const named = namedSnapshotIds(base)
  const newest = base.snapshots.toSorted((a, b) => Number(b.sequenceNumber - a.sequenceNumber))
  // Metadata stays bounded even where snapshots come fast. The bytes of those that leave stay as long as a younger
  // reader may need them: the catalog keeps their removal, and age decides there. One place is the new snapshot's.
  const young = newest
    .slice(0, Math.max(0, snapshotsMax - 1))
    .filter((each) => nowMs - each.timestampMs < snapshotAgeMs)
  return base.snapshots.filter((snapshot) => young.includes(snapshot) || named.has(snapshot.snapshotId))
}

function metadataLog({ base, table }: SnapshotRequest): { kept: readonly JsonObject[]; dropped: readonly string[] } {
  if (!base || table.metadataLocation === undefined) return { kept: [], dropped: [] }
  const last = { 'timestamp-ms': rawOf(base)['last-updated-ms'], 'metadata-file': table.metadataLocation }
  const log = [...metadataLogOf(base), { path: table.metadataLocation, json: last }]
  return {
    kept: log.slice(-METADATA_LOG_MAX).map((entry) => entry.json),
    dropped: log.slice(0, -METADATA_LOG_MAX).map((entry) => entry.path),
  }
}

function nextMetadata(
  { table, base, world }: SnapshotRequest,
  snapshot: Snapshot,
  kept: readonly Snapshot[],
  log: readonly JsonObject[],
): JsonObject {
  const raw = withSchemas(base ? rawOf(base) : firstMetadata(table, world.random.uuid()), table)
  const ids = new Set(kept.map((each) => each.snapshotId))
  const isKept = (json: JsonObject) => ids.has(BigInt(json['snapshot-id'] as number | bigint))
  const entry = { 'timestamp-ms': snapshot.timestampMs, 'snapshot-id': snapshot.snapshotId }
  return {
    ...raw,
    'last-sequence-number': snapshot.sequenceNumber,
    'last-updated-ms': snapshot.timestampMs,
    'current-snapshot-id': snapshot.snapshotId,
    refs: {
      ...(isJsonObject(raw.refs) ? raw.refs : {}),
      main: { 'snapshot-id': snapshot.snapshotId, type: 'branch' },
    },
    snapshots: [...listOf(raw, 'snapshots').filter(isKept), snapshotJson(snapshot)],
    'snapshot-log': [...listOf(raw, 'snapshot-log').filter(isKept), entry],
    'metadata-log': log,
    // Statistics of a snapshot that is gone would name files that nobody keeps.
    statistics: listOf(raw, 'statistics').filter(isKept),
    'partition-statistics': listOf(raw, 'partition-statistics').filter(isKept),
  }
}

/** What the dropped snapshots refer to and the kept ones do not. */
async function unreachablePaths(
  reader: SnapshotReader,
  dropped: readonly Snapshot[],
  kept: readonly Snapshot[],
): Promise<readonly string[]> {
  if (dropped.length === 0) return []
  const reachable = await snapshotPaths(reader, kept)
  const candidates = await snapshotPaths(reader, dropped)
  return [...candidates].filter((path) => !reachable.has(path))
}
