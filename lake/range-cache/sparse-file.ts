/**
 * One generation of one object on NVMe: `<generation>.data`, sparse and as long as the object, and `<generation>.index`.
 *
 * `fill` brings ranges in. A range is in one of four states: absent, on its way (`flights`: whoever needs it waits),
 * proposed (in an older process's index; compared with its checksum before its first use), published. It is published
 * after its bytes are written, and it never changes again; so a reader who waits for `fill` reads the object's bytes.
 *
 * The next process learns of a range from the index, whose line is appended after an fsync. Both are for that process alone:
 * a reader does not wait for the disk, and a process that dies before them has fetched a range in vain.
 *
 * A flight belongs to all who wait for it: it is stopped only when the last of them has gone.
 *
 * Published bytes are trusted as long as nobody else writes to the file: when its inode, length or times are not those of our
 * own last write, or the engine could not read it, all its ranges are only proposed again.
 */
import { appendFile, type FileHandle, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { ByteRange, ObjectStore } from '../object-store/object-store.ts'
import { mergeRanges, subtractRanges, totalBytes } from '../parquet/ranges.ts'
import type { Limiter } from './limiter.ts'
import { formatHead, formatRange, type IndexedRange } from './side-index.ts'
import type { Space } from './space.ts'
import { createGroupSync, openSparse, readAt, statOf, writeAt } from './sparse-io.ts'

export type SparseFileParts = {
  readonly folder: string
  readonly store: ObjectStore
  readonly world: World
  readonly limiter: Limiter
  readonly space: Space
  readonly counters: { requests: number; fetchedBytes: number; damagedRanges: number }
}

export type FillCost = { readonly fetchedBytes: number; readonly requests: number }

export type SparseFile = {
  readonly path: string
  readonly localFile: string
  /** As recorded, or as the first GET answered. */
  readonly etag: string | undefined
  readonly pins: number
  /** Retired, and nothing of it is left to do. */
  readonly isGone: boolean
  /** Bytes it takes of the cache's space. */
  readonly storedBytes: number
  /** GETs that brought them. */
  readonly storedRequests: number
  isFor(size: number, etag: string | undefined): boolean
  /** What a caller insists on, for a file that does not know its etag yet. */
  adopt(etag: string): void
  pin(): void
  unpin(): void
  /** The ranges hold the object's bytes when it resolves. Only on a pinned file. */
  fill(ranges: readonly ByteRange[], signal: AbortSignal | undefined): Promise<FillCost>
  /** Bytes of these ranges that nobody has brought, nor is bringing. */
  missingBytes(ranges: readonly ByteRange[]): number
  /** Bytes that `fill` brought. */
  read(range: ByteRange): Promise<Uint8Array>
  /** Compare everything with its checksum before the next use. */
  distrust(): void
  /** No new use; the bytes go once no pin is left. */
  retire(): void
  /** At once, for a file that nobody holds and that takes no space. */
  remove(): Promise<void>
  close(): Promise<void>
}

type Flight = ByteRange & { readonly done: Promise<void>; readonly stop: AbortController; waiters: number }

type SparseFileStart = {
  readonly path: string
  readonly size: number
  readonly etag: string | undefined
  readonly generation: number
  /** From an older process's index. */
  readonly proposed?: readonly IndexedRange[]
  /** Of the whole object, as recorded. */
  readonly checksum?: string | undefined
  /** The object may have another etag than the recorded one: its bytes are compared with the checksum instead. */
  readonly isCopy?: boolean
}

/** Longer ranges come in several GETs side by side. */
const GET_BYTES_MAX = 16 << 20
/** A body that is shorter than its own head says is a matter of the way here. */
const SHORT_BODIES_MAX = 2
/** The index file's time tells a restart what was used last. */
const TOUCH_MICROS = 60_000_000n

export function createSparseFile(parts: SparseFileParts, start: SparseFileStart): SparseFile {
  const { store, limiter, space, counters } = parts
  const { path, size } = start
  const localFile = join(parts.folder, `${start.generation}.data`)
  const indexFile = join(parts.folder, `${start.generation}.index`)
  let etag = start.etag
  /** What GETs insist on. */
  let objectEtag = start.isCopy ? undefined : start.etag
  let pins = 0
  let touchedAt = 0n
  let writing = 0
  let stamp: string | undefined
  let storedBytes = totalBytes(mergeRanges(start.proposed ?? []))
  let isRetired = false
  let isGone = false
  let hasHead = start.proposed !== undefined
  let proposed = start.proposed ?? []
  /** Those of the index that hold; merged: `published`. */
  let trusted: IndexedRange[] = []
  let published: ByteRange[] = []
  let flights: Flight[] = []
  /** On their way to the disk and into the index. */
  const keeping = new Set<Promise<void>>()
  let opening: Promise<FileHandle> | undefined
  let verifying: Promise<void> = Promise.resolve()
  let appending: Promise<void> = Promise.resolve()
  let removing: Promise<void> = Promise.resolve()
  const sync = createGroupSync(async () => (await handle()).datasync())

  function handle(): Promise<FileHandle> {
    if (opening === undefined) {
      const started = openSparse(localFile, size, trusted.length + proposed.length > 0)
      opening = started
      started.catch(() => {
        if (opening === started) opening = undefined
      })
    }
    return opening
  }

  async function closeHandle(): Promise<void> {
    const open = opening
    opening = undefined
    if (open === undefined) return
    try {
      await (await open).close()
    } catch (error) {
      parts.world.log.warn('could not close a cache file', { localFile, error: String(error) })
    }
  }

  async function fill(ranges: readonly ByteRange[], signal: AbortSignal | undefined): Promise<FillCost> {
    const wanted = mergeRanges(ranges)
    const cost = { fetchedBytes: 0, requests: 0 }
    for (;;) {
      signal?.throwIfAborted()
      await expectUntouched()
      await verified(wanted)
      const missing = subtractRanges(wanted, published)
      if (missing.length === 0) return cost
      const flying = mergeRanges(flights)
      const started = launch(subtractRanges(missing, flying))
      for (const flight of started) cost.fetchedBytes += flight.end - flight.start
      cost.requests += started.length
      // Somebody else's flight may fail for a reason of its own; the next round then starts ours.
      const foreign = flights.filter((flight) => !started.includes(flight) && missing.some((gap) => meets(gap, flight)))
      await waitFor([...started, ...foreign], new Set(started), signal)
    }
  }

  /** Space first, for all of them together. */
  function launch(ranges: readonly ByteRange[]): Flight[] {
    if (ranges.length === 0) return []
    const bytes = totalBytes(ranges)
    space.reserve(bytes)
    storedBytes += bytes
    const started = ranges.flatMap(cutRange).map((range): Flight => {
      const stop = new AbortController()
      const done = fetchRange(range, stop.signal)
      const flight: Flight = { ...range, stop, waiters: 0, done }
      done
        .catch(() => {
          storedBytes -= range.end - range.start
          space.giveBack(range.end - range.start)
        })
        .finally(() => {
          flights = flights.filter((each) => each !== flight)
          dropIfDone()
        })
      return flight
    })
    flights = [...flights, ...started]
    return started
  }

  async function waitFor(waited: readonly Flight[], own: ReadonlySet<Flight>, signal: AbortSignal | undefined) {
    for (const flight of waited) flight.waiters++
    const left = Promise.withResolvers<never>()
    const leave = () => left.reject(signal?.reason)
    signal?.addEventListener('abort', leave, { once: true })
    const all = waited.map(async (flight) => {
      try {
        await flight.done
      } catch (error) {
        if (own.has(flight) || !isAbort(error)) throw error
      }
    })
    try {
      await Promise.race([Promise.all(all), left.promise])
    } finally {
      signal?.removeEventListener('abort', leave)
      for (const flight of waited) {
        flight.waiters--
        if (flight.waiters === 0) flight.stop.abort()
      }
    }
  }

  /** One GET: written before anybody reads it, fsynced before the index names it. */
  async function fetchRange(range: ByteRange, signal: AbortSignal): Promise<void> {
    const bytes = await limiter(() => getRange(range, signal))
    const checksum = crc32c(bytes)
    if (range.end - range.start === size) checkWhole(checksum)
    counters.fetchedBytes += bytes.length
    await expectUntouched()
    writing++
    try {
      await writeAt(await handle(), bytes, range.start)
    } finally {
      writing--
      if (writing === 0) stamp = statOf(localFile)?.stamp
    }
    trust({ ...range, checksum })
    keepOnDisk({ ...range, checksum })
  }

  /** For the next process: on disk before the index names it. Nobody waits for it, a failing disk only is noticed. */
  function keepOnDisk(range: IndexedRange): void {
    const done = sync()
      .then(() => append(range))
      .catch((error: unknown) => {
        if (isRetired) return
        parts.world.log.warn('a cached range could not be kept; it is compared with its checksum before its next use', {
          path,
          ...range,
          error: String(error),
        })
        distrust()
      })
      .finally(() => {
        keeping.delete(done)
        dropIfDone()
      })
    keeping.add(done)
  }

  async function getRange(range: ByteRange, signal: AbortSignal): Promise<Uint8Array> {
    for (let short = 0; ; short++) {
      signal.throwIfAborted()
      counters.requests++
      const got = await store.get(path, { range, ifMatch: objectEtag, signal }).catch((error: unknown) => {
        // The range lies inside the recorded size: an object that ends before it was cut short.
        if (!isMillraceError(error, 'request-invalid')) throw error
        throw damaged(`${path} is shorter than the recorded ${size} bytes`, error)
      })
      if (objectEtag !== undefined && got.etag !== objectEtag) {
        throw new MillraceError('precondition-failed', `${path} has the etag ${got.etag}, expected ${objectEtag}`)
      }
      if (got.objectSize !== size) throw damaged(`${path} has ${got.objectSize} bytes where ${size} are recorded`)
      if (got.bytes.length !== range.end - range.start) {
        if (short < SHORT_BODIES_MAX) continue
        throw damaged(
          `${path}: asked for ${range.end - range.start} bytes from ${range.start}, got ${got.bytes.length}`,
        )
      }
      objectEtag ??= got.etag
      etag ??= got.etag
      return got.bytes
    }
  }

  function checkWhole(found: number): void {
    const { checksum } = start
    if (checksum === undefined || Number.parseInt(checksum, 16) === found) return
    const text = found.toString(16).padStart(8, '0')
    throw damaged(`${path}: its bytes have the checksum ${text}, expected ${checksum}`)
  }

  function damaged(message: string, cause?: unknown): MillraceError {
    return new MillraceError('file-damaged', message, { cause, facts: { path, size } })
  }

  function trust(range: IndexedRange): void {
    trusted.push(range)
    published = mergeRanges([...published, range])
  }

  /** Whoever writes to this file beside us, its bytes are not ours any more. */
  async function expectUntouched(): Promise<void> {
    if (writing > 0 || trusted.length === 0) return
    const now = statOf(localFile)?.stamp
    if (now === stamp) return
    parts.world.log.warn('a cache file was changed by somebody else; its bytes are compared with their checksums', {
      path,
      localFile,
    })
    distrust()
    if (now === undefined) {
      forget(proposed)
      hasHead = false
    }
    // Another file may lie under the name.
    await closeHandle()
  }

  /** They are holes again. */
  function forget(ranges: readonly IndexedRange[]): void {
    const before = totalBytes(mergeRanges([...published, ...proposed]))
    proposed = proposed.filter((each) => !ranges.includes(each))
    const lost = before - totalBytes(mergeRanges([...published, ...proposed]))
    storedBytes -= lost
    space.giveBack(lost)
  }

  function distrust(): void {
    proposed = [...proposed, ...trusted]
    trusted = []
    published = []
  }

  /** Lines are appended one after the other; a torn one is recognised by its own checksum. */
  function append(range: IndexedRange): Promise<void> {
    appending = appending
      .catch(() => {})
      .then(async () => {
        if (isRetired) return
        await appendFile(indexFile, (hasHead ? '' : formatHead({ path, size, etag })) + formatRange(range))
        hasHead = true
      })
    return appending
  }

  /** Proposed ranges that are now needed: read, compared, published or dropped. One caller at a time. */
  function verified(wanted: readonly ByteRange[]): Promise<void> {
    if (!proposed.some((each) => wanted.some((range) => meets(range, each)))) return Promise.resolve()
    verifying = verifying.then(async () => {
      for (const each of proposed.filter((range) => wanted.some((one) => meets(one, range)))) {
        // Taken before: what changes while we read is seen the next time.
        if (trusted.length === 0 && writing === 0) stamp = statOf(localFile)?.stamp
        const isWhole = await isAsWritten(each)
        if (isWhole) {
          // First, so that at no moment its bytes are counted as none.
          trust(each)
          proposed = proposed.filter((range) => range !== each)
          continue
        }
        forget([each])
        counters.damagedRanges++
        parts.world.log.warn('a cached range is not what was written; it will be fetched again', { path, ...each })
      }
    })
    return verifying
  }

  async function isAsWritten(range: IndexedRange): Promise<boolean> {
    try {
      return crc32c(await readAt(await handle(), range)) === range.checksum
    } catch (error) {
      parts.world.log.warn('a cached range cannot be read', { path, ...range, error: String(error) })
      return false
    }
  }

  function dropIfDone(): void {
    if (pins > 0 || flights.length > 0) return
    if (!isRetired) {
      if (keeping.size === 0) void closeHandle()
      return
    }
    space.giveBack(storedBytes)
    storedBytes = 0
    removing = removing.then(remove)
  }

  async function remove(): Promise<void> {
    await Promise.allSettled([...flights.map((flight) => flight.done), appending, verifying, ...keeping])
    await closeHandle()
    try {
      await rm(indexFile, { force: true })
      await rm(localFile, { force: true })
    } catch (error) {
      parts.world.log.warn('could not remove a cache file', { localFile, error: String(error) })
    }
    isGone = true
  }

  return {
    path,
    localFile,
    get etag() {
      return etag
    },
    get pins() {
      return pins
    },
    get isGone() {
      return isGone
    },
    get storedBytes() {
      return storedBytes
    },
    get storedRequests() {
      return trusted.length + proposed.length
    },
    isFor: (otherSize, otherEtag) =>
      otherSize === size && (otherEtag === undefined || etag === undefined || otherEtag === etag),
    adopt(recorded) {
      etag ??= recorded
      objectEtag ??= recorded
    },
    pin() {
      pins++
      const now = parts.world.clock.nowMicros()
      if (now - touchedAt < TOUCH_MICROS || !hasHead) return
      touchedAt = now
      const seconds = Number(now) / 1e6
      utimes(indexFile, seconds, seconds).catch(() => {})
    },
    unpin() {
      pins--
      dropIfDone()
    },
    fill,
    missingBytes: (ranges) =>
      totalBytes(subtractRanges(mergeRanges(ranges), mergeRanges([...published, ...proposed, ...flights]))),
    async read(range) {
      return readAt(await handle(), range)
    },
    distrust,
    retire() {
      if (isRetired) return
      isRetired = true
      // A restart must not find it, whoever still holds its bytes now.
      removing = removing.then(() => rm(indexFile, { force: true })).catch(() => {})
      dropIfDone()
    },
    remove,
    async close() {
      const reason = new MillraceError('shutting-down', 'the cache is closed')
      for (const flight of flights) flight.stop.abort(reason)
      await Promise.allSettled(flights.map((flight) => flight.done))
      await Promise.allSettled([appending, verifying, ...keeping])
      await removing
      await closeHandle()
    },
  }
}

function cutRange({ start, end }: ByteRange): ByteRange[] {
  const pieces: ByteRange[] = []
  for (let from = start; from < end; from += GET_BYTES_MAX)
    pieces.push({ start: from, end: Math.min(end, from + GET_BYTES_MAX) })
  return pieces
}

function meets(a: ByteRange, b: ByteRange): boolean {
  return a.start < b.end && b.start < a.end
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
