/**
 * What refers to what: a table's catalog row names segments and metadata; metadata names manifest lists, checkpoints and
 * older metadata; lists name manifests; manifests name data files. These small files are read whole, so their own
 * checksums are compared on the way.
 *
 * A file that cannot be read makes the answer incomplete: what only it refers to is unknown then, and nothing may be
 * called an orphan. That it is missing is found by comparing with the listing, not here: between two reads of the
 * catalog files come and go.
 */
import { inParallel } from '../../runtime/in-parallel.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Segment, Table } from '../catalog/catalog.ts'
import type { InspectedTable } from '../catalog/inspection.ts'
import { checksumOf } from '../checksum.ts'
import { coverageIn, loadCheckpoint } from '../iceberg/checkpoint.ts'
import type { Checkpoint, TableMetadata } from '../iceberg/iceberg.ts'
import { decodeManifest, decodeManifestList, type ManifestFile, STATUS } from '../iceberg/manifest.ts'
import { checkpointPaths, parseMetadataBytes } from '../iceberg/read.ts'
import {
  baseMetadataOf,
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

/** Bytes that are not what they should be, or that this release cannot read, or a path that no store serves. */
const UNREADABLE: readonly string[] = ['file-damaged', 'format-too-new', 'request-invalid']

type ListedFile = {
  readonly path: string
  readonly bytes: number
  readonly checksum: string | undefined
  readonly rowCount: number
}

/** What is known of one table so far. */
type Gathered = {
  readonly table: Table
  readonly references: Map<string, Reference>
  readonly findings: Finding[]
  complete: boolean
}

/** Lists and manifests never change: each is read once, however often the tables are looked at. */
export function createReferenceReader(components: {
  store: ObjectStore
  /** Also what only older snapshots and older metadata tell. */
  deep: boolean
}): ReferenceReader {
  const { store, deep } = components
  const decoded = new Map<string, unknown>()

  async function read({ table, segments }: InspectedTable): Promise<TableReferences> {
    const gathered: Gathered = { table, references: new Map(), findings: [], complete: true }
    const { references, findings } = gathered
    for (const segment of segments) refer(gathered, segmentReference(table, segment))
    const location = table.metadataLocation
    if (location === undefined) {
      return { references, findings, complete: true, metadata: undefined, snapshotRows: 0, checkpoint: [] }
    }
    const reference = refer(gathered, metadataReference(table, location))
    const metadata = await open(gathered, reference, (bytes) => parseMetadataBytes(bytes, location))
    if (!metadata) {
      return { references, findings, complete: false, metadata, snapshotRows: undefined, checkpoint: undefined }
    }
    await readOlder(gathered, metadata, location)
    const manifests = await readLists(gathered, metadata, location)
    const snapshotRows = await readManifests(gathered, manifests)
    const checkpoint = await readCheckpoints(gathered, metadata)
    return { references, findings, complete: gathered.complete, metadata, snapshotRows, checkpoint }
  }

  /** undefined: it cannot be read, which is a finding, or it is not there, which the listing will tell. */
  async function open<Content>(
    gathered: Gathered,
    reference: Reference,
    decode: (bytes: Uint8Array) => Content,
  ): Promise<Content | undefined> {
    if (decoded.has(reference.path)) return decoded.get(reference.path) as Content
    try {
      const { bytes } = await store.get(reference.path)
      const checksum = checksumOf(bytes)
      if (checksum !== (reference.checksum ?? checksum)) {
        // What it says may be wrong in any place: it is not believed.
        throw new MillraceError('file-damaged', `checksum ${checksum} of ${bytes.length} bytes`)
      }
      const content = decode(bytes)
      decoded.set(reference.path, content)
      return content
    } catch (error) {
      gathered.complete = false
      if (isMillraceError(error, 'file-missing')) return undefined
      if (!isMillraceError(error) || !UNREADABLE.includes(error.code)) throw error
      const { checksum, kind } = reference
      const expected = checksum === undefined ? `a readable ${kind}` : `checksum ${checksum}`
      gathered.findings.push(fileFinding('altered', reference, expected, error.message))
      return undefined
    }
  }

  /**
   * Each metadata tells the checksum of the one it was made from: a deep check follows them from the newest on, as long as each
   * is what it should be. Which there are, the current one tells.
   */
  async function readOlder(gathered: Gathered, metadata: TableMetadata, location: string): Promise<void> {
    const place = { kind: 'older metadata', table: gathered.table.name, referredBy: location, needed: false } as const
    let newer: TableMetadata | undefined = metadata
    for (const { path } of metadataLogOf(metadata).toReversed()) {
      const base: ReturnType<typeof baseMetadataOf> = newer && baseMetadataOf(newer)
      const checksum: string | undefined = base?.path === path ? base.checksum : undefined
      const reference = refer(gathered, { ...place, path, checksum })
      newer = deep && checksum !== undefined ? await provenMetadata(reference) : undefined
    }
  }

  async function provenMetadata({ path, checksum }: Reference): Promise<TableMetadata | undefined> {
    try {
      const { bytes } = await store.get(path)
      return checksumOf(bytes) === checksum ? parseMetadataBytes(bytes, path) : undefined
    } catch (error) {
      if (isMillraceError(error) && error.kind === 'data') return undefined
      throw error
    }
  }

  /** Manifests of all snapshots, and those of the current one by path; undefined when its list cannot be read. */
  async function readLists(gathered: Gathered, metadata: TableMetadata, location: string): Promise<Manifests> {
    const manifests = new Map<string, ManifestFile>()
    const { currentSnapshot, snapshots } = metadata
    let current: ReadonlySet<string> | undefined = currentSnapshot ? undefined : new Set()
    const others = snapshots.filter((snapshot) => snapshot !== currentSnapshot)
    const currentFirst = currentSnapshot ? [currentSnapshot, ...others] : others
    const lists = await inParallel(currentFirst, (snapshot) => {
      const { summary, manifestList: path } = snapshot
      const place = { table: gathered.table.name, needed: snapshot === currentSnapshot, referredBy: location }
      const [own, ...bases] = checkpointPaths(snapshot)
      const sha256 = summary[CHECKPOINT_HASH_KEY]
      if (own !== undefined) refer(gathered, { ...place, path: own, kind: 'checkpoint', sha256 })
      for (const base of bases) refer(gathered, { ...place, path: base, kind: 'checkpoint' })
      const checksum = summary[MANIFEST_LIST_CHECKSUM_KEY]
      const list = refer(gathered, { ...place, path, kind: 'manifest list', checksum })
      return open(gathered, list, (bytes) => decodeManifestList(bytes, path))
    })
    for (const [i, { manifestList }] of currentFirst.entries()) {
      const listed = lists[i]
      const needed = currentFirst[i] === currentSnapshot
      const place = { table: gathered.table.name, needed, referredBy: manifestList, kind: 'manifest' } as const
      if (needed) current = listed && new Set(listed.map(({ path }) => path))
      for (const manifest of listed ?? []) {
        const { path, bytes, checksum } = manifest
        manifests.set(path, manifest)
        refer(gathered, { ...place, path, bytes, checksum })
      }
    }
    return { all: [...manifests.values()], current }
  }

  /** Rows of the current snapshot. */
  async function readManifests(gathered: Gathered, { all, current }: Manifests): Promise<number | undefined> {
    let snapshotRows: number | undefined = current && 0
    await inParallel(all, async (manifest) => {
      const reference = gathered.references.get(manifest.path) as Reference
      const needed = current?.has(manifest.path) ?? false
      const files = await open(gathered, reference, (bytes) => liveFiles(bytes, manifest.path))
      const rows = files?.reduce((sum, file) => sum + file.rowCount, 0)
      const listedRows = Number(manifest.addedRows + manifest.existingRows)
      if (rows !== undefined && rows !== listedRows) {
        const expected = `${listedRows} rows, as ${reference.referredBy} says`
        gathered.findings.push(fileFinding('unbalanced', reference, expected, `${rows} rows`))
      }
      if (needed) snapshotRows = rows === undefined || snapshotRows === undefined ? undefined : snapshotRows + rows
      for (const file of files ?? []) {
        refer(gathered, {
          ...file,
          kind: 'data file',
          table: gathered.table.name,
          referredBy: manifest.path,
          needed,
        })
      }
    })
    return snapshotRows
  }

  /** Coverage of the current snapshot; on the way, what the whole checkpoints are held to that others build on. */
  async function readCheckpoints(
    { references, findings }: Gathered,
    metadata: TableMetadata,
  ): Promise<readonly Coverage[] | undefined> {
    const { currentSnapshot } = metadata
    if (!currentSnapshot) return []
    let coverage: readonly Coverage[] | undefined
    let loaded: Checkpoint | undefined
    const others = deep ? metadata.snapshots.filter((each) => each !== currentSnapshot) : []
    for (const snapshot of [currentSnapshot, ...others]) {
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
    return coverage
  }

  return { read }
}

type Manifests = { readonly all: readonly ManifestFile[]; readonly current: ReadonlySet<string> | undefined }

/** The same file from several snapshots: the current one counts, and what another one knows besides is added. */
function refer({ references }: Gathered, reference: Reference): Reference {
  const known = references.get(reference.path)
  const [first, second] = known && (known.needed || !reference.needed) ? [known, reference] : [reference, known]
  const joined = { ...second, ...first, sha256: first.sha256 ?? second?.sha256 }
  references.set(reference.path, joined)
  return joined
}

function segmentReference(table: Table, segment: Segment): Reference {
  const { path, bytes, etag, checksum, rowCount } = segment
  const place = { path, kind: 'segment', table: table.name, referredBy: CATALOG, needed: true } as const
  return { ...place, bytes, etag, checksum, rowCount }
}

function metadataReference(table: Table, path: string): Reference {
  const { name, metadataChecksum } = table
  return { path, kind: 'metadata', table: name, referredBy: CATALOG, needed: true, checksum: metadataChecksum }
}

/** Without bounds: of a large table they would take most of the memory. */
function liveFiles(bytes: Uint8Array, path: string): readonly ListedFile[] {
  return decodeManifest(bytes, path)
    .filter(({ status }) => status !== STATUS.deleted)
    .map(({ file }) => ({ path: file.path, bytes: file.bytes, checksum: file.checksum, rowCount: file.rowCount }))
}
