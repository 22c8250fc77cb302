/**
 * What is referred to against what lies there. Pure: two readings of the references, one before the listing and one after
 * it, and the listing.
 *
 *   in the first reading, not listed            suspect: absent
 *   listed with another length or etag          suspect
 *   listed, in neither reading nor removed      in flight while its writer lives; else an orphan
 *
 * The order of the three makes commits beside us harmless: a file that was committed after the first reading is in the
 * second; one that was in the first cannot go while the check is registered as a reader. Suspects are looked at again
 * by whoever called, before anything is said of them.
 */
import type { InspectedWriter } from '../catalog/inspection.ts'
import type { ObjectInfo } from '../object-store/object-store.ts'
import { plainWriterId } from '../writer-files.ts'
import type { Finding, Reference } from './finding.ts'

export type Suspect = {
  readonly reference: Reference
  readonly why: 'absent' | 'length' | 'etag'
  readonly info: ObjectInfo | undefined
}

export type ComparedFiles = {
  readonly before: ReadonlyMap<string, Reference>
  readonly after: ReadonlyMap<string, Reference>
  /** Paths that the catalog calls removed in either reading. */
  readonly removed: ReadonlySet<string>
  /** Both readings know everything that is referred to. */
  readonly complete: boolean
  readonly listed: Iterable<ObjectInfo>
  readonly writers: readonly InspectedWriter[]
  readonly table: string | undefined
  /** Catalog clock, microseconds. */
  readonly now: bigint
  /** A writer that is not fenced, but silent for longer, does not live any more: nobody has fenced it yet. */
  readonly silentMs: number
  /** A fenced writer's files that lie there for longer than this were forgotten by the sweep. */
  readonly sweptWithinMs: number
}

/** A file that nothing refers to, and whose it is. */
type Unreferenced = {
  readonly info: ObjectInfo
  /**
   *   lives     may still commit it
   *   silent    probably died, but may still commit as far as the catalog knows
   *   fenced    never commits again
   *   unknown   its name carries the id of a writer that the catalog does not know
   *   foreign   its name is none of ours
   */
  readonly state: 'lives' | 'silent' | 'fenced' | 'unknown' | 'foreign'
  readonly writer: InspectedWriter | undefined
}

export type Comparison = {
  readonly suspects: readonly Suspect[]
  readonly orphans: readonly Finding[]
  readonly inFlight: number
  readonly waiting: number
  /** Listed, but nothing can be said while references are incomplete. */
  readonly unknown: number
  readonly files: number
  readonly bytes: number
}

/** With its dashes, or without (`writer-files.ts`). */
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}/g

export function compareFiles(compared: ComparedFiles): Comparison {
  const { before, after, removed } = compared
  const suspects: Suspect[] = []
  const orphans: Finding[] = []
  const seen = new Set<string>()
  const counts = { inFlight: 0, waiting: 0, unknown: 0, files: 0, bytes: 0 }
  const writers = new Map(compared.writers.map((writer) => [plainWriterId(writer.writerId), writer]))
  for (const info of compared.listed) {
    counts.files += 1
    counts.bytes += info.size
    const reference = before.get(info.path) ?? after.get(info.path)
    if (reference) {
      seen.add(info.path)
      const why = alteration(reference, info)
      if (why) suspects.push({ reference, why, info })
    } else if (removed.has(info.path)) counts.waiting += 1
    else if (!compared.complete) counts.unknown += 1
    else {
      const file = { info, ...writerOf(info.path, writers, compared) }
      const orphan = orphanOf(file, compared)
      if (orphan) orphans.push(orphan)
      else counts.inFlight += 1
    }
  }
  for (const reference of before.values()) {
    if (!seen.has(reference.path)) suspects.push({ reference, why: 'absent', info: undefined })
  }
  return { suspects, orphans, ...counts }
}

function alteration(reference: Reference, info: ObjectInfo): Suspect['why'] | undefined {
  if (reference.bytes !== undefined && reference.bytes !== info.size) return 'length'
  return reference.etag !== undefined && reference.etag !== info.etag ? 'etag' : undefined
}

/** The writer whose id the file's name carries. */
function writerOf(
  path: string,
  writers: ReadonlyMap<string, InspectedWriter>,
  { now, silentMs }: ComparedFiles,
): Pick<Unreferenced, 'state' | 'writer'> {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const ids = Array.from(name.matchAll(UUID), ([id]) => plainWriterId(id))
  const writer = ids.map((id) => writers.get(id)).find((each) => each !== undefined)
  if (!writer) return { state: ids.length > 0 ? 'unknown' : 'foreign', writer }
  if (writer.fencedAt !== undefined) return { state: 'fenced', writer }
  return { state: now - writer.heartbeatAt > BigInt(silentMs) * 1000n ? 'silent' : 'lives', writer }
}

/** undefined: its writer lives and may still commit it. */
function orphanOf({ info, state, writer }: Unreferenced, compared: ComparedFiles): Finding | undefined {
  const { table, now, sweptWithinMs } = compared
  const bytes = `${info.size} bytes`
  const orphan = (severity: Finding['severity'], found: string, advice: string): Finding => ({
    kind: 'orphan',
    severity,
    path: info.path,
    what: 'file',
    table,
    referredBy: 'nothing',
    expected: undefined,
    found: `${bytes} ${found}`,
    advice,
  })
  switch (state) {
    case 'lives':
      return undefined
    case 'silent':
      return orphan(
        'notice',
        `of ${writer?.kind} ${writer?.writerId}, which is silent`,
        'the sweep fences and removes it',
      )
    case 'fenced': {
      const late = now - (writer?.fencedAt ?? now) > BigInt(sweptWithinMs) * 1000n
      return orphan(
        late ? 'damage' : 'notice',
        `of ${writer?.kind} ${writer?.writerId}, which ended before its commit`,
        late ? 'the sweep should have removed it: is a compactor running?' : 'the sweep removes it',
      )
    }
    case 'unknown':
      return orphan(
        'damage',
        'of a writer that the catalog does not know',
        'keep it until it is clear whether the catalog was restored from an older copy: "millrace catalog rebuild" says what is in it',
      )
    case 'foreign':
      return orphan(
        'damage',
        'of nobody the lake knows',
        'the sweep leaves it alone; find out whose it is, then move it out of the lake',
      )
  }
}
