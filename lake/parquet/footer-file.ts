/**
 * The footer of a Parquet file on this machine: one read of its tail, a second one when the footer is longer than that.
 * A file that is not there is `file-missing`, one that is no Parquet file is `file-damaged`, both naming it.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { ByteRange } from '../object-store/object-store.ts'
import { parseFooter } from './footer.ts'
import type { ParquetFooter } from './parquet.ts'

export const FOOTER_GUESS_BYTES = 64 * 1024

/** @param recordedSize when given, a file of another size is damaged */
export async function readLocalFooter(localFile: string, recordedSize?: number): Promise<ParquetFooter> {
  let handle: FileHandle
  try {
    handle = await open(localFile, 'r')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'file-missing' : 'store-unavailable'
    throw new MillraceError(code, `cannot open ${localFile}`, { cause: error, facts: { file: localFile } })
  }
  try {
    const { size } = await handle.stat()
    if (recordedSize !== undefined && size !== recordedSize) {
      throw new MillraceError('file-damaged', `${localFile} has ${size} bytes where ${recordedSize} are recorded`)
    }
    return await readFooter(localFile, size, (bytes) => readTail(handle, size, bytes))
  } finally {
    await handle.close()
  }
}

/** Asks `tail` for more bytes as long as the footer does not fit; damage names the file. */
export async function readFooter(
  name: string,
  size: number,
  tail: (bytes: number) => Promise<Uint8Array>,
  guessBytes = FOOTER_GUESS_BYTES,
): Promise<ParquetFooter> {
  try {
    const first = parseFooter(await tail(Math.min(size, guessBytes)), size)
    if (!('needBytes' in first)) return first
    const second = parseFooter(await tail(first.needBytes), size)
    if (!('needBytes' in second)) return second
    throw new MillraceError('file-damaged', 'its footer grew while it was read')
  } catch (error) {
    if (!isMillraceError(error, 'file-damaged')) throw error
    throw new MillraceError('file-damaged', `${name}: ${error.message}`, { cause: error, facts: { file: name, size } })
  }
}

async function readTail(handle: FileHandle, size: number, length: number): Promise<Uint8Array> {
  const tail = new Uint8Array(length)
  let read = 0
  while (read < length) {
    const { bytesRead } = await handle.read(tail, read, length - read, size - length + read)
    if (bytesRead === 0) throw new MillraceError('file-damaged', `the file ended ${length - read} bytes early`)
    read += bytesRead
  }
  return tail
}

/** Some bytes of a file on this machine; fewer when it ends before. */
export async function readLocalBytes(localFile: string, { start, end }: ByteRange): Promise<Uint8Array> {
  const handle = await open(localFile, 'r')
  try {
    const bytes = new Uint8Array(end - start)
    let read = 0
    while (read < bytes.length) {
      const { bytesRead } = await handle.read(bytes, read, bytes.length - read, start + read)
      if (bytesRead === 0) break
      read += bytesRead
    }
    return bytes.subarray(0, read)
  } finally {
    await handle.close()
  }
}
