/**
 * Data files that are asked about again and again, kept once more without their compression (`query.unpacked.bytes`).
 * Unpacking the columns is a third of what DuckDB does for a small question, and half to two thirds of a group-by over millions of rows.
 *
 *   use       counts; gives the copy when there is one, and has one made after a few uses, of a large file after some more
 *   making    one at a time, a moment after the use, in Node's threads and half of the time: the file is held to its checksum,
 *             unpacked page by page (`unpack.ts`) into a file beside the cache, and published
 *   evicting  within the bytes, and only what was last used before the new one's uses began: of more files than there is room for,
 *             all asked about in turn, some keep their copies and none is made for nothing. Who uses a copy keeps its file until
 *             it is let go
 *
 * A copy is of a file by path, size, etag and checksum, so it never goes stale; the folder is this process's alone and empty at its
 * start. Whether a copy is still what was written here is looked at before each use (size and times). The file
 * itself is looked at as before: a copy only stands in for its bytes. Whatever is unusual (no checksum, parts of it not here, another
 * codec, no room on the disk) means: no copy, the file is read. So does a copy that could not be read (`distrust`), for good.
 */
import { statSync } from 'node:fs'
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runningChecksum } from '../../lake/checksum.ts'
import type { ParquetFooter } from '../../lake/parquet/parquet.ts'
import { footerIn, type ParquetBytes, unpackedBytesOf, unpackParquetTo } from '../../lake/parquet/unpack.ts'
import type { EnsuredFile, RangeCache } from '../../lake/range-cache/range-cache.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
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
  /** Uses before a copy of a small file is made; 3. */
  readonly usesMin?: number
  /** Of a file, for each of which it takes one use more; 8 MiB. */
  readonly bytesPerUse?: number
  /** After the use, so that its answer goes first; 50 ms. */
  readonly delayMs?: number
}

const USES_MIN = 3
/** Of a copy that had to leave, or found no room. */
const USES_WITHOUT_ROOM = 50
const DELAY_MS = 50
const PAUSE_MS_MAX = 100
/** Of a checksum at a time, while nobody else has a turn. */
const CHECKED_BYTES = 1 << 20
/** Of a file as it lies in the lake. */
const FILE_BYTES_MAX = 512 << 20
/** What a copy costs grows with the file, what it saves with the columns that are asked about: so much more is one use more. */
const BYTES_PER_USE = 8 << 20
const COUNTED_MAX = 2000
const WAITING_MAX = 16

type Copy = {
  readonly key: string
  readonly localFile: string
  readonly bytes: number
  readonly seen: string
  uses: number
  /** By `now`. */
  usedAt: number
  isGone: boolean
}

/** `since`: when the first of them was. */
type Count = 'never' | { readonly uses: number; readonly since: number }

