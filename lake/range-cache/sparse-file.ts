/**
 * One generation of one object on NVMe: `<generation>.data`, sparse and as long as the object, and `<generation>.index`.
 *
 * `fill` brings ranges in. A range is in one of four states: absent, on its way (`flights`: whoever needs it waits),
 * proposed (in an older process's index; compared with its checksum before its first use), published. It is published
 * after its bytes are written and fsynced and its index line is appended, and it never changes again; so a reader who
 * waits for `fill` reads the object's bytes.
 *
 * A flight belongs to all who wait for it: it is stopped only when the last of them has gone.
 */
import { appendFile, type FileHandle, open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { ByteRange, ObjectStore } from '../object-store/object-store.ts'
import { mergeRanges, subtractRanges, totalBytes } from '../parquet/ranges.ts'
import type { Limiter } from './limiter.ts'
import { formatHead, formatRange, type IndexedRange, parseIndex } from './side-index.ts'
import type { Space } from './space.ts'

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
  /** Bytes it takes of the cache's space. */
  readonly storedBytes: number
  isFor(size: number, etag: string | undefined): boolean
  /** What a caller insists on, for a file that does not know its etag yet. */
  adopt(etag: string): void
  pin(): void
  unpin(): void
  /** The ranges hold the object's bytes when it resolves. Only on a pinned file. */
  fill(ranges: readonly ByteRange[], signal: AbortSignal | undefined): Promise<FillCost>
  /** Bytes that `fill` brought. */
  read(range: ByteRange): Promise<Uint8Array>
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
}

/** Longer ranges come in several GETs side by side. */
const GET_BYTES_MAX = 16 << 20
const NAME = /^(\d+)\.(data|index)$/

export function createSparseFile(parts: SparseFileParts, start: SparseFileStart): SparseFile {
  const { store, limiter, space, counters } = parts
  const { path, size } = start
  const localFile = join(parts.folder, `${start.generation}.data`)
  const indexFile = join(parts.folder, `${start.generation}.index`)
  let etag = start.etag
  let pins = 0
  let storedBytes = totalBytes(mergeRanges(start.proposed ?? []))
  let isRetired = false
  let hasHead = start.proposed !== undefined
  let proposed = start.proposed ?? []
  let published: ByteRange[] = []
  let flights: Flight[] = []
  let opening: Promise<FileHandle> | undefined
  let verifying: Promise<void> = Promise.resolve()
  let appending: Promise<void> = Promise.resolve()
  let removing: Promise<void> = Promise.resolve()
  const sync = createGroupSync(async () => (await handle()).datasync())

  function handle(): Promise<FileHandle> {
    opening ??= openSparse(localFile, size, published.length + proposed.length > 0)
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

  /** One GET: written and fsynced before the index names it, named before anybody reads it. */
  async function fetchRange(range: ByteRange, signal: AbortSignal): Promise<void> {
    const bytes = await limiter(async () => {
      signal.throwIfAborted()
      counters.requests++
      const got = await store.get(path, { range, ifMatch: etag, signal }).catch((error: unknown) => {
        // The range lies inside the recorded size: an object that ends before it was cut short.
        if (!isMillraceError(error, 'request-invalid')) throw error
        throw new MillraceError('file-damaged', `${path} is shorter than the recorded ${size} bytes`, { cause: error })
      })
      checkObject(got, range)
      etag ??= got.etag
      return got.bytes
    })
    counters.fetchedBytes += bytes.length
    await writeAt(await handle(), bytes, range.start)
    await sync()
    await append({ ...range, checksum: crc32c(bytes) })
    published = mergeRanges([...published, range])
  }

  function checkObject(got: { bytes: Uint8Array; etag: string; objectSize: number }, range: ByteRange): void {
    if (etag !== undefined && got.etag !== etag) {
      throw new MillraceError('precondition-failed', `${path} has the etag ${got.etag}, expected ${etag}`)
    }
    if (got.objectSize === size && got.bytes.length === range.end - range.start) return
    throw new MillraceError(
      'file-damaged',
      `${path} has ${got.objectSize} bytes where ${size} are recorded; asked for ${range.end - range.start}, got ${got.bytes.length}`,
      { facts: { path, size, objectSize: got.objectSize, ...range } },
    )
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
        const isWhole = await isAsWritten(each)
        const before = totalBytes(mergeRanges([...published, ...proposed]))
        proposed = proposed.filter((range) => range !== each)
        if (isWhole) published = mergeRanges([...published, each])
        else {
          counters.damagedRanges++
          parts.world.log.warn('a cached range is not what was written; it will be fetched again', { path, ...each })
        }
        const lost = before - totalBytes(mergeRanges([...published, ...proposed]))
        storedBytes -= lost
        space.giveBack(lost)
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
      void closeHandle()
      return
    }
    space.giveBack(storedBytes)
    storedBytes = 0
    removing = removing.then(remove)
  }

  async function remove(): Promise<void> {
    await Promise.allSettled([...flights.map((flight) => flight.done), appending, verifying])
    await closeHandle()
    try {
      await rm(indexFile, { force: true })
      await rm(localFile, { force: true })
    } catch (error) {
      parts.world.log.warn('could not remove a cache file', { localFile, error: String(error) })
    }
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
    get storedBytes() {
      return storedBytes
    },
    isFor: (otherSize, otherEtag) =>
      otherSize === size && (otherEtag === undefined || etag === undefined || otherEtag === etag),
    adopt(recorded) {
      etag ??= recorded
    },
    pin() {
      pins++
    },
    unpin() {
      pins--
      dropIfDone()
    },
    fill,
    async read(range) {
      return readAt(await handle(), range)
    },
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
      await Promise.allSettled([...flights.map((flight) => flight.done), appending, verifying])
      await removing
      await closeHandle()
    },
  }
}

