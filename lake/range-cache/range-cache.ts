/**
 * The reader's NVMe cache of remote objects (PROTOCOL 9): DuckDB opens a sparse file of the object's own size, in which
 * exactly the bytes that a query needs have been filled in.
 *
 *   ensure   pin the file → footer → which ranges are missing → reserve space → ranged GETs with If-Match → write →
 *            published; fsync → side index, for the next process; release unpins
 *
 * Concurrent callers never fetch a byte twice: a range on its way is waited for. Small objects come whole in one GET.
 * Space is reserved before a GET; when it does not fit, files without a pin go by recency and cost (`eviction-order.ts`), and if
 * that is not enough the answer is `overloaded`. A changed object (412, another size or etag) retires the file: holders keep the
 * old one, the next caller gets a new generation under another name.
 *
 * A bucket that was copied or restored has other etags than were recorded. When the checksum of the whole object is known, such
 * an object is fetched whole and taken if it has that checksum; else it is another object, and an error.
 *
 * Writers on the same machine may leave copies of new files (`copies.ts`): a file that the cache does not have is taken over
 * from there when a fitting copy lies there, and held to its checksum like what an older process left.
 *
 * If we stop at any place, a restart sees the side index's lines, and each range is checked against its CRC32C before its
 * first use; in their order of use, as far as a minute tells. One process a folder. Objects behind `file://` need no cache: they are opened where they are.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { checksumOfFile } from '../checksum.ts'
import { FILE_SCHEME, localFileOf } from '../object-store/object-path.ts'
import type { ByteRange, ObjectStore } from '../object-store/object-store.ts'
import { fileMissing } from '../object-store/store-errors.ts'
import { readFooter, readLocalFooter } from '../parquet/footer-file.ts'
import type { ParquetFooter } from '../parquet/parquet.ts'
import { mergeRanges, totalBytes } from '../parquet/ranges.ts'
import { findCopy, moveCopy } from './copies.ts'
import { createEvictionOrder } from './eviction-order.ts'
import { createLimiter } from './limiter.ts'
import { loadSparseFiles } from './load-files.ts'
import { createSpace } from './space.ts'
import { createSparseFile, type SparseFile } from './sparse-file.ts'
import { statOf } from './sparse-io.ts'

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
  /** Its bytes did not make sense to a reader: they are compared with their checksums before anybody gets them again. */
  distrust(): void
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
  footer(path: string, size: number, etag?: string, signal?: AbortSignal, checksum?: string): Promise<ParquetFooter>
  /**
   * The ranges and the footer of a Parquet object are in `localFile` when it resolves, until `release`.
   * @param checksum of the whole object, as recorded
   */
  ensure(
    path: string,
    size: number,
    etag: string | undefined,
    ranges: readonly ByteRange[],
    signal?: AbortSignal,
    checksum?: string,
    /** How long the footer probably is: read in one GET when it is no longer. */
    footerBytes?: number,
  ): Promise<EnsuredFile>
  /** How many bytes of these ranges `ensure` would fetch now; 0 for a file that is opened where it is. */
  missingBytes(path: string, size: number, etag: string | undefined, ranges: readonly ByteRange[]): number
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
  /** Local files that have their checksum → as what. */
  const provenLocal = new Map<string, string>()
  /** Objects that are other ones than recorded → until when nobody looks again. */
  const refusedUntilMs = new Map<string, number>()
  /** Retired, but somebody holds them, or they are on their way out. */
  const leaving = new Set<SparseFile>()
  /** Copies stay until then, unless there is nothing else to evict. */
  const keptUntilMs = new Map<SparseFile, number>()
  const takingOver = new Map<string, Promise<void>>()
  const proving = new Map<string, Promise<void>>()
  const order = createEvictionOrder<SparseFile>()
  const space = createSpace({
    bytesMax: options.bytesMax,
    setting: options.bytesMaxSetting ?? 'query.cache.bytes',
    evict: evictOne,
  })
  let isClosed = false

  await mkdir(folder, { recursive: true })
  const loaded = await loadSparseFiles({ folder, store, world, limiter, space, counters })
  let generation = loaded.lastGeneration + 1
  // Where there is less room than before, what was used last stays.
  const kept = [...loaded.files].reverse().filter(({ file }) => space.tryReserve(file.storedBytes))
  for (const { file } of loaded.files) if (!kept.some((each) => each.file === file)) await file.remove()
  for (const { file } of kept.reverse()) {
    files.set(file.path, file)
    letGo(file)
  }

  /** False when every file is held. */
  function evictOne(): boolean {
    const nowMs = world.clock.monotonicMs()
    const isYoung = (file: SparseFile) => (keptUntilMs.get(file) ?? 0) > nowMs
    const next = order.next((file) => !isYoung(file)) ?? order.next(() => true)
    return next !== undefined && evict(next)
  }

  function letGo(file: SparseFile): void {
    if (file.pins > 0 || files.get(file.path) !== file) return
    order.add(file, { bytes: file.storedBytes, requests: file.storedRequests })
  }

  function unpin(file: SparseFile): void {
    file.unpin()
    letGo(file)
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
    order.remove(file)
    file.retire()
    for (const each of leaving) if (each.isGone) leaving.delete(each)
    leaving.add(file)
  }

  function pinned({ path, size, etag, checksum }: Wanted): SparseFile {
    if (isClosed) throw new MillraceError('shutting-down', 'the cache is closed')
    let file = files.get(path)
    if (file !== undefined && !file.isFor(size, etag)) {
      world.log.warn('another object lies under a cached path; fetching it anew', { path, size, etag })
      retire(file)
      file = undefined
    }
    file ??= createSparseFile(
      { folder, store, world, limiter, space, counters },
      { path, size, etag, checksum, generation: generation++ },
    )
    if (etag !== undefined) file.adopt(etag)
    files.set(path, file)
    order.remove(file)
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
    letGo(file)
    counters.copiedFiles++
  }

  /** Runs on a pinned file. An object that is not the recorded one retires it; tried anew once where that may help. */
  async function onFile<T>(
    wanted: Wanted,
    use: (file: SparseFile) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly file: SparseFile; readonly result: T }> {
    const { path, size, etag } = wanted
    await takeOverCopy(path, size, etag)
    for (let attempt = 1; ; attempt++) {
      const file = pinned(wanted)
      try {
        return { file, result: await use(file) }
      } catch (error) {
        const isChanged = isMillraceError(error, 'precondition-failed')
        if (isChanged || isMillraceError(error, 'file-missing') || isMillraceError(error, 'file-damaged')) retire(file)
        unpin(file)
        if (!isChanged) throw error
        const mayTry = attempt === 1 && (etag === undefined || wanted.checksum !== undefined)
        if (mayTry && (wanted.checksum === undefined || (await isSameObject(wanted, signal)))) continue
        throw new MillraceError('file-damaged', `another object lies under ${path} than the recorded one`, {
          cause: error,
          facts: { path, size, etag },
        })
      }
    }
  }

  /** Its etag is another one; are its bytes? Then the cache has them. One at a time for a path. */
  async function isSameObject(wanted: Wanted, signal: AbortSignal | undefined): Promise<boolean> {
    const { path, size, etag, checksum } = wanted
    const nowMs = world.clock.monotonicMs()
    if (checksum === undefined || (refusedUntilMs.get(path) ?? 0) > nowMs) return false
    const running = proving.get(path) ?? prove(wanted, signal).finally(() => proving.delete(path))
    proving.set(path, running)
    await running
    const isSame = files.get(path)?.isFor(size, etag) === true
    if (!isSame) keepRecent(refusedUntilMs, path, nowMs + REFUSED_MS, REFUSED_MAX)
    return isSame
  }

  async function prove({ path, size, etag, checksum }: Wanted, signal: AbortSignal | undefined): Promise<void> {
    const file = createSparseFile(
      { folder, store, world, limiter, space, counters },
      { path, size, etag, generation: generation++, isCopy: true },
    )
    file.pin()
    let isSame = false
    try {
      await file.fill([{ start: 0, end: size }], signal)
      isSame = (await checksumOfFile(file.localFile)) === checksum && !isClosed && !files.has(path)
      if (isSame) {
        files.set(path, file)
        world.log.info('an object has another etag than recorded, and the recorded bytes', { path, etag })
      }
    } catch (error) {
      // Then it is another one, or changes while it is read.
      if (!isMillraceError(error, 'precondition-failed') && !isMillraceError(error, 'file-damaged')) throw error
    } finally {
      if (!isSame) retire(file)
      unpin(file)
    }
  }

  async function footerOf(
    file: SparseFile,
    size: number,
    cost: Cost,
    signal: AbortSignal | undefined,
    footerBytes?: number,
  ): Promise<ParquetFooter> {
    const key = footerKey(file.path, size, file.etag)
    const known = footers.get(key)
    if (known !== undefined) {
      remember(key, known)
      add(cost, await file.fill([wholeOr({ start: size - known.footerBytes, end: size }, size)], signal))
      return known
    }
    const tail = async (bytes: number) => {
      add(cost, await file.fill([wholeOr({ start: size - bytes, end: size }, size)], signal))
      return file.read({ start: size - bytes, end: size })
    }
    const footer = await readFooter(file.path, size, tail, footerBytes)
    remember(footerKey(file.path, size, file.etag), footer)
    return footer
  }

  function remember(key: string, footer: ParquetFooter): void {
    keepRecent(footers, key, footer, footersMax)
  }

  function wholeOr(range: ByteRange, size: number): ByteRange {
    return size <= wholeFileBytesMax ? { start: 0, end: size } : range
  }

  async function footer(
    path: string,
    size: number,
    etag?: string,
    signal?: AbortSignal,
    checksum?: string,
  ): Promise<ParquetFooter> {
    if (path.startsWith(FILE_SCHEME)) return localFooter(path, size)
    const { file, result } = await onFile(
      { path, size, etag, checksum },
      (each) => footerOf(each, size, { fetchedBytes: 0, requests: 0 }, signal),
      signal,
    )
    unpin(file)
    return result
  }

  /**
   * A kept footer says nothing about the file of today: what lies under the name is looked at every time. A small file is
   * compared with its checksum, once and after any change: pages too small to compress would otherwise read as other values.
   */
  async function checkLocalFile(
    path: string,
    localFile: string,
    size: number,
    checksum: string | undefined,
  ): Promise<void> {
    const stats = statOf(localFile)
    if (stats === undefined) throw fileMissing(path, undefined)
    if (stats.size !== size) {
      throw new MillraceError('file-damaged', `${path}: it has ${stats.size} bytes, ${size} are recorded`, {
        facts: { path },
      })
    }
    if (checksum === undefined || size > wholeFileBytesMax || provenLocal.get(path) === stats.stamp) return
    const found = await checksumOfFile(localFile)
    if (found !== checksum) {
      throw new MillraceError('file-damaged', `${path}: its bytes have the checksum ${found}, expected ${checksum}`, {
        facts: { path },
      })
    }
    keepRecent(provenLocal, path, stats.stamp, footersMax)
  }

  async function localFooter(path: string, size: number): Promise<ParquetFooter> {
    const localFile = localFileOf(path)
    // Of another file under the same name the kept footer is not the right one.
    const key = footerKey(path, size, statOf(localFile)?.stamp)
    const known = footers.get(key) ?? (await readLocalFooter(localFile, size))
    remember(key, known)
    return known
  }

  async function ensure(
    path: string,
    size: number,
    etag: string | undefined,
    ranges: readonly ByteRange[],
    signal?: AbortSignal,
    checksum?: string,
    footerBytes?: number,
  ): Promise<EnsuredFile> {
    signal?.throwIfAborted()
    checkRanges(path, size, ranges)
    if (path.startsWith(FILE_SCHEME)) {
      const localFile = localFileOf(path)
      await checkLocalFile(path, localFile, size, checksum)
      return { localFile, fetchedBytes: 0, requests: 0, release: () => {}, distrust: () => {} }
    }
    const cost = { fetchedBytes: 0, requests: 0 }
    const fill = async (each: SparseFile) => {
      if (size <= wholeFileBytesMax) add(cost, await each.fill([{ start: 0, end: size }], signal))
      else {
        await footerOf(each, size, cost, signal, footerBytes)
        add(cost, await each.fill(mergeRanges(ranges), signal))
      }
    }
    const { file } = await onFile({ path, size, etag, checksum }, fill, signal)
    let isReleased = false
    return {
      localFile: file.localFile,
      ...cost,
      release: () => {
        if (isReleased) return
        isReleased = true
        unpin(file)
      },
      distrust: () => file.distrust(),
    }
  }

  return {
    footer,
    ensure,
    missingBytes(path, size, etag, ranges) {
      if (path.startsWith(FILE_SCHEME)) return 0
      const file = files.get(path)
      const wanted = size <= wholeFileBytesMax ? [{ start: 0, end: size }] : ranges
      return file?.isFor(size, etag) ? file.missingBytes(wanted) : totalBytes(mergeRanges(wanted))
    },
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

/** Fetching it whole only to find once more that it is another one is not worth it. */
const REFUSED_MS = 60_000
const REFUSED_MAX = 1000

/** Longest unused first. */
function keepRecent<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= most) break
    map.delete(oldest)
  }
}

/** An object as it was recorded. */
type Wanted = {
  readonly path: string
  readonly size: number
  readonly etag: string | undefined
  readonly checksum: string | undefined
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
