/**
 * Garbage: bytes that no version and no reader can need any more. Two kinds, two proofs (PROTOCOL 6).
 *
 *   dead files     The catalog's tombstones: removed before every reader's oldest version, and long enough ago for
 *                  foreign readers. Bytes first, then the tombstone: if we stop between, a restart deletes a file that
 *                  is gone, which is no error.
 *   orphan files   Files of a writer that died before its commit. The writer is fenced first: after that no commit of
 *                  its can land, so what the listing shows and nothing refers to is garbage for ever. Age proves
 *                  nothing. Order matters: fence, list, then read what is referred to.
 *
 * A listing costs a request per thousand files of every table, so it is made only when a fenced writer may have left files: at
 * once, and, because one that was frozen may still write for a moment, again after 1, 2, 4, … sweeps without a find.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Catalog, Table } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { readerIdOf } from '../lake/reader-row.ts'
import { isOfWriter } from '../lake/writer-files.ts'
import type { World } from '../runtime/world.ts'

export type SweepSettings = {
  readonly snapshotMinAgeMs: number
  readonly writerSilentMs: number
  readonly readerSilentMs: number
}

export type SweepReport = { readonly deadFiles: number; readonly orphanFiles: number }

const DEAD_FILES_AT_ONCE = 500
/** A century: only those that said goodbye. */
const NEVER_MS = 100 * 365 * 24 * 3_600_000
/** About a day at the default interval. */
const SWEEPS_BETWEEN_LISTINGS_MAX = 256

export function createSweep(components: {
  catalog: Catalog
  store: ObjectStore
  world: World
  settings: SweepSettings
  /** Where files of the table may lie: its location, and its folder in the cold store. */
  locations(table: Table): readonly string[]
  /** Data files, manifests, lists, checkpoints and metadata that the metadata at this place refers to, itself included. */
  reachablePaths(metadataLocation: string): Promise<ReadonlySet<string>>
  /**
   * Whether silence says something. After a catalog was away everybody was silent, and those that live need the time
   * for a sign of life. Default: always.
   */
  mayFence?(): boolean
}): () => Promise<SweepReport> {
  const { catalog, store, world, settings } = components

  async function deleteDeadFiles(): Promise<number> {
    let deleted = 0
    for (;;) {
      const dead = await catalog.deadFiles(settings.snapshotMinAgeMs, DEAD_FILES_AT_ONCE)
      if (dead.length === 0) return deleted
      await store.delete(dead.map(({ path }) => path))
      world.crashPoint('sweep/after-dead-files')
      await catalog.forgetFiles(dead.map(({ tombstoneId }) => tombstoneId))
      deleted += dead.length
    }
  }

  /** Sweeps still to pass before a fenced writer's files are looked for again, and how many that were last time. */
  const lookedFor = new Map<string, { left: number; wait: number }>()

  /** Their rows go: whatever they still read, nothing of it can be committed. */
  async function dropReadersOf(fenced: readonly string[]): Promise<void> {
    for (const writerId of fenced) if (!lookedFor.has(writerId)) await catalog.dropReader(readerIdOf(writerId))
  }

  async function deleteOrphans(fenced: readonly string[]): Promise<number> {
    const isDue = fenced.some((writerId) => (lookedFor.get(writerId)?.left ?? 0) <= 0)
    const found: string[] = []
    if (isDue) for (const table of await catalog.listTables()) found.push(...(await deleteOrphansOf(table, fenced)))
    for (const writerId of fenced) {
      const known = lookedFor.get(writerId)
      const wait = !isDue
        ? (known?.wait ?? 0)
        : found.some((path) => isOfWriter(path, writerId))
          ? 0
          : nextWait(known?.wait)
      lookedFor.set(writerId, { wait, left: isDue ? wait : (known?.left ?? 0) - 1 })
    }
    const stillFenced = new Set(fenced)
    for (const writerId of lookedFor.keys()) if (!stillFenced.has(writerId)) lookedFor.delete(writerId)
    return found.length
  }

  async function deleteOrphansOf(table: Table, fenced: readonly string[]): Promise<readonly string[]> {
    const candidates: string[] = []
    for (const location of components.locations(table)) {
      for await (const { path } of store.list(`${location}/`)) {
        if (fenced.some((writerId) => isOfWriter(path, writerId))) candidates.push(path)
      }
    }
    if (candidates.length === 0) return []
    const current = await catalog.getTable(table.tableId)
    const known = await catalog.knownPaths(table.tableId)
    const reachable = current.metadataLocation
      ? await components.reachablePaths(current.metadataLocation)
      : new Set<string>()
    const orphans = candidates.filter((path) => !known.has(path) && !reachable.has(path))
    if (orphans.length === 0) return []
    world.crashPoint('sweep/before-orphans')
    await store.delete(orphans)
    world.log.info('orphan files deleted', { table: table.name, files: orphans.length })
    return orphans
  }

  return async () => {
    const silenceCounts = components.mayFence?.() ?? true
    if (silenceCounts) await catalog.expireReaders(settings.readerSilentMs)
    const fenced = await catalog.fenceSilentWriters(silenceCounts ? settings.writerSilentMs : NEVER_MS)
    await dropReadersOf(fenced)
    const deadFiles = await deleteDeadFiles()
    const orphanFiles = await deleteOrphans(fenced)
    await catalog.expireRows()
    return { deadFiles, orphanFiles }
  }
}

/** 1, 2, 4, … sweeps. */
function nextWait(wait: number | undefined): number {
  return wait === undefined || wait === 0 ? 1 : Math.min(SWEEPS_BETWEEN_LISTINGS_MAX, wait * 2)
}

/** Work folders of compactors on this machine that died: their names are writer ids. */
export async function removeDeadWorkFolders(root: string, catalog: Catalog): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    if ((await catalog.writerState(name)) !== 'live') await rm(join(root, name), { recursive: true, force: true })
  }
}