/** What older processes left: files whose index is readable, newest generation first; the rest is removed. */
export async function loadSparseFiles(
  parts: SparseFileParts,
): Promise<{ readonly files: readonly SparseFile[]; readonly lastGeneration: number }> {
  const names = await readdir(parts.folder)
  const generations = [...new Set(names.flatMap((name) => NAME.exec(name)?.[1] ?? []))].map(Number)
  generations.sort((a, b) => b - a)
  const files: SparseFile[] = []
  for (const generation of generations) {
    const file = await loadSparseFile(parts, generation)
    if (file !== undefined) files.push(file)
  }
  return { files, lastGeneration: generations[0] ?? 0 }
}

async function loadSparseFile(parts: SparseFileParts, generation: number): Promise<SparseFile | undefined> {
  const data = join(parts.folder, `${generation}.data`)
  const index = join(parts.folder, `${generation}.index`)
  const text = await readFile(index, 'utf8').catch(() => '')
  const parsed = parseIndex(text)
  if (parsed !== undefined && text.endsWith('\n') && (await sizeOf(data)) === parsed.head.size) {
    return createSparseFile(parts, { ...parsed.head, generation, proposed: parsed.ranges })
  }
  await rm(index, { force: true })
  await rm(data, { force: true })
  return undefined
}

async function sizeOf(file: string): Promise<number | undefined> {
  const handle = await open(file, 'r').catch(() => undefined)
  if (handle === undefined) return undefined
  try {
    return (await handle.stat()).size
  } finally {
    await handle.close()
  }
}

/** A file that should hold bytes is never made anew: its holes would pass for them. */
async function openSparse(localFile: string, size: number, isThere: boolean): Promise<FileHandle> {
  const handle = await open(localFile, isThere ? 'r+' : 'w+').catch((error: unknown) => {
    throw new MillraceError('file-missing', `cannot open the cache file ${localFile}`, { cause: error })
  })
  if ((await handle.stat()).size !== size) await handle.truncate(size)
  return handle
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten
  }
}

async function readAt(handle: FileHandle, { start, end }: ByteRange): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start)
  for (let read = 0; read < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, read, bytes.length - read, start + read)
    // A file that lost its end reads as zeros there, which no checksum passes.
    if (bytesRead === 0) break
    read += bytesRead
  }
  return bytes
}

/** Writers who ask while a sync runs share the next one: it covers all that was written before it began. */
function createGroupSync(syncOnce: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const begin = (): Promise<void> => {
    const current = syncOnce().finally(() => {
      if (running === current) running = undefined
    })
    running = current
    return current
  }
  return () => {
    if (running === undefined) return begin()
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined
        return begin()
      })
    return next
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
