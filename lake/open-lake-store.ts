/**
 * The object store of a process: `lake.root`, and `storage.cold` beside it where that is set.
 */
import type { World } from '../runtime/world.ts'
import type { Settings } from '../schemas/settings.ts'
import type { ObjectStore } from './object-store/object-store.ts'
import { openObjectStore } from './object-store/open.ts'
import { createRoutedObjectStore } from './object-store/router.ts'

export function openLakeStore(settings: Pick<Settings, 'lake' | 'storage'>, world: World): ObjectStore {
  const s3 = settings.storage.s3
  const lake = openObjectStore({ root: settings.lake.root, s3, world })
  const { cold } = settings.storage
  if (cold === undefined) return lake
  return createRoutedObjectStore({ stores: [lake, openObjectStore({ root: cold, s3, world })] })
}
