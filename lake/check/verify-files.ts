/**
 * The deep check: every byte of every file that is referred to, several files at once, each in blocks, so that memory does
 * not grow with files. Says how far it is as it goes.
 */
import type { World } from '../../runtime/world.ts'
import type { Table } from '../catalog/catalog.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import type { Finding, Reference } from './finding.ts'
import { createFooterFault } from './footer-fault.ts'
import { verifyFile } from './verify-file.ts'

export type Progress = {
  readonly files: number
  readonly filesTotal: number
  readonly bytes: number
  readonly bytesTotal: number
  readonly seconds: number
}

export type VerifiedFiles = {
  readonly findings: readonly Finding[]
  readonly absent: readonly Reference[]
  /** Files whose every byte a checksum proves. */
  readonly proven: number
  /** Files of an older release, of which no checksum is known: they could be read, and that is all that can be said. */
  readonly unproven: number
  readonly bytes: number
}

const FILES_AT_ONCE = 4

export async function verifyFiles(
  references: readonly Reference[],
  components: {
    store: ObjectStore
    world: Pick<World, 'clock'>
    tables: ReadonlyMap<string, Table>
    onProgress?(progress: Progress): void
    signal?: AbortSignal
  },
): Promise<VerifiedFiles> {
  const { store, world, tables, onProgress, signal } = components
  const startedMs = world.clock.monotonicMs()
  const footerFault = createFooterFault({ store, tables })
  // Files of one manifest beside each other: it is read once.
  const ordered = references.toSorted(
    (a, b) => compareTexts(a.referredBy, b.referredBy) || compareTexts(a.path, b.path),
  )
  const bytesTotal = ordered.reduce((sum, each) => sum + (each.bytes ?? 0), 0)
  const findings: Finding[] = []
  const absent: Reference[] = []
  const counts = { proven: 0, unproven: 0, files: 0, bytes: 0 }

  function tell(): void {
    const seconds = (world.clock.monotonicMs() - startedMs) / 1000
    onProgress?.({ files: counts.files, filesTotal: ordered.length, bytes: counts.bytes, bytesTotal, seconds })
  }

  let next = 0
  async function lane(): Promise<void> {
    for (let reference = ordered[next++]; reference; reference = ordered[next++]) {
      signal?.throwIfAborted()
      const verdict = await verifyFile(reference, {
        store,
        footerFault,
        signal,
        onBytes(bytes) {
          counts.bytes += bytes
          tell()
        },
      })
      counts.files += 1
      if (verdict.outcome === 'proven') counts.proven += 1
      else if (verdict.outcome === 'readable') counts.unproven += 1
      else if (verdict.outcome === 'absent') absent.push(reference)
      else if (verdict.outcome === 'altered') findings.push(verdict.finding)
      tell()
    }
  }
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, lane))
  return { findings, absent, proven: counts.proven, unproven: counts.unproven, bytes: counts.bytes }
}

function compareTexts(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