export function createUnpackedFiles(parts: UnpackedFilesParts): UnpackedFiles {
  const { folder, bytesMax, cache, world, usesMin = USES_MIN, bytesPerUse = BYTES_PER_USE, delayMs = DELAY_MS } = parts
  /** Longest unused first. */
  const copies = new Map<string, Copy>()
  const counts = createRecent<Count>(COUNTED_MAX)
  const waiting = new Map<string, TableFile>()
  const stopping = new AbortController()
  let bytes = 0
  let numbers = 0
  /** Counts uses of all files. */
  let now = 0
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
    copy.usedAt = now
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
    const before = counts.get(key) ?? { uses: 0, since: now }
    if (before === 'never' || waiting.has(key)) return
    const uses = before.uses + 1
    counts.set(key, { uses, since: before.uses <= 0 ? now : before.since })
    const least = usesMin + Math.floor(file.bytes / bytesPerUse)
    if (uses < least || waiting.size >= WAITING_MAX || stopping.signal.aborted) return
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
        if ((await make(key, file)) === 'never') counts.set(key, 'never')
      } catch (error) {
        counts.set(key, 'never')
        world.log.debug('a file could not be unpacked', { path: file.path, error })
      }
      waiting.delete(key)
    }
  }

  async function make(key: string, file: TableFile): Promise<'made' | 'later' | 'never'> {
    const { path, bytes: fileBytes, etag, checksum } = file
    const whole = [{ start: 0, end: fileBytes }]
    // Not all of it is here.
    if (cache.missingBytes(path, fileBytes, etag, whole) > 0) return 'never'
    const ensured = await cache.ensure(path, fileBytes, etag, whole, stopping.signal, checksum)
    try {
      const source = await open(ensured.localFile, 'r')
      try {
        return await makeFrom(source, ensured.localFile, key, file)
      } finally {
        await source.close()
      }
    } finally {
      ensured.release()
    }
  }

  async function makeFrom(
    handle: FileHandle,
    sourceFile: string,
    key: string,
    { bytes: fileBytes, checksum }: TableFile,
  ): Promise<'made' | 'later' | 'never'> {
    const before = seenNow(sourceFile)
    const source = bytesIn(handle, fileBytes)
    const footer = await footerIn(source)
    const unpackedBytes = unpackedBytesOf(footer)
    if (unpackedBytes === undefined || unpackedBytes > bytesMax) return 'never'
    const counted = counts.get(key)
    const since = counted === undefined || counted === 'never' ? now : counted.since
    if (!mayMakeRoom(unpackedBytes, since)) {
      counts.set(key, { uses: -USES_WITHOUT_ROOM, since: now })
      return 'later'
    }
    const pause = takingTurns()
    if ((await checksumInTurns(source, pause)) !== checksum) return 'never'
    await mkdir(folder, { recursive: true })
    numbers += 1
    const localFile = join(folder, `${numbers}.parquet`)
    let length: number | undefined
    try {
      length = await writeUnpacked(source, footer, localFile, pause)
      // What was unpacked is what was checked.
      if (before === undefined || seenNow(sourceFile) !== before) length = undefined
    } finally {
      if (length === undefined) remove(localFile)
    }
    const seen = length === undefined ? undefined : seenNow(localFile)
    if (length === undefined || seen === undefined) return 'never'
    copies.set(key, { key, localFile, bytes: length, seen, uses: 0, usedAt: now, isGone: false })
    bytes += length
    for (const oldest of [...copies.values()]) {
      if (bytes <= bytesMax) break
      drop(oldest)
      counts.set(oldest.key, { uses: -USES_WITHOUT_ROOM, since: now })
    }
    return 'made'
  }

  /** Beside copies that were used since; a copy that goes soon is not worth making. */
  function mayMakeRoom(unpackedBytes: number, since: number): boolean {
    let kept = 0
    for (const copy of copies.values()) if (copy.usedAt >= since) kept += copy.bytes
    return kept + unpackedBytes <= bytesMax
  }

  async function writeUnpacked(
    source: ParquetBytes,
    footer: ParquetFooter,
    localFile: string,
    pause: () => Promise<void>,
  ): Promise<number | undefined> {
    const target = await open(localFile, 'wx', 0o600)
    try {
      return await unpackParquetTo(source, footer, bytesMax, async (part) => {
        await target.writeFile(part)
        await pause()
      })
    } finally {
      await target.close()
    }
  }

  /** Half of the time is for those who ask meanwhile: each pause is as long as what was done since the last one. */
  function takingTurns(): () => Promise<void> {
    let begun = world.clock.monotonicMs()
    return async () => {
      await world.clock.sleep(Math.min(PAUSE_MS_MAX, world.clock.monotonicMs() - begun), stopping.signal)
      begun = world.clock.monotonicMs()
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
      now += 1
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

function bytesIn(handle: FileHandle, bytes: number): ParquetBytes {
  return {
    bytes,
    async read(start, end) {
      const buffer = Buffer.allocUnsafe(end - start)
      let filled = 0
      while (filled < buffer.length) {
        const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, start + filled)
        if (bytesRead === 0) throw new MillraceError('file-damaged', `it ends at ${start + filled}, not at ${end}`)
        filled += bytesRead
      }
      return buffer
    },
  }
}

async function checksumInTurns({ bytes, read }: ParquetBytes, pause: () => Promise<void>): Promise<string> {
  const checksum = runningChecksum()
  for (let start = 0; start < bytes; start += CHECKED_BYTES) {
    checksum.add(await read(start, Math.min(bytes, start + CHECKED_BYTES)))
    await pause()
  }
  return checksum.text()
}

/** Which file it is and when it was last written; undefined: it is gone. */
function seenNow(localFile: string): string | undefined {
  const found = statSync(localFile, { throwIfNoEntry: false })
  return found && [found.ino, found.size, found.mtimeMs, found.ctimeMs].join(' ')
}
