/**
 * Every byte of one file, read in blocks, against what is recorded of it: length, CRC32C or sha256; of Parquet files also
 * the footer's rows against the record, and, where no checksum is known, all pages. A file that is replaced while it is read
 * is noticed by its etag.
 */
import { createHash } from 'node:crypto'
import { asMillraceError, isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { runningChecksum } from '../checksum.ts'
import { parseMetadataBytes } from '../iceberg/read.ts'
import type { ByteRange, ObjectBytes, ObjectStore } from '../object-store/object-store.ts'
import { FOOTER_GUESS_BYTES, readFooter } from '../parquet/footer-file.ts'
import type { ParquetFooter } from '../parquet/parquet.ts'
import { type Finding, fileFinding, type Reference } from './finding.ts'
import { walkPages } from './parquet-pages.ts'

/**
 *   proven     a checksum over all bytes fits, or the CRCs of all pages do
 *   readable   nothing is recorded that could prove the bytes; all that can be read of them makes sense
 *   absent     there is no such file (any more)
 *   altered    see the finding
 */
export type Verdict =
  | { readonly outcome: 'proven' | 'readable' | 'absent'; readonly bytes: number }
  | { readonly outcome: 'altered'; readonly bytes: number; readonly finding: Finding }

export type VerifyOptions = {
  readonly store: ObjectStore
  /** What the footer says otherwise than the record of the file; undefined when they agree. */
  readonly footerFault?: (reference: Reference, footer: ParquetFooter) => Promise<string | undefined>
  /** Bytes that were just read. */
  readonly onBytes?: (bytes: number) => void
  readonly signal?: AbortSignal
}

const BLOCK_BYTES = 4 * 1024 ** 2
const PARQUET_KINDS = ['segment', 'data file']

export async function verifyFile(reference: Reference, options: VerifyOptions): Promise<Verdict> {
  const altered = (expected: string | undefined, found: string, bytes = 0): Verdict => ({
    outcome: 'altered',
    bytes,
    finding: fileFinding('altered', reference, expected, found),
  })
  try {
    const read = await readAll(reference, options)
    if (reference.bytes !== undefined && read.size !== reference.bytes) {
      return altered(`${reference.bytes} bytes`, `${read.size} bytes`, read.size)
    }
    if (reference.checksum !== undefined && read.checksum !== reference.checksum) {
      return altered(`checksum ${reference.checksum}`, `checksum ${read.checksum}`, read.size)
    }
    if (reference.sha256 !== undefined && read.sha256 !== reference.sha256) {
      return altered(`sha256 ${reference.sha256}`, `sha256 ${read.sha256}`, read.size)
    }
    const isKnown = reference.checksum !== undefined || reference.sha256 !== undefined
    if (PARQUET_KINDS.includes(reference.kind)) {
      const isProven = await verifyParquet(reference, read, options, isKnown)
      return { outcome: isProven ? 'proven' : 'readable', bytes: read.size }
    }
    if (reference.kind === 'older metadata' && !isKnown) {
      parseMetadataBytes((await options.store.get(reference.path)).bytes, reference.path)
    }
    return { outcome: isKnown ? 'proven' : 'readable', bytes: read.size }
  } catch (thrown) {
    const error = asMillraceError(thrown)
    // A path that no store serves is as good as none.
    if (['file-missing', 'request-invalid'].includes(error.code)) return { outcome: 'absent', bytes: 0 }
    if (error.kind !== 'data' && error.code !== 'precondition-failed') throw thrown
    const found = error.code === 'precondition-failed' ? 'another file while it was read' : error.message
    return altered(`a sound ${reference.kind}`, found)
  }
}

type ReadFile = {
  readonly size: number
  readonly etag: string
  readonly checksum: string
  readonly sha256: string | undefined
  /** The file's last bytes, as long as a footer mostly is. */
  readonly tail: Uint8Array
}

async function readAll(reference: Reference, { store, onBytes, signal }: VerifyOptions): Promise<ReadFile> {
  const checksum = runningChecksum()
  const sha256 = reference.sha256 === undefined ? undefined : createHash('sha256')
  let size = 0
  let etag: string | undefined
  let position = 0
  let tail = new Uint8Array(0)
  do {
    const range = { start: position, end: position + BLOCK_BYTES }
    const block = await readBlock(store, reference.path, range, etag, signal)
    size = block.objectSize
    etag ??= block.etag
    if (position < size && block.bytes.length === 0) {
      throw new MillraceError('file-damaged', `it ended at ${position} of ${size} bytes`)
    }
    checksum.add(block.bytes)
    sha256?.update(block.bytes)
    tail = lastBytes(tail, block.bytes)
    position += block.bytes.length
    onBytes?.(block.bytes.length)
  } while (position < size)
  return { size, etag, checksum: checksum.text(), sha256: sha256?.digest('hex'), tail }
}

/** A file without bytes has no range to ask for: found out when the first block is refused. */
async function readBlock(
  store: ObjectStore,
  path: string,
  range: ByteRange,
  ifMatch: string | undefined,
  signal: AbortSignal | undefined,
): Promise<ObjectBytes> {
  try {
    return await store.get(path, { range, ifMatch, signal })
  } catch (error) {
    if (range.start > 0 || !isMillraceError(error, 'request-invalid')) throw error
    return store.get(path, { signal })
  }
}

function lastBytes(before: Uint8Array, next: Uint8Array): Uint8Array<ArrayBuffer> {
  if (next.length >= FOOTER_GUESS_BYTES) return new Uint8Array(next.subarray(next.length - FOOTER_GUESS_BYTES))
  const kept = before.subarray(Math.max(0, before.length + next.length - FOOTER_GUESS_BYTES))
  const joined = new Uint8Array(kept.length + next.length)
  joined.set(kept)
  joined.set(next, kept.length)
  return joined
}

/** Whether checksum or page CRCs prove the bytes. */
async function verifyParquet(
  reference: Reference,
  { size, etag, tail }: ReadFile,
  { store, signal, footerFault }: VerifyOptions,
  isKnown: boolean,
): Promise<boolean> {
  const read = async (start: number, end: number) =>
    (await store.get(reference.path, { range: { start, end }, ifMatch: etag, signal })).bytes
  const footer: ParquetFooter = await readFooter(reference.path, size, async (bytes) =>
    bytes <= tail.length ? tail.subarray(tail.length - bytes) : read(size - bytes, size),
  )
  if (reference.rowCount !== undefined && footer.rowCount !== reference.rowCount) {
    throw new MillraceError('file-damaged', `${footer.rowCount} rows in its footer, ${reference.rowCount} recorded`)
  }
  const fault = await footerFault?.(reference, footer)
  if (fault !== undefined) throw new MillraceError('file-damaged', fault)
  if (isKnown) return true
  const { proven } = await walkPages(footer, read)
  // CRCs of pages say nothing of the footer, but that was read and hangs together.
  return proven
}
