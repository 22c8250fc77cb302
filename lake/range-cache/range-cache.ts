/**
 * The reader's NVMe cache of remote objects (PROTOCOL 9): DuckDB opens a sparse file of the object's own size, in which
 * exactly the bytes that a query needs have been filled in.
 *
 *   ensure   pin the file → footer → which ranges are missing → reserve space → ranged GETs with If-Match → write →
 *            fsync → side index → published; release unpins
 *
 * Concurrent callers never fetch a byte twice: a range on its way is waited for. Small objects come whole in one GET.
 * Space is reserved before a GET; when it does not fit, the least recently used files without a pin go first, and if
 * that is not enough the answer is `overloaded`. A changed object (412, another size or etag) retires the file: holders keep the
 * old one, the next caller gets a new generation under another name.
 *
 * Writers on the same machine may leave copies of new files (`copies.ts`): a file that the cache does not have is taken over
 * from there when a fitting copy lies there, and held to its checksum like what an older process left.
 *
 * If we stop at any place, a restart sees the side index's lines, and each range is checked against its CRC32C before its
 * first use. One process a folder. Objects behind `file://` need no cache: they are opened where they are.
 */
import { type Stats, statSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { FILE_SCHEME, localFileOf } from '../object-store/object-path.ts'
import type { ByteRange, ObjectStore } from '../object-store/object-store.ts'
import { fileMissing } from '../object-store/store-errors.ts'
import { readFooter, readLocalFooter } from '../parquet/footer-file.ts'
import type { ParquetFooter } from '../parquet/parquet.ts'
import { mergeRanges } from '../parquet/ranges.ts'
import { findCopy, moveCopy } from './copies.ts'
import { createLimiter } from './limiter.ts'
import { createSpace } from './space.ts'
import { createSparseFile, loadSparseFiles, type SparseFile } from './sparse-file.ts'

export type RangeCacheOptions = {
  /** On local NVMe; used by this process alone. */
  readonly folder: string
  readonly bytesMax: number
  /** What `overloaded` tells the user to raise. */
  readonly bytesMaxSetting?: string
  readonly store: ObjectStore
  readonly world: World
  /** GETs under way at a time; 16. */
  readonly fetchConcurrency?: number
  /** Objects up to this size come whole in one GET; 4 MiB. */
  readonly wholeFileBytesMax?: number
  /** Parsed footers kept; 4096. */
  readonly footersMax?: number
  /** Where writers of this machine leave copies of new files, and how long one of them outstays what was fetched. */
  readonly copies?: { readonly folder: string; readonly keepMs: number }
}

export type EnsuredFile = {
  readonly localFile: string
  /** Bytes and GETs that this call caused; 0 when all was there or on its way for somebody else. */
  readonly fetchedBytes: number
  readonly requests: number
  /** The file may be evicted after this; calling it twice is harmless. */
  release(): void
}

export type ObjectVersion = { readonly size: number; readonly etag?: string | undefined }

export type CachedObject = {
  footer(signal?: AbortSignal): Promise<ParquetFooter>
  ensure(ranges: readonly ByteRange[], signal?: AbortSignal): Promise<EnsuredFile>
}

export type RangeCacheStats = {
  readonly files: number
  readonly bytes: number
  readonly pinnedFiles: number
  readonly evictedFiles: number
  readonly requests: number
  readonly fetchedBytes: number
  readonly damagedRanges: number
  /** Files taken over from writers of this machine. */
  readonly copiedFiles: number
}

export type RangeCache = {
  open(path: string, version: ObjectVersion): CachedObject
  footer(path: string, size: number, etag?: string, signal?: AbortSignal): Promise<ParquetFooter>
  /** The ranges and the footer of a Parquet object are in `localFile` when it resolves, until `release`. */
  ensure(
    path: string,
    size: number,
    etag: string | undefined,
    ranges: readonly ByteRange[],
    signal?: AbortSignal,
  ): Promise<EnsuredFile>
  stats(): RangeCacheStats
  /** Stops what is being fetched; the files stay for the next process. */
  close(): Promise<void>
}

export async function createRangeCache(options: RangeCacheOptions): Promise<RangeCache> {
  const { folder, store, world } = options
  const wholeFileBytesMax = options.wholeFileBytesMax ?? 4 << 20
  const footersMax = options.footersMax ?? 4096
  const limiter = createLimiter(options.fetchConcurrency ?? 16)
  const counters = { requests: 0, fetchedBytes: 0, damagedRanges: 0, evictedFiles: 0, copiedFiles: 0 }
  const files = new Map<string, SparseFile>()
  const footers = new Map<string, ParquetFooter>()
  /** Retired, but somebody holds them. */
  const leaving = new Set<SparseFile>()
  /** Copies stay until then, unless there is nothing else to evict. */
  const keptUntilMs = new Map<SparseFile, number>()
  const takingOver = new Map<string, Promise<void>>()
  const space = createSpace({
    bytesMax: options.bytesMax,
    setting: options.bytesMaxSetting ?? 'query.cache.bytes',
    evict: evictOldest,
  })
  let isClosed = false

  await mkdir(folder, { recursive: true })
  const loaded = await loadSparseFiles({ folder, store, world, limiter, space, counters })
  let generation = loaded.lastGeneration + 1
  for (const file of loaded.files) {
    if (!files.has(file.path) && space.tryReserve(file.storedBytes)) files.set(file.path, file)
    else await file.remove()
  }

  /** False when every file is pinned. Files are in order of use: the map's first is the oldest. */
  function evictOldest(): boolean {
    const nowMs = world.clock.monotonicMs()
    let young: SparseFile | undefined
    for (const file of files.values()) {
      if (file.pins > 0) continue
      if ((keptUntilMs.get(file) ?? 0) > nowMs) {
        young ??= file
        continue
      }
      return evict(file)
    }
    return young !== undefined && evict(young)
  }

  function evict(file: SparseFile): true {
    counters.evictedFiles++
    retire(file)
    return true
  }

  /** Nobody finds it any more; its bytes go with its last holder. */
  function retire(file: SparseFile): void {
    if (files.get(file.path) === file) files.delete(file.path)
    keptUntilMs.delete(file)
    file.retire()
    for (const each of leaving) if (each.pins === 0) leaving.delete(each)
    leaving.add(file)
  }

  function pinned(path: string, size: number, etag: string | undefined): SparseFile {
    if (isClosed) throw new MillraceError('shutting-down', 'the cache is closed')
    let file = files.get(path)
    if (file !== undefined && !file.isFor(size, etag)) {
      world.log.warn('another object lies under a cached path; fetching it anew', { path, size, etag })
      retire(file)
      file = undefined
    }
    file ??= createSparseFile(
      { folder, store, world, limiter, space, counters },
      { path, size, etag, generation: generation++ },
    )
    if (etag !== undefined) file.adopt(etag)
    files.delete(path)
    files.set(path, file)
    file.pin()
    return file
  }

  /** One at a time for a path; nothing happens when no copy fits, or when there is no room for it. */
  async function takeOverCopy(path: string, size: number, etag: string | undefined): Promise<void> {
    const { copies } = options
    if (copies === undefined || files.has(path)) return
    const running = takingOver.get(path)
    if (running) return running
    const taking = moveIn(copies, path, size, etag).finally(() => takingOver.delete(path))
    takingOver.set(path, taking)
    return taking
  }

  async function moveIn(
    copies: NonNullable<RangeCacheOptions['copies']>,
    path: string,
    size: number,
    etag: string | undefined,
  ): Promise<void> {
    const found = await findCopy(copies.folder, { path, size, etag })
    if (found === undefined || isClosed || files.has(path)) return
    try {
      space.reserve(size)
    } catch {
      return
    }
    const own = generation++
    const to = { data: join(folder, `${own}.data`), index: join(folder, `${own}.index`) }
    const isMoved = await moveCopy(copies.folder, path, to)
    if (!isMoved || isClosed || files.has(path)) {
      if (isMoved) await Promise.all([rm(to.index, { force: true }), rm(to.data, { force: true })])
      space.giveBack(size)
      return
    }
    const proposed = [{ start: 0, end: size, checksum: found.checksum }]
    const file = createSparseFile(
      { folder, store, world, limiter, space, counters },
      { ...found.head, generation: own, proposed },
    )
    files.set(path, file)
    keptUntilMs.set(file, world.clock.monotonicMs() + copies.keepMs)
    counters.copiedFiles++
  }

  /** Runs on a pinned file. An object that is not the recorded one retires it; tried anew once if nobody insists on an etag. */
  async function onFile<T>(
    path: string,
    size: number,
    etag: string | undefined,
    use: (file: SparseFile) => Promise<T>,
  ): Promise<{ readonly file: SparseFile; readonly result: T }> {
    await takeOverCopy(path, size, etag)
    for (let attempt = 1; ; attempt++) {
      const file = pinned(path, size, etag)
      try {
        return { file, result: await use(file) }
      } catch (error) {
        const isChanged = isMillraceError(error, 'precondition-failed')
        if (isChanged || isMillraceError(error, 'file-missing') || isMillraceError(error, 'file-damaged')) retire(file)
        file.unpin()
        if (!isChanged) throw error
        if (etag === undefined && attempt === 1) continue
        throw new MillraceError('file-damaged', `another object lies under ${path} than the recorded one`, {
          cause: error,
          facts: { path, size, etag },
        })
      }
    }
  }

  async function footerOf(
    file: SparseFile,
    size: number,
    cost: Cost,
    signal: AbortSignal | undefined,
  ): Promise<ParquetFooter> {
    const key = footerKey(file.path, size, file.etag)
    const known = footers.get(key)
    if (known !== undefined) {
      remember(key, known)
      add(cost, await file.fill([wholeOr({ start: size - known.footerBytes, end: size }, size)], signal))
      return known
    }
    const footer = await readFooter(file.path, size, async (bytes) => {
      add(cost, await file.fill([wholeOr({ start: size - bytes, end: size }, size)], signal))
      return file.read({ start: size - bytes, end: size })
    })
    remember(footerKey(file.path, size, file.etag), footer)
    return footer
  }

  function remember(key: string, footer: ParquetFooter): void {
    footers.delete(key)
    footers.set(key, footer)
    for (const oldest of footers.keys()) {
      if (footers.size <= footersMax) break
      footers.delete(oldest)
    }
  }

  function wholeOr(range: ByteRange, size: number): ByteRange {
    return size <= wholeFileBytesMax ? { start: 0, end: size } : range
  }

  async function footer(path: string, size: number, etag?: string, signal?: AbortSignal): Promise<ParquetFooter> {
    if (path.startsWith(FILE_SCHEME)) return localFooter(path, size, etag)
    const { file, result } = await onFile(path, size, etag, (each) =>
      footerOf(each, size, { fetchedBytes: 0, requests: 0 }, signal),
    )
    file.unpin()
    return result
  }

  async function localFooter(path: string, size: number, etag: string | undefined): Promise<ParquetFooter> {
    const key = footerKey(path, size, etag)
    const known = footers.get(key) ?? (await readLocalFooter(localFileOf(path), size))
    remember(key, known)
    return known
  }

  async function ensure(
    path: string,
    size: number,
    etag: string | undefined,
    ranges: readonly ByteRange[],
    signal?: AbortSignal,
  ): Promise<EnsuredFile> {
    signal?.throwIfAborted()
    checkRanges(path, size, ranges)
    if (path.startsWith(FILE_SCHEME)) {
      const localFile = localFileOf(path)
      checkLocalFile(path, localFile, size)
      return { localFile, fetchedBytes: 0, requests: 0, release: () => {} }
    }
    const cost = { fetchedBytes: 0, requests: 0 }
    const { file } = await onFile(path, size, etag, async (each) => {
      if (size <= wholeFileBytesMax) add(cost, await each.fill([{ start: 0, end: size }], signal))
      else {
        await footerOf(each, size, cost, signal)
        add(cost, await each.fill(mergeRanges(ranges), signal))
      }
    })
    let isReleased = false
    return {
      localFile: file.localFile,
      ...cost,
      release: () => {
        if (isReleased) return
        isReleased = true
        file.unpin()
      },
    }
  }

  return {
    open: (path, { size, etag }) => ({
      footer: (signal) => footer(path, size, etag, signal),
      ensure: (ranges, signal) => ensure(path, size, etag, ranges, signal),
    }),
    footer,
    ensure,
    stats: () => ({
      files: files.size,
      bytes: space.usedBytes(),
      pinnedFiles: [...files.values()].filter((file) => file.pins > 0).length,
      ...counters,
    }),
    async close() {
      isClosed = true
      await Promise.all([...files.values(), ...leaving].map((file) => file.close()))
      files.clear()
    },
  }
}

type Cost = { fetchedBytes: number; requests: number }

function add(cost: Cost, more: Readonly<Cost>): void {
  cost.fetchedBytes += more.fetchedBytes
  cost.requests += more.requests
}

function footerKey(path: string, size: number, etag: string | undefined): string {
  return `${path}\u0000${size}\u0000${etag ?? ''}`
}

function checkRanges(path: string, size: number, ranges: readonly ByteRange[]): void {
  for (const { start, end } of ranges) {
    if (start >= 0 && start <= end && end <= size) continue
    throw new MillraceError('request-invalid', `range [${start}, ${end}) of ${path}, which has ${size} bytes`, {
      facts: { path, start, end, size },
    })
  }
}

/**
 * A kept footer says nothing about the file of today: its length is looked at every time. In this thread: 3 µs, through the
 * pool of threads it costs fifty times that, for each file of each query.
 */
function checkLocalFile(path: string, localFile: string, size: number): void {
  let found: Stats
  try {
    found = statSync(localFile)
  } catch (cause) {
    throw fileMissing(path, cause)
  }
  if (found.size === size) return
  throw new MillraceError('file-damaged', `${path}: it has ${found.size} bytes, ${size} are recorded`, {
    facts: { path },
  })
}
