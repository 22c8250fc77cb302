/**
 * A lock that holds between the processes of one machine, for critical sections of a few system calls. It is SQLite's
 * lock on an empty database file: fcntl underneath, so the kernel drops it with its holder, and a kill -9 in the section
 * leaves nothing to judge. Waiting is by polling, outside of the lock, so that the event loop goes on.
 *
 * The section must not await: a lock is then held for microseconds, and only a stopped holder makes others wait.
 */
import { DatabaseSync } from 'node:sqlite'
import type { World } from '../../runtime/world.ts'
import { storeUnavailable } from './store-errors.ts'

const WAIT_MS_MAX = 30_000
const POLL_MS = 2

export type FolderLock = {
  run<T>(path: string, section: () => T): Promise<T>
  close(): void
}

export function openFolderLock(lockFile: string, world: Pick<World, 'clock' | 'random'>): FolderLock {
  const database = new DatabaseSync(lockFile, { timeout: 0 })

  function tryRun<T>(section: () => T): { readonly value: T } | undefined {
    if (!tryBegin(database)) return undefined
    try {
      return { value: section() }
    } finally {
      database.exec('ROLLBACK')
    }
  }

  return {
    async run(path, section) {
      const start = world.clock.monotonicMs()
      for (;;) {
        const ran = tryRun(section)
        if (ran) return ran.value
        if (world.clock.monotonicMs() - start > WAIT_MS_MAX) {
          throw storeUnavailable(path, `another process holds ${lockFile} for more than ${WAIT_MS_MAX} ms`)
        }
        await world.clock.sleep(POLL_MS * (0.5 + world.random.float()))
      }
    },
    close: () => database.close(),
  }
}

function tryBegin(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if (error instanceof Error && error.message.includes('database is locked')) return false
    throw error
  }
}
