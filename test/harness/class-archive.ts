/**
 * Java programs of tests start from an archive of their loaded classes, made once per user: a broker then takes 1.5 CPU-s to
 * start and no longer 4, a schema registry 2 and no longer 4, and a suite starts dozens of them.
 *
 *   1. the program runs once until it is ready; when it ends in order the JVM writes down what it had loaded
 *   2. every later start is told where that archive lies
 *
 * What can fail: the archive belongs to exactly one JVM and these jars. Another JVM says so in a line and starts without it.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { type ReadyWhen, startProcess } from './processes.ts'

export type JavaProgram = {
  /** All arguments of `java`; the same jars in the same order as later. */
  readonly args: readonly string[]
  readonly ready: ReadyWhen
}

const READY_TIMEOUT_MS = 120_000
const WRITTEN_WITHIN_MS = 120_000
const SMALL = ['-XX:+UseSerialGC', '-XX:-UsePerfData']
/** For what runs for seconds: the second compiler would cost more than it gives. */
export const SHORT_LIVED = ['-XX:TieredStopAtLevel=1']

/**
 * Arguments of `java` that come before all others. `name` is that of the archive's folder, with the exact version in it;
 * `program` is asked for only when there is none yet, and may keep what it needs in the folder that it is given.
 */
export async function quickStart(name: string, program: (scratch: string) => Promise<JavaProgram>): Promise<string[]> {
  const folder = await cachedFolder({
    name,
    async build(target) {
      const scratch = join(target, 'scratch')
      await mkdir(scratch)
      await makeArchive(name, target, await program(scratch))
      await rm(scratch, { recursive: true, force: true })
    },
  })
  return [...SMALL, '-Xshare:auto', `-XX:SharedArchiveFile=${archiveIn(folder)}`]
}

async function makeArchive(name: string, folder: string, { args, ready }: JavaProgram): Promise<void> {
  const running = await startProcess({
    name,
    command: 'java',
    args: [...SMALL, `-XX:ArchiveClassesAtExit=${archiveIn(folder)}`, ...args],
    ready,
    readyTimeoutMs: READY_TIMEOUT_MS,
  })
  await running.stop(WRITTEN_WITHIN_MS)
}

function archiveIn(folder: string): string {
  return join(folder, 'classes.jsa')
}
