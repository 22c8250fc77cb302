/**
 * `millrace catalog rebuild`, put together: fence, read, plan, write.
 *
 *   1  fence   no writer that the catalog knows commits from here on; those it does not know never could
 *   2  read    the bucket (`bucket.ts`) and what the catalog still says
 *   3  plan    `plan.ts`, pure
 *   4  verify  every segment that becomes live is read whole, for its checksum
 *   5  write   one transaction (`lake/catalog/restore.ts`), refused when a process registered meanwhile
 *
 * If we stop anywhere before 5 has committed, a restart sees the catalog as it was, with its writers fenced, and the same
 * bucket: run it again. After it, the catalog says what the bucket holds. A dry run does 2 and 3 and changes nothing.
 */
import { inParallel } from '../../runtime/in-parallel.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { catalogFile, openCatalog } from '../catalog/open-catalog.ts'
import type { RestoredTable } from '../catalog/restore.ts'
import { checksumOf } from '../checksum.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { requireOneLake } from '../one-lake.ts'
import { readBucket } from './bucket.ts'
import type { Problem } from './draft.ts'
import { EMPTY_CATALOG, type KnownCatalog, type SegmentFile } from './facts.ts'
import { type PlannedTable, planRebuild, type RebuildPlan } from './plan.ts'

export type RebuildRequest = {
  readonly catalogUrl: string
  readonly store: ObjectStore
  readonly lakeRoot: string
  readonly coldRoot: string | undefined
  readonly world: World
  readonly takeUnsequenced: boolean
  readonly dryRun: boolean
  onProgress(text: string): void
}

export type RebuildResult = {
  readonly plan: RebuildPlan
  readonly isChanged: boolean
  readonly isDryRun: boolean
  /** Tables that the catalog knew before. */
  readonly knownTables: number
}

export async function rebuildCatalog(request: RebuildRequest): Promise<RebuildResult> {
  try {
    return await rebuild(request)
  } catch (error) {
    const file = isMillraceError(error, 'file-damaged') ? catalogFile(request.catalogUrl) : undefined
    if (file === undefined) throw error
    const message = `${(error as Error).message}; put a copy back in its place, or move ${file}, ${file}-wal and ${file}-shm away to begin with none, and run this again`
    throw new MillraceError('file-damaged', message, { cause: error })
  }
}

async function rebuild(request: RebuildRequest): Promise<RebuildResult> {
  const { catalogUrl, store, lakeRoot, coldRoot, world, takeUnsequenced, dryRun, onProgress } = request
  const bucketOptions = { store, root: lakeRoot, coldRoot, onProgress }
  if (dryRun) {
    const known = await lookAt(catalogUrl, world)
    requireOneLake(known.tables, lakeRoot)
    const plan = planRebuild(await readBucket(bucketOptions), known, { takeUnsequenced })
    return { plan, isChanged: changes(plan, known), isDryRun: true, knownTables: known.tables.length }
  }
  const catalog = await openCatalog({ url: catalogUrl, world })
  try {
    requireOneLake((await catalog.knownLake()).tables, lakeRoot)
    const newestEpoch = await catalog.fenceAllWriters()
    world.crashPoint('rebuild/after-fence')
    const bucket = await readBucket(bucketOptions)
    const known = await catalog.knownLake()
    const planned = planRebuild(bucket, known, { takeUnsequenced })
    const { plan, tables } = await verified(planned, store, onProgress)
    world.crashPoint('rebuild/before-commit')
    const isSame = new Set(known.coverage)
    await catalog.restore({
      commitId: world.random.uuid(),
      newestEpoch,
      tables,
      coverage: plan.coverage.filter((coverage) => !isSame.has(coverage)),
      bindings: plan.bindings,
      writers: plan.writers,
      epochMax: plan.epochMax,
    })
    world.crashPoint('rebuild/after-commit')
    return { plan, isChanged: changes(plan, known), isDryRun: false, knownTables: known.tables.length }
  } finally {
    await catalog.close()
  }
}

/** Without bringing its format up to date, or making it. */
async function lookAt(url: string, world: World): Promise<KnownCatalog> {
  let catalog: Awaited<ReturnType<typeof openCatalog>>
  try {
    catalog = await openCatalog({ url, world, asItIs: true })
  } catch (error) {
    if (isMillraceError(error, 'not-found')) return EMPTY_CATALOG
    throw error
  }
  try {
    return await catalog.knownLake()
  } finally {
    await catalog.close()
  }
}

function changes(plan: RebuildPlan, known: KnownCatalog): boolean {
  const before = new Set(known.coverage)
  return plan.tables.some(({ isChanged }) => isChanged) || plan.coverage.some((coverage) => !before.has(coverage))
}

/** A file that cannot be read whole is found now, and told: its rows stay in the plan, since nothing else has them. */
async function verified(
  plan: RebuildPlan,
  store: ObjectStore,
  onProgress: (text: string) => void,
): Promise<{ plan: RebuildPlan; tables: RestoredTable[] }> {
  const problems: Problem[] = []
  const files = plan.tables.flatMap(({ added }) => added.map(({ file }) => file))
  const checksums = new Map<string, string>()
  await inParallel(files, async (file) => {
    const checksum = await checksumOfFile(file, store, problems)
    if (checksum !== undefined) checksums.set(file.path, checksum)
  })
  onProgress(`${files.length} segments that become live were read`)
  return {
    plan: { ...plan, problems: [...plan.problems, ...problems] },
    tables: plan.tables.map((table) => restoredTable(table, checksums)),
  }
}

async function checksumOfFile(file: SegmentFile, store: ObjectStore, problems: Problem[]): Promise<string | undefined> {
  try {
    const { bytes } = await store.get(file.path)
    if (bytes.length === file.bytes) return checksumOf(bytes)
    problems.push({ kind: 'broken', text: `${file.path} changed while it was read`, paths: [file.path] })
  } catch (error) {
    if (!isMillraceError(error) || error.kind === 'unavailable') throw error
    problems.push({ kind: 'broken', text: `${file.path} cannot be read: ${error.message}`, paths: [file.path] })
  }
  return undefined
}

function restoredTable(table: PlannedTable, checksums: ReadonlyMap<string, string>): RestoredTable {
  const { tableId, name, location, shape, version, metadata, leaseEpoch } = table
  return {
    tableId,
    name,
    location,
    schemas: shape.schemas,
    partition: shape.partition,
    sort: shape.sort,
    properties: shape.properties,
    lastFieldId: shape.lastFieldId,
    version,
    metadata: metadata && {
      location: metadata.path,
      checksum: metadata.checksum,
      rows: metadata.snapshotRows,
      reachable: metadata.reachable,
    },
    leaseEpoch,
    segments: table.added.map(({ file, commitId }) => ({
      commitId,
      writerId: file.record.writerId,
      segment: {
        tableId,
        schemaId: file.record.schemaId,
        path: file.path,
        rowCount: file.rowCount,
        bytes: file.bytes,
        etag: file.etag,
        checksum: checksums.get(file.path),
        bounds: file.bounds,
        sources: file.record.sources,
        touched: { grain: 'all', values: [] },
      },
    })),
    endedSegmentIds: table.endedSegmentIds,
    deadPaths: table.deadPaths,
    heldPaths: table.heldPaths,
  }
}
