/**
 * Is the lake sound? Looks at the catalog, at what it refers to, and at what lies there; changes nothing, and may run beside
 * every service.
 *
 *   1 register as a reader     from here on nothing goes that the versions read below need
 *   2 read the catalog         and all metadata, lists and manifests it refers to
 *   3 list                     one listing a table and root; in a deep check one of the whole root
 *   4 read the catalog again   what was committed meanwhile is no orphan, what was removed is not missing; and does the
 *                              bucket know commits that the catalog does not?
 *   5 compare (pure)           and look again at each file that seems wrong, before saying so
 *   6 deep: every byte         of every file
 *
 * Costs of the fast check: the listings, and one request for each metadata file, manifest list, manifest and checkpoint.
 * If we stop anywhere, the reader's row is all that stays; it holds back garbage until it is forgotten for its silence.
 */

import { inParallel } from '../../runtime/in-parallel.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, Table } from '../catalog/catalog.ts'
import type { CatalogInspection, InspectedTable, Inspection } from '../catalog/inspection.ts'
import type { Restore } from '../catalog/restore.ts'
import { countRequests } from '../object-store/count.ts'
import type { ObjectInfo, ObjectStore } from '../object-store/object-store.ts'
import { requireOneLake } from '../one-lake.ts'
import { findEvidence, REBUILD_COMMAND } from '../rebuild/older-catalog.ts'
import { balanceFindings, SILENCE_FACTOR, stillnessFindings, tableFindings } from './catalog-facts.ts'
import { type Comparison, compareFiles, type Suspect } from './compare-files.ts'
import type { OffsetCounter } from './count-offsets.ts'
import { absent, CATALOG, type Finding, fileFinding, type Reference } from './finding.ts'
import { createReferenceReader, type TableReferences } from './read-references.ts'
import { verifyFile } from './verify-file.ts'
import { type Progress, verifyFiles } from './verify-files.ts'

export type CheckSettings = {
  readonly lakeRoot: string
  readonly coldRoot: string | undefined
  readonly sweepIntervalMs: number
  readonly writerSilentMs: number
  readonly readerSilentMs: number
}

export type CheckRequest = {
  readonly deep: boolean
  /** Only this table. */
  readonly table: string | undefined
}

export type CheckReport = {
  /** Damage first. */
  readonly findings: readonly Finding[]
  readonly tables: number
  readonly files: number
  readonly bytes: number
  /** Nothing refers to them yet: their writers live. */
  readonly inFlight: number
  /** Removed, kept for readers and for `snapshot.min-age`. */
  readonly waiting: number
  /** Nothing can be said of them, since metadata cannot be read. */
  readonly unknown: number
  readonly deep: DeepReport | undefined
  readonly requests: { readonly list: number; readonly get: number; readonly head: number; readonly bytesRead: number }
  readonly seconds: number
}

export type DeepReport = {
  readonly proven: number
  readonly unproven: number
  readonly bytes: number
  /** Rows whose offsets were counted. */
  readonly rowsCounted: number
  /** Tables whose rows were not counted, with the reason. */
  readonly notCounted: readonly string[]
}

/** A sweep looks for a fenced writer's files more and more seldom, at last once in about 256 of its rounds. */
const SWEEPS_MISSED_MAX = 512
const SWEPT_WITHIN_MIN_MS = 3_600_000

type CheckedCatalog = Catalog & Inspection & Restore
type Reading = { readonly catalog: CatalogInspection; readonly tables: ReadonlyMap<number, ReadTable> }
type ReadTable = { readonly inspected: InspectedTable; readonly read: TableReferences }

