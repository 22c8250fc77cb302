#!/usr/bin/env node
/**
 * The simulation by command:
 *
 *   node test/simulation/run.ts                      1,000 runs from a random seed
 *   node test/simulation/run.ts --seed 7             one run
 *   node test/simulation/run.ts --seed 7 --trace     one run, with everything that happened
 *   node test/simulation/run.ts --seed 7 --runs 500  500 runs from seed 7
 *   node test/simulation/run.ts --forever [--seed N] until it is stopped or finds something
 *
 * A run that finds something prints the line that replays it, and the command ends with exit code 1.
 */
import { parseArgs } from 'node:util'
import { PLANTED_BUGS } from './planted-bugs.ts'
import { openDatabase } from './simulated-catalog.ts'
import { noteUnhandled, simulate } from './simulation.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    runs: { type: 'string' },
    trace: { type: 'boolean' },
    forever: { type: 'boolean' },
    bug: { type: 'string' },
    tallies: { type: 'boolean' },
    all: { type: 'boolean' },
  },
})
process.on('unhandledRejection', noteUnhandled)
const first = values.seed === undefined ? Math.floor(performance.timeOrigin) % 1_000_000_000 : Number(values.seed)
const runs = values.forever ? Number.POSITIVE_INFINITY : Number(values.runs ?? (values.seed === undefined ? 1000 : 1))
const bug = PLANTED_BUGS.find(({ name }) => name === values.bug)
if (values.bug !== undefined && !bug) throw new Error(`there is no planted bug "${values.bug}"`)
const database = await openDatabase()
const tallies = new Map<string, number>()
const started = process.cpuUsage()
let failed = 0
let steps = 0
let done = 0
for (let seed = first; seed < first + runs; seed += 1) {
  const report = await simulate({
    seed,
    database,
    bug,
    trace: values.trace ? (line) => process.stdout.write(`${line}\n`) : undefined,
  })
  done += 1
  steps += report.steps
  for (const [what, count] of report.tallies) tallies.set(what, (tallies.get(what) ?? 0) + count)
  if (runs === 1)
    process.stdout.write(
      `seed ${seed}: ${report.steps} steps, ${report.simulatedMs.toFixed(0)} ms, hash ${report.hash}\n`,
    )
  if (report.violations.length > 0) {
    failed += 1
    process.stdout.write(`seed ${seed}: ${report.violations.slice(0, 3).join('\n  ')}\n`)
    process.stdout.write(
      `  to replay: node test/simulation/run.ts --seed ${seed} --trace${bug ? ` --bug "${bug.name}"` : ''}\n`,
    )
    if (!values.all) break
  }
  if (done % 1000 === 0 && values.forever) process.stdout.write(`${done} runs, next seed ${seed + 1}\n`)
}
const cpu = process.cpuUsage(started)
if (values.tallies) {
  for (const [what, count] of [...tallies].sort(([a], [b]) => (a < b ? -1 : 1))) {
    process.stdout.write(`${String(count).padStart(8)} ${what}\n`)
  }
}
process.stdout.write(
  `${done} runs, ${failed} failed, ${steps} steps, ${((cpu.user + cpu.system) / 1000 / done).toFixed(1)} ms CPU a run\n`,
)
await database.queries.destroy()
process.exitCode = failed === 0 ? 0 : 1
