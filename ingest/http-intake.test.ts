// HTTP rows: all or none, and each acknowledged row in the table exactly once, whoever repeats, races or comes elsewhere (G-2, G-4).
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { seededRandom } from '../runtime/test-world.ts'
import { isMillraceError, MillraceError } from '../schemas/errors.ts'
import { openSampleLake, type SampleLake, type SampleProcess } from './http-samples.ts'

let lake: SampleLake
let one: SampleProcess
let two: SampleProcess
beforeEach(async () => {
  lake = await openSampleLake()
  one = await lake.startProcess()
  two = await lake.startProcess()
})
afterEach(async () => {
  expect([one.fatal, two.fatal]).toEqual([[], []])
  await lake.close()
})

const lines = (...ids: number[]) => ids.map((id) => `{"id": ${id}}`).join('\n')
const ids = async () => (await lake.rows()).map(({ id }) => Number(id))

async function errorOf(work: Promise<unknown>): Promise<{ code: string; facts: Readonly<Record<string, unknown>> }> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (isMillraceError(error)) return { code: error.code, facts: error.facts }
  throw new Error(`expected an error of ours, found ${String(error)}`)
}

describe('a bad row', () => {
  test('takes all others of its request with it, and says which it was', async () => {
    const bad = one.send(`${lines(1, 2)}\n{"id": "x"}\n${lines(4)}`)
    const good = one.send(lines(10, 11))
    expect(await errorOf(bad)).toMatchObject({
      code: 'row-invalid',
      facts: { row: 3, column: 'id', rows_taken: 0, reason: expect.any(String) },
    })
    expect(await lake.settled(good)).toEqual({ table: 't', rows: 2, dead_letters: 0, version: '1' })
    expect(await ids()).toEqual([10, 11])
  })

  test('that is too large, or misses what is required, is one as well', async () => {
    expect(await errorOf(one.send(`{"id": 1, "note": "${'x'.repeat(200)}"}`))).toMatchObject({ facts: { row: 1 } })
    expect(await errorOf(one.send(`${lines(1)}\n{"note": "a"}`))).toMatchObject({ facts: { row: 2, column: 'id' } })
    expect(await ids()).toEqual([])
  })

  test('becomes a dead letter with its bytes where that is asked for, in the same commit', async () => {
    const answer = await lake.settled(one.send(`{"id": 1}\n{"id": nope}\n{"id": 3}`, { onBadRow: 'dead-letter' }))
    expect(answer).toEqual({ table: 't', rows: 2, dead_letters: 1, version: '1' })
    expect(await ids()).toEqual([1, 3])
    const [letter] = await lake.rows('t__dead_letters')
    expect(letter).toMatchObject({ topic: null, offset: 1n, raw: '{"id": nope}' })
    expect(letter.reason).toBeTruthy()
  })

  test('of a producer leaves its sequence where it was', async () => {
    expect((await errorOf(one.send('{"id": 1}\n{', { producer: 'p', sequence: 0 }))).code).toBe('row-invalid')
    expect(await lake.settled(one.send(lines(1), { producer: 'p', sequence: 0 }))).toMatchObject({ next_sequence: '1' })
  })

  test('for which no schema can be inferred is refused, or kept as a dead letter', async () => {
    expect((await errorOf(lake.settled(one.send('17', { table: 'inferred' })))).code).toBe('row-invalid')
    const kept = one.send('17', { table: 'inferred', onBadRow: 'dead-letter' })
    expect(await lake.settled(kept)).toMatchObject({ rows: 0, dead_letters: 1 })
    expect(await lake.settled(one.send('{"a": 1}', { table: 'inferred' }))).toMatchObject({ rows: 1 })
    expect((await lake.rows('inferred')).map(({ a }) => a)).toEqual([1n])
  })
})

