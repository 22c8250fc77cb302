/**
 * A segment goes to a name that only this process hands out, each once: what is there already are the bytes of an attempt whose
 * answer was lost.
 */
import type { ObjectInfo, ObjectStore } from '../lake/object-store/object-store.ts'
import { isMillraceError } from '../schemas/errors.ts'

export async function putOwnFile(store: ObjectStore, path: string, bytes: Uint8Array): Promise<ObjectInfo> {
  try {
    return await store.put(path, bytes, { ifNoneMatch: '*' })
  } catch (error) {
    if (!isMillraceError(error, 'precondition-failed')) throw error
    const info = await store.head(path)
    if (info?.size !== bytes.length) throw error
    return info
  }
}
