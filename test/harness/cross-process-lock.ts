/**
 * One process of the machine at a time does a thing (download, compile). The lock is SQLite's own lock on a file, which
 * the kernel drops when its holder dies in whatever way: no stale lock file to judge.
 */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 100

export async function withCrossProcessLock<T>(lockFile: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(lockFile), { recursive: true })
  const database = new DatabaseSync(lockFile, { timeout: 0 })
  try {
    while (!tryLock(database)) await sleep(POLL_MS)
    return await work()
  } finally {
    database.close()
  }
}

function tryLock(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if (error instanceof Error && /database is locked/.test(error.message)) return false
    throw error
  }
}
