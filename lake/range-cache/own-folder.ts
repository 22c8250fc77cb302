/**
 * A cache folder belongs to one process: two that fill the same files would read each other's holes. The first one has the
 * folder that is asked for, one beside it `<folder>-2`, and so on, each with its own maximum of bytes. The lock is SQLite's on an
 * empty database (`folder-lock.ts`), held for life: the kernel drops it with its holder, so a kill -9 leaves nothing to judge.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'

const PROCESSES_MAX = 16

export type OwnFolder = { readonly folder: string; release(): void }

export async function claimFolder(wanted: string, world: Pick<World, 'log'>): Promise<OwnFolder> {
  for (let number = 1; number <= PROCESSES_MAX; number += 1) {
    const folder = number === 1 ? wanted : `${wanted}-${number}`
    await mkdir(folder, { recursive: true })
    const release = tryLock(join(folder, 'in-use'))
    if (!release) continue
    if (number > 1) {
      world.log.warn('another process uses this cache folder; a folder beside it is used', { wanted, folder })
    }
    return { folder, release }
  }
  throw new MillraceError(
    'settings-invalid',
    `query.cache.folder: ${PROCESSES_MAX} processes use ${wanted} and the folders beside it; give this one a folder of its own`,
  )
}

function tryLock(lockFile: string): (() => void) | undefined {
  const database = new DatabaseSync(lockFile, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return () => database.close()
  } catch (error) {
    database.close()
    if (error instanceof Error && error.message.includes('database is locked')) return undefined
    throw error
  }
}
