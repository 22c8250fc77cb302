/**
 * The object store of a process: `lake.root`, and `storage.cold` beside it where that is set. With a health, each of them
 * is a component of it: degraded while it cannot be reached.
 */
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import type { Settings } from '../schemas/settings.ts'
import type { ObjectStore } from './object-store/object-store.ts'
import { openObjectStore } from './object-store/open.ts'
import { createRoutedObjectStore } from './object-store/router.ts'
import { watchStore } from './object-store/watch.ts'

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
