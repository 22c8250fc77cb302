/**
 * Tells whether a store can be reached: by what every request brings, and where nothing was asked for a while, by a small
 * request of its own. A process that is idle notices an outage, and notices its end without anybody asking it anything.
 *
 *   a request fails with `store-unavailable` ─▶ trouble(reason) ─▶ asked every `awayMs` ─▶ any answer ─▶ trouble(undefined)
 *
 * Any other error is an answer: the store is there. Cost: one HEAD each `idleMs` of silence (8,640 a day), none for local
 * folders.
 */
import type { World } from '../../runtime/world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { FILE_SCHEME } from './object-path.ts'
import type { ObjectStore } from './object-store.ts'

const IDLE_MS = 10_000
const AWAY_MS = 1_000
/** Never written: the answer "there is none" is as good as any. */
const PROBE_NAME = '.millrace-probe'

export function watchStore(
  store: ObjectStore,
  components: {
    readonly world: Pick<World, 'clock'>
    /** Called when it changes: a reason, or undefined when the store answers again. */
    readonly trouble: (reason: string | undefined) => void
    readonly idleMs?: number
    readonly awayMs?: number
  },
): ObjectStore {
  const { world, trouble, idleMs = IDLE_MS, awayMs = AWAY_MS } = components
  const closing = new AbortController()
  let isAway = false
  let answeredMs = world.clock.monotonicMs()

  function answered(): void {
    answeredMs = world.clock.monotonicMs()
    if (!isAway) return
    isAway = false
    trouble(undefined)
  }

  function failed(error: unknown): void {
    if (!isMillraceError(error, 'store-unavailable')) {
      answered()
      return
    }
    isAway = true
    trouble(error.message)
  }

  async function watched<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      const value = await work()
      answered()
      return value
    } catch (error) {
      // A caller that gave up says nothing about the store.
      if (!signal?.aborted) failed(error)
      throw error
    }
  }

  async function probe(): Promise<void> {
    while (!closing.signal.aborted) {
      await world.clock.sleep(isAway ? awayMs : idleMs, closing.signal).catch(() => {})
      if (closing.signal.aborted) return
      if (!isAway && world.clock.monotonicMs() - answeredMs < idleMs) continue
      await watched(() => store.head(`${store.root}/${PROBE_NAME}`), closing.signal).catch(() => {})
    }
  }

  const probing = store.root.startsWith(FILE_SCHEME) ? undefined : probe()
  return {
    root: store.root,
    put: (path, bytes, condition) => watched(() => store.put(path, bytes, condition)),
    putFile: (path, localFile, condition) => watched(() => store.putFile(path, localFile, condition)),
    get: (path, options) => watched(() => store.get(path, options), options?.signal),
    head: (path) => watched(() => store.head(path)),
    async *list(prefix) {
      try {
        for await (const info of store.list(prefix)) {
          answered()
          yield info
        }
        answered()
      } catch (error) {
        failed(error)
        throw error
      }
    },
    delete: (paths) => watched(() => store.delete(paths)),
    async close() {
      closing.abort()
      await store.close()
      await probing
    },
  }
}