export async function checkLake(
  components: {
    catalog: CheckedCatalog
    store: ObjectStore
    world: World
    settings: CheckSettings
    /** For a deep check. */
    offsetCounter?: OffsetCounter
    onProgress?(progress: Progress): void
    signal?: AbortSignal
  },
  request: CheckRequest,
): Promise<CheckReport> {
  const { catalog, world, settings } = components
  const store = countRequests(components.store)
  const startedMs = world.clock.monotonicMs()
  const first = await catalog.inspect()
  requireOneLake(
    first.tables.map(({ table }) => table),
    settings.lakeRoot,
  )
  if (request.table !== undefined && !first.tables.some(({ table }) => table.name === request.table)) {
    throw new MillraceError('undefined-table', `there is no table "${request.table}"`)
  }
  const reading = await holdVersions(components, first)
  try {
    const referenceReader = createReferenceReader({ store, deep: request.deep })
    const readAll = async (earlier?: Reading): Promise<Reading> => {
      const inspection = await catalog.inspect()
      const wanted = inspection.tables.filter(({ table }) => table.name === (request.table ?? table.name))
      const tables = await inParallel(wanted, async (inspected) => {
        const { tableId, version } = inspected.table
        const known = earlier?.tables.get(tableId)
        const read = known?.inspected.table.version === version ? known.read : await referenceReader.read(inspected)
        return [tableId, { inspected, read }] as const
      })
      return { catalog: inspection, tables: new Map(tables) }
    }
    const before = await readAll()
    const listings = await listAll(store, settings, before, request)
    const after = await readAll(before)

    const findings: Finding[] = [
      ...stillnessFindings(before.catalog, settings),
      ...balanceFindings(before.catalog).filter((finding) => isAbout(finding, request.table)),
    ]
    for (const { inspected, read } of before.tables.values()) {
      findings.push(...read.findings, ...tableFindings(inspected, read, before.catalog.coverage))
    }
    for (const { read } of after.tables.values()) findings.push(...read.findings)
    if (request.table === undefined) findings.push(...(await behindFindings(catalog, store, settings.lakeRoot)))
    const totals = { files: 0, bytes: 0, inFlight: 0, waiting: 0, unknown: 0 }
    for (const [tableId, listed] of listings) {
      const compared = compare(tableId, listed, before, after, settings)
      for (const key of ['files', 'bytes', 'inFlight', 'waiting', 'unknown'] as const) totals[key] += compared[key]
      const later = tableId === undefined ? undefined : after.tables.get(tableId)?.read.references
      findings.push(...(await confirm(store, compared, later ?? new Map(), request.deep)))
    }

    const deep = request.deep ? await lookDeep({ ...components, store }, after, findings) : undefined
    return {
      findings: sorted(findings),
      tables: after.tables.size,
      ...totals,
      deep,
      requests: {
        list: store.counts.list.requests,
        get: store.counts.get.requests,
        head: store.counts.head.requests,
        bytesRead: store.counts.bytesRead,
      },
      seconds: (world.clock.monotonicMs() - startedMs) / 1000,
    }
  } finally {
    await reading.release()
  }
}

/** A catalog that was restored from an older copy, or failed over to a replica that lagged. */
async function behindFindings(catalog: CheckedCatalog, store: ObjectStore, lakeRoot: string): Promise<Finding[]> {
  const evidence = await findEvidence({ catalog, store, lakeRoot })
  return evidence.map((found) => ({
    kind: 'behind',
    severity: 'damage',
    path: CATALOG,
    what: 'catalog',
    table: undefined,
    referredBy: undefined,
    expected: 'a catalog that knows all that was committed',
    found,
    advice: `it is an older copy, or another one: stop ingest and compactor, so that nothing is swept, and run "${REBUILD_COMMAND}"`,
  }))
}

