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
  /** A fenced writer's files that lie there for longer than this were forgotten by the sweep. */
  readonly sweptWithinMs: number
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

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

export function compareFiles(compared: ComparedFiles): Comparison {
  const { before, after, removed } = compared
  const suspects: Suspect[] = []
  const orphans: Finding[] = []
  const seen = new Set<string>()
  const counts = { inFlight: 0, waiting: 0, unknown: 0, files: 0, bytes: 0 }
  const writers = new Map(compared.writers.map((writer) => [writer.writerId, writer]))
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
      const orphan = orphanOf(info, writerOf(info.path, writers), compared)
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
function writerOf(path: string, writers: ReadonlyMap<string, InspectedWriter>): InspectedWriter | undefined {
  const name = path.slice(path.lastIndexOf('/') + 1)
  for (const [id] of name.matchAll(UUID)) {
    const writer = writers.get(id)
    if (writer) return writer
  }
  return undefined
}

/** undefined: its writer lives and may still commit it. */
function orphanOf(
  info: ObjectInfo,
  writer: InspectedWriter | undefined,
  { table, now, sweptWithinMs }: ComparedFiles,
): Finding | undefined {
  const common = { kind: 'orphan', path: info.path, what: 'file', table, referredBy: 'nothing' } as const
  const found = `${info.size} bytes`
  if (!writer) {
    return {
      ...common,
      severity: 'damage',
      expected: undefined,
      found: `${found} of no writer that the catalog knows`,
      advice: 'the sweep leaves it alone; find out whose it is, then move it out of the lake',
    }
  }
  if (writer.fencedAt === undefined) return undefined
  const late = now - writer.fencedAt > BigInt(sweptWithinMs) * 1000n
  return {
    ...common,
    severity: late ? 'damage' : 'notice',
    expected: undefined,
    found: `${found} of ${writer.kind} ${writer.writerId}, which ended before its commit`,
    advice: late ? 'the sweep should have removed it: is a compactor running?' : 'the sweep removes it',
  }
}
