// One answer for many who ask the same at the same versions, and never one for another question (G-3, G-4).
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TableVersion, TableVersions } from '../../lake/catalog/catalog.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { createCachedRunner } from './cached-runner.ts'
import { createResultCache, ENTRY_BYTES_MAX, resultKey } from './result-cache.ts'
import type { QueryOutcome, QueryReceiver, QueryRequest, QueryRunner } from './run-query.ts'

const STATS = {
  files: 1,
  filesPruned: 0,
  rowGroups: 1,
  rowGroupsPruned: 0,
  rows: 1,
  bytesNeeded: 7,
  bytesFetched: 7,
  requests: 1,
  cacheHits: 0,
  byTable: new Map(),
}

function tableVersion(version: bigint): TableVersion {
  return {
    table: { tableId: 1, name: 't', schemas: [{ schemaId: 0, columns: [] }] },
    version,
    metadataLocation: undefined,
    segments: [],
    coverage: [],
    readAt: version,
  } as unknown as TableVersion
}

function request(changes: Partial<QueryRequest> = {}): QueryRequest {
  return {
    queryId: 'q',
    sql: 'SELECT a FROM t',
    params: [],
    format: 'json',
    timezone: undefined,
    rowsMax: 100,
    bytesMax: 1e9,
    timeoutMs: 60_000,
    scanBytesMax: 1e12,
    entrant: { user: undefined, priority: 'interactive' },
    atVersions: new Map(),
    waitFor: new Map(),
    checkTable: () => {},
    ...changes,
  } as QueryRequest
}

type Run = {
  readonly request: QueryRequest
  readonly signal: AbortSignal
  answer(text: string): Promise<void>
  fail(error: unknown): void
}

