/**
 * Is the bucket ahead of this catalog? Then the catalog is an older copy (a backup put back, a replica that was behind) or another
 * one, and whoever commits or sweeps by it destroys what it does not know (PROTOCOL 7, ADR 15). Evidence is only what cannot
 * come from a crash before a commit:
 *
 *   folder    files of a table that the catalog does not have: tables come before files
 *   writer    a segment of a process that registered later than any the catalog knows, or under an epoch that another has
 *   version   a segment, or metadata, that calls a version of its table committed which the catalog has not reached
 *   tick      a segment of a committed tick (a later one of its process says so) that the catalog does not know
 *   metadata  metadata that was made from metadata which the catalog does not know: that one was committed; or under an epoch of
 *             the table's lease that the catalog never gave
 *
 * What a crash leaves behind is one step ahead and of a writer that the catalog knows: a segment whose tick did not commit,
 * metadata made from the current one. An older copy that lacks no more than that cannot be told from it.
 *
 *   cost   the first 5 pages of the root's listing; per table the listings of `segments/` and `metadata/`, one request per
 *          1,000 files; per process and table with a newest segment that the catalog does not know, two GETs of 64 kB; per
 *          table with newer metadata, a few GETs. A lake in order costs 5 + 2 requests a table, and none of the GETs.
 *
 * The bucket is listed before the catalog is read: what commits meanwhile is in the catalog by then.
 */
import { inParallel } from '../../runtime/in-parallel.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, Table } from '../catalog/catalog.ts'
import type { Restore } from '../catalog/restore.ts'
import { readMetadata } from '../iceberg/read.ts'
import { LEASE_EPOCH_KEY, metadataLogOf, TABLE_VERSION_PROPERTY } from '../iceberg/table-metadata.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { readFooter } from '../parquet/footer-file.ts'
import { readSegmentRecord, type SegmentRecord, segmentNameOf } from './segment-record.ts'

const ROOT_FILES_MAX = 5_000
const METADATA_READ_MAX = 5
const SHOWN_MAX = 5

export const REBUILD_COMMAND = 'millrace catalog rebuild'

export function olderCatalogError(evidence: readonly string[]): MillraceError {
  const more = evidence.length > SHOWN_MAX ? ` (and ${evidence.length - SHOWN_MAX} more)` : ''
  return new MillraceError(
    'catalog-older',
    `the bucket is ahead of this catalog, which is an older copy or another one: ${evidence.slice(0, SHOWN_MAX).join('; ')}${more}. Nothing is committed or swept. Stop ingest and compactor and run: ${REBUILD_COMMAND}`,
  )
}

type Named = { readonly path: string; readonly size: number }
type ListedSegment = Named & { readonly writerId: string; readonly number: number }
type ListedMetadata = { readonly path: string; readonly sequence: number }
type Listing = { readonly segments: readonly ListedSegment[]; readonly metadata: readonly ListedMetadata[] }

/** Empty when the catalog knows all that is there. */
export async function findEvidence(components: {
  catalog: Catalog & Restore
  store: ObjectStore
  lakeRoot: string
}): Promise<readonly string[]> {
  const { catalog, store, lakeRoot } = components
  const folders = await tableFolders(store, lakeRoot)
  const listings = new Map<number, Listing>()
  await inParallel(await catalog.listTables(), async (table) => {
    listings.set(table.tableId, await listTable(store, table.location))
  })

  const tables = await catalog.listTables()
  const writers = await catalog.registeredWriters()
  const leases = await catalog.leaseEpochs()
  const evidence: string[] = []
  const known = new Set(tables.map(({ location }) => location))
  for (const folder of folders) if (!known.has(folder)) evidence.push(`${folder} is of a table that it does not have`)
  await inParallel(tables, async (table) => {
    const listing = listings.get(table.tableId)
    if (!listing) return
    evidence.push(...(await segmentEvidence(components, table, listing, writers)))
    evidence.push(...(await metadataEvidence(components, table, listing, leases.get(table.tableId) ?? 0)))
  })
  return evidence.sort()
}

/** Of the first files under the root. */
async function tableFolders(store: ObjectStore, root: string): Promise<ReadonlySet<string>> {
  const folders = new Set<string>()
  let seen = 0
  for await (const { path } of store.list(`${root}/`)) {
    const match = /^([^/]+)\/(?:segments\/.*\.parquet|metadata\/.*\.metadata\.json)$/.exec(path.slice(root.length + 1))
    if (match) folders.add(`${root}/${match[1]}`)
    seen += 1
    if (seen >= ROOT_FILES_MAX) break
  }
  return folders
}

const METADATA_NAME = /\/(\d+)-[^/]*\.metadata\.json$/

async function listTable(store: ObjectStore, location: string): Promise<Listing> {
  const segments: ListedSegment[] = []
  const metadata: ListedMetadata[] = []
  for await (const { path, size } of store.list(`${location}/segments/`)) {
    const name = segmentNameOf(path)
    if (name) segments.push({ path, size, ...name })
  }
  for await (const { path } of store.list(`${location}/metadata/`)) {
    const match = METADATA_NAME.exec(path)
    if (match) metadata.push({ path, sequence: Number(match[1]) })
  }
  return { segments, metadata }
}