/** Every byte of every file, every row's place, and the catalog's own pages. */
async function lookDeep(
  { catalog, store, world, offsetCounter, onProgress, signal }: Omit<Parameters<typeof checkLake>[0], 'settings'>,
  { catalog: inspection, tables: read }: Reading,
  findings: Finding[],
): Promise<DeepReport> {
  const references = [...read.values()].flatMap((each) => [...each.read.references.values()])
  const tables = new Map<string, Table>()
  for (const { inspected } of read.values()) tables.set(inspected.table.name, inspected.table)
  const verified = await verifyFiles(references, { store, world, tables, onProgress, signal })
  findings.push(...verified.findings, ...verified.absent.map(absent))
  for (const damage of await catalog.storageDamage()) findings.push(damagedCatalog(damage))

  let rowsCounted = 0
  const notCounted: string[] = []
  const broken = new Set(
    findings.filter(({ kind }) => kind === 'missing' || kind === 'altered').map(({ table }) => table),
  )
  for (const table of tables.values()) {
    signal?.throwIfAborted()
    const isData = ({ kind, needed }: Reference) => needed && (kind === 'segment' || kind === 'data file')
    const files = references.filter((each) => each.table === table.name && isData(each))
    const counted = broken.has(table.name)
      ? { rows: 0, findings: [], skipped: 'some of its files are missing or altered' }
      : await offsetCounter?.count(table, files, inspection.coverage)
    findings.push(...(counted?.findings ?? []))
    rowsCounted += counted?.rows ?? 0
    if (counted?.skipped !== undefined) notCounted.push(`${table.name}: ${counted.skipped}`)
  }
  const { proven, unproven, bytes } = verified
  return { proven, unproven, bytes, rowsCounted, notCounted }
}

/** A reader's row at the versions of `seen`, kept alive until it is released. */
async function holdVersions(
  { catalog, world, settings }: { catalog: Catalog; world: World; settings: CheckSettings },
  seen: CatalogInspection,
): Promise<{ release(): Promise<void> }> {
  const readerId = `check-${world.random.uuid()}`
  const versions = new Map(seen.tables.map(({ table }) => [table.tableId, table.version]))
  await catalog.setReader(readerId, versions)
  const stopping = new AbortController()
  const kept = (async () => {
    while (!stopping.signal.aborted) {
      await world.clock.sleep(settings.readerSilentMs / 4, stopping.signal).catch(() => {})
      // A catalog that is away for a moment: the next round comes soon enough.
      if (!stopping.signal.aborted) await catalog.setReader(readerId, versions).catch(() => {})
    }
  })()
  return {
    async release() {
      stopping.abort()
      await kept
      await catalog.dropReader(readerId).catch(() => {})
    },
  }
}

/** What lies under each table's folders; in a deep check also what lies under none of them. */
async function listAll(
  store: ObjectStore,
  { lakeRoot, coldRoot }: CheckSettings,
  before: Reading,
  request: CheckRequest,
): Promise<ReadonlyMap<number | undefined, readonly ObjectInfo[]>> {
  const listings = new Map<number | undefined, ObjectInfo[]>()
  const folders = new Map<string, number>()
  for (const [tableId, { inspected }] of before.tables) {
    const { location } = inspected.table
    listings.set(tableId, [])
    folders.set(`${location}/`, tableId)
    if (coldRoot !== undefined) folders.set(`${location.replace(lakeRoot, coldRoot)}/`, tableId)
  }
  if (!request.deep || request.table !== undefined) {
    await inParallel([...folders], async ([folder, tableId]) => {
      for await (const info of store.list(folder)) listings.get(tableId)?.push(info)
    })
    return listings
  }
  const strays: ObjectInfo[] = []
  const ordered = [...folders]
  for (const root of coldRoot === undefined ? [lakeRoot] : [lakeRoot, coldRoot]) {
    for await (const info of store.list(`${root}/`)) {
      const folder = ordered.find(([prefix]) => info.path.startsWith(prefix))
      const listing = folder === undefined ? strays : listings.get(folder[1])
      listing?.push(info)
    }
  }
  listings.set(undefined, strays)
  return listings
}

const NOTHING: ReadonlyMap<string, Reference> = new Map()

