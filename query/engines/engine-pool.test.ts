import { expect, test } from 'vitest'
import type { Engine, EngineQuery, EngineResult } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { createAdmission } from '../run/admission.ts'
import { createEngines, NeedsBatch } from './engine-pool.ts'

type Answer = (handlers: Parameters<Engine['query']>[1], signal?: AbortSignal) => Promise<EngineResult>

const RESULT: EngineResult = { columns: [], rowCount: 1, truncated: false }
const NEVER = new AbortController().signal
const QUERY: EngineQuery = {
  queryId: 'q',
  setup: [],
  sql: 'SELECT a FROM t',
  params: [],
  format: 'csv',
  rowsMax: 1,
  bytesMax: 1,
  timeoutMs: 1,
}
const SMALL = { rows: 1, bytes: 1 }

/** Engines that answer as they are told, one answer a call. */
function pool(interactiveAnswers: Answer[], batchAnswers: Answer[]) {
  const calls: string[] = []
  const engineOf = (name: string, answers: Answer[]): Engine => ({
    query(_, handlers, signal) {
      calls.push(name)
      return answers.shift()!(handlers, signal)
    },
    run: async () => [],
    kill: () => {},
    close: async () => {},
  })
  const limits = { concurrentMax: 4, batchConcurrentMax: 1, queueMax: 4, userConcurrentMax: 4, userQueueMax: 4 }
  const admission = createAdmission({ limits, monotonicMs: () => 0 })
  const moved: string[] = []
  const engines = createEngines({
    interactive: engineOf('interactive', interactiveAnswers),
    batch: [engineOf('batch', batchAnswers)],
    admission,
    queueMax: 4,
    world: createTestWorld(),
    moved: { add: (_, labels) => void moved.push(String(labels?.reason)) },
    retries: { add: () => {} },
  })
  const got: string[] = []
  const handlers = { onChunk: (chunk: Uint8Array) => void got.push(Buffer.from(chunk).toString()) }
  return {
    calls,
    moved,
    got,
    admission,
    async query(reads = SMALL, priority: 'interactive' | 'batch' = 'interactive', sql = QUERY.sql) {
      const seat = await admission.enter({ user: undefined, priority }, NEVER)
      try {
        return await engines.query(seat, { ...QUERY, sql }, reads, handlers, NEVER).catch(async (error: unknown) => {
          if (!(error instanceof NeedsBatch)) throw error
          await engines.moveToBatch(seat, error.reason, NEVER)
          return engines.query(seat, { ...QUERY, sql }, reads, handlers, NEVER)
        })
      } finally {
        seat.leave()
        await engines.close()
      }
    },
  }
}

const chunks =
  (...texts: string[]): Answer =>
  async (handlers) => {
    for (const text of texts) await handlers.onChunk(Buffer.from(text))
    return RESULT
  }
const failing =
  (error: Error, ...texts: string[]): Answer =>
  async (handlers) => {
    await chunks(...texts)(handlers)
    throw error
  }
const lost = (died: string, code: 'engine-lost' | 'out-of-memory' = 'engine-lost') =>
  new MillraceError(code, 'gone', { facts: { died } })

test('a small query runs among the small ones, whole and in order', async () => {
  const { query, calls, got } = pool([chunks('a', 'b', 'c')], [])
  expect(await query()).toBe(RESULT)
  expect([calls, got]).toEqual([['interactive'], ['a', 'b', 'c']])
})

test('a result of one chunk is delivered too', async () => {
  const { query, got } = pool([chunks('only')], [])
  await query()
  expect(got).toEqual(['only'])
})

test('what is heavy or asked for batch does not touch the interactive engine', async () => {
  const heavy = pool([], [chunks('a')])
  await heavy.query({ rows: 5_000_000, bytes: 1 }, 'interactive', 'SELECT a FROM t GROUP BY a')
  expect([heavy.calls, heavy.moved]).toEqual([['batch'], ['heavy']])
  const batch = pool([], [chunks('a')])
  await batch.query(SMALL, 'batch')
  expect([batch.calls, batch.moved]).toEqual([['batch'], []])
})

test.each([
  ['too little memory among the small ones', new MillraceError('out-of-memory', 'x'), 'memory'],
  ['the engine died with several in it', lost('among-others'), 'suspect'],
  ['it was killed for its memory with several in it', lost('among-others', 'out-of-memory'), 'suspect'],
])('%s: once more, alone; the head that was not handed over yet is not there twice', async (_, error, reason) => {
  const { query, calls, got, moved } = pool([failing(error, 'head')], [chunks('head', 'row')])
  expect(await query()).toBe(RESULT)
  expect([calls, got, moved]).toEqual([['interactive', 'batch'], ['head', 'row'], [reason]])
})

test('an innocent one is run again where it was', async () => {
  const { query, calls, got } = pool([failing(lost('innocent'), 'head'), chunks('head', 'row')], [])
  await query()
  expect([calls, got]).toEqual([
    ['interactive', 'interactive'],
    ['head', 'row'],
  ])
})

test.each([
  ['it was alone in its engine', lost('alone'), []],
  ['rows were handed over', lost('among-others'), ['head', 'row']],
  ['it is its own fault', new MillraceError('query-invalid', 'wrong'), []],
])('%s: it fails, and is not run again', async (_, error, before) => {
  const { query, calls, got, admission } = pool([failing(error, ...before)], [])
  await expect(query()).rejects.toBe(error)
  expect([calls, got, admission.running]).toEqual([['interactive'], before, 0])
})

test('a batch engine that dies fails its query: it was alone', async () => {
  const { query, calls } = pool([], [failing(lost('alone'))])
  await expect(query(SMALL, 'batch')).rejects.toMatchObject({ code: 'engine-lost' })
  expect(calls).toEqual(['batch'])
})
