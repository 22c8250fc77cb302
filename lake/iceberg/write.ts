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
import { inParallel } from '../../runtime/in-parallel.ts'
import { invariant, isMillraceError } from '../../schemas/errors.ts'
import { checksumOf } from '../checksum.ts'
import { plainWriterId } from '../writer-files.ts'
import { nextCheckpoint } from './checkpoint.ts'
import type { Checkpoint, DataFile, ExpiryRequest, PreparedSnapshot, Snapshot, SnapshotRequest } from './iceberg.ts'
import { stringifyWithKnownItems } from './lossless-json.ts'
import {
  encodeManifest,
  encodeManifestList,
  type ManifestEntry,
  type ManifestFile,
  STATUS,
  summarizePartitions,
} from './manifest.ts'
import { addedDrafts, chooseJoined, joinedEntries, type ManifestDraft, removeFiles, specIdOf } from './manifest-plan.ts'
import { type SpecField, specFields } from './manifest-schema.ts'
import { type NextMetadata, nextMetadata, unreachablePaths } from './next-metadata.ts'
import { createSnapshotReader, type SnapshotReader } from './read.ts'
import { snapshotSummary } from './summary.ts'
import {
  MANIFEST_LIST_CHECKSUM_KEY,
  metadataOf,
  partitionSpecFields,
  schemaJson,
  TABLE_SPEC_ID,
  UNPARTITIONED_SPEC_ID,
  withUnpartitionedSpec,
} from './table-metadata.ts'

/** @param reader keeps manifests between commits; without one they are read anew */
export async function prepareSnapshot(
  request: SnapshotRequest,
  reader: SnapshotReader = createSnapshotReader({ store: request.store }),
): Promise<PreparedSnapshot> {
  checkRequest(request)
  return withFiles(request, (files) => prepare(request, reader, files))
}

async function prepare(
  request: SnapshotRequest,
  reader: SnapshotReader,
  files: MetadataFiles,
): Promise<PreparedSnapshot> {
  const { world, table, base, writerId } = request
  const folder = `${table.location}/metadata`
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
    const { bytes, manifest } = manifestOf(request, path, draft, snapshotId, sequenceNumber)
    await files.put(path, bytes, 'iceberg/after-manifest')
    reader.remember(path, draft.entries)
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
  await files.put(listPath, list, 'iceberg/after-manifest-list')
  reader.remember(listPath, manifests)

  const checkpoint = await putCheckpoint(request, files)
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
      ...snapshotSummary(request, removed, totals, checkpoint),
      [MANIFEST_LIST_CHECKSUM_KEY]: checksumOf(list),
    },
  }
  const plain = nextMetadata(request, snapshot, snapshot.timestampMs)
  const isPlain = manifests.every(({ specId }) => specId !== UNPARTITIONED_SPEC_ID)
  const next = isPlain ? plain : { ...plain, raw: withUnpartitionedSpec(plain.raw) }
  const written = await putMetadata(request, files, next, sequenceNumber)
  const removedPaths = [
    ...next.droppedMetadata,
    ...(await unreachablePaths(reader, next.dropped, [...next.kept, snapshot])),
  ]
  const writtenPaths = files.paths
  return { ...written, checkpoint, snapshotId, snapshotRows: totals.rows, writtenPaths, removedPaths }
}

/**
 * Only metadata: snapshots that are too old leave it, so that an idle table gives back what only they referred to. The
 * current snapshot stays; the sequence number counts on, so that of two metadata files it tells the later one.
 */
export async function prepareExpiry(
  request: ExpiryRequest,
  reader: SnapshotReader = createSnapshotReader({ store: request.store }),
): Promise<PreparedSnapshot> {
  const { base, table, nowMs } = request
  const current = base.currentSnapshot
  invariant('iceberg.expiry', current !== undefined && base.location === table.location, { table: table.name })
  const totals = totalsOf(await reader.manifestList(current.manifestList))
  const next = nextMetadata(request, undefined, Math.max(nowMs, current.timestampMs))
  const sequenceNumber = base.lastSequenceNumber + 1n
  const raw = { ...next.raw, 'last-sequence-number': sequenceNumber }
  return withFiles(request, async (files) => {
    const written = await putMetadata(request, files, { ...next, raw }, sequenceNumber)
    const removedPaths = [...next.droppedMetadata, ...(await unreachablePaths(reader, next.dropped, next.kept))]
    return {
      ...written,
      checkpoint: undefined,
      snapshotId: current.snapshotId,
      snapshotRows: totals.rows,
      writtenPaths: files.paths,
      removedPaths,
    }
  })
}

type MetadataFiles = {
  readonly paths: readonly string[]
  put(path: string, bytes: Uint8Array, crashPoint: string): Promise<void>
}

