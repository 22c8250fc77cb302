/**
 * Several segments of the store as one file, their row groups copied byte for byte (ADR 18):
 *
 *   open   the end of each file ─▶ its footer
 *   join   all bytes of each, in pieces, a few requests ahead ─▶ checksum ─▶ row groups into the new file ─▶ one PUT
 *
 * A file that a table fills in an hour without a compactor has hundreds of megabytes, so neither it nor its inputs are ever whole in
 * memory: what is beyond `memoryBytesMax` goes to a file in `folder`. One that a process left there when it was killed goes with
 * the first such file of a later process.
 *
 * No byte gets into the new file unless all bytes of its input have the recorded length and checksum: the new file is put after
 * the last of them was compared. Errors that name an input have its path among their facts: `file-damaged`, `file-schema-mismatch`.
 * If we stop at any place before the PUT ended, the bucket is as before.
 */
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import type { Segment } from '../lake/catalog/catalog.ts'
import { runningChecksum } from '../lake/checksum.ts'
import type { ByteRange, ObjectInfo, ObjectStore } from '../lake/object-store/object-store.ts'
import { type ConcatInput, concatInputOf, planConcat } from '../lake/parquet/concat.ts'
import { MAGIC } from '../lake/parquet/write.ts'
import type { World } from '../runtime/world.ts'
import { isMillraceError, MillraceError } from '../schemas/errors.ts'
import { putOwnFile } from './put-own-file.ts'
import type { UntilAvailable } from './until-available.ts'

/** What a segment's footer says; `Input` is for the joiner itself. */
export type OpenSegment<Input> = {
  readonly segment: Segment
  readonly keyValues: ReadonlyMap<string, string>
  readonly rowGroups: number
  readonly rowCount: number
  readonly input: Input
}

export type JoinedSegment = {
  readonly rowCount: number
  readonly bytes: number
  readonly etag: string
  readonly checksum: string
}

export type SegmentJoiner<Input> = {
  open(segment: Segment): Promise<OpenSegment<Input>>
  /** In this order. @param path no object is there, but one of an attempt whose answer was lost */
  join(
    path: string,
    segments: readonly OpenSegment<Input>[],
    keyValues: Readonly<Record<string, string>>,
  ): Promise<JoinedSegment>
}

export type ParquetInput = ConcatInput & {
  /** Of a small file. */
  readonly whole: Uint8Array | undefined
}

export type JoinerSizes = {
  /** Read first. Small files come whole with it, and footers of few row groups. */
  readonly endBytes: number
  readonly pieceBytes: number
  /** Beyond it the new file is on disk. */
  readonly memoryBytesMax: number
}

const SIZES: JoinerSizes = { endBytes: 64 * 1024, pieceBytes: 1024 ** 2, memoryBytesMax: 2 * 1024 ** 2 }
const PIECES_AHEAD = 8
/** Nobody writes to one file for so long. */
const LEFT_OVER_MS = 6 * 3_600_000

export function createSegmentJoiner(parts: {
  store: ObjectStore
  world: Pick<World, 'clock'>
  untilAvailable: UntilAvailable
  /** Processes may share it. */
  folder: string
  /** Of files in it: this process's id as a writer. */
  name: string
  sizes?: JoinerSizes
}): SegmentJoiner<ParquetInput> {
  const { store, untilAvailable, sizes = SIZES } = parts
  let spools = 0

  async function read(segment: Segment, start: number, end: number): Promise<Uint8Array> {
    const { path, bytes: size } = segment
    const range = { start, end }
    const got = await untilAvailable('reading live segments', () => store.get(path, { range })).catch(
      (error: unknown) => {
        if (isMillraceError(error, 'request-invalid')) throw damaged(segment, `shorter than ${size} bytes`, error)
        throw error
      },
    )
    if (got.objectSize !== size || got.bytes.length !== end - start) {
      throw damaged(segment, `expected ${size} bytes, found ${got.objectSize}`)
    }
    return got.bytes
  }

  return {
    async open(segment) {
      const { bytes: size } = segment
      for (let wanted = sizes.endBytes; ; ) {
        const tail = await read(segment, Math.max(0, size - wanted), size)
        const input = inputOf(segment, tail)
        if ('needBytes' in input) {
          wanted = input.needBytes
          continue
        }
        const { keyValues, rowGroups, rowCount } = input.footer
        const whole = tail.length === size ? tail : undefined
        return { segment, keyValues, rowGroups: rowGroups.length, rowCount, input: { ...input, whole } }
      }
    },

    async join(path, segments, keyValues) {
      const inputs = segments.map(({ input }) => input)
      const plan = named(segments, () => planConcat(inputs, keyValues))
      const spool = createSpool({ ...parts, sizes, file: joinPath(parts.folder, `${parts.name}-${spools++}.parquet`) })
      try {
        await spool.append(MAGIC)
        for await (const { segment, bytes, at } of allBytes(segments, sizes.pieceBytes, read)) {
          await spool.append(within(bytes, at, plan.rowGroups[segments.indexOf(segment)]))
          mustBeSameFooter(segment, bytes, at)
        }
        await spool.append(plan.end)
        const { etag } = await untilAvailable('segment upload', () => spool.put(store, path))
        return { rowCount: plan.footer.rowCount, bytes: plan.size, etag, checksum: spool.checksum() }
      } finally {
        await spool.remove()
      }
    },
  }
}

/** What of the bytes at `at` lies in the range. */
function within(bytes: Uint8Array, at: number, { start, end }: ByteRange): Uint8Array {
  const from = Math.max(start - at, 0)
  return bytes.subarray(from, Math.max(end - at, from))
}