describe('a producer', () => {
  const send = (process: SampleProcess, sequence: number, ...rows: number[]) =>
    process.send(lines(...rows), { producer: 'p', sequence })

  test('goes on where it stopped; a repetition is answered as committed', async () => {
    expect(await lake.settled(send(one, 0, 1, 2))).toEqual({
      table: 't',
      rows: 2,
      dead_letters: 0,
      version: '1',
      next_sequence: '2',
    })
    expect(await lake.settled(send(one, 2, 3))).toMatchObject({ next_sequence: '3', version: '2' })
    const repeated = { table: 't', rows: 2, dead_letters: 0, next_sequence: '2', repeated: true }
    expect(await lake.settled(send(one, 0, 1, 2))).toEqual(repeated)
    expect(await lake.settled(send(two, 0, 1, 2))).toEqual(repeated)
    expect(await ids()).toEqual([1, 2, 3])
    expect((await lake.rows()).map(({ _source, _offset }) => [_source, _offset])).toEqual([
      ['http:p', 0n],
      ['http:p', 1n],
      ['http:p', 2n],
    ])
  })

  test('may repeat while the first request is still under way, and hears nothing before it is committed', async () => {
    const answers = await lake.settled(Promise.all([send(one, 0, 1, 2), send(one, 0, 1, 2), send(one, 2, 3)]))
    expect(answers.map(({ repeated }) => repeated)).toEqual([undefined, true, undefined])
    expect(await ids()).toEqual([1, 2, 3])
  })

  test('is refused a gap and a partial overlap, and told where to go on', async () => {
    await lake.settled(send(one, 0, 1, 2))
    for (const [process, sequence, rows] of [
      [one, 3, [4]],
      [one, 1, [2, 3]],
      [two, 5, [6]],
      [two, 0, [1, 2, 3]],
    ] as const) {
      const error = await errorOf(lake.settled(send(process, sequence, ...rows)))
      expect([sequence, error]).toEqual([
        sequence,
        { code: 'sequence-gap', facts: { expected_sequence: '2', rows_taken: 0 } },
      ])
    }
    expect((await errorOf(lake.settled(one.send(lines(9), { producer: 'new', sequence: 7 })))).facts).toMatchObject({
      expected_sequence: '0',
    })
    expect(await ids()).toEqual([1, 2])
  })

  test('that goes from process to process is taken by each where the other stopped', async () => {
    for (let sequence = 0; sequence < 10; sequence += 1) {
      await lake.settled(send(sequence % 2 === 0 ? one : two, sequence, sequence))
    }
    expect(await ids()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  test('with the same rows at two processes at once: both are answered committed, the rows are in once', async () => {
    const answers = await lake.settled(Promise.all([send(one, 0, 1, 2), send(two, 0, 1, 2)]))
    expect(answers.map(({ rows, next_sequence }) => [rows, next_sequence])).toEqual([
      [2, '2'],
      [2, '2'],
    ])
    expect(answers.filter(({ repeated }) => repeated)).toHaveLength(1)
    expect(await ids()).toEqual([1, 2])
    expect(await lake.settled(send(one, 2, 3))).toMatchObject({ next_sequence: '3' })
  })

  test('with other rows under the same sequence elsewhere: one wins, the longer is told where to go on', async () => {
    const [first, second] = await lake.settled(Promise.allSettled([send(one, 0, 1), send(two, 0, 1, 2)]))
    expect(first.status).toBe('fulfilled')
    expect(await ids()).toEqual(second.status === 'fulfilled' ? [1, 2] : [1])
    if (second.status === 'rejected') expect(second.reason.facts).toMatchObject({ expected_sequence: '1' })
  })

  test('rows behind stale ones are not taken past the gap', async () => {
    await lake.settled(send(one, 0, 1))
    await lake.settled(send(two, 1, 2, 3))
    // `one` still believes that it is next at 1, and takes two requests on that belief.
    const late = lake.settled(Promise.allSettled([send(one, 1, 2), send(one, 2, 3), send(one, 3, 4)]))
    for (const [index, each] of (await late).entries()) {
      if (each.status === 'fulfilled') expect([index, each.value.rows]).toEqual([index, 1])
      else expect(['sequence-gap', 'commit-conflict']).toContain(each.reason.code)
    }
    const next = String((await lake.catalog.coverage('http:t', ['http:p']))[0].ranges[0].end)
    expect(await ids()).toEqual(next === '4' ? [1, 2, 3, 4] : [1, 2, 3])
  })

  test('is told of no success by a repetition whose first request turns out stale', async () => {
    await lake.settled(send(one, 0, 1))
    await lake.settled(send(two, 1, 2))
    const both = await lake.settled(Promise.allSettled([send(one, 1, 2, 3), send(one, 1, 2, 3)]))
    expect(both.map((each) => each.status === 'rejected' && each.reason.code)).toEqual([
      'sequence-gap',
      'commit-conflict',
    ])
    expect(await ids()).toEqual([1, 2])
    expect(await lake.settled(send(one, 2, 3))).toMatchObject({ next_sequence: '3' })
    expect(await ids()).toEqual([1, 2, 3])
  })

  test('an empty request says where it stands and takes nothing', async () => {
    await lake.settled(send(one, 0, 1))
    expect(await lake.settled(send(two, 1))).toEqual({ table: 't', rows: 0, dead_letters: 0, next_sequence: '1' })
    expect(await ids()).toEqual([1])
  })
})

describe('an Idempotency-Key', () => {
  const keyed = (process: SampleProcess, key: string, body: string, onBadRow: 'reject' | 'dead-letter' = 'reject') =>
    process.send(body, { idempotencyKey: key, onBadRow })

  test('gives the second request the answer of the first', async () => {
    expect(await lake.settled(keyed(one, 'k', lines(1, 2)))).toMatchObject({ rows: 2, version: '1' })
    await lake.settled(one.send(lines(3)))
    const repeated = { table: 't', rows: 2, dead_letters: 0, version: '1', repeated: true }
    expect(await lake.settled(keyed(one, 'k', lines(1, 2)))).toEqual(repeated)
    expect(await lake.settled(keyed(two, 'k', lines(1, 2)))).toEqual(repeated)
    expect((await ids()).sort()).toEqual([1, 2, 3])
  })

  test('tells rows and dead letters again as the first time, and keeps them once', async () => {
    const body = `{"id": 1}\n{"id": x}`
    expect(await lake.settled(keyed(one, 'k', body, 'dead-letter'))).toMatchObject({ rows: 1, dead_letters: 1 })
    const again = await lake.settled(keyed(two, 'k', body, 'dead-letter'))
    expect(again).toEqual({ table: 't', rows: 1, dead_letters: 1, version: '1', repeated: true })
    expect(await ids()).toEqual([1])
    expect(await lake.rows('t__dead_letters')).toHaveLength(1)
  })

  test('at one process at once is taken once', async () => {
    const answers = await lake.settled(Promise.all([1, 2, 3].map(() => keyed(one, 'k', lines(1, 2)))))
    expect(answers.map(({ rows, version, repeated }) => [rows, version, repeated])).toEqual([
      [2, '1', undefined],
      [2, '1', true],
      [2, '1', true],
    ])
    expect(await ids()).toEqual([1, 2])
  })

  test('at two processes at once is taken once; what lay in the same tick stays', async () => {
    const others = [one.send(lines(7)), two.send(lines(8)), keyed(two, 'l', lines(9))]
    const racing = [keyed(one, 'k', lines(1, 2)), keyed(two, 'k', lines(1, 2))]
    const behind = [one.send(lines(17)), two.send(lines(18))]
    const answers = await lake.settled(Promise.all([...racing, ...others, ...behind]))
    expect(answers.slice(0, 2).map(({ rows }) => rows)).toEqual([2, 2])
    expect(answers[0].version).toBe(answers[1].version)
    expect(answers.slice(0, 2).filter(({ repeated }) => repeated)).toHaveLength(1)
    expect((await ids()).sort((a, b) => a - b)).toEqual([1, 2, 7, 8, 9, 17, 18])
    const [own, other] = await lake.catalog.coverage('http:t')
    expect(own.recordsIn + other.recordsIn - own.recordsFiltered - other.recordsFiltered).toBe(7n)
  })

  test('whose first request failed is free for the next', async () => {
    const first = keyed(one, 'k', '{"id": 1}\n{"id": x}')
    const second = keyed(one, 'k', lines(1, 2))
    expect((await errorOf(first)).code).toBe('row-invalid')
    expect(await lake.settled(second)).toMatchObject({ rows: 2, version: '1' })
    expect(await ids()).toEqual([1, 2])
  })

  test('is answered only once committed, also with ack=buffered', async () => {
    const answer = one.send(lines(1), { idempotencyKey: 'k', ack: 'buffered' })
    expect(await lake.settled(answer)).toMatchObject({ rows: 1, version: '1' })
  })
})

test('ack=buffered answers at once and without a version; the rows come with the next flush', async () => {
  const answer = await one.send(lines(1), { ack: 'buffered', producer: 'p', sequence: 0 })
  expect(answer).toEqual({ table: 't', rows: 1, dead_letters: 0, next_sequence: '1' })
  expect(await ids()).toEqual([])
  await one.intake.drain()
  expect(await ids()).toEqual([1])
})

test('a request is answered once when its commit lands behind an error of the catalog', async () => {
  let failures = 2
  const flaky: Catalog = {
    ...lake.catalog,
    async commitTick(tick) {
      const result = await lake.catalog.commitTick(tick)
      failures -= 1
      if (failures >= 0) throw new MillraceError('catalog-busy', 'no answer')
      return result
    },
  }
  const three = await lake.startProcess({ catalog: flaky })
  expect(await lake.settled(three.send(lines(1, 2), { idempotencyKey: 'k' }))).toMatchObject({ rows: 2, version: '1' })
  expect(await ids()).toEqual([1, 2])
})

/** One client: its batches in order, each repeated and raced between two processes until it is acknowledged. */
test('many clients over two processes with faults: the table holds exactly what was acknowledged, each row once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const random = seededRandom(seed)
      const below = (bound: number) => Math.floor(random.float() * bound)
      const model = await openSampleLake(seed)
      const pause = async () => {
        for (let turns = below(6); turns > 0; turns -= 1) await new Promise((resolve) => setImmediate(resolve))
      }
      const busy = () => new MillraceError('catalog-busy', 'away')
      const catalog: Catalog = {
        ...model.catalog,
        async commitTick(tick) {
          await pause()
          if (below(6) === 0) throw busy()
          const result = await model.catalog.commitTick(tick)
          await pause()
          if (below(6) === 0) throw busy()
          return result
        },
        async coverage(...args) {
          await pause()
          return model.catalog.coverage(...args)
        },
      }
      const processes = [await model.startProcess({ catalog }), await model.startProcess({ catalog })]
      const acknowledged: string[] = []

      /** Until one of the attempts is answered well; answers that refuse are asked again. */
      async function acknowledge(attempt: (process: SampleProcess) => Promise<{ rows: number; dead_letters: number }>) {
        for (;;) {
          await pause()
          const attempts = Array.from({ length: 1 + below(3) }, () => attempt(processes[below(2)]))
          const answers = await Promise.allSettled(attempts)
          for (const answer of answers) {
            if (answer.status === 'rejected' && !isMillraceError(answer.reason)) throw answer.reason
          }
          const good = answers.find((answer) => answer.status === 'fulfilled')
          if (good) return good.value
        }
      }

      async function producer(name: string): Promise<void> {
        const batches: { sequence: number; body: string; rows: number }[] = []
        let sequence = 0
        for (let left = 1 + below(6); left > 0; left -= 1) {
          const rows = 1 + below(4)
          const notes = Array.from({ length: rows }, (_, row) => `${name}/${sequence + row}`)
          const body = notes.map((note) => `{"id": ${sequence}, "note": "${note}"}`).join('\n')
          batches.push({ sequence, body, rows })
          const again = below(4) === 0 ? batches[below(batches.length)] : undefined
          const late = again?.sequence === sequence ? undefined : again
          const answer = await acknowledge((process) => process.send(body, { producer: name, sequence }))
          expect(answer.rows).toBe(rows)
          acknowledged.push(...notes)
          if (late) {
            const repeated = await acknowledge((process) =>
              process.send(late.body, { producer: name, sequence: late.sequence }),
            )
            expect(repeated).toMatchObject({ rows: late.rows, repeated: true })
          }
          sequence += rows
        }
      }

      async function keyed(name: string): Promise<void> {
        const rows = 1 + below(4)
        const notes = Array.from({ length: rows }, (_, row) => `${name}/${row}`)
        const body = notes.map((note) => `{"id": 1, "note": "${note}"}`).join('\n')
        const answer = await acknowledge((process) => process.send(body, { idempotencyKey: name }))
        expect(answer.rows).toBe(rows)
        acknowledged.push(...notes)
      }

      const clients = [
        ...Array.from({ length: 1 + below(5) }, (_, index) => producer(`p${index}`)),
        ...Array.from({ length: below(5) }, (_, index) => keyed(`k${index}`)),
      ]
      await model.settled(Promise.all(clients))
      for (const { intake, fatal } of processes) {
        await intake.drain()
        expect(fatal).toEqual([])
      }
      const rows = await model.rows()
      expect(rows.map(({ note }) => note).sort()).toEqual(acknowledged.sort())
      for (const { note, _source, _offset } of rows) {
        if (String(_source).startsWith('http:p')) expect(`${_source}/${_offset}`).toBe(`http:${note}`)
      }
      expect(new Set(rows.map(({ _source, _offset }) => `${_source}/${_offset}`)).size).toBe(rows.length)
      await model.close()
    }),
    { numRuns: 40 },
  )
})

test('a request that came before the table had a schema is answered with the version of the table that has its rows', async () => {
  const lake = await openSampleLake()
  const gate = Promise.withResolvers<void>()
  let asked = 0
  const coverage: typeof lake.catalog.coverage = async (...args) => {
    asked += 1
    if (asked === 1) await gate.promise
    return lake.catalog.coverage(...args)
  }
  const process = await lake.startProcess({ catalog: { ...lake.catalog, coverage } })
  const early = process.send('{}', { table: 'inferred', producer: 'a', sequence: 0, onBadRow: 'dead-letter' })
  while (asked === 0) await new Promise((resolve) => setImmediate(resolve))
  const other = process.send('{"id":1}', { table: 'inferred', producer: 'b', sequence: 0 })
  await lake.settled(other)
  gate.resolve()
  expect(await lake.settled(early)).toMatchObject({ rows: 1, dead_letters: 0, version: '2' })
  await lake.close()
})
