/**
 * Tries again what a store could not serve (`store-unavailable`), a bounded number of times, with growing, jittered pauses.
 *
 * Safe as they are: get, head, list, delete, and a put without condition (the same bytes again). A listing goes on after
 * the last object it gave.
 *
 * A put with a condition may have happened although its answer was lost. From then on the object itself is asked before
 * anything is said: when it has our length and our bytes, it is ours. Else
 *   ifNoneMatch  nothing there: once more; something else there: `precondition-failed`
 *   ifMatch      still the old etag: once more; anything else: ours may have been there in between and been replaced, so
 *                the outcome stays unknown and the error stays `store-unavailable`: the caller looks for its commit id
 * Two writers that put the very same bytes cannot be told apart; who needs one winner puts something of their own in.
 */
import { open } from 'node:fs/promises'
import type { World } from '../../runtime/world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { compareKeys } from './object-path.ts'
import type { ObjectInfo, ObjectStore, PutCondition } from './object-store.ts'
import { preconditionFailed, storeUnavailable } from './store-errors.ts'

export type RetrySettings = {
  /** Tries in all. Default 6. */
  readonly attemptsMax?: number
  /** The first pause is up to this, each next up to twice as much. Default 50. */
  readonly pauseMs?: number
  /** Default 5,000. */
  readonly pauseMsMax?: number
}

const COMPARE_BYTES = 8 * 1024 * 1024

/** What was to be put, for comparing: reads [start, end). */
type Content = {
  readonly size: () => Promise<number>
  readonly read: (start: number, end: number) => Promise<Uint8Array>
}

export function retryRequests(
  store: ObjectStore,
  world: Pick<World, 'clock' | 'random' | 'log'>,
  settings: RetrySettings = {},
): ObjectStore {
  const attemptsMax = settings.attemptsMax ?? 6
  const pauseMs = settings.pauseMs ?? 50
  const pauseMsMax = settings.pauseMsMax ?? 5_000

  async function pause(attempt: number, signal?: AbortSignal): Promise<void> {
    const most = Math.min(pauseMsMax, pauseMs * 2 ** (attempt - 1))
    // At least half of it, so that a server in trouble gets its rest; the other half spreads the callers.
    await world.clock.sleep(most * (0.5 + world.random.float() / 2), signal)
  }

  async function again<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (!isMillraceError(error, 'store-unavailable') || attempt >= attemptsMax) throw error
        world.log.debug('object store request is tried again', { attempt, error: error.message })
        await pause(attempt, signal)
      }
    }
  }

  async function putOnCondition(
    path: string,
    condition: PutCondition,
    content: Content,
    work: () => Promise<ObjectInfo>,
  ): Promise<ObjectInfo> {
    let unknown: unknown
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        const lost = isMillraceError(error, 'store-unavailable')
        // A first refusal is an answer; one after a lost answer may be about our own object.
        const refused = isMillraceError(error, 'precondition-failed') && unknown !== undefined
        if (!lost && !refused) throw error
        if (lost) unknown = error
        // The last lost answer is looked into as well: the object may be there.
        if (lost) await pause(attempt)
        const found = await lookAfterUnknown(path, condition, content, unknown)
        if (found) return found
        if (attempt >= attemptsMax) throw lost ? error : unknown
      }
    }
  }

  /** Our object when it is there, undefined when it certainly is not and another try is right; throws otherwise. */
  async function lookAfterUnknown(
    path: string,
    condition: PutCondition,
    content: Content,
    unknown: unknown,
  ): Promise<ObjectInfo | undefined> {
    const present = await again(() => store.head(path))
    if (condition.ifMatch !== undefined && present?.etag === condition.ifMatch) return undefined
    if (present && (await hasContent(present, content))) return present
    if (condition.ifNoneMatch !== undefined) {
      if (!present) return undefined
      throw preconditionFailed(path, 'an object of somebody else is there', unknown)
    }
    throw storeUnavailable(
      path,
      'an answer was lost and the object is another one now, so the outcome is unknown',
      unknown,
    )
  }

  async function hasContent(present: ObjectInfo, content: Content): Promise<boolean> {
    const size = await content.size()
    if (present.size !== size) return false
    for (let start = 0; start < size; start += COMPARE_BYTES) {
      const end = Math.min(size, start + COMPARE_BYTES)
      const wanted = await content.read(start, end)
      try {
        const got = await again(() => store.get(present.path, { range: { start, end }, ifMatch: present.etag }))
        if (Buffer.compare(got.bytes, wanted) !== 0) return false
      } catch (error) {
        // Replaced or deleted while we looked: at this moment it is not ours.
        if (isMillraceError(error, 'precondition-failed') || isMillraceError(error, 'file-missing')) return false
        throw error
      }
    }
    return true
  }

  async function* list(prefix: string): AsyncIterable<ObjectInfo> {
    let last: string | undefined
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const info of store.list(prefix)) {
          if (last !== undefined && compareKeys(info.path, last) <= 0) continue
          last = info.path
          attempt = 1
          yield info
        }
        return
      } catch (error) {
        if (!isMillraceError(error, 'store-unavailable') || attempt >= attemptsMax) throw error
        await pause(attempt)
      }
    }
  }

  return {
    root: store.root,
    async put(path, bytes, condition) {
      const work = () => store.put(path, bytes, condition)
      if (!condition || !isConditional(condition)) return again(work)
      return putOnCondition(path, condition, contentOfBytes(bytes), work)
    },
    async putFile(path, localFile, condition) {
      const work = () => store.putFile(path, localFile, condition)
      if (!condition || !isConditional(condition)) return again(work)
      return putOnCondition(path, condition, contentOfFile(localFile), work)
    },
    get: (path, options) => again(() => store.get(path, options), options?.signal),
    head: (path) => again(() => store.head(path)),
    list,
    delete: (paths) => again(() => store.delete(paths)),
    close: () => store.close(),
  }
}

function isConditional(condition: PutCondition): boolean {
  return condition.ifNoneMatch !== undefined || condition.ifMatch !== undefined
}

function contentOfBytes(bytes: Uint8Array): Content {
  return { size: async () => bytes.byteLength, read: async (start, end) => bytes.subarray(start, end) }
}

function contentOfFile(localFile: string): Content {
  async function withFile<T>(work: (handle: Awaited<ReturnType<typeof open>>) => Promise<T>): Promise<T> {
    const handle = await open(localFile, 'r')
    try {
      return await work(handle)
    } finally {
      await handle.close()
    }
  }
  return {
    size: () => withFile(async (handle) => (await handle.stat()).size),
    read: (start, end) =>
      withFile(async (handle) => {
        const bytes = new Uint8Array(end - start)
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start)
        return bytes.subarray(0, bytesRead)
      }),
  }
}
