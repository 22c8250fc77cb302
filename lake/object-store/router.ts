/**
 * One store over several roots (the lake's own and `storage.cold`): each path goes to the store with the longest root that
 * holds it. A listing is about one root; a deletion is shared out.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { ObjectStore } from './object-store.ts'

export type RoutedObjectStoreOptions = {
  /** The first one gives the root that new things are put under. */
  readonly stores: readonly [ObjectStore, ...ObjectStore[]]
}

export function createRoutedObjectStore({ stores }: RoutedObjectStoreOptions): ObjectStore {
  const longestFirst = stores.toSorted((left, right) => right.root.length - left.root.length)
  const roots = longestFirst.map((store) => store.root)
  if (new Set(roots).size !== roots.length) {
    throw new MillraceError('settings-invalid', `a root is named twice: ${roots.join(', ')}`, { facts: { roots } })
  }

  function storeOf(path: string): ObjectStore {
    const store = longestFirst.find(({ root }) => path === root || path.startsWith(`${root}/`))
    if (store) return store
    throw new MillraceError('request-invalid', `path ${path} is under none of the roots ${roots.join(', ')}`, {
      facts: { path, roots },
    })
  }

  return {
    root: stores[0].root,
    put: async (path, bytes, condition) => storeOf(path).put(path, bytes, condition),
    putFile: async (path, localFile, condition) => storeOf(path).putFile(path, localFile, condition),
    get: async (path, options) => storeOf(path).get(path, options),
    head: async (path) => storeOf(path).head(path),
    async *list(prefix) {
      yield* storeOf(prefix).list(prefix)
    },
    async delete(paths) {
      const byStore = Map.groupBy(paths, storeOf)
      for (const [store, own] of byStore) await store.delete(own)
    },
    async close() {
      await Promise.all(stores.map((store) => store.close()))
    },
  }
}