/** It was read before: the checksum is of the bytes read now. */
function mustBeSameFooter({ segment, input }: OpenSegment<ParquetInput>, bytes: Uint8Array, at: number): void {
  const { metadata, footer } = input
  const start = segment.bytes - footer.footerBytes
  const now = within(bytes, at, { start, end: start + metadata.length })
  if (now.length === 0) return
  const offset = Math.max(at - start, 0)
  if (Buffer.compare(now, metadata.subarray(offset, offset + now.length)) !== 0) {
    throw damaged(segment, 'its footer is another one than a moment ago')
  }
}

function damaged({ path }: Segment, what: string, cause?: unknown): MillraceError {
  return new MillraceError('file-damaged', `${path}: ${what}`, { facts: { path }, cause })
}

function inputOf(segment: Segment, tail: Uint8Array): ReturnType<typeof concatInputOf> {
  try {
    return concatInputOf(tail, segment.bytes)
  } catch (cause) {
    throw damaged(segment, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** A file that does not go with the newest one is named, so that it can be left out. */
function named<T, Input>(segments: readonly OpenSegment<Input>[], plan: () => T): T {
  try {
    return plan()
  } catch (cause) {
    const index = isMillraceError(cause) ? cause.facts.index : undefined
    if (!isMillraceError(cause) || typeof index !== 'number') throw cause
    const { path } = segments[index].segment
    throw new MillraceError(cause.code, `${path}: ${cause.message}`, { cause, facts: { path } })
  }
}

type Piece = { readonly segment: OpenSegment<ParquetInput>; readonly at: number; readonly bytes: Uint8Array }

/** In order, some requests ahead. Ends with `file-damaged` where a file's bytes are not those that were recorded. */
async function* allBytes(
  segments: readonly OpenSegment<ParquetInput>[],
  pieceBytes: number,
  read: (segment: Segment, start: number, end: number) => Promise<Uint8Array>,
): AsyncGenerator<Piece> {
  const places = segments.flatMap((segment) => {
    const { bytes: size } = segment.segment
    const step = segment.input.whole === undefined ? pieceBytes : size
    return Array.from({ length: Math.ceil(size / step) }, (_, i) => ({
      segment,
      at: i * step,
      end: Math.min(size, (i + 1) * step),
    }))
  })
  const ahead: Promise<Uint8Array>[] = []
  let next = 0
  const fill = () => {
    for (; next < places.length && ahead.length < PIECES_AHEAD; next += 1) {
      const { segment, at, end } = places[next]
      const piece = segment.input.whole ? Promise.resolve(segment.input.whole) : read(segment.segment, at, end)
      // Whoever waits for it hears; nobody waits any more once one before it failed.
      piece.catch(() => {})
      ahead.push(piece)
    }
  }
  let checksum = runningChecksum()
  for (const { segment, at, end } of places) {
    fill()
    const bytes = await (ahead.shift() as Promise<Uint8Array>)
    if (at === 0) checksum = runningChecksum()
    checksum.add(bytes)
    const { segment: recorded } = segment
    if (end === recorded.bytes && checksum.text() !== recorded.checksum && recorded.checksum !== undefined) {
      throw damaged(recorded, `expected the checksum ${recorded.checksum}, found ${checksum.text()}`)
    }
    yield { segment, at, bytes }
  }
}

type Spool = {
  append(bytes: Uint8Array): Promise<void>
  checksum(): string
  put(store: ObjectStore, path: string): Promise<ObjectInfo>
  remove(): Promise<void>
}

/** Bytes on their way into one object: in memory while they are few, then in a local file. */
function createSpool(parts: {
  world: Pick<World, 'clock'>
  untilAvailable: UntilAvailable
  folder: string
  file: string
  sizes: JoinerSizes
}): Spool {
  const { untilAvailable, folder, file, sizes } = parts
  const checksum = runningChecksum()
  let pieces: Uint8Array[] = []
  let size = 0
  let written = 0
  let handle: Awaited<ReturnType<typeof open>> | undefined

  async function spill(): Promise<void> {
    const bytes = Buffer.concat(pieces)
    pieces = []
    await untilAvailable('joining live segments', async () => {
      try {
        if (handle === undefined) {
          await mkdir(folder, { recursive: true })
          await removeLeftOver(folder, Number(parts.world.clock.nowMicros() / 1000n) - LEFT_OVER_MS)
          handle = await open(file, 'w')
        }
        for (let done = 0; done < bytes.length; ) {
          const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, written + done)
          done += bytesWritten
        }
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause)
        throw new MillraceError('store-unavailable', `${file} cannot be written: ${why}`, { cause })
      }
    })
    written += bytes.length
  }

  return {
    async append(bytes) {
      checksum.add(bytes)
      pieces.push(bytes)
      size += bytes.length
      if (size - written > sizes.memoryBytesMax) await spill()
    },
    checksum: () => checksum.text(),
    async put(store, path) {
      if (written === 0) return putOwnFile(store, path, Buffer.concat(pieces))
      if (size > written) await spill()
      return putOwnFile(store, path, { localFile: file, size })
    },
    async remove() {
      await handle?.close()
      if (handle) await rm(file, { force: true })
    },
  }
}

async function removeLeftOver(folder: string, before: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = joinPath(folder, name)
    const facts = await stat(file).catch(() => undefined)
    if (facts && facts.mtimeMs < before) await rm(file, { force: true })
  }
}
