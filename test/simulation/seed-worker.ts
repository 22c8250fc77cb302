/** A thread that runs ranges of seeds, one run after the other, over one emptied catalog. */
import { parentPort } from 'node:worker_threads'
import { PLANTED_BUGS } from './planted-bugs.ts'
import type { Failure, RangeReport, RangeRequest } from './seed-ranges.ts'
import { openDatabase } from './simulated-catalog.ts'
import { noteUnhandled, simulate } from './simulation.ts'

const VIOLATIONS_MAX = 5

process.on('unhandledRejection', noteUnhandled)
const database = await openDatabase()

async function run({ first, count, bug: bugName }: RangeRequest): Promise<RangeReport> {
  const bug = PLANTED_BUGS.find(({ name }) => name === bugName)
  const failures: Failure[] = []
  const tallies = new Map<string, number>()
  const hashes: string[] = []
  for (let seed = first; seed < first + count; seed += 1) {
    const report = await simulate({ seed, database, bug })
    hashes.push(report.hash)
    for (const [what, by] of report.tallies) tallies.set(what, (tallies.get(what) ?? 0) + by)
    if (report.violations.length === 0) continue
    failures.push({ seed, violations: report.violations.slice(0, VIOLATIONS_MAX) })
    if (bug) break
  }
  return { runs: hashes.length, failures, tallies, hashes }
}

parentPort?.on('message', (request: RangeRequest) => {
  run(request).then(
    (report) => parentPort?.postMessage(report),
    (error: unknown) => {
      throw error
    },
  )
})
