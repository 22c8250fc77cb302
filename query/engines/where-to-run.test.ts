import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../schemas/errors.ts'
import { engineShares } from './engine-shares.ts'
import { afterFailure, estimatedRows, isHeavy, mayGenerateRows, shouldMove } from './where-to-run.ts'

const MiB = 1024 ** 2

describe('shares of the engines', () => {
  test.each([
    [64, 32, [32]],
    [256, 128, [128]],
    [1024, 256, [768]],
    [2048, 512, [768, 768]],
    [16_384, 1024, [3840, 3840, 3840, 3840]],
  ])('of %d MiB, %d for small queries', (memory, interactive, batch) => {
    const settings = { memoryBytes: memory * MiB, threads: 2, spillBytes: 1000, batchConcurrentMax: undefined }
    const shares = engineShares(settings)
    expect(shares.interactive.memoryBytes / MiB).toBe(interactive)
    expect(shares.batch.map((each) => each.memoryBytes / MiB)).toEqual(batch)
    const spill = shares.interactive.spillBytes + shares.batch.reduce((sum, each) => sum + each.spillBytes, 0)
    expect(spill).toBeLessThanOrEqual(1000)
    expect(shares.batch.every((each) => each.nice > shares.interactive.nice)).toBe(true)
  })

  test('as many batch engines as the settings say, within the same memory', () => {
    const { batch } = engineShares({ memoryBytes: 1024 * MiB, threads: 2, spillBytes: 0, batchConcurrentMax: 6 })
    expect(batch.map((each) => each.memoryBytes / MiB)).toEqual([128, 128, 128, 128, 128, 128])
  })
})

describe('heavy or not', () => {
  test.each([
    ['SELECT count(*) FROM t', 5e6, 1e6, false],
    ['SELECT a, count(*) FROM t GROUP  BY a', 5e6, 1e6, true],
    ['SELECT a, count(*) FROM t GROUP BY a', 1e6, 1e6, false],
    ['SELECT row_number() OVER (PARTITION BY a) FROM t', 5e6, 1e6, true],
    ['SELECT count(*) FROM t', 1e8, 1e6, true],
    ['SELECT count(*) FROM t', 1e6, 1e9, true],
  ])('%s over %d rows and %d bytes', (sql, rows, bytes, heavy) => {
    expect(isHeavy({ sql, rows, bytes })).toBe(heavy)
  })

  test.each([
    ['SELECT * FROM t', 1e6, 'csv', true],
    ['SELECT * FROM t', 1e6, 'arrow', true],
    ['SELECT * FROM t', 1e6, 'json', false],
    ['SELECT * FROM t', 1e5, 'csv', false],
    ['SELECT * FROM t LIMIT 100', 1e6, 'csv', false],
    ['SELECT * FROM t LIMIT 1000000', 1e6, 'csv', true],
    ['SELECT max(a) FROM t', 1e6, 'csv', false],
  ] as const)('%s over %d rows as %s: an export is %s', (sql, rows, format, heavy) => {
    expect(isHeavy({ sql, rows, bytes: 1e6, format })).toBe(heavy)
  })

  test('what DuckDB guesses of rows that are generated', () => {
    expect(mayGenerateRows('SELECT * FROM range(5)')).toBe(true)
    expect(mayGenerateRows('SELECT arranged FROM t')).toBe(false)
    const plan = '[{"extra_info": {"Estimated Cardinality": "12"}}, {"Estimated Cardinality": "5000000"}]'
    expect([estimatedRows(plan), estimatedRows('[]')]).toEqual([5_000_000, 0])
  })
})

test('one that runs long is moved sooner when others are there and an engine is free, never into a full queue', () => {
  const moment = { ranMs: 1_500, others: true, batchIsFree: true, queueIsFull: false }
  expect(shouldMove(moment)).toBe(true)
  expect(shouldMove({ ...moment, others: false })).toBe(false)
  expect(shouldMove({ ...moment, batchIsFree: false })).toBe(false)
  expect(shouldMove({ ...moment, ranMs: 6_000, batchIsFree: false })).toBe(true)
  expect(shouldMove({ ...moment, ranMs: 6_000, batchIsFree: false, queueIsFull: true })).toBe(false)
})

test('an engine that died: who was alone fails, who may be guilty is run alone, who is innocent again', () => {
  const lost = (died: string, code: 'engine-lost' | 'out-of-memory' = 'engine-lost') =>
    afterFailure(new MillraceError(code, 'gone', { facts: { died } }))
  expect(['alone', 'among-others', 'innocent'].map((died) => lost(died))).toEqual(['fail', 'alone', 'again'])
  expect(lost('among-others', 'out-of-memory')).toBe('alone')
  expect(afterFailure(new MillraceError('out-of-memory', 'its own limit'))).toBe('alone')
  expect(afterFailure(new MillraceError('query-invalid', 'wrong'))).toBe('fail')
  expect(afterFailure(new Error('else'))).toBe('fail')
})
