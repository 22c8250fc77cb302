/**
 * What refers to what: a table's catalog row names segments and metadata; metadata names manifest lists, checkpoints and
 * older metadata; lists name manifests; manifests name data files. These small files are read whole, so their own
 * checksums are compared on the way.
 *
 * A file that cannot be read makes the answer incomplete: what only it refers to is unknown then, and nothing may be
 * called an orphan. That it is missing is found by comparing with the listing, not here: between two reads of the
 * catalog files come and go.
 */
import type { Coverage } from '../../schemas/coverage.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import type { Table } from '../catalog/catalog.ts'
import type { InspectedTable } from '../catalog/inspection.ts'
import { checksumOf } from '../checksum.ts'
import { type Checkpoint, coverageIn, loadCheckpoint } from '../iceberg/checkpoint.ts'
import type { Snapshot, TableMetadata } from '../iceberg/iceberg.ts'
import { decodeManifest, decodeManifestList, type ManifestFile, STATUS } from '../iceberg/manifest.ts'
import { checkpointPaths, inParallel, parseMetadataBytes } from '../iceberg/read.ts'
import {
  BASE_METADATA_CHECKSUM_KEY,
  CHECKPOINT_HASH_KEY,
  MANIFEST_LIST_CHECKSUM_KEY,
  metadataLogOf,
} from '../iceberg/table-metadata.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { CATALOG, type Finding, fileFinding, type Reference } from './finding.ts'

export type TableReferences = {
  readonly references: ReadonlyMap<string, Reference>
  readonly findings: readonly Finding[]
  /** Everything that is referred to is in `references`. */
  readonly complete: boolean
  readonly metadata: TableMetadata | undefined
  /** Rows of the current snapshot, as its manifests count them; undefined when they could not be read. */
  readonly snapshotRows: number | undefined
  /** Coverage of the current snapshot's rows; undefined when it could not be read. */
  readonly checkpoint: readonly Coverage[] | undefined
}

export type ReferenceReader = {
  read(table: InspectedTable): Promise<TableReferences>
}

type ListedFile = {
  readonly path: string
  readonly bytes: number
  readonly checksum: string | undefined
  readonly rowCount: number
}

