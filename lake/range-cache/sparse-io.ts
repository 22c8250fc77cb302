/**
 * System calls on a sparse file: open, write and read at a place, one sync for many writers, and what tells that somebody else
 * changed the file.
 */
import { statSync } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { MillraceError } from '../../schemas/errors.ts'
import type { ByteRange } from '../object-store/object-store.ts'

/** A file that should hold bytes is never made anew: its holes would pass for them. */
export async function openSparse(localFile: string, size: number, isThere: boolean): Promise<FileHandle> {
  // Somebody may have removed the whole folder.
  if (!isThere) await mkdir(dirname(localFile), { recursive: true })
  const handle = await open(localFile, isThere ? 'r+' : 'w+').catch((error: unknown) => {
    throw new MillraceError('file-missing', `cannot open the cache file ${localFile}`, { cause: error })
  })
  if ((await handle.stat()).size !== size) await handle.truncate(size)
  return handle
}

export async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  try {
    for (let written = 0; written < bytes.length; ) {
      written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOSPC') throw cause
    throw new MillraceError(
      'overloaded',
      'the disk of query.cache.folder is full; make room, or lower query.cache.bytes below what it has',
      { cause },
    )
  }
}

export async function readAt(handle: FileHandle, { start, end }: ByteRange): Promise<Uint8Array> {
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
export function createGroupSync(syncOnce: () => Promise<void>): () => Promise<void> {
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

/**
 * `stamp` is another text after any change of the file or of what lies under its name; undefined when there is none. In this
 * thread: 4 µs, for each file of each query; through the pool of threads it costs fifty times that.
 */
export function statOf(localFile: string): { readonly size: number; readonly stamp: string } | undefined {
  const stats = statSync(localFile, { bigint: true, throwIfNoEntry: false })
  return stats && { size: Number(stats.size), stamp: `${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}` }
}