/** A runner whose queries end when the test says so. */
function setUp(options: { readonly bytesMax?: number } = {}) {
  let version = 1n
  let isSteady = true
  const runs: Run[] = []
  const runner: QueryRunner = {
    async look(asked) {
      asked.checkTable('t')
      return isSteady ? ([tableVersion(version)] as TableVersions) : undefined
    },
    run(asked, receiver, signal) {
      const seen = version
      const { promise, resolve, reject } = Promise.withResolvers<QueryOutcome>()
      signal.addEventListener('abort', () => reject(signal.reason))
      runs.push({
        request: asked,
        signal,
        fail: reject,
        async answer(text) {
          const facts = { tables: [{ version: tableVersion(seen), snapshotId: undefined }], stats: STATS }
          const columns = [{ name: 'a', type: 'INTEGER' }]
          await receiver.onColumns(columns, facts)
          await receiver.onChunk(Buffer.from(text))
          resolve({ ...facts, result: { columns, rowCount: 1, truncated: false } })
        },
      })
      return promise
    },
  }
  const cache = createResultCache(options.bytesMax ?? 10_000_000)
  const uses: string[] = []
  const cached = createCachedRunner({
    runner,
    cache,
    world: createTestWorld(),
    uses: { add: (_, labels) => void uses.push(String(labels?.use)) },
  })
  return {
    cache,
    runs,
    uses,
    commit: () => {
      version += 1n
    },
    unsteady: () => {
      isSteady = false
    },
    ask(changes: Partial<QueryRequest> = {}, signal = new AbortController().signal) {
      const chunks: Uint8Array[] = []
      const receiver: QueryReceiver = {
        onState: () => {},
        onColumns: () => void chunks.splice(0),
        onChunk: (chunk) => void chunks.push(chunk),
      }
      return cached
        .run(request(changes), receiver, signal)
        .then((outcome) => ({ text: Buffer.concat(chunks).toString(), outcome }))
    },
  }
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('one query for many', () => {
  test('fifty viewers at once cost one query; one more a moment later none', async () => {
    const { ask, runs, uses } = setUp()
    const viewers = Array.from({ length: 50 }, () => ask())
    await settle()
    expect(runs).toHaveLength(1)
    await runs[0].answer('[1]')
    expect((await Promise.all(viewers)).map(({ text }) => text)).toEqual(Array(50).fill('[1]'))
    const late = await ask()
    expect([late.text, late.outcome.cache, late.outcome.stats.bytesFetched]).toEqual(['[1]', 'hit', 0])
    expect(runs).toHaveLength(1)
    expect(uses.toSorted()).toEqual(['hit', 'miss', ...Array(49).fill('shared')])
  })

  test('after a commit it runs anew, also while the old one still runs', async () => {
    const { ask, runs, commit } = setUp()
    const before = ask()
    await settle()
    commit()
    const after = ask()
    await settle()
    expect(runs).toHaveLength(2)
    await runs[1].answer('[2]')
    await runs[0].answer('[1]')
    expect([(await before).text, (await after).text]).toEqual(['[1]', '[2]'])
    expect((await ask()).text).toBe('[2]')
  })

  test('who runs it for others and is cancelled leaves it to the next one', async () => {
    const { ask, runs } = setUp()
    const abort = new AbortController()
    const first = ask({}, abort.signal)
    await settle()
    const others = [ask(), ask()]
    await settle()
    abort.abort(new MillraceError('query-cancelled', 'gone'))
    await expect(first).rejects.toMatchObject({ code: 'query-cancelled' })
    await settle()
    expect(runs).toHaveLength(2)
    await runs[1].answer('[3]')
    expect((await Promise.all(others)).map(({ text }) => text)).toEqual(['[3]', '[3]'])
  })

  test('who waits and is cancelled, or has no time left, goes alone', async () => {
    const { ask, runs } = setUp()
    const first = ask()
    await settle()
    const abort = new AbortController()
    const second = ask({}, abort.signal)
    const hasty = expect(ask({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'query-timeout' })
    const patient = ask()
    await settle()
    abort.abort(new MillraceError('query-cancelled', 'gone'))
    await expect(second).rejects.toMatchObject({ code: 'query-cancelled' })
    await hasty
    await runs[0].answer('[1]')
    expect([(await first).text, (await patient).text, runs.length]).toEqual(['[1]', '[1]', 1])
  })

  test('what is wrong with the statement is told to all; other errors to nobody else; none is kept', async () => {
    const { ask, runs } = setUp()
    const wrong = [ask(), ask()]
    await settle()
    runs[0].fail(new MillraceError('division-by-zero', 'no'))
    for (const each of wrong) await expect(each).rejects.toMatchObject({ code: 'division-by-zero' })
    const lost = ask()
    await settle()
    const other = ask()
    await settle()
    runs[1].fail(new MillraceError('engine-lost', 'gone'))
    await expect(lost).rejects.toMatchObject({ code: 'engine-lost' })
    await settle()
    await runs[2].answer('[4]')
    expect((await other).text).toBe('[4]')
  })

  test('a result that is too large sets the others free at once, and is not kept', async () => {
    const { ask, runs, cache } = setUp()
    const first = ask()
    await settle()
    const second = ask()
    await settle()
    await runs[0].answer('x'.repeat(ENTRY_BYTES_MAX + 1))
    await first
    await settle()
    expect([runs.length, cache.entries]).toEqual([2, 0])
    await runs[1].answer('y')
    expect((await second).text).toBe('y')
  })

  test('what may change by itself always runs', async () => {
    const { ask, runs, unsteady, cache } = setUp()
    unsteady()
    const both = [ask(), ask()]
    await settle()
    expect(runs).toHaveLength(2)
    await runs[0].answer('a')
    await runs[1].answer('b')
    const texts = (await Promise.all(both)).map(({ text }) => text)
    expect([texts, cache.entries]).toEqual([['a', 'b'], 0])
  })

  test('rights are asked for each caller, also of a kept answer (G-11)', async () => {
    const { ask, runs } = setUp()
    const first = ask()
    await settle()
    await runs[0].answer('[1]')
    await first
    const checkTable = () => {
      throw new MillraceError('forbidden', 'not yours')
    }
    await expect(ask({ checkTable })).rejects.toMatchObject({ code: 'forbidden' })
  })
})

describe('the key', () => {
  test('is another one for everything that the bytes depend on', () => {
    const base = resultKey(request(), [tableVersion(1n)])
    const others = [
      resultKey(request({ sql: 'SELECT b FROM t' }), [tableVersion(1n)]),
      resultKey(request({ params: [1] }), [tableVersion(1n)]),
      resultKey(request({ params: ['1'] }), [tableVersion(1n)]),
      resultKey(request({ params: [0] }), [tableVersion(1n)]),
      resultKey(request({ params: [-0] }), [tableVersion(1n)]),
      resultKey(request({ params: [1n] }), [tableVersion(1n)]),
      resultKey(request({ params: { a: 1 } }), [tableVersion(1n)]),
      resultKey(request({ format: 'csv' }), [tableVersion(1n)]),
      resultKey(request({ timezone: 'Europe/Berlin' }), [tableVersion(1n)]),
      resultKey(request({ rowsMax: 5 }), [tableVersion(1n)]),
      resultKey(request({ bytesMax: 5 }), [tableVersion(1n)]),
      resultKey(request(), [tableVersion(2n)]),
      resultKey(request(), [{ ...tableVersion(1n), metadataLocation: 'file:///m' }]),
      resultKey(request(), [tableVersion(1n), tableVersion(1n)]),
      resultKey(request({ later: true } as Partial<QueryRequest>), [tableVersion(1n)]),
    ]
    expect(new Set([base, ...others]).size).toBe(others.length + 1)
    expect(resultKey(request({ queryId: 'r', timeoutMs: 5 }), [tableVersion(1n)])).toBe(base)
  })
})

test('kept bytes stay within the limit, whatever is kept (G-6)', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ key: fc.integer({ min: 0, max: 20 }), size: fc.nat(30_000), get: fc.boolean() })),
      (steps) => {
        const cache = createResultCache(50_000)
        for (const { key, size, get } of steps) {
          if (get) cache.get(String(key))
          else
            cache.set(String(key), {
              columns: [],
              bytes: new Uint8Array(size),
              outcome: {} as QueryOutcome,
            })
          expect(cache.bytes).toBeLessThanOrEqual(50_000)
          expect(cache.bytes > 0).toBe(cache.entries > 0)
        }
      },
    ),
  )
})
