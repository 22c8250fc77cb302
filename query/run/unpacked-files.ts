/**
 * Small data files that are asked about again and again, kept once more without their compression (`query.unpacked.bytes`).
 * Unpacking the columns is a third of what DuckDB does for a small question.
 *
 *   use       counts; gives the copy when there is one, and has one made after a few uses
 *   making    one at a time, a moment after the use and in Node's threads: the whole file is read, held to its checksum, unpacked
 *             page by page (`unpack.ts`), written beside the cache, and published
 *   evicting  by recency, within the bytes; who uses a copy keeps its file until it is let go
 *
 * A copy is of a file by path, size, etag and checksum, so it never goes stale; the folder is this process's alone and empty at its
 * start. Whether a copy is still what was written here is looked at before each use (size and times). The file
 * itself is looked at as before: a copy only stands in for its bytes. Whatever is unusual (no checksum, parts of it not here, another
 * codec, no room on the disk) means: no copy, the file is read. So does a copy that could not be read (`distrust`), for good.
 */
import { statSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checksumOf } from '../../lake/checksum.ts'
import { unpackParquet } from '../../lake/parquet/unpack.ts'
import type { EnsuredFile, RangeCache } from '../../lake/range-cache/range-cache.ts'
import type { World } from '../../runtime/world.ts'
import type { TableFile } from '../plan/table-files.ts'
import { createRecent } from './recent.ts'

export type UnpackedFiles = {
  /** A copy, held until `release`; undefined: read the file itself. */
  use(file: TableFile): UnpackedFile | undefined
  readonly bytes: number
  readonly count: number
  /** Until nothing is being made; for tests and for the end. */
  settled(): Promise<void>
  close(): Promise<void>
}

export type UnpackedFile = Pick<EnsuredFile, 'localFile' | 'release' | 'distrust'>

export type UnpackedFilesParts = {
  /** Empty, and of this process alone. */
  readonly folder: string
  readonly bytesMax: number
  readonly cache: Pick<RangeCache, 'ensure' | 'missingBytes'>
  readonly world: Pick<World, 'clock' | 'log'>
  /** Uses before a copy is made; 3. */
  readonly usesMin?: number
  /** After the use, so that its answer goes first; 50 ms. */
  readonly delayMs?: number
}

const USES_MIN = 3
const USES_AFTER_EVICTION = 50
const DELAY_MS = 50
/** Of a file as it lies in the lake. Larger ones are scanned for longer than they are worth here. */
const FILE_BYTES_MAX = 8 << 20
const UNPACKED_BYTES_MAX = 64 << 20
const COUNTED_MAX = 2000
const WAITING_MAX = 16

type Copy = {
  readonly key: string
  readonly localFile: string
  readonly bytes: number
  readonly seen: string
  uses: number
  isGone: boolean
}

export function createUnpackedFiles(parts: UnpackedFilesParts): UnpackedFiles {
  const { folder, bytesMax, cache, world, usesMin = USES_MIN, delayMs = DELAY_MS } = parts
  /** Longest unused first. */
  const copies = new Map<string, Copy>()
  const counts = createRecent<number | 'never'>(COUNTED_MAX)
  const waiting = new Map<string, TableFile>()
  const stopping = new AbortController()
  let bytes = 0
  let numbers = 0
  let making: Promise<void> | undefined

  function drop(copy: Copy): void {
    if (copy.isGone) return
    copy.isGone = true
    copies.delete(copy.key)
    bytes -= copy.bytes
    if (copy.uses === 0) remove(copy.localFile)
  }

  function remove(localFile: string): void {
    rm(localFile, { force: true }).catch((error: unknown) => world.log.debug('a copy stays behind', { error }))
  }

  function held(copy: Copy): UnpackedFile {
    copy.uses += 1
    let isReleased = false
    return {
      localFile: copy.localFile,
      release() {
        if (isReleased) return
        isReleased = true
        copy.uses -= 1
        if (copy.isGone && copy.uses === 0) remove(copy.localFile)
      },
      distrust() {
        counts.set(copy.key, 'never')
        drop(copy)
      },
    }
  }

  function count(key: string, file: TableFile): void {
    const before = counts.get(key) ?? 0
    if (before === 'never' || waiting.has(key)) return
    counts.set(key, before + 1)
    if (before + 1 < usesMin || waiting.size >= WAITING_MAX || stopping.signal.aborted) return
    waiting.set(key, file)
    making ??= makeAll().finally(() => {
      making = undefined
    })
  }

  async function makeAll(): Promise<void> {
    for (const [key, file] of waiting) {
      await world.clock.sleep(delayMs, stopping.signal).catch(() => {})
      if (stopping.signal.aborted) return
      try {
        if (!(await make(key, file))) counts.set(key, 'never')
      } catch (error) {
        counts.set(key, 'never')
        world.log.debug('a file could not be unpacked', { path: file.path, error })
      }
      waiting.delete(key)
    }
  }

  async function make(key: string, file: TableFile): Promise<boolean> {
    const source = await wholeFile(file)
    if (source === undefined || checksumOf(source) !== file.checksum) return false
    const unpacked = await unpackParquet(source, Math.min(UNPACKED_BYTES_MAX, bytesMax))
    if (unpacked === undefined || stopping.signal.aborted) return false
    await mkdir(folder, { recursive: true })
    numbers += 1
    const localFile = join(folder, `${numbers}.parquet`)
    try {
      await writeFile(localFile, unpacked, { flag: 'wx', mode: 0o600 })
    } catch (error) {
      remove(localFile)
      throw error
    }
    const seen = seenNow(localFile)
    if (seen === undefined) return false
    copies.set(key, { key, localFile, bytes: unpacked.length, seen, uses: 0, isGone: false })
    bytes += unpacked.length
    for (const oldest of [...copies.values()]) {
      if (bytes <= bytesMax) break
      drop(oldest)
      // More is asked about than there is room for: a copy that goes soon is not worth making.
      counts.set(oldest.key, -USES_AFTER_EVICTION)
    }
    return true
  }

  /** undefined: not all of it is here. */
  async function wholeFile({ path, bytes, etag, checksum }: TableFile): Promise<Uint8Array | undefined> {
    const whole = [{ start: 0, end: bytes }]
    if (cache.missingBytes(path, bytes, etag, whole) > 0) return undefined
    const ensured = await cache.ensure(path, bytes, etag, whole, stopping.signal, checksum)
    try {
      return await readFile(ensured.localFile)
    } finally {
      ensured.release()
    }
  }

  return {
    get bytes() {
      return bytes
    },
    get count() {
      return copies.size
    },
    use(file) {
      const { path, bytes: size, etag, checksum, isSegment } = file
      if (isSegment || checksum === undefined || size > FILE_BYTES_MAX) return undefined
      const key = JSON.stringify([path, size, etag, checksum])
      const copy = copies.get(key)
      if (copy === undefined) {
        count(key, file)
        return undefined
      }
      if (seenNow(copy.localFile) !== copy.seen) {
        counts.set(key, 'never')
        drop(copy)
        return undefined
      }
      copies.delete(key)
      copies.set(key, copy)
      return held(copy)
    },
    async settled() {
      while (making) await making
    },
    async close() {
      stopping.abort()
      await making
    },
  }
}

/** Which file it is and when it was last written; undefined: it is gone. */
function seenNow(localFile: string): string | undefined {
  const found = statSync(localFile, { throwIfNoEntry: false })
  return found && [found.ino, found.size, found.mtimeMs, found.ctimeMs].join(' ')
}
