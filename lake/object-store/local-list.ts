/**
 * Files under a folder in the order of their keys' bytes, one folder in memory at a time. A folder sorts as its name plus
 * the slash, so `a-b` comes before `a/x` and `a0` after it, as a store with flat keys lists them.
 *
 * Links and other odd things are passed by; what disappears while we walk is left out.
 */
import type { BigIntStats, Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from './local-errors.ts'
import { compareKeys } from './object-path.ts'

export type WalkedFile = { readonly key: string; readonly stats: BigIntStats }

export async function* walkFolder(
  rootFolder: string,
  keyPrefix: string,
  reservedName: string,
): AsyncGenerator<WalkedFile> {
  // Start in the deepest folder that the prefix names; what is above cannot match.
  const lastSlash = keyPrefix.lastIndexOf('/')
  const startKey = keyPrefix.slice(0, lastSlash + 1)
  if (startKey === `${reservedName}/` || startKey.startsWith(`${reservedName}/`)) return
  if (await runsThroughLink(rootFolder, startKey)) return
  yield* walk(rootFolder, startKey, keyPrefix, reservedName)
}

async function* walk(
  rootFolder: string,
  folderKey: string,
  keyPrefix: string,
  reservedName: string,
): AsyncGenerator<WalkedFile> {
  for (const suffixed of await readSorted(join(rootFolder, folderKey))) {
    const key = folderKey + suffixed
    if (key === `${reservedName}/`) continue
    const isFolder = suffixed.endsWith('/')
    if (isFolder) {
      if (key.startsWith(keyPrefix) || keyPrefix.startsWith(key)) {
        yield* walk(rootFolder, key, keyPrefix, reservedName)
      }
      continue
    }
    if (!key.startsWith(keyPrefix)) continue
    const stats = await statIfThere(join(rootFolder, key))
    if (stats?.isFile()) yield { key, stats }
  }
}

async function readSorted(folder: string): Promise<string[]> {
  let entries: Dirent[]
  try {
    entries = await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return []
    throw error
  }
  const names: string[] = []
  for (const entry of entries) {
    if (entry.isDirectory()) names.push(`${entry.name}/`)
    else if (entry.isFile()) names.push(entry.name)
  }
  return names.sort(compareKeys)
}

async function statIfThere(file: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(file, { bigint: true })
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function runsThroughLink(rootFolder: string, folderKey: string): Promise<boolean> {
  let current = rootFolder
  for (const name of folderKey.split('/').filter((part) => part !== '')) {
    current = join(current, name)
    const stats = await statIfThere(current)
    if (stats?.isSymbolicLink()) return true
  }
  return false
}
