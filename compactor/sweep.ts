/**
 * Garbage: bytes that no version and no reader can need any more. Two kinds, two proofs (PROTOCOL 6).
 *
 *   dead files     The catalog's tombstones: removed before every reader's oldest version, and long enough ago for
 *                  foreign readers. Bytes first, then the tombstone: if we stop between, a restart deletes a file that
 *                  is gone, which is no error.
 *   orphan files   Files of a writer that died before its commit. The writer is fenced first: after that no commit of
 *                  its can land, so what the listing shows and nothing refers to is garbage for ever. Age proves
 *                  nothing. Order matters: fence, list, then read what is referred to.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Catalog, Table } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { World } from '../runtime/world.ts'

export type SweepSettings = {
  readonly snapshotMinAgeMs: number
  readonly writerSilentMs: number
  readonly readerSilentMs: number
}

export type SweepReport = { readonly deadFiles: number; readonly orphanFiles: number }

const DEAD_FILES_AT_ONCE = 500

export function createSweep(components: {
  catalog: Catalog
  store: ObjectStore
  world: World
  settings: SweepSettings
  /** Where files of the table may lie: its location, and its folder in the cold store. */
  locations(table: Table): readonly string[]
  /** Data files, manifests, lists, checkpoints and metadata that the metadata at this place refers to, itself included. */
  reachablePaths(metadataLocation: string): Promise<ReadonlySet<string>>
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

  async function deleteOrphans(table: Table, fenced: readonly string[]): Promise<number> {
    const candidates: string[] = []
    for (const location of components.locations(table)) {
      for await (const { path } of store.list(`${location}/`)) {
        if (fenced.some((writerId) => path.includes(writerId))) candidates.push(path)
      }
    }
    if (candidates.length === 0) return 0
    const current = await catalog.getTable(table.tableId)
    const known = await catalog.knownPaths(table.tableId)
    const reachable = current.metadataLocation
      ? await components.reachablePaths(current.metadataLocation)
      : new Set<string>()
    const orphans = candidates.filter((path) => !known.has(path) && !reachable.has(path))
    if (orphans.length === 0) return 0
    world.crashPoint('sweep/before-orphans')
    await store.delete(orphans)
    world.log.info('orphan files deleted', { table: table.name, files: orphans.length })
    return orphans.length
  }

  return async () => {
    await catalog.expireReaders(settings.readerSilentMs)
    const fenced = await catalog.fenceSilentWriters(settings.writerSilentMs)
    const deadFiles = await deleteDeadFiles()
    let orphanFiles = 0
    if (fenced.length > 0) {
      for (const table of await catalog.listTables()) orphanFiles += await deleteOrphans(table, fenced)
    }
    await catalog.expireRows()
    return { deadFiles, orphanFiles }
  }
}

/** Work folders of compactors on this machine that died: their names are writer ids. */
export async function removeDeadWorkFolders(root: string, catalog: Catalog): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    if ((await catalog.writerState(name)) !== 'live') await rm(join(root, name), { recursive: true, force: true })
  }
}
