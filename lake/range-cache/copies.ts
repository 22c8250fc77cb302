/**
 * Copies of new files for the reader on the same machine (PROTOCOL 1, shared mode): ingest and compactor PUT a segment or
 * data file to the bucket and leave the same bytes in a folder of the query service's cache, which takes them over instead
 * of fetching them.
 *
 *   writer   PUT ∥ write and sync <name>.data ─▶ the PUT's answer gives the etag ─▶ <name>.index ─▶ the caller may commit
 *   reader   a file it does not have ─▶ <name>.index fits path, size and etag ─▶ both files move into the cache
 *
 *   <name> = the first 32 hex digits of the path's sha256; the index has the form of the cache's own (`side-index.ts`)
 *
 * A copy proves nothing by lying there: the cache compares its bytes with the index's checksum before their first use, like
 * everything that another process wrote. If we stop before the index, a restart sees a data file that nobody takes; it goes
 * when the folder is full. A copy that cannot be written is only logged: the bucket has the file.
 *
 * Bounded: each writer looks at the whole folder whenever it has added an eighth of `bytesMax`, and lets the oldest copies go
 * until three quarters are left: two writers never exceed the bound.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import type { World } from '../../runtime/world.ts'
import { checksumOfFile } from '../checksum.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { formatHead, formatRange, type IndexHead, parseIndex } from './side-index.ts'

const FILES_COPIED = /\.parquet$/
/** One file may take at most this part of the folder: a copy that drives all others out serves nobody. */
const FILE_SHARE = 1 / 16
/** Added between two looks at the folder, and left over after one. */
const LOOK_SHARE = 1 / 8
const LEFT_SHARE = 3 / 4
const NAME_DIGITS = 32

export type CopiesOptions = {
  readonly folder: string
  readonly bytesMax: number
  readonly world: Pick<World, 'log' | 'random'>
}

/** A store that leaves a copy of every Parquet file it puts. */
export function keepCopies(store: ObjectStore, options: CopiesOptions): ObjectStore {
  const { folder, bytesMax, world } = options
  let addedSinceLook = Number.POSITIVE_INFINITY

  /** Runs beside the PUT; undefined when there is no copy. */
  async function written(size: number, fill: (file: string) => Promise<number>): Promise<Written | undefined> {
    if (size === 0 || size > bytesMax * FILE_SHARE) return undefined
    const file = join(folder, `${world.random.uuid()}.writing`)
    try {
      if (addedSinceLook + size > bytesMax * LOOK_SHARE) {
        addedSinceLook = 0
        await mkdir(folder, { recursive: true })
        await makeRoom()
      }
      addedSinceLook += size
      return { file, size, checksum: await fill(file) }
    } catch (error) {
      await rm(file, { force: true }).catch(() => {})
      // Somebody may have removed the folder: the next file makes it anew.
      addedSinceLook = Number.POSITIVE_INFINITY
      world.log.warn('no copy of a new file is kept on this machine', { folder, error })
      return undefined
    }
  }

  async function publish(copy: Written | undefined, path: string, etag: string): Promise<void> {
    if (copy === undefined) return
    const { data, index } = namesOf(folder, path)
    try {
      await rename(copy.file, data)
      await writeDurably(
        `${copy.file}-index`,
        Buffer.from(
          formatHead({ path, size: copy.size, etag }) +
            formatRange({ start: 0, end: copy.size, checksum: copy.checksum }),
        ),
      )
      await rename(`${copy.file}-index`, index)
    } catch (error) {
      world.log.warn('no copy of a new file is kept on this machine', { folder, path, error })
    }
  }

  async function makeRoom(): Promise<void> {
    const files = await filesIn(folder)
    let used = files.reduce((sum, each) => sum + each.size, 0)
    for (const { file, size: freed } of files.sort((a, b) => a.writtenMs - b.writtenMs)) {
      if (used <= bytesMax * LEFT_SHARE) return
      // Its index first: a reader that finds no index looks no further.
      await rm(file.replace(/\.data$/, '.index'), { force: true })
      await rm(file, { force: true })
      used -= freed
    }
  }

  return {
    ...store,
    async put(path, bytes, condition) {
      if (!FILES_COPIED.test(path)) return store.put(path, bytes, condition)
      const writing = written(bytes.length, async (file) => {
        await writeDurably(file, bytes)
        return crc32c(bytes)
      })
      return withCopy(path, writing, () => store.put(path, bytes, condition))
    },
    async putFile(path, localFile, condition) {
      if (!FILES_COPIED.test(path)) return store.putFile(path, localFile, condition)
      const { size } = await stat(localFile)
      const writing = written(size, async (file) => {
        await copyFile(localFile, file, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
        await syncFile(file)
        return Number.parseInt(await checksumOfFile(file), 16)
      })
      return withCopy(path, writing, () => store.putFile(path, localFile, condition))
    },
  }

  async function withCopy<Info extends { readonly etag: string }>(
    path: string,
    writing: Promise<Written | undefined>,
    put: () => Promise<Info>,
  ): Promise<Info> {
    let info: Info
    try {
      info = await put()
    } catch (error) {
      const copy = await writing
      if (copy) await rm(copy.file, { force: true })
      throw error
    }
    await publish(await writing, path, info.etag)
    return info
  }
}

type Written = { readonly file: string; readonly size: number; readonly checksum: number }

/** The head of a copy that fits, or undefined. It is not moved yet: room must be made for it first. */
export async function findCopy(
  folder: string,
  { path, size, etag }: IndexHead,
): Promise<{ readonly head: IndexHead; readonly checksum: number } | undefined> {
  const { data, index } = namesOf(folder, path)
  const text = await readFile(index, 'utf8').catch(() => undefined)
  const parsed = text === undefined ? undefined : parseIndex(text)
  if (parsed === undefined || parsed.head.path !== path || parsed.head.size !== size) return undefined
  if (etag !== undefined && parsed.head.etag !== etag) return undefined
  const [range] = parsed.ranges
  if (range === undefined || range.start !== 0 || range.end !== size) return undefined
  const found = await stat(data).catch(() => undefined)
  return found?.size === size ? { head: parsed.head, checksum: range.checksum } : undefined
}

/** False when somebody else was first. If we stop between the two, a restart of the cache sees data without an index: it goes. */
export async function moveCopy(folder: string, path: string, to: { data: string; index: string }): Promise<boolean> {
  const { data, index } = namesOf(folder, path)
  try {
    await rename(data, to.data)
    await rename(index, to.index)
    return true
  } catch {
    await rm(to.data, { force: true })
    return false
  }
}

function namesOf(folder: string, path: string): { readonly data: string; readonly index: string } {
  const name = createHash('sha256').update(path).digest('hex').slice(0, NAME_DIGITS)
  return { data: join(folder, `${name}.data`), index: join(folder, `${name}.index`) }
}

async function filesIn(folder: string): Promise<{ file: string; size: number; writtenMs: number }[]> {
  const files: { file: string; size: number; writtenMs: number }[] = []
  for (const name of await readdir(folder)) {
    if (name.endsWith('.index')) continue
    const file = join(folder, name)
    const found = await stat(file).catch(() => undefined)
    if (found) files.push({ file, size: found.size, writtenMs: found.mtimeMs })
  }
  return files
}

async function writeDurably(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx')
  try {
    await handle.writeFile(bytes)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    await handle.datasync()
  } finally {
    await handle.close()
  }
}
