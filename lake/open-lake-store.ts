/**
 * The object store of a process: `lake.root`, and `storage.cold` beside it where that is set. With a health, each of them
 * is a component of it: degraded while it cannot be reached. Who writes into a bucket may leave copies of new files for the
 * query service of the same machine.
 */
import { join } from 'node:path'
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import type { Settings } from '../schemas/settings.ts'
import { S3_SCHEME } from './object-store/object-path.ts'
import type { ObjectStore } from './object-store/object-store.ts'
import { openObjectStore } from './object-store/open.ts'
import { createRoutedObjectStore } from './object-store/router.ts'
import { watchStore } from './object-store/watch.ts'
import { keepCopies } from './range-cache/copies.ts'

export function openLakeStore(
  settings: Pick<Settings, 'lake' | 'storage'>,
  world: World,
  health?: Health,
): ObjectStore {
  function open(root: string): ObjectStore {
    const store = openObjectStore({ root, s3: settings.storage.s3, world })
    if (!health) return store
    const component = health.component(`store ${root}`)
    return watchStore(store, {
      world,
      trouble: (reason) => (reason === undefined ? component.healthy() : component.degraded(reason)),
    })
  }

  const lake = open(settings.lake.root)
  const { cold } = settings.storage
  if (cold === undefined) return lake
  return createRoutedObjectStore({ stores: [lake, open(cold)] })
}

/** For ingest and compactor. */
export function openWritersStore(
  settings: Pick<Settings, 'lake' | 'storage' | 'query'>,
  world: World,
  health?: Health,
): ObjectStore {
  const store = openLakeStore(settings, world, health)
  const bytesMax = settings.storage.copiesBytes
  if (!(bytesMax > 0) || !settings.lake.root.startsWith(S3_SCHEME)) return store
  return keepCopies(store, { folder: copiesFolder(settings), bytesMax, world })
}

export function copiesFolder({ query }: Pick<Settings, 'query'>): string {
  return join(query.cache.folder, 'incoming')
}
