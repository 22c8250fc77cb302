/**
 * The lake's protocol under a seeded scheduler (issue's "Deterministic simulation", ADR 14): no interleaving of the set may
 * break a promise, every fault and every branch of the protocol must have happened in it, and each planted bug is found.
 * A run that fails prints the line that replays it.
 */
import { randomInt } from 'node:crypto'
import { afterAll, expect, test } from 'vitest'
import { EXPECTED_COUNTS } from './expected-counts.ts'
import { PLANTED_BUGS } from './planted-bugs.ts'
import { type RangeReport, startSeedRanges } from './seed-ranges.ts'

const FIRST_SEED = 1
const RUNS = 10_000
/** Seeds that a planted bug may take. */
const BUG_RUNS = 4000
/** Where nobody waits for it, more. */
const RANDOM_RUNS = process.env.CI ? 1000 : 100

const ranges = startSeedRanges()
afterAll(() => ranges.close())

function toReplay({ failures }: RangeReport): string[] {
  return failures.map(
    ({ seed, violations }) => `node test/simulation/run.ts --seed ${seed} --trace\n    ${violations.join('\n    ')}`,
  )
}

test('a seed gives one history, event by event, in whichever thread; other seeds give others', async () => {
  const [one, again] = await Promise.all([1, 2].map(() => ranges.run({ first: FIRST_SEED, count: 30, bug: undefined })))
  expect(again.hashes).toEqual(one.hashes)
  expect(new Set(one.hashes).size).toBe(30)
  // Alone, as the printed line replays it, a seed has the history that it had among others.
  const alone = await Promise.all([29, 6].map((i) => ranges.run({ first: FIRST_SEED + i, count: 1, bug: undefined })))
  expect(alone.map(({ hashes }) => hashes[0])).toEqual([one.hashes[29], one.hashes[6]])
}, 120_000)

test(`${RUNS} interleavings with faults keep G-1 to G-4, and every fault and branch has happened in them`, async () => {
  const report = await ranges.runAll(FIRST_SEED, RUNS)
  expect(toReplay(report)).toEqual([])
  expect(report.runs).toBe(RUNS)
  const table = [...EXPECTED_COUNTS].map(([what, least]) => {
    const count = report.tallies.get(what) ?? 0
    return { what, least, count }
  })
  const lines = table.map(({ what, count }) => `${String(count).padStart(9)}  ${what}`)
  process.stdout.write(`${RUNS} runs from seed ${FIRST_SEED}:\n${lines.join('\n')}\n`)
  expect(table.filter(({ count, least }) => count < least)).toEqual([])
}, 900_000)

test('so do interleavings that nobody has seen before', async () => {
  const first = randomInt(1_000_000, 2_000_000_000)
  process.stdout.write(`random seeds from ${first}\n`)
  expect(toReplay(await ranges.runAll(first, RANDOM_RUNS))).toEqual([])
}, 300_000)

test(`each of ${PLANTED_BUGS.length} planted bugs is found within ${BUG_RUNS} seeds`, async () => {
  const found = await Promise.all(
    PLANTED_BUGS.map(async ({ name }) => {
      const report = await ranges.run({ first: FIRST_SEED, count: BUG_RUNS, bug: name })
      const [failure] = report.failures
      return { name, seeds: failure ? report.runs : undefined, by: failure?.violations[0].split(':')[0] }
    }),
  )
  const lines = found.map(({ name, seeds, by }) => `${String(seeds ?? 'never').padStart(6)}  ${name} (${by ?? ''})`)
  process.stdout.write(`seeds until a planted bug was found:\n${lines.join('\n')}\n`)
  expect(found.filter(({ seeds }) => seeds === undefined).map(({ name }) => name)).toEqual([])
  // By a checker: a bug that only throws has shown nothing.
  expect(found.filter(({ by }) => by === 'simulation' || by === 'unhandled')).toEqual([])
}, 900_000)
