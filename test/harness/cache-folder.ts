/**
 * Things that take long to get (a compiled S3 server, broker artifacts, a Python environment) are made once per user and
 * kept in `$XDG_CACHE_HOME/millrace/` or `~/.cache/millrace/`, each in a folder whose name says the exact version.
 *
 * Two test files may want the same one at the same moment: a lock across processes lets one build and the other wait. A
 * folder counts as built when it holds the marker file, written last; a build that died is thrown away and done again.
 */
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { withCrossProcessLock } from './cross-process-lock.ts'

const COMPLETE_MARKER = '.complete'

export type CachedFolderOptions = {
  /** Folder name, with the exact version in it. */
  readonly name: string
  /** Fills the empty folder; it is given the final path, nothing moves afterwards. */
  readonly build: (folder: string) => Promise<void>
  /** Recognises a usable folder that was filled by hand (no marker). */
  readonly alreadyThere?: (folder: string) => Promise<boolean>
}

export function cacheHome(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return join(base, 'millrace')
}

/** Gives the folder's absolute path, building it first where needed. */
export async function cachedFolder(options: CachedFolderOptions): Promise<string> {
  const folder = join(cacheHome(), options.name)
  const marker = join(folder, COMPLETE_MARKER)
  if (existsSync(marker)) return folder
  return withCrossProcessLock(join(cacheHome(), 'locks', `${options.name}.sqlite`), async () => {
    if (existsSync(marker)) return folder
    if (options.alreadyThere && existsSync(folder) && (await options.alreadyThere(folder))) return folder
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true })
    await options.build(folder)
    await writeFile(marker, '')
    return folder
  })
}
