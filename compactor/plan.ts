/**
 * What the compactor should do next for a table: a pure look at one table version. Nothing here does I/O.
 *
 *   append   live segments become data files of a new snapshot, by bytes or by age; all of them, in commit order, so
 *            that a snapshot's coverage is a prefix (PROTOCOL 4)
 *   merge    small files of one table partition become one, files of like size first, so that a row is rewritten
 *            about log(target / segment) times
 *   merge    also of files that may still hold rows which a mask took away, so that their bytes go
 *   tier     files that are old enough move to the cold store, bytes unchanged
 *   expire   nothing but old snapshots leaving the metadata, once nothing else is left to do for a table that stands still
 *
 * Appends come first: they keep readers' file counts down. One piece of work is one commit.
 */
import type { Segment, TableVersion } from '../lake/catalog/catalog.ts'
import type { LiveFile, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { isExpiryDue } from '../lake/iceberg/next-metadata.ts'

export type PlanSettings = {
  readonly snapshotBytes: number
  readonly snapshotAgeMs: number
  /** Most bytes of segments that one append takes. */
  readonly appendBytesMax: number
  readonly targetBytes: number
  /** Fewer files of like size than this are left alone, unless they fill a file of the target size. */
  readonly filesMin: number
  /** Most bytes one merge reads. */
  readonly mergeBytesMax: number
  /** Age at which a snapshot leaves the metadata. */
  readonly snapshotAgeMaxMs: number
  readonly cold: { readonly root: string; readonly afterMs: number; readonly filesMax: number } | undefined
}

/** What planning needs of a live file; the rest, column bounds above all, would fill the memory with a large table. */
export type PlanFile = Pick<
  LiveFile,
  'path' | 'partition' | 'rowCount' | 'bytes' | 'snapshotId' | 'manifestPath' | 'specId' | 'checksum'
>

/** What one rewrite may take now: less after the engine ran out of memory. */
export type PlanLimits = { readonly rowsMax: number }

const NO_LIMITS: PlanLimits = { rowsMax: Number.POSITIVE_INFINITY }

export type Work =
  | { readonly kind: 'append'; readonly segments: readonly Segment[] }
  | { readonly kind: 'merge'; readonly files: readonly PlanFile[] }
  | { readonly kind: 'tier'; readonly files: readonly PlanFile[] }
  /** `nowMs`: the time that ages are counted to. */
  | { readonly kind: 'expire'; readonly nowMs: number }

/** `base`: the metadata that the version names; `files`: the live files of its current snapshot. */
export function planWork(
  version: TableVersion,
  base: TableMetadata | undefined,
  files: readonly PlanFile[],
  settings: PlanSettings,
  limits: PlanLimits = NO_LIMITS,
): Work | undefined {
  return (
    planAppend(version, settings, limits) ??
    knownMerge(files, settings, limits) ??
    planUnmask(version, base, files, settings, limits) ??
    planTier(version, base, files, settings) ??
    planExpiry(version, base, settings)
  )
}

export function planAppend(
  version: TableVersion,
  settings: PlanSettings,
  { rowsMax }: PlanLimits = NO_LIMITS,
): Work | undefined {
  const segments = [...version.segments].sort((a, b) => a.segmentId - b.segmentId)
  if (segments.length === 0) return undefined
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  const ageMs = Number(version.readAt - segments[0].addedAt) / 1000
  if (bytes < settings.snapshotBytes && ageMs < settings.snapshotAgeMs) return undefined
  const taken: Segment[] = []
  let takenBytes = 0
  let takenRows = 0
  for (const segment of segments) {
    const isTooMuch = takenBytes + segment.bytes > settings.appendBytesMax || takenRows + segment.rowCount > rowsMax
    if (taken.length > 0 && isTooMuch) break
    taken.push(segment)
    takenBytes += segment.bytes
    takenRows += segment.rowCount
  }
  return { kind: 'append', segments: taken }
}

/**
 * An idle table is looked at every second, and its list of files is the same one as long as its snapshot is: 50,000 of them
 * are gone through once (14 ms), not at every look.
 */
const merges = new WeakMap<
  readonly PlanFile[],
  { readonly settings: PlanSettings; readonly rowsMax: number; readonly work: Work | undefined }
>()

function knownMerge(files: readonly PlanFile[], settings: PlanSettings, limits: PlanLimits): Work | undefined {
  const { rowsMax } = limits
  const known = merges.get(files)
  if (known?.settings === settings && known.rowsMax === rowsMax) return known.work
  const work = planMerge(files, settings, limits)
  merges.set(files, { settings, rowsMax, work })
  return work
}

/** So much of a target file is worth a merge of however few files: they will not be merged again. */
const FILLS_TARGET_RATIO = 0.75

/** Of all partitions the group that saves most files; sizes within a factor of four count as alike. */
export function planMerge(
  files: readonly PlanFile[],
  settings: PlanSettings,
  { rowsMax }: PlanLimits = NO_LIMITS,
): Work | undefined {
  const groups = new Map<string, PlanFile[]>()
  for (const file of files) {
    if (file.bytes >= settings.targetBytes / 2) continue
    const name = `${partitionText(file)} ${sizeTier(file.bytes)}`
    const group = groups.get(name)
    if (group) group.push(file)
    else groups.set(name, [file])
  }
  let best: PlanFile[] | undefined
  for (const group of groups.values()) {
    const fitting = takeUpTo(group, Math.min(settings.targetBytes, settings.mergeBytesMax), rowsMax)
    const bytes = fitting.reduce((sum, file) => sum + file.bytes, 0)
    const fillsTarget = fitting.length > 1 && bytes >= settings.targetBytes * FILLS_TARGET_RATIO
    if (fitting.length < settings.filesMin && !fillsTarget) continue
    if (!best || fitting.length > best.length) best = fitting
  }
  return best && { kind: 'merge', files: best }
}

/**
 * Files from before a mask may hold its rows; any rewrite after it leaves them out. Masks of the last moments wait for each other.
 * A file that was written while the mask came keeps its rows until it is rewritten for another reason: readers leave them out.
 */
function planUnmask(
  { masks = [], segments, readAt }: TableVersion,
  base: TableMetadata | undefined,
  files: readonly PlanFile[],
  settings: PlanSettings,
  { rowsMax }: PlanLimits,
): Work | undefined {
  const old = masks.filter(({ createdAt }) => Number(readAt - createdAt) / 1000 >= settings.snapshotAgeMs)
  if (old.length === 0 || segments.length > 0) return undefined
  const newest = old.reduce((latest, { createdAt }) => Math.max(latest, Number(createdAt / 1000n)), 0)
  const snapshotTimes = new Map(base?.snapshots.map((snapshot) => [snapshot.snapshotId, snapshot.timestampMs]))
  const before = files.filter(({ snapshotId }) => (snapshotTimes.get(snapshotId) ?? 0) <= newest)
  const [first] = before
  if (!first) return undefined
  const alike = before.filter((file) => file.specId === first.specId && partitionText(file) === partitionText(first))
  const fitting = takeUpTo(alike, settings.mergeBytesMax, rowsMax)
  return { kind: 'merge', files: fitting.length > 0 ? fitting : [first] }
}

function planTier(
  version: TableVersion,
  base: TableMetadata | undefined,
  files: readonly PlanFile[],
  settings: PlanSettings,
): Work | undefined {
  const { cold } = settings
  if (!cold) return undefined
  const snapshotTimes = new Map(base?.snapshots.map((snapshot) => [snapshot.snapshotId, snapshot.timestampMs]))
  const nowMs = Number(version.readAt / 1000n)
  const old = files.filter((file) => {
    if (file.path.startsWith(`${cold.root}/`)) return false
    // A snapshot that is not listed any more has expired, and its files are old.
    const added = snapshotTimes.get(file.snapshotId)
    return added === undefined || nowMs - added >= cold.afterMs
  })
  return old.length === 0 ? undefined : { kind: 'tier', files: old.slice(0, cold.filesMax) }
}

function planExpiry(
  { readAt }: TableVersion,
  base: TableMetadata | undefined,
  { snapshotAgeMaxMs }: PlanSettings,
): Work | undefined {
  const nowMs = Number(readAt / 1000n)
  return base && isExpiryDue(base, snapshotAgeMaxMs, nowMs) ? { kind: 'expire', nowMs } : undefined
}

function takeUpTo(files: readonly PlanFile[], bytesMax: number, rowsMax: number): PlanFile[] {
  const taken: PlanFile[] = []
  let bytes = 0
  let rows = 0
  for (const file of [...files].sort((a, b) => a.bytes - b.bytes)) {
    if (bytes + file.bytes > bytesMax) break
    if (rows + file.rowCount > rowsMax) continue
    taken.push(file)
    bytes += file.bytes
    rows += file.rowCount
  }
  return taken
}

/** Files up to 1 MiB are alike; above, each tier is four times the one before. */
export function sizeTier(bytes: number): number {
  return Math.max(0, Math.floor(Math.log2(Math.max(bytes, 1) / 1_048_576) / 2) + 1)
}

export function partitionText(file: Pick<PlanFile, 'partition'>): string {
  return file.partition
    .map((value) =>
      value instanceof Uint8Array
        ? `x${Buffer.from(value).toString('hex')}`
        : `${typeof value} ${JSON.stringify(String(value))}`,
    )
    .join('|')
}
