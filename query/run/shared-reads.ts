/**
 * Table versions for queries, without asking the catalog's tables for each of them.
 *
 *   unchanged   the catalog tells that nothing was committed since a read began (`changeMark`, 10 µs): that read still holds
 *   joined      queries that arrive while a read is under way wait for the next one, which they all share
 *
 * A query sees everything that was committed before it arrived (G-4): the mark is asked after its arrival, and a read is
 * shared only by those who came before it began. All its tables are of one read (G-3). Times move on: `readAt` is that of the
 * read plus what has passed since.
 *
 * Past versions and the state of pipelines are read afresh each time.
 */
import type { Catalog, TableVersion, TableVersions } from '../../lake/catalog/catalog.ts'
import type { World } from '../../runtime/world.ts'
import { createRecent } from './recent.ts'

export type SharedReads = {
  /** Of the newest versions. */
  readTables(names: readonly string[]): Promise<TableVersions>
}

const READS_KEPT_MAX = 200

type Kept = { readonly mark: string; readonly atMs: number; readonly versions: TableVersions }
type Line = { running: Promise<unknown> | undefined; next: Promise<TableVersions> | undefined }

export function createSharedReads(components: {
  catalog: Pick<Catalog, 'readTables' | 'changeMark'>
  world: Pick<World, 'clock'>
}): SharedReads {
  const { catalog } = components
  const { clock } = components.world
  const kept = createRecent<Kept>(READS_KEPT_MAX)
  /** Of reads of the same tables: one runs, at most one waits. */
  const lines = new Map<string, Line>()

  async function read(key: string, names: readonly string[]): Promise<TableVersions> {
    // Asked first: what is committed meanwhile changes the mark, and the next query reads again.
    const mark = await catalog.changeMark()
    const atMs = clock.monotonicMs()
    const versions = await catalog.readTables(names)
    if (mark !== undefined) kept.set(key, { mark, atMs, versions })
    return versions
  }

  function joined(key: string, names: readonly string[]): Promise<TableVersions> {
    const line = lines.get(key) ?? { running: undefined, next: undefined }
    lines.set(key, line)
    if (line.next) return line.next
    const start = (): Promise<TableVersions> => {
      line.next = undefined
      const reading = read(key, names)
      const running = reading.then(
        () => {},
        () => {},
      )
      line.running = running
      void running.then(() => {
        if (line.running === running) line.running = undefined
        if (!line.running && !line.next) lines.delete(key)
      })
      return reading
    }
    if (!line.running) return start()
    const next = line.running.then(start)
    line.next = next
    return next
  }

  return {
    async readTables(names) {
      const key = JSON.stringify(names)
      const known = kept.get(key)
      if (known && (await catalog.changeMark()) === known.mark) return later(known, clock.monotonicMs())
      return joined(key, names)
    },
  }
}

/** The same versions, read now. */
function later({ versions, atMs }: Kept, nowMs: number): TableVersion[] {
  const passed = BigInt(Math.max(0, Math.round((nowMs - atMs) * 1000)))
  return versions.map((version) => ({ ...version, readAt: version.readAt + passed }))
}
