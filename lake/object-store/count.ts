/**
 * Counts what is asked of a store, for metrics and for tests that count requests and not only rows. A listing counts once
 * however many pages it takes; its objects are counted apart.
 */
import type { ObjectStore } from './object-store.ts'

export type StoreVerb = 'put' | 'get' | 'head' | 'list' | 'delete'

export type StoreCounts = {
  readonly [verb in StoreVerb]: { requests: number; failures: number }
} & {
  bytesRead: number
  bytesWritten: number
  objectsListed: number
  objectsDeleted: number
}

export type CountingObjectStore = ObjectStore & {
  /** Live: the figures go on counting. */
  readonly counts: StoreCounts
  reset(): void
}

export function countRequests(store: ObjectStore): CountingObjectStore {
  const counts: StoreCounts = {
    put: { requests: 0, failures: 0 },
    get: { requests: 0, failures: 0 },
    head: { requests: 0, failures: 0 },
    list: { requests: 0, failures: 0 },
    delete: { requests: 0, failures: 0 },
    bytesRead: 0,
    bytesWritten: 0,
    objectsListed: 0,
    objectsDeleted: 0,
  }

  async function counted<T>(verb: StoreVerb, work: () => Promise<T>): Promise<T> {
    counts[verb].requests++
    try {
      return await work()
    } catch (error) {
      counts[verb].failures++
      throw error
    }
  }

  return {
    root: store.root,
    counts,
    reset() {
      for (const verb of ['put', 'get', 'head', 'list', 'delete'] as const) {
        counts[verb].requests = 0
        counts[verb].failures = 0
      }
      counts.bytesRead = 0
      counts.bytesWritten = 0
      counts.objectsListed = 0
      counts.objectsDeleted = 0
    },
    async put(path, bytes, condition) {
      const info = await counted('put', () => store.put(path, bytes, condition))
      counts.bytesWritten += info.size
      return info
    },
    async putFile(path, localFile, condition) {
      const info = await counted('put', () => store.putFile(path, localFile, condition))
      counts.bytesWritten += info.size
      return info
    },
    async get(path, options) {
      const got = await counted('get', () => store.get(path, options))
      counts.bytesRead += got.bytes.byteLength
      return got
    },
    head: (path) => counted('head', () => store.head(path)),
    async *list(prefix) {
      counts.list.requests++
      try {
        for await (const info of store.list(prefix)) {
          counts.objectsListed++
          yield info
        }
      } catch (error) {
        counts.list.failures++
        throw error
      }
    },
    async delete(paths) {
      await counted('delete', () => store.delete(paths))
      counts.objectsDeleted += paths.length
    },
    close: () => store.close(),
  }
}
