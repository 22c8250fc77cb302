// Producers that went away for long, and more of them than memory holds (G-1, G-2, G-6).
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isMillraceError } from '../schemas/errors.ts'
import { openSampleLake, type SampleLake, type SampleProcess } from './http-samples.ts'

const DAY_MS = 24 * 3_600_000

let lake: SampleLake
let one: SampleProcess
beforeEach(async () => {
  lake = await openSampleLake(1, { producersMax: 5 })
  one = await lake.startProcess()
})
afterEach(() => lake.close())

const lines = (...ids: number[]) => ids.map((id) => JSON.stringify({ id })).join('\n')
const places = async () => (await lake.rows()).map(({ _source, _offset }) => `${_source}/${_offset}`)

async function refusal(work: Promise<unknown>) {
  const error = await lake.settled(work).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!isMillraceError(error)) throw new Error(`expected a refusal, got ${String(error)}`)
  return { code: error.code, facts: error.facts, message: error.message }
}

describe('a producer idle for more than 7 days', () => {
  beforeEach(async () => {
    await lake.settled(one.send(lines(1, 2), { producer: 'p', sequence: 0 }))
    await lake.world.advance(8 * DAY_MS)
    await lake.catalog.expireRows()
    expect(await lake.catalog.coverage('http:t')).toEqual([])
  })

  test.each(['the process that knew it', 'another process'])('goes on where it ended, at %s', async (where) => {
    const process = where === 'another process' ? await lake.startProcess() : one
    expect(await lake.settled(process.send(lines(3), { producer: 'p', sequence: 2 }))).toMatchObject({
      rows: 1,
      next_sequence: '3',
    })
    expect(await places()).toEqual(['http:p/0', 'http:p/1', 'http:p/2'])
    // From here on it is a producer like any other.
    const repeated = await lake.settled(process.send(lines(3), { producer: 'p', sequence: 2 }))
    expect(repeated).toMatchObject({ repeated: true, next_sequence: '3' })
  })

  test.each([
    ['begins at 0 again', 0],
    ['overlaps what it sent', 1],
    ['leaves a gap', 7],
  ])('that %s is told that it expired and where it stands', async (_, sequence) => {
    const process = await lake.startProcess()
    const { code, facts, message } = await refusal(process.send(lines(9), { producer: 'p', sequence }))
    expect(code).toBe('sequence-gap')
    expect(facts).toEqual({ expected_sequence: '2', rows_taken: 0, expired: true })
    expect(message).toContain('was idle for 7 days and has expired; all its rows before 2 are committed')
    expect(await places()).toEqual(['http:p/0', 'http:p/1'])
  })

  test('is refused by the process that still remembers it, too, when it begins anew', async () => {
    expect((await refusal(one.send(lines(9), { producer: 'p', sequence: 0 }))).facts).toMatchObject({ expired: true })
  })
})

test('rows without a producer go on after the process was idle for long: their offsets stay unique', async () => {
  await lake.settled(one.send(lines(1, 2)))
  await lake.world.advance(8 * DAY_MS)
  await lake.catalog.expireRows()
  await lake.settled(one.send(lines(3)))
  expect((await lake.rows()).map(({ _offset }) => _offset)).toEqual([0n, 1n, 2n])
})

test('of more producers than memory holds those longest idle are forgotten, and taken where they were', async () => {
  const producers = Array.from({ length: 40 }, (_, i) => `p${i}`)
  for (let sequence = 0; sequence < 3; sequence += 1) {
    for (const producer of producers) {
      await lake.settled(one.send(lines(sequence), { producer, sequence }))
      expect(one.ledger.size).toBeLessThanOrEqual(6)
    }
  }
  expect(await places()).toEqual(producers.flatMap((name) => [0, 1, 2].map((i) => `http:${name}/${i}`)).sort())
})

test('a producer whose rows are not committed stays in memory, however many others come', async () => {
  const first = one.send(lines(1), { producer: 'p', sequence: 0 })
  const others = Array.from({ length: 30 }, (_, i) => one.send(lines(i), { producer: `q${i}`, sequence: 0 }))
  const second = one.send(lines(2), { producer: 'p', sequence: 1 })
  const answers = await lake.settled(Promise.all([first, second, ...others]))
  expect(answers.every(({ rows }) => rows === 1)).toBe(true)
  expect((await places()).filter((place) => place.startsWith('http:p/'))).toEqual(['http:p/0', 'http:p/1'])
})

test('two processes, many producers, little memory: every row once', async () => {
  const two = await lake.startProcess()
  const work: Promise<unknown>[] = []
  for (let producer = 0; producer < 25; producer += 1) {
    work.push(
      (async () => {
        for (let sequence = 0; sequence < 6; ) {
          const process = (producer + sequence) % 2 === 0 ? one : two
          const sent = process.send(lines(sequence), { producer: `p${producer}`, sequence })
          const again = (sequence % 3 === 0 ? two : one).send(lines(sequence), { producer: `p${producer}`, sequence })
          const answers = await Promise.allSettled([sent, again])
          if (answers.some((each) => each.status === 'fulfilled')) sequence += 1
        }
      })(),
    )
  }
  await lake.settled(Promise.all(work))
  const expected = Array.from({ length: 25 }, (_, p) => Array.from({ length: 6 }, (_, i) => `http:p${p}/${i}`)).flat()
  expect(await places()).toEqual(expected.sort())
})
