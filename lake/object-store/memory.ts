/**
 * A store in memory, for tests: the same answers and errors as the others, nothing kept. Etags are counted up, so a
 * rewrite with the same bytes is another object, as on a file system.
 */
import { readFile } from 'node:fs/promises'
import type { World } from '../../runtime/world.ts'
import { checkRange, cutRange } from './byte-range.ts'
import { compareKeys, keyOf, keyPrefixOf, trimTrailingSlashes } from './object-path.ts'
import type { ObjectInfo, ObjectStore, PutCondition } from './object-store.ts'
import { checkCondition, fileMissing, preconditionFailed, sourceMissing } from './store-errors.ts'

export type MemoryObjectStoreOptions = {
  /** Any scheme: tests may play `s3://bucket/lake` here. */
  readonly root: string
  readonly world: Pick<World, 'clock'>
}

type MemoryObject = { readonly info: ObjectInfo; readonly bytes: Uint8Array }

export function createMemoryObjectStore(options: MemoryObjectStoreOptions): ObjectStore {
  const root = trimTrailingSlashes(options.root)
  const objects = new Map<string, MemoryObject>()
  let lastEtag = 0

  async function put(path: string, bytes: Uint8Array, condition: PutCondition = {}): Promise<ObjectInfo> {
    const key = keyOf(root, path)
    checkCondition(path, condition)
    const present = objects.get(key)
    if (condition.ifNoneMatch !== undefined && present) throw preconditionFailed(path, 'an object is there already')
    if (condition.ifMatch !== undefined && present?.info.etag !== condition.ifMatch) {
      throw preconditionFailed(path, `its etag is ${present?.info.etag ?? 'none'}, expected ${condition.ifMatch}`)
    }
    lastEtag++
    const modifiedAt = options.world.clock.nowMicros()
    const info: ObjectInfo = { path, size: bytes.byteLength, etag: `"${lastEtag}"`, modifiedAt }
    objects.set(key, { info, bytes: bytes.slice() })
    return info
  }

  return {
    root,
    put,
    async putFile(path, localFile, condition) {
      const bytes = await readFile(localFile).catch((cause: NodeJS.ErrnoException) => {
        throw cause.code === 'ENOENT' ? sourceMissing(path, localFile, cause) : cause
      })
      return put(path, bytes, condition)
    },
    async get(path, { range, ifMatch, signal } = {}) {
      const key = keyOf(root, path)
      signal?.throwIfAborted()
      if (range) checkRange(path, range)
      const found = objects.get(key)
      if (!found) throw fileMissing(path)
      const { etag, size } = found.info
      if (ifMatch !== undefined && etag !== ifMatch) {
        throw preconditionFailed(path, `its etag is ${etag}, expected ${ifMatch}`)
      }
      if (!range) return { bytes: found.bytes.slice(), etag, objectSize: size }
      const { start, end } = cutRange(path, range, size)
      return { bytes: found.bytes.slice(start, end), etag, objectSize: size }
    },
    async head(path) {
      return objects.get(keyOf(root, path))?.info
    },
    async *list(prefix) {
      const start = keyPrefixOf(root, prefix)
      const keys = [...objects.keys()].filter((key) => key.startsWith(start))
      for (const key of keys.sort(compareKeys)) {
        const found = objects.get(key)
        if (found) yield found.info
      }
    },
    async delete(paths) {
      for (const key of paths.map((path) => keyOf(root, path))) objects.delete(key)
    },
    async close() {
      objects.clear()
    },
  }
}