/** Lists and manifests never change: each is read once, however often the tables are looked at. */
export function createReferenceReader({
  store,
  everyCheckpoint,
}: {
  store: ObjectStore
  /** Also those of older snapshots. */
  everyCheckpoint: boolean
}): ReferenceReader {
  const decoded = new Map<string, unknown>()

  async function read({ table, segments }: InspectedTable): Promise<TableReferences> {
    const references = new Map<string, Reference>()
    const findings: Finding[] = []
    let complete = true

    function refer(reference: Reference): Reference {
      const known = references.get(reference.path)
      // The same file from several snapshots, the current one first; what another one knows besides is added.
      const joined = { ...reference, ...known, sha256: known?.sha256 ?? reference.sha256 }
      references.set(reference.path, joined)
      return joined
    }

    async function open<Content>(
      reference: Reference,
      decode: (bytes: Uint8Array) => Content,
    ): Promise<Content | undefined> {
      if (decoded.has(reference.path)) return decoded.get(reference.path) as Content
      try {
        const { bytes } = await store.get(reference.path)
        const checksum = checksumOf(bytes)
        if (checksum !== (reference.checksum ?? checksum)) {
          complete = false
          findings.push(
            fileFinding('altered', reference, `checksum ${reference.checksum}`, `${checksum} in ${bytes.length} bytes`),
          )
          // What it says may be wrong in any place: it is not believed.
          return undefined
        }
        const content = decode(bytes)
        decoded.set(reference.path, content)
        return content
      } catch (error) {
        complete = false
        if (isMillraceError(error, 'file-missing')) return undefined
        if (!isMillraceError(error) || !['file-damaged', 'format-too-new', 'request-invalid'].includes(error.code)) {
          throw error
        }
        const kind = error.code === 'request-invalid' ? 'dangling' : 'altered'
        findings.push(fileFinding(kind, reference, `a readable ${reference.kind}`, error.message))
        return undefined
      }
    }

    for (const segment of segments) {
      refer({
        path: segment.path,
        kind: 'segment',
        table: table.name,
        referredBy: CATALOG,
        needed: true,
        bytes: segment.bytes,
        etag: segment.etag,
        checksum: segment.checksum,
        rowCount: segment.rowCount,
      })
    }
    if (table.metadataLocation === undefined) {
      return { references, findings, complete, metadata: undefined, snapshotRows: 0, checkpoint: [] }
    }
    const location = table.metadataLocation
    const metadata = await open(refer(metadataReference(table, location)), (bytes) =>
      parseMetadataBytes(bytes, location),
    )
    if (!metadata) {
      return { references, findings, complete, metadata, snapshotRows: undefined, checkpoint: undefined }
    }
    for (const reference of olderMetadata(table, metadata, location)) refer(reference)

    const manifests = new Map<string, ManifestFile>()
    let currentManifests: readonly ManifestFile[] | undefined = metadata.currentSnapshot ? undefined : []
    const newestFirst = metadata.snapshots.toSorted((a, b) => Number(isCurrent(b)) - Number(isCurrent(a)))
    function isCurrent(snapshot: Snapshot): boolean {
      return snapshot === metadata?.currentSnapshot
    }
    for (const snapshot of newestFirst) {
      const needed = isCurrent(snapshot)
      const place = { table: table.name, needed, referredBy: location }
      const { summary } = snapshot
      const [own, ...bases] = checkpointPaths(snapshot)
      if (own !== undefined) refer({ ...place, path: own, kind: 'checkpoint', sha256: summary[CHECKPOINT_HASH_KEY] })
      for (const base of bases) refer({ ...place, path: base, kind: 'checkpoint' })
      const path = snapshot.manifestList
      const list = refer({ ...place, path, kind: 'manifest list', checksum: summary[MANIFEST_LIST_CHECKSUM_KEY] })
      const listed = await open(list, (bytes) => decodeManifestList(bytes, path))
      if (needed) currentManifests = listed
      for (const manifest of listed ?? []) {
        manifests.set(manifest.path, manifest)
        const { bytes, checksum } = manifest
        refer({ ...place, path: manifest.path, kind: 'manifest', referredBy: path, bytes, checksum })
      }
    }
    const current = new Set(currentManifests?.map(({ path }) => path))
    let snapshotRows: number | undefined = currentManifests && 0
    await inParallel([...manifests.values()], async (manifest) => {
      const reference = references.get(manifest.path) as Reference
      const needed = current.has(manifest.path)
      const files = await open(reference, (bytes) => liveFiles(bytes, manifest.path))
      if (!files) {
        if (needed) snapshotRows = undefined
        return
      }
      const rows = files.reduce((sum, file) => sum + file.rowCount, 0)
      const listedRows = Number(manifest.addedRows + manifest.existingRows)
      if (rows !== listedRows) {
        findings.push(
          fileFinding('unbalanced', reference, `${listedRows} rows (${reference.referredBy})`, `${rows} rows`),
        )
      }
      if (needed && snapshotRows !== undefined) snapshotRows += rows
      for (const file of files) {
        refer({ ...file, kind: 'data file', table: table.name, referredBy: manifest.path, needed })
      }
    })

    const checkpoint = await readCheckpoints(metadata, references, findings)
    return { references, findings, complete, metadata, snapshotRows, checkpoint }
  }

  /** Coverage of the current snapshot; on the way, what the whole checkpoints are held to that others build on. */
  async function readCheckpoints(
    metadata: TableMetadata,
    references: Map<string, Reference>,
    findings: Finding[],
  ): Promise<readonly Coverage[] | undefined> {
    let coverage: readonly Coverage[] | undefined
    const { currentSnapshot } = metadata
    const others = everyCheckpoint ? metadata.snapshots.filter((each) => each !== currentSnapshot) : []
    let loaded: Checkpoint | undefined
    for (const snapshot of currentSnapshot ? [currentSnapshot, ...others] : []) {
      const paths = checkpointPaths(snapshot)
      const whole = references.get(paths.at(-1) ?? '')
      if (snapshot !== currentSnapshot && whole?.sha256 !== undefined) continue
      try {
        loaded = await loadCheckpoint(store, { ...metadata, currentSnapshot: snapshot }, loaded)
        if (loaded && whole) references.set(whole.path, { ...whole, sha256: loaded.whole.sha256 })
        if (snapshot === currentSnapshot) coverage = loaded && coverageIn(loaded)
      } catch (error) {
        if (!isMillraceError(error) || !['data', 'fenced'].includes(error.kind)) throw error
        // A missing one is found in the listing.
        if (error.code === 'file-missing') continue
        const named = paths.find((path) => error.message.includes(path))
        const reference = references.get(named ?? '') ?? references.get(paths[0] ?? '')
        if (reference) findings.push(fileFinding('altered', reference, 'the sha256 it is named with', error.message))
      }
    }
    return currentSnapshot ? coverage : []
  }

  return { read }
}

function metadataReference(table: Table, path: string): Reference {
  const { name, metadataChecksum } = table
  return { path, kind: 'metadata', table: name, referredBy: CATALOG, needed: true, checksum: metadataChecksum }
}

/** Each metadata's name begins with its sequence number; the snapshot after it tells its checksum, as long as it is listed. */
function olderMetadata(table: Table, metadata: TableMetadata, location: string): Reference[] {
  const bySequence = new Map(metadata.snapshots.map((snapshot) => [snapshot.sequenceNumber, snapshot]))
  return metadataLogOf(metadata).map(({ path }) => {
    const sequence = /\/(\d+)-[^/]*$/.exec(path)?.[1]
    const next = sequence === undefined ? undefined : bySequence.get(BigInt(sequence) + 1n)
    return {
      path,
      kind: 'older metadata',
      table: table.name,
      referredBy: location,
      needed: false,
      checksum: next?.summary[BASE_METADATA_CHECKSUM_KEY],
    }
  })
}

/** Without bounds: of a large table they would take most of the memory. */
function liveFiles(bytes: Uint8Array, path: string): readonly ListedFile[] {
  return decodeManifest(bytes, path)
    .filter(({ status }) => status !== STATUS.deleted)
    .map(({ file }) => ({ path: file.path, bytes: file.bytes, checksum: file.checksum, rowCount: file.rowCount }))
}