function compare(
  tableId: number | undefined,
  listed: readonly ObjectInfo[],
  before: Reading,
  after: Reading,
  settings: CheckSettings,
): Comparison {
  const earlier = tableId === undefined ? undefined : before.tables.get(tableId)
  const later = tableId === undefined ? undefined : after.tables.get(tableId)
  const locations = [...after.tables.values()].map(({ inspected }) => inspected.table.location)
  return compareFiles({
    before: earlier?.read.references ?? NOTHING,
    after: later?.read.references ?? NOTHING,
    removed: new Set([...(earlier?.inspected.removedPaths ?? []), ...(later?.inspected.removedPaths ?? [])]),
    complete: [earlier, later].every((each) => each?.read.complete ?? true),
    // A table that was made while we listed has its files under no known folder.
    listed:
      tableId === undefined
        ? listed.filter(({ path }) => !locations.some((location) => path.startsWith(`${location}/`)))
        : listed,
    writers: after.catalog.writers,
    table: later?.inspected.table.name,
    silentMs: settings.writerSilentMs * SILENCE_FACTOR,
    now: after.catalog.readAt,
    sweptWithinMs: Math.max(
      SWEPT_WITHIN_MIN_MS,
      settings.sweepIntervalMs * SWEEPS_MISSED_MAX + settings.writerSilentMs,
    ),
  })
}

/** Looks again at each file that seems wrong. */
async function confirm(
  store: ObjectStore,
  { suspects, orphans }: Comparison,
  later: ReadonlyMap<string, Reference>,
  deep: boolean,
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const suspect of suspects) {
    const finding = await confirmSuspect(store, suspect, later, deep)
    if (finding) findings.push(finding)
  }
  for (const orphan of orphans) if (await store.head(orphan.path)) findings.push(orphan)
  return findings
}

async function confirmSuspect(
  store: ObjectStore,
  { reference, why, info }: Suspect,
  later: ReadonlyMap<string, Reference>,
  deep: boolean,
): Promise<Finding | undefined> {
  // Removed meanwhile, though our reader's row should have kept it: whatever it is, the lake does not need it.
  if (!later.has(reference.path)) return undefined
  if (why === 'etag') {
    // Copied or restored files have other etags: only the bytes decide. A deep check reads them anyway.
    if (deep) return undefined
    const verdict = await verifyFile(reference, { store })
    return verdict.outcome === 'altered' ? verdict.finding : undefined
  }
  try {
    const now = await store.head(reference.path)
    if (!now) return absent(reference)
    if (reference.bytes === undefined || now.size === reference.bytes) return undefined
    return fileFinding('altered', reference, `${reference.bytes} bytes`, `${now.size} bytes (etag ${info?.etag})`)
  } catch (error) {
    if (!isMillraceError(error, 'request-invalid')) throw error
    return fileFinding('missing', reference, 'a path under lake.root or storage.cold', error.message)
  }
}

function damagedCatalog(damage: string): Finding {
  return {
    kind: 'altered',
    severity: 'damage',
    path: CATALOG,
    what: 'catalog',
    table: undefined,
    referredBy: undefined,
    expected: 'a sound database',
    found: damage,
    advice:
      'stop the services, then restore the catalog from a backup, or move it away, and run "millrace catalog rebuild"',
  }
}

function isAbout(finding: Finding, table: string | undefined): boolean {
  return table === undefined || finding.table?.split(', ').includes(table) === true
}

/** Damage first; what was found twice, once. */
function sorted(findings: readonly Finding[]): readonly Finding[] {
  const once = new Map<string, Finding>()
  for (const finding of findings) {
    const { kind, path, expected } = finding
    // One word for each file; of other things several may be wrong.
    const key = ['missing', 'altered', 'orphan'].includes(kind) ? `${kind} ${path}` : `${kind} ${path} ${expected}`
    if (!once.has(key)) once.set(key, finding)
  }
  const weight = ({ severity }: Finding) => (severity === 'damage' ? 0 : 1)
  return [...once.values()].sort((a, b) => weight(a) - weight(b))
}
