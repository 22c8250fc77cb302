/**
 * The reader row of this process (PROTOCOL 6): the oldest version of each table that a running query, or a rewrite of the
 * compactor, still reads. Garbage collection leaves everything that this version needs.
 *
 *   hold      before files are opened: when the row already names a version that old, nothing is written; else the row
 *             is, and only then may files be opened
 *   refresh   from time to time: forward to what is still read, and a sign of life
 *
 * If we stop here, the row stays until readers that are silent for long are forgotten; it only delays garbage. The row of a
 * writer goes when the writer is fenced: whatever it still reads, nothing of it can be committed.
 */

import type { World } from '../runtime/world.ts'
import type { Catalog, TableVersion, Writer } from './catalog/catalog.ts'

export type ReaderRow = {
  /** Resolves to what lets the versions go. */
  hold(versions: readonly TableVersion[]): Promise<() => void>
  /**
   * Does the row, as it was written, keep these versions already? If it did before they were read, nothing that they need
   * was ever without it.
   */
  covers(versions: readonly TableVersion[]): boolean
  refresh(): Promise<void>
  close(): Promise<void>
}

/** Of a writer that reads what it rewrites. */
export function readerIdOf(writerId: string): string {
  return `compactor-${writerId}`
}

export function createReaderRow(components: {
  catalog: Catalog
  world: World
  /** Who reads, for people who look at the rows. */
  service: 'query' | 'compactor' | 'ingest'
  /** Of a compactor: its row goes when it is fenced. */
  writer?: Writer
}): ReaderRow {
  const { catalog, world, service, writer } = components
  const firstId = writer ? readerIdOf(writer.writerId) : `${service}-${world.random.uuid()}`
  const held = new Set<readonly TableVersion[]>()
  let readerId = firstId
  let names = 1
  let written: ReadonlyMap<number, bigint> = new Map()
  /** The row that is on its way: it may stand already, and it may not yet. */
  let underWay: ReadonlyMap<number, bigint> | undefined
  /** Writes one after the other: the row is replaced as a whole. */
  let writing: Promise<void> = Promise.resolve()
  let closed = false

  function oldest(): Map<number, bigint> {
    const versions = new Map<number, bigint>()
    for (const tables of held) {
      for (const { table, version } of tables) {
        const known = versions.get(table.tableId)
        if (known === undefined || version < known) versions.set(table.tableId, version)
      }
    }
    return versions
  }

  function covers(versions: readonly TableVersion[]): boolean {
    const rows = underWay ? [written, underWay] : [written]
    return versions.every(({ table, version }) =>
      rows.every((row) => {
        const oldest = row.get(table.tableId)
        return oldest !== undefined && oldest <= version
      }),
    )
  }

  /**
   * A write without an answer may still land, after later ones, and would take back what they said. So the row gets another
   * name; the one left behind only delays garbage until it has been silent for long.
   */
  function leaveRowBehind(): void {
    names += 1
    readerId = `${firstId}.${names}`
    written = new Map()
  }

  function write(isNeeded: () => boolean): Promise<void> {
    const next = writing.then(async () => {
      if (closed || !isNeeded()) return
      const row = oldest()
      underWay = row
      try {
        await catalog.setReader(readerId, row)
        written = row
      } catch (error) {
        leaveRowBehind()
        throw error
      } finally {
        underWay = undefined
      }
    })
    writing = next.catch(() => {})
    return next
  }

  return {
    async hold(versions) {
      if (versions.length === 0) return () => {}
      held.add(versions)
      try {
        if (!covers(versions)) await write(() => !covers(versions))
      } catch (error) {
        held.delete(versions)
        throw error
      }
      return () => held.delete(versions)
    },
    covers,
    refresh: () => write(() => written.size > 0 || held.size > 0),
    async close() {
      closed = true
      await writing
      await catalog.dropReader(readerId)
    },
  }
}