type Parts = { readonly catalog: Catalog & Restore; readonly store: ObjectStore }
type Writers = Awaited<ReturnType<Restore['registeredWriters']>>

async function segmentEvidence(
  { catalog, store }: Parts,
  table: Table,
  { segments }: Listing,
  writers: Writers,
): Promise<string[]> {
  if (segments.length === 0) return []
  const paths = await catalog.knownPaths(table.tableId)
  const epochs = new Map(writers.map(({ writerId, epoch }) => [writerId, epoch]))
  const ids = new Map(writers.map(({ writerId, epoch }) => [epoch, writerId]))
  const newest = Math.max(0, ...epochs.values())
  const found: string[] = []
  for (const [writerId, own] of Map.groupBy(segments, (each) => each.writerId)) {
    const unknown = own.filter(({ path }) => !paths.has(path)).sort((a, b) => a.number - b.number)
    const last = unknown.at(-1)
    const record = last && (await recordOf(store, last))
    if (!last || !record) continue
    const epoch = record.writerEpoch
    const other = ids.get(epoch)
    if (!epochs.has(writerId) && (epoch > newest || (other !== undefined && other !== writerId))) {
      const why = epoch > newest ? `its newest is ${newest}` : `there that is ${other}`
      found.push(`${last.path} is of a process with epoch ${epoch}, ${why}`)
      continue
    }
    const version = record.commit?.versions.get(table.tableId)
    if (version !== undefined && version > table.version) {
      found.push(
        `${last.path} says that version ${version} of "${table.name}" was committed, it is at ${table.version}`,
      )
      continue
    }
    const first = unknown.length > 1 ? await recordOf(store, unknown[0]) : undefined
    if (isSettled(first, record)) {
      found.push(`${unknown[0].path} is of a committed tick that it does not know`)
    }
  }
  return found
}

/** What a later file of the same process says of an earlier one. */
function isSettled(earlier: SegmentRecord | undefined, later: SegmentRecord): boolean {
  if (!earlier?.commit || !later.commit) return false
  const { tick } = earlier.commit
  return tick <= later.commit.settled && !later.commit.dropped.includes(tick)
}

/** undefined for a file that went away or does not read back: it proves nothing. */
async function recordOf(store: ObjectStore, { path, size }: Named): Promise<SegmentRecord | undefined> {
  const tail = async (bytes: number) => (await store.get(path, { range: { start: size - bytes, end: size } })).bytes
  try {
    return readSegmentRecord(path, (await readFooter(path, size, tail)).keyValues)
  } catch (error) {
    if (isMillraceError(error) && error.kind === 'data') return undefined
    throw error
  }
}

async function metadataEvidence(
  { catalog, store }: Parts,
  table: Table,
  { metadata }: Listing,
  leaseEpoch: number,
): Promise<string[]> {
  const { metadataLocation: current } = table
  const at = current === undefined ? 0 : Number(METADATA_NAME.exec(current)?.[1] ?? 0)
  const ahead = metadata.filter(({ path, sequence }) => sequence >= at && path !== current)
  if (ahead.length === 0) return []
  const paths = await catalog.knownPaths(table.tableId)
  const unknown = ahead.filter(({ path }) => !paths.has(path)).sort((a, b) => b.sequence - a.sequence)
  if (unknown.length === 0) return []
  const known = new Set([current, ...((current && (await told(store, current))?.log) || [])])
  const found: string[] = []
  for (const { path } of unknown.slice(0, METADATA_READ_MAX)) {
    const says = await told(store, path)
    if (!says) continue
    // Made from the current one, or an older one, it may be what a crash left behind.
    const base = says.log.at(-1)
    if (base !== undefined && !known.has(base) && !paths.has(base)) {
      found.push(`${path} was made from ${base}, which it does not know`)
    } else if (says.version > table.version) {
      found.push(`${path} was made at version ${says.version} of "${table.name}", it is at ${table.version}`)
    } else if (says.leaseEpoch > leaseEpoch) {
      found.push(`${path} was made under epoch ${says.leaseEpoch} of the table's lease, which is at ${leaseEpoch}`)
    }
  }
  return found
}

type Told = { readonly log: readonly string[]; readonly version: bigint; readonly leaseEpoch: number }

/** undefined for metadata that went away or does not read back: it proves nothing. */
async function told(store: ObjectStore, path: string): Promise<Told | undefined> {
  try {
    const metadata = await readMetadata(store, path)
    return {
      log: metadataLogOf(metadata).map((entry) => entry.path),
      version: BigInt(metadata.properties[TABLE_VERSION_PROPERTY] ?? 0),
      leaseEpoch: Number(metadata.currentSnapshot?.summary[LEASE_EPOCH_KEY] ?? 0),
    }
  } catch (error) {
    if (isMillraceError(error) && error.kind === 'data') return undefined
    throw error
  }
}
