/**
 * The bucket of a simulated world, and each process's door to it.
 *
 *   remote       requests travel: they may be lost, late, or arrive twice, whatever happens to the sender
 *   local disk   a put is steps of the process itself (staging file in parts, then a name, then the folder is synced); one
 *                that dies between leaves a torn staging file, which is no object; a power loss may take back a name that
 *                was not synced
 *
 * A listing comes in pages, each as the bucket is when the page is read, so a slow one shows several moments.
 */
import { compareKeys } from '../../lake/object-store/object-path.ts'
import type { ObjectInfo, ObjectStore, PutCondition } from '../../lake/object-store/object-store.ts'
import { retryRequests } from '../../lake/object-store/retry.ts'
import { fileMissing, preconditionFailed, storeUnavailable } from '../../lake/object-store/store-errors.ts'
import { request } from './requests.ts'
import { never, type SimulatedProcess } from './simulated-process.ts'
import type { Universe } from './universe.ts'

export const LAKE_ROOT = 's3://bucket/lake'
export const COLD_ROOT = 's3://bucket/lake/cold'

type StoredObject = { readonly info: ObjectInfo; readonly bytes: Uint8Array }

export type Bucket = {
  /** As it is at this moment, without any request: for checkers. */
  readonly direct: ObjectStore
  /** Names given on a local disk whose folder is not synced yet: what a power loss may take back. */
  readonly unsynced: Set<string>
  paths(): readonly string[]
  peek(path: string): Uint8Array | undefined
  put(path: string, bytes: Uint8Array, condition?: PutCondition): ObjectInfo
  remove(path: string): void
  page(prefix: string, after: string | undefined): readonly ObjectInfo[]
  /** Called for each object right before it is deleted. */
  onDelete(listener: (path: string) => void): void
}

const PAGE = 6

export function createBucket(universe: Universe): Bucket {
  const objects = new Map<string, StoredObject>()
  const listeners: ((path: string) => void)[] = []
  let lastEtag = 0

  function put(path: string, bytes: Uint8Array, condition: PutCondition = {}): ObjectInfo {
    const present = objects.get(path)
    if (condition.ifNoneMatch !== undefined && present) {
      universe.tally('store: 412')
      throw preconditionFailed(path, 'an object is there already')
    }
    if (condition.ifMatch !== undefined && present?.info.etag !== condition.ifMatch) {
      throw preconditionFailed(path, 'another etag')
    }
    lastEtag += 1
    const info = { path, size: bytes.length, etag: `"${lastEtag}"`, modifiedAt: universe.wallMicros() }
    objects.set(path, { info, bytes })
    return info
  }

  function remove(path: string): void {
    if (!objects.has(path)) return
    for (const listener of listeners) listener(path)
    objects.delete(path)
  }

  function page(prefix: string, after: string | undefined): readonly ObjectInfo[] {
    const found: ObjectInfo[] = []
    for (const [path, { info }] of objects) {
      if (path.startsWith(prefix) && (after === undefined || compareKeys(path, after) > 0)) found.push(info)
    }
    return found.sort((a, b) => compareKeys(a.path, b.path)).slice(0, PAGE)
  }

  function read(path: string, range?: { readonly start: number; readonly end: number }, ifMatch?: string) {
    const found = objects.get(path)
    if (!found) throw fileMissing(path)
    const { etag, size } = found.info
    if (ifMatch !== undefined && etag !== ifMatch) throw preconditionFailed(path, 'another etag')
    return { bytes: range ? found.bytes.subarray(range.start, range.end) : found.bytes, etag, objectSize: size }
  }

  const direct: ObjectStore = {
    root: LAKE_ROOT,
    put: async (path, bytes, condition) => put(path, bytes, condition),
    putFile: async () => {
      throw new Error('a simulated process has no files')
    },
    get: async (path, { range, ifMatch } = {}) => read(path, range, ifMatch),
    head: async (path) => objects.get(path)?.info,
    async *list(prefix) {
      let after: string | undefined
      for (;;) {
        const infos = page(prefix, after)
        if (infos.length === 0) return
        yield* infos
        after = infos.at(-1)?.path
      }
    },
    delete: async (paths) => paths.forEach(remove),
    close: async () => {},
  }
  return {
    direct,
    unsynced: new Set(),
    paths: () => [...objects.keys()].sort(compareKeys),
    peek: (path) => objects.get(path)?.bytes,
    put,
    remove,
    page,
    onDelete: (listener) => void listeners.push(listener),
  }
}

/** The store as one process has it: with the retries that every process of ours has. */
export function connectStore(universe: Universe, bucket: Bucket, process: SimulatedProcess): ObjectStore {
  const isLocal = universe.shape.store === 'local disk'
  const call = <T>(verb: string, path: string, work: () => Promise<T>) =>
    request(
      universe,
      process,
      {
        service: 'store',
        verb,
        detail: path,
        isInside: isLocal,
        unavailable: (why) => storeUnavailable(path, why),
      },
      work,
    )

  const door: ObjectStore = {
    root: bucket.direct.root,
    put: (path, bytes, condition) =>
      isLocal
        ? putInSteps(universe, bucket, process, path, bytes, condition)
        : call('put', path, () => bucket.direct.put(path, bytes, condition)),
    putFile: bucket.direct.putFile,
    get: (path, options) => call('get', path, () => bucket.direct.get(path, options)),
    head: (path) => call('head', path, () => bucket.direct.head(path)),
    async *list(prefix) {
      let after: string | undefined
      for (;;) {
        const from = after
        const infos = await call('list', `${prefix} after ${from ?? ''}`, async () => bucket.page(prefix, from))
        if (infos.length === 0) return
        yield* infos
        after = infos.at(-1)?.path
      }
    },
    delete: (paths) => call('delete', paths.join(' '), () => bucket.direct.delete(paths)),
    close: async () => {},
  }
  return retryRequests(door, process.world, { attemptsMax: 4, pauseMs: 20, pauseMsMax: 500 })
}

function putInSteps(
  universe: Universe,
  bucket: Bucket,
  process: SimulatedProcess,
  path: string,
  bytes: Uint8Array,
  condition: PutCondition | undefined,
): Promise<ObjectInfo> {
  if (!process.isAlive()) return never()
  const fate = universe.faults.fate()
  return new Promise((resolve, reject) => {
    const step = (what: string, run: () => void) => process.deliver(universe.latencyMs() / 2, `disk ${what}`, path, run)
    if (fate === 'refused' || fate === 'lost request') {
      step('is full', () => reject(storeUnavailable(path, 'no space on purpose')))
      return
    }
    step('writes half a staging file', () => {
      universe.tally('disk: half a staging file')
      step('writes and syncs the staging file', () => {
        step('gives the name', () => {
          let info: ObjectInfo
          try {
            info = bucket.put(path, bytes, condition)
          } catch (error) {
            reject(error)
            return
          }
          bucket.unsynced.add(path)
          step('syncs the folder', () => {
            bucket.unsynced.delete(path)
            if (fate === 'lost reply' || fate === 'late') reject(storeUnavailable(path, 'sync failed on purpose'))
            else resolve(info)
          })
        })
      })
    })
  })
}

/** The machine loses its power: names that no sync has made durable may be gone. All its processes are dead by now. */
export function losePower(universe: Universe, bucket: Bucket): void {
  for (const path of bucket.unsynced) {
    if (universe.scheduler.random.float() < 0.5) continue
    universe.tally('fault: unsynced name lost')
    bucket.remove(path)
  }
  bucket.unsynced.clear()
}
