/**
 * A segment goes to a name that only this process hands out, each once: what is there already are the bytes of an attempt whose
 * answer was lost.
 */
import type { ObjectInfo, ObjectStore } from '../lake/object-store/object-store.ts'
import { isMillraceError } from '../schemas/errors.ts'

type Content = Uint8Array | { readonly localFile: string; readonly size: number }

export async function putOwnFile(store: ObjectStore, path: string, content: Content): Promise<ObjectInfo> {
  const size = 'localFile' in content ? content.size : content.length
  try {
    return 'localFile' in content
      ? await store.putFile(path, content.localFile, { ifNoneMatch: '*' })
      : await store.put(path, content, { ifNoneMatch: '*' })
  } catch (error) {
    if (!isMillraceError(error, 'precondition-failed')) throw error
    const info = await store.head(path)
    if (info?.size !== size) throw error
    return info
  }
}
