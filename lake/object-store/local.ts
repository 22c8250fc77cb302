/**
 * Objects are files under one folder of this machine; any number of processes may use it at once.
 *
 *   root/flights/data/x.parquet     the object with key flights/data/x.parquet
 *   root/.millrace/staging/         files being written; not objects, never listed
 *   root/.millrace/lock.sqlite      taken for the microseconds of a replacement or deletion
 *
 * A put writes a staging file, fsyncs it, and gives it its name:
 *   - `link` when nothing has the name: the kernel lets exactly one racer win, whatever the others do;
 *   - otherwise, unless `ifNoneMatch`, under the lock: compare the etag, `rename` over it.
 * Then the folder is fsynced, and the folders above it the first time. If we stop before the name is given, a restart
 * sees only a staging file, which a later writer removes once it is an hour old; afterwards it sees the whole object.
 *
 * Below the root there are no symbolic links: a path whose real path is another one is refused, and listings pass links
 * by, so no key leads out of the root. Folders come and go with their objects.
 *
 * What can fail: a full or broken disk (`store-unavailable`), no permission or a file system without hard links, or with
 * another file system mounted inside the root (`settings-invalid`), a key that runs through another object
 * (`request-invalid`).
 */
import { type BigIntStats, constants, renameSync, rmdirSync, statSync, unlinkSync, utimesSync } from 'node:fs'
import { copyFile, type FileHandle, link, mkdir, open, readdir, realpath, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { checkRange, cutRange } from './byte-range.ts'
import { type FolderLock, openFolderLock } from './folder-lock.ts'
import { errorCode, storeErrorOf } from './local-errors.ts'
import { walkFolder } from './local-list.ts'
import { fileRootFolder, keyOf, keyPrefixOf, trimTrailingSlashes } from './object-path.ts'
import type { GetOptions, ObjectBytes, ObjectInfo, ObjectStore, PutCondition } from './object-store.ts'
import { checkCondition, fileMissing, preconditionFailed, sourceMissing } from './store-errors.ts'

export type LocalObjectStoreOptions = {
  /** `file:///absolute/folder`; made by the first put. */
  readonly root: string
  readonly world: Pick<World, 'clock' | 'random'>
}

export const RESERVED_FOLDER = '.millrace'
const STALE_STAGING_MS = 60 * 60 * 1000
const READ_BYTES_MAX = 1 << 30
const NAME_ATTEMPTS_MAX = 32
const DURABLE_FOLDERS_MAX = 10_000

type WriteSide = { readonly staging: string; readonly lock: FolderLock }

export function createLocalObjectStore(options: LocalObjectStoreOptions): ObjectStore {
  const root = trimTrailingSlashes(options.root)
  const rootFolder = fileRootFolder(options.root)
  const { world } = options
  let writeSide: Promise<WriteSide> | undefined
  let knownRealRoot: string | undefined
  /** Folder → inode, of folders whose names are known to be on disk all the way up. */
  const durableFolders = new Map<string, bigint>()

  function checkedKey(path: string): string {
    const key = keyOf(root, path)
    if (key !== RESERVED_FOLDER && !key.startsWith(`${RESERVED_FOLDER}/`)) return key
    throw new MillraceError('request-invalid', `path ${path} is in the folder that the store keeps for itself`, {
      facts: { path },
    })
  }

  // ---- writing

  async function put(path: string, bytes: Uint8Array, condition: PutCondition = {}): Promise<ObjectInfo> {
    return putStaged(path, condition, async (stagingFile) => {
      const handle = await open(stagingFile, 'wx')
      try {
        await handle.writeFile(bytes)
        await handle.sync()
      } finally {
        await handle.close()
      }
    })
  }

  async function putFile(path: string, localFile: string, condition: PutCondition = {}): Promise<ObjectInfo> {
    return putStaged(path, condition, async (stagingFile) => {
      // A copy, not a link: what happens to the local file later must not reach the object. Shared blocks where possible.
      await copyFile(localFile, stagingFile, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE).catch(
        async (cause) => {
          throw errorCode(cause) === 'ENOENT' && !(await isThere(localFile))
            ? sourceMissing(path, localFile, cause)
            : cause
        },
      )
      await syncPath(stagingFile)
    })
  }

  async function putStaged(
    path: string,
    condition: PutCondition,
    fill: (stagingFile: string) => Promise<void>,
  ): Promise<ObjectInfo> {
    const key = checkedKey(path)
    checkCondition(path, condition)
    try {
      const { staging, lock } = await openWriteSide()
      const target = join(rootFolder, key)
      if (condition.ifNoneMatch !== undefined && (await isThere(target))) {
        throw preconditionFailed(path, 'an object is there already')
      }
      const stagingFile = join(staging, world.random.uuid())
      try {
        await fill(stagingFile)
        const stats = await giveName({ path, key, target, stagingFile, condition, lock })
        await syncFolders(dirname(target))
        return infoOf(path, stats)
      } finally {
        await unlink(stagingFile).catch((error) => {
          if (errorCode(error) !== 'ENOENT') throw error
        })
      }
    } catch (cause) {
      // Somebody took the root away: the next try makes it anew.
      if (errorCode(cause) === 'ENOENT') await closeWriteSide()
      throw storeErrorOf(path, cause)
    }
  }

  type Naming = {
    readonly path: string
    readonly key: string
    readonly target: string
    readonly stagingFile: string
    readonly condition: PutCondition
    readonly lock: FolderLock
  }

  /** A deletion in another process may take an empty folder away between making and using it: then once more. */
  async function giveName(naming: Naming): Promise<BigIntStats> {
    for (let attempt = 1; ; attempt++) {
      try {
        await makeFolder(naming.path, dirname(naming.key))
        const stats = await tryGiveName(naming)
        if (stats) return stats
      } catch (error) {
        if (errorCode(error) !== 'ENOENT' || attempt >= NAME_ATTEMPTS_MAX) throw error
      }
      if (attempt >= NAME_ATTEMPTS_MAX) throw preconditionFailed(naming.path, 'it was created and deleted all the time')
    }
  }

  /** undefined: the object that was there is gone again, try anew. */
  async function tryGiveName(naming: Naming): Promise<BigIntStats | undefined> {
    const { path, target, stagingFile, condition, lock } = naming
    if (condition.ifMatch === undefined) {
      try {
        await link(stagingFile, target)
        return await stat(stagingFile, { bigint: true })
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error
        if (condition.ifNoneMatch !== undefined) throw preconditionFailed(path, 'an object is there already', error)
      }
    }
    return lock.run(path, () => replaceLocked(naming))
  }

  function replaceLocked({ path, target, stagingFile, condition }: Naming): BigIntStats | undefined {
    const present = statSync(target, { bigint: true, throwIfNoEntry: false })
    if (condition.ifMatch !== undefined) {
      const found = present?.isFile() ? etagOf(present) : 'none'
      if (found !== condition.ifMatch)
        throw preconditionFailed(path, `its etag is ${found}, expected ${condition.ifMatch}`)
    }
    if (!present) return undefined
    if (!present.isFile()) throw throughFolder(path)
    const staged = statWithLaterTime(stagingFile, present)
    renameSync(stagingFile, target)
    return staged
  }

  async function deleteAll(paths: readonly string[]): Promise<void> {
    const targets = paths.map((path) => ({ path, target: join(rootFolder, checkedKey(path)) }))
    const folders = new Set<string>()
    for (const { path, target } of targets) {
      try {
        if (!(await isPlainFile(path, target))) continue
        const { lock } = await openWriteSide()
        await lock.run(path, () => unlinkIfThere(target))
        folders.add(dirname(target))
      } catch (cause) {
        throw storeErrorOf(path, cause)
      }
    }
    for (const folder of folders) await removeEmptyFolders(folder)
  }

  /** Deletion is durable too: what was said to be gone does not come back with the power. */
  async function removeEmptyFolders(folder: string): Promise<void> {
    let current = folder
    while (current !== rootFolder && removeFolderIfEmpty(current)) {
      durableFolders.delete(current)
      current = dirname(current)
    }
    await syncPath(current).catch((error) => {
      if (errorCode(error) !== 'ENOENT') throw storeErrorOf(`file://${current}`, error)
    })
  }

  function openWriteSide(): Promise<WriteSide> {
    writeSide ??= makeWriteSide().catch((error) => {
      writeSide = undefined
      throw error
    })
    return writeSide
  }

  async function closeWriteSide(): Promise<void> {
    const opened = writeSide
    writeSide = undefined
    durableFolders.clear()
    knownRealRoot = undefined
    if (opened) (await opened).lock.close()
  }

  async function makeWriteSide(): Promise<WriteSide> {
    const staging = join(rootFolder, RESERVED_FOLDER, 'staging')
    await mkdir(staging, { recursive: true })
    await syncFoldersAbove(rootFolder)
    await removeStaleStaging(staging)
    return { staging, lock: openFolderLock(join(rootFolder, RESERVED_FOLDER, 'lock.sqlite'), world) }
  }

  async function removeStaleStaging(staging: string): Promise<void> {
    const staleBeforeMs = Number(world.clock.nowMicros() / 1000n) - STALE_STAGING_MS
    for (const name of await readdir(staging)) {
      const file = join(staging, name)
      const stats = await stat(file).catch(() => undefined)
      if (stats && stats.mtimeMs < staleBeforeMs) await rm(file, { force: true })
    }
  }

  /** Makes the folder of a key; no part of it may be a link or a file. */
  async function makeFolder(path: string, folderKey: string): Promise<void> {
    if (folderKey === '.') return
    const folder = join(rootFolder, folderKey)
    const names = folderKey.split('/')
    // As a rule it is there: making it anew and looking again would cost 0.1 ms of every put.
    if (await existsPlainly(path, folderKey)) return
    for (let count = names.length - 1; count > 0; count--) {
      const existing = names.slice(0, count).join('/')
      if (await existsPlainly(path, existing)) break
    }
    await mkdir(folder, { recursive: true })
    await existsPlainly(path, folderKey)
  }

  async function existsPlainly(path: string, key: string): Promise<boolean> {
    const expected = join(await realRoot(), key)
    try {
      const found = await realpath(join(rootFolder, key))
      if (found === expected) return true
      throw throughLink(path, found)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false
      throw error
    }
  }

  async function realRoot(): Promise<string> {
    knownRealRoot ??= await realpath(rootFolder)
    return knownRealRoot
  }

  async function syncFolders(folder: string): Promise<void> {
    const { ino } = await stat(folder, { bigint: true })
    await syncPath(folder)
    if (durableFolders.get(folder) === ino) return
    for (let current = folder; current !== rootFolder; ) {
      current = dirname(current)
      await syncPath(current)
    }
    if (durableFolders.size >= DURABLE_FOLDERS_MAX) durableFolders.clear()
    durableFolders.set(folder, ino)
  }

  // ---- reading

  async function get(path: string, { range, ifMatch, signal }: GetOptions = {}): Promise<ObjectBytes> {
    const key = checkedKey(path)
    signal?.throwIfAborted()
    if (range) checkRange(path, range)
    try {
      if (!(await existsPlainly(path, key))) throw fileMissing(path)
      const handle = await open(join(rootFolder, key), constants.O_RDONLY | constants.O_NOFOLLOW)
      try {
        const stats = await handle.stat({ bigint: true })
        if (!stats.isFile()) throw fileMissing(path)
        const etag = etagOf(stats)
        if (ifMatch !== undefined && etag !== ifMatch) {
          throw preconditionFailed(path, `its etag is ${etag}, expected ${ifMatch}`)
        }
        const objectSize = Number(stats.size)
        const { start, end } = range ? cutRange(path, range, objectSize) : { start: 0, end: objectSize }
        const bytes = await readFully(path, handle, start, end, signal)
        return { bytes, etag, objectSize }
      } finally {
        await handle.close()
      }
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      if (isNotThere(cause)) throw fileMissing(path, cause)
      throw storeErrorOf(path, cause)
    }
  }

  async function head(path: string): Promise<ObjectInfo | undefined> {
    const key = checkedKey(path)
    try {
      if (!(await existsPlainly(path, key))) return undefined
      const stats = await stat(join(rootFolder, key), { bigint: true })
      return stats.isFile() ? infoOf(path, stats) : undefined
    } catch (cause) {
      if (isNotThere(cause)) return undefined
      throw storeErrorOf(path, cause)
    }
  }

  async function isPlainFile(path: string, target: string): Promise<boolean> {
    try {
      if (!(await existsPlainly(path, target.slice(rootFolder.length + 1)))) return false
      return (await stat(target)).isFile()
    } catch (error) {
      if (isNotThere(error)) return false
      throw error
    }
  }

  async function* list(prefix: string): AsyncIterable<ObjectInfo> {
    const keyPrefix = keyPrefixOf(root, prefix)
    try {
      for await (const { key, stats } of walkFolder(rootFolder, keyPrefix, RESERVED_FOLDER)) {
        yield infoOf(`${root}/${key}`, stats)
      }
    } catch (cause) {
      throw storeErrorOf(prefix, cause)
    }
  }

  return {
    root,
    put,
    putFile,
    get,
    head,
    list,
    delete: deleteAll,
    close: closeWriteSide,
  }
}

function etagOf(stats: BigIntStats): string {
  return `"${stats.size.toString(16)}-${stats.mtimeNs.toString(16)}-${stats.ino.toString(16)}"`
}

/**
 * Clocks of file systems tick in milliseconds, and inode numbers are used again: two replacements within one tick could
 * bring an old etag back. So a replacement is always later than what it replaces.
 */
function statWithLaterTime(stagingFile: string, present: BigIntStats): BigIntStats {
  const staged = statSync(stagingFile, { bigint: true })
  if (staged.mtimeNs > present.mtimeNs) return staged
  const later = Number(present.mtimeNs / 1_000_000n + 1n) / 1000
  utimesSync(stagingFile, later, later)
  return statSync(stagingFile, { bigint: true })
}

function infoOf(path: string, stats: BigIntStats): ObjectInfo {
  return { path, size: Number(stats.size), etag: etagOf(stats), modifiedAt: stats.mtimeNs / 1000n }
}

function throughLink(path: string, found: string): MillraceError {
  return new MillraceError('request-invalid', `path ${path} runs through a symbolic link to ${found}`, {
    facts: { path, found },
  })
}

function throughFolder(path: string): MillraceError {
  return new MillraceError('request-invalid', `path ${path} is a folder of other objects`, { facts: { path } })
}

function isNotThere(error: unknown): boolean {
  const code = errorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

async function isThere(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile()
  } catch {
    return false
  }
}

async function readFully(
  path: string,
  handle: FileHandle,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  // Its own memory, not a slice of Node's pool: the bytes may be transferred to another thread.
  const bytes = Buffer.allocUnsafeSlow(end - start)
  let filled = 0
  while (filled < bytes.length) {
    signal?.throwIfAborted()
    const wanted = Math.min(bytes.length - filled, READ_BYTES_MAX)
    const { bytesRead } = await handle.read(bytes, filled, wanted, start + filled)
    if (bytesRead === 0) {
      throw new MillraceError('file-damaged', `${path} ended at ${start + filled} bytes while it was read`, {
        facts: { path, expected: end },
      })
    }
    filled += bytesRead
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The root's own name and those above it, as far as we may look. */
async function syncFoldersAbove(folder: string): Promise<void> {
  for (let current = folder; ; current = dirname(current)) {
    const synced = await syncPath(current).then(
      () => true,
      () => false,
    )
    if (!synced || current === dirname(current)) return
  }
}

function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file)
  } catch (error) {
    if (!isNotThere(error)) throw error
  }
}

function removeFolderIfEmpty(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    return errorCode(error) === 'ENOENT'
  }
}