/** After an error no transaction ever refers to what was written so far; what cannot be deleted now goes with the sweep. */
async function withFiles<Result>(
  { store, world }: Pick<SnapshotRequest, 'store' | 'world'>,
  work: (files: MetadataFiles) => Promise<Result>,
): Promise<Result> {
  const paths: string[] = []
  try {
    return await work({
      paths,
      async put(path, bytes, crashPoint) {
        paths.push(path)
        await store.put(path, bytes, { ifNoneMatch: '*' })
        world.crashPoint(crashPoint)
      },
    })
  } catch (error) {
    if (isMillraceError(error) && paths.length > 0) await store.delete(paths).catch(() => {})
    throw error
  }
}

/** The parent's own when no source moved: nothing is written then. */
async function putCheckpoint(request: SnapshotRequest, files: MetadataFiles): Promise<Checkpoint> {
  const { table, world, writerId, commitId, coverage } = request
  const step = 'changed' in coverage ? coverage : { before: undefined, changed: coverage }
  const next = nextCheckpoint(step, commitId, request.lakeFormat)
  if ('path' in next) return next
  const path = `${table.location}/metadata/${plainWriterId(writerId)}-${world.random.uuid()}.checkpoint.json.${next.packing}`
  await files.put(path, next.bytes, 'iceberg/after-checkpoint')
  return next.at(path)
}

async function putMetadata(
  { table, world, writerId }: Pick<SnapshotRequest, 'table' | 'world' | 'writerId'>,
  files: MetadataFiles,
  { raw }: NextMetadata,
  sequenceNumber: bigint,
): Promise<Pick<PreparedSnapshot, 'metadata' | 'metadataLocation' | 'metadataChecksum'>> {
  const name = `${String(sequenceNumber).padStart(5, '0')}-${writerId}-${world.random.uuid()}`
  const metadataLocation = `${table.location}/metadata/${name}.metadata.json`
  const bytes = new TextEncoder().encode(stringifyWithKnownItems(raw))
  await files.put(metadataLocation, bytes, 'iceberg/after-metadata')
  return { metadata: metadataOf(raw), metadataLocation, metadataChecksum: checksumOf(bytes) }
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
    const fields = file.specId === UNPARTITIONED_SPEC_ID ? 0 : table.partition.length
    invariant('iceberg.partition-values', file.partition.length === fields, { ...facts, path: file.path })
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
  const { base, add, remove, removeFrom, manifestsMax } = request
  const listed = base?.currentSnapshot ? await reader.manifestList(base.currentSnapshot.manifestList) : []
  const alive = listed.filter((manifest) => manifest.addedFiles + manifest.existingFiles > 0)
  const { drafts: old, removed } =
    remove.length === 0
      ? { drafts: alive.map((manifest): ManifestDraft => ({ kind: 'kept', manifest })), removed: [] }
      : removeFiles(
          alive,
          await inParallel(alive, async (manifest) =>
            removeFrom && !removeFrom.includes(manifest.path) ? undefined : reader.manifest(manifest),
          ),
          new Set(remove),
          snapshotId,
        )
  if (request.operation === 'replace') {
    const rowsIn = removed.reduce((sum, file) => sum + file.rowCount, 0)
    const rowsOut = add.reduce((sum, file) => sum + file.rowCount, 0)
    invariant('G-2.replace-keeps-rows', rowsIn === rowsOut, { table: request.table.name, rowsIn, rowsOut })
  }
  const all: ManifestDraft[] = [...old, ...addedDrafts(add, snapshotId)]
  const joined = chooseJoined(all, manifestsMax)
  if (joined.size === 0) return { drafts: all, removed }
  const drafts = all.filter((_, i) => !joined.has(i))
  const bySpec = Map.groupBy(
    all.filter((_, i) => joined.has(i)),
    specIdOf,
  )
  for (const [specId, parts] of bySpec) {
    const contents = await inParallel(parts, async (draft) =>
      draft.kind === 'written' ? draft.entries : joinedEntries(await reader.manifest(draft.manifest)),
    )
    drafts.push(parts.length === 1 ? parts[0] : { kind: 'written', specId, entries: contents.flat() })
  }
  return { drafts, removed }
}

function manifestOf(
  { table }: SnapshotRequest,
  path: string,
  { specId, entries }: { readonly specId: number; readonly entries: readonly ManifestEntry[] },
  snapshotId: bigint,
  sequenceNumber: bigint,
): { bytes: Uint8Array; manifest: ManifestFile } {
  const isPartitioned = specId !== UNPARTITIONED_SPEC_ID
  invariant('iceberg.spec', specId === TABLE_SPEC_ID || !isPartitioned, { table: table.name, specId })
  const spec: readonly SpecField[] = isPartitioned ? specFields(table) : []
  const schema = table.schemas.at(-1)!
  const metadata = {
    schema: JSON.stringify(schemaJson(schema)),
    'schema-id': String(schema.schemaId),
    'partition-spec': JSON.stringify(isPartitioned ? partitionSpecFields(table) : []),
    'partition-spec-id': String(specId),
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
      specId,
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
