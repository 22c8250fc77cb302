/** Starts processes of a release (`working-process.ts`), gathers what they report, and opens a release's catalog right here. */
import { fork } from 'node:child_process'
import { join } from 'node:path'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import { loadRelease, type ReleaseName } from './releases.ts'
import type { Report } from './reports.ts'

export type Working = {
  /** Everything it reported, when it ended well; else an error with its output. */
  readonly reports: Promise<readonly Report[]>
  readonly firstReport: Promise<void>
  readonly ended: Promise<number | null>
  counts(): Readonly<Record<string, number>>
  kill(): void
}

export function startWorking(options: {
  release: ReleaseName
  url: string
  name: string
  steps: number
  seed: number
}): Working {
  const { release, url, name, steps, seed } = options
  const child = fork(
    join(import.meta.dirname, 'working-process.ts'),
    [release, url, name, String(steps), String(seed)],
    {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: [],
    },
  )
  const reports: Report[] = []
  const first = Promise.withResolvers<void>()
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.on('message', (message) => {
    reports.push(message as Report)
    first.resolve()
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const whole = ended.then((code) => {
    if (code === 0) return reports
    throw new Error(`${name} of release "${release}" (seed ${seed}) ended with status ${code}\n${output}`)
  })
  const firstReport = Promise.race([first.promise, whole.then(() => undefined)])
  // A test that expects the process to end badly looks at its status alone.
  whole.catch(() => {})
  firstReport.catch(() => {})
  return {
    reports: whole,
    firstReport,
    ended,
    counts: () => reports.findLast((report) => report.kind === 'seen')?.counts ?? {},
    kill: () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    },
  }
}

export async function openCatalogOf(release: ReleaseName, url: string): Promise<Catalog> {
  const { openCatalog, createLog, createSystemWorld } = await loadRelease(release)
  return openCatalog({ url, world: createSystemWorld({ log: createLog({ level: 'error' }) }), busyMs: 60_000 })
}
