// Every answer of the catalog to a tick, and what then becomes of rows, files and waiting requests.
import { describe, expect, test } from 'vitest'
import type { Catalog, FlushTick, NewSegment, TickResult } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { MillraceError } from '../schemas/errors.ts'
import { createFlusher } from './flusher.ts'
import type { DropReason, OpenTick, Piece, SealedTick, Waiter } from './open-tick.ts'
import { recordedSources, type TickAttempt } from './segment-writer.ts'
import { createSourceLedger } from './source-ledger.ts'
import { addBlock, idsOf, sampleFeed, sampleKey, sampleTick } from './tick-samples.ts'

const A = sampleKey('a')
const B = sampleKey('b')
const FEED = sampleFeed(1, 't')
const UNRECORDED = { end: 0n, isBegun: false }

type Answer = TickResult | MillraceError

function committed(version: bigint): TickResult {
  return { outcome: 'committed', versions: new Map([[1, version]]), committedAt: version }
}

function stage(answers: Answer[]) {
  const world = createTestWorld({ sleepAdvances: true })
  const ledger = createSourceLedger()
  const commits: FlushTick[] = []
  const deleted: string[] = []
  const written: { path: string; ids: bigint[] }[] = []
  const events: string[] = []
  const attempts: TickAttempt[] = []
  let planned = 0
  let writeGate: Promise<void> | undefined
  const uploads = { running: 0, most: 0 }
  const catalog = {
    async commitTick(tick: FlushTick) {
      commits.push(tick)
      const answer = answers.shift()
      if (answer === undefined) throw new Error('no more answers')
      if (answer instanceof MillraceError) throw answer
      return answer
    },
  } as Partial<Catalog> as Catalog
  const store = {
    async delete(paths: readonly string[]) {
      deleted.push(...paths)
    },
  } as Partial<ObjectStore> as ObjectStore
  const flusher = createFlusher({
    catalog,
    store,
    world,
    writer: { writerId: 'w', epoch: 1, kind: 'ingest' },
    ledger,
    segments: {
      plan(batches, attempt) {
        attempts.push(attempt)
        const sources = recordedSources(batches, attempt.advances)
        return batches.map((sealed, index) => {
          planned += 1
          return { sealed, path: `file:///lake/${planned}.parquet`, sources: sources[index], keyValues: {} }
        })
      },
      async write({ sealed, path, sources }, onEncoded): Promise<NewSegment> {
        onEncoded?.(1000)
        uploads.running += 1
        uploads.most = Math.max(uploads.most, uploads.running)
        await writeGate
        uploads.running -= 1
        written.push({ path, ids: idsOf(sealed) })
        return {
          tableId: sealed.table.tableId,
          schemaId: 0,
          path,
          rowCount: sealed.rowCount,
          bytes: 1,
          etag: undefined,
          bounds: [],
          sources,
          touched: { grain: 'all', values: [] },
        }
      },
    },
    ticksInFlightMax: 2,
    onCommitted: ({ rowCount }) => void events.push(`committed ${rowCount}`),
    onStale: (keys) => void events.push(`stale ${keys.map(({ source }) => source).join()}`),
    onTrouble: (reason) => void events.push(reason === undefined ? 'back' : `away: ${reason}`),
    onFatal: (error) => void events.push(`fatal ${(error as Error).message}`),
  })
  return {
    flusher,
    ledger,
    commits,
    deleted,
    written,
    events,
    attempts,
    uploads,
    gate(promise: Promise<void>) {
      writeGate = promise
    },
  }
}

function waiter(tick: OpenTick, key: typeof A, end: bigint, seen: unknown[], more: Partial<Waiter> = {}): void {
  tick.addWaiter({
    keyText: sourceKeyText(key),
    generation: key === B ? 4 : 2,
    idempotencyKey: undefined,
    tableId: 1,
    range: { start: 0n, end },
    committed: (version) => void seen.push(['committed', version]),
    dropped: (reason: DropReason) => void seen.push(['dropped', reason]),
    failed: (error) => void seen.push(['failed', (error as Error).message]),
    ...more,
  })
}

const WAITER: Waiter = {
  keyText: '',
  generation: 0,
  idempotencyKey: undefined,
  tableId: 1,
  range: { start: 0n, end: 1n },
  committed() {},
  dropped() {},
  failed() {},
}

/** Sources known from coverage 0: generation 2 is A's, 4 is B's. */
function known(ledger: ReturnType<typeof createSourceLedger>): void {
  ledger.reload(A, 0n)
  ledger.reload(B, 0n)
}

test('a committed tick moves its sources and answers its requests with the version', async () => {
  const { flusher, ledger, commits, events } = stage([committed(7n)])
  known(ledger)
  const tick = sampleTick()
  const seen: unknown[] = []
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n, 2n] })
  waiter(tick, A, 2n, seen)
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(seen).toEqual([['committed', 7n]])
  expect(ledger.coveredTo(sourceKeyText(A))).toBe(2n)
  expect(events).toEqual(['committed 2'])
  expect(commits[0].advances).toMatchObject([{ source: 'a', range: { start: 0n, end: 2n } }])
  expect(commits[0].advances[0]).not.toHaveProperty('generation')
  expect(flusher.bytesInFlight).toBe(0)
  expect(flusher.ticksInFlight).toBe(0)
})

test('an unknown outcome is asked for again under the same commit id', async () => {
  const away = new MillraceError('catalog-busy', 'the catalog is away')
  const { flusher, ledger, commits, events } = stage([
    away,
    away,
    { outcome: 'already-committed', versions: new Map([[1, 3n]]), committedAt: 3n },
  ])
  known(ledger)
  const tick = sampleTick()
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(new Set(commits.map(({ commitId }) => commitId)).size).toBe(1)
  expect(commits).toHaveLength(3)
  expect(events).toEqual([
    'away: catalog: the catalog is away',
    'away: catalog: the catalog is away',
    'back',
    'committed 1',
  ])
})

test('rows of a stale source leave the tick; the rest is sealed again under a new commit id', async () => {
  const coverage = {
    ...A,
    ranges: [{ start: 0n, end: 9n }],
    recordsIn: 9n,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
  }
  const { flusher, ledger, commits, deleted, written, events } = stage([
    { outcome: 'stale', stale: [{ key: A, coverage }] },
    committed(4n),
  ])
  known(ledger)
  const tick = sampleTick()
  const seenA: unknown[] = []
  const seenB: unknown[] = []
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n, 2n] })
  addBlock(tick, FEED, { key: B, generation: 4, start: 0n, ids: [3n] })
  waiter(tick, A, 2n, seenA)
  waiter(tick, B, 1n, seenB)
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(written.map(({ ids }) => ids)).toEqual([[1n, 2n, 3n], [3n]])
  expect(commits[1].commitId).not.toBe(commits[0].commitId)
  expect(commits[1].segments.map(({ path }) => path)).toEqual([written[1].path])
  expect(deleted).toEqual([written[0].path])
  expect(seenA).toEqual([['dropped', { kind: 'stale', coveredTo: 9n }]])
  expect(seenB).toEqual([['committed', 4n]])
  expect(events).toEqual(['stale a', 'committed 1'])
  expect(ledger.coveredTo(sourceKeyText(A))).toBe(9n)
  expect(ledger.next(A)).toBeUndefined()
})

test('files of a commit whose answer was lost are left to the sweep, whatever is answered later (G-4)', async () => {
  const away = new MillraceError('catalog-busy', 'the catalog is away')
  const coverage = { ...A, ranges: [{ start: 0n, end: 2n }], recordsIn: 2n, recordsDead: 0n, recordsFiltered: 0n }
  const stale = { key: A, coverage: { ...coverage, logEnd: undefined, caughtUpAt: undefined } }
  const { flusher, ledger, commits, deleted } = stage([away, { outcome: 'stale', stale: [stale] }])
  known(ledger)
  const tick = sampleTick()
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n, 2n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(commits).toHaveLength(2)
  expect(deleted).toEqual([])
})

describe('rows of Kafka, whose memory goes back once their segment is encoded', () => {
  const K = sampleKey('kafka:k:id')
  const L = sampleKey('kafka:l:id')
  const BACKFILL = sampleKey('kafka:k:id@3')

  /** A tick's pieces say when their memory goes back. */
  function sealed(tick: OpenTick, freed: string[]): SealedTick {
    const { batches, ...rest } = tick.seal()
    const counted = ({ batch, ...piece }: Piece): Piece => ({
      ...piece,
      batch: { ...batch, release: () => void freed.push(piece.key.source) },
    })
    return { ...rest, batches: batches.map((each) => ({ ...each, pieces: each.pieces.map(counted) })) }
  }

  function knownKafka(ledger: ReturnType<typeof createSourceLedger>): readonly number[] {
    for (const key of [K, L, BACKFILL, B]) ledger.reload(key, 0n)
    return [K, L, BACKFILL, B].map((key) => ledger.generation(sourceKeyText(key)))
  }

  test('before the upload is through, once; not while a sender waits or a backfill is among them', async () => {
    const { flusher, ledger, gate } = stage([committed(1n), committed(2n), committed(3n), committed(4n)])
    const [k, l, backfill, b] = knownKafka(ledger)
    const freed: string[] = []
    let open = () => {}
    gate(
      new Promise((resolve) => {
        open = resolve
      }),
    )
    const tick = sampleTick()
    addBlock(tick, FEED, { key: K, generation: k, start: 0n, ids: [1n] })
    addBlock(tick, FEED, { key: L, generation: l, start: 0n, ids: [2n] })
    const first = sealed(tick, freed)
    await flusher.submit(first)
    // The file that is on its way counts instead.
    expect(flusher.bytesInFlight).toBe(first.bytes + 1000)
    addBlock(tick, FEED, { key: K, generation: k, start: 1n, ids: [3n] })
    addBlock(tick, FEED, { key: BACKFILL, generation: backfill, start: 0n, ids: [4n] })
    await flusher.submit(sealed(tick, freed))
    expect(freed).toEqual([K.source, L.source])
    open()
    await flusher.drain()
    expect(flusher.bytesInFlight).toBe(0)
    expect(freed.slice(2)).toEqual([K.source, BACKFILL.source])
    addBlock(tick, FEED, { key: K, generation: k, start: 2n, ids: [5n] })
    addBlock(tick, FEED, { key: B, generation: b, start: 0n, ids: [6n] })
    tick.addWaiter({ ...WAITER, keyText: sourceKeyText(B), generation: b, committed: () => void freed.push('answer') })
    await flusher.submit(sealed(tick, freed))
    await flusher.drain()
    expect(freed.slice(4)).toEqual(['answer', K.source, B.source])
  })

  test('one source is stale: the whole tick goes, and those behind it; all of its sources start again (G-1, G-2)', async () => {
    const coverage = {
      ...{ ...K, ranges: [{ start: 0n, end: 9n }], recordsIn: 9n, recordsDead: 0n, recordsFiltered: 0n },
      ...{ logEnd: undefined, caughtUpAt: undefined },
    }
    const { flusher, ledger, commits, deleted, written, events } = stage([
      { outcome: 'stale', stale: [{ key: K, coverage }] },
      committed(4n),
    ])
    const [k, l] = knownKafka(ledger)
    const freed: string[] = []
    const tick = sampleTick()
    addBlock(tick, FEED, { key: K, generation: k, start: 0n, ids: [1n] })
    addBlock(tick, FEED, { key: L, generation: l, start: 0n, ids: [2n] })
    await flusher.submit(sealed(tick, freed))
    addBlock(tick, FEED, { key: L, generation: l, start: 1n, ids: [3n] })
    await flusher.submit(sealed(tick, freed))
    await flusher.drain()
    expect(written.map(({ ids }) => ids)).toEqual([[1n, 2n], [3n]])
    expect(commits).toHaveLength(1)
    expect(deleted).toEqual(written.map(({ path }) => path))
    expect(events).toEqual([`stale ${K.source}`, `stale ${L.source}`])
    expect([K, L].map((key) => ledger.next(key))).toEqual([undefined, undefined])
    expect(freed).toEqual([K.source, L.source, L.source])
    expect([flusher.bytesInFlight, flusher.ticksInFlight]).toEqual([0, 0])
    // Read again from the coverage, under a new generation.
    ledger.reload(L, 0n)
    addBlock(tick, FEED, { key: L, generation: ledger.generation(sourceKeyText(L)), start: 0n, ids: [2n, 3n] })
    await flusher.submit(sealed(tick, freed))
    await flusher.drain()
    expect(commits.at(-1)?.advances).toMatchObject([{ source: L.source, range: { start: 0n, end: 2n } }])
    expect(events.at(-1)).toBe('committed 2')
  })
})

test('a later tick of a source that became stale commits nothing of it', async () => {
  const { flusher, ledger, commits, deleted } = stage([{ outcome: 'stale', stale: [{ key: A, coverage: undefined }] }])
  known(ledger)
  const tick = sampleTick()
  const seen: unknown[] = []
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n] })
  await flusher.submit(tick.seal())
  addBlock(tick, FEED, { key: A, generation: 2, start: 1n, ids: [2n] })
  waiter(tick, A, 2n, seen)
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(commits).toHaveLength(1)
  expect(deleted).toHaveLength(2)
  expect(seen).toEqual([['dropped', { kind: 'stale', coveredTo: undefined }]])
})

test('a key used before gives its request the first answer, and its rows are not written', async () => {
  const { flusher, ledger, commits, written } = stage([
    { outcome: 'duplicate-keys', keys: [{ tableId: 1, key: 'k', rows: 3, dead: 2, version: 2n }] },
    committed(5n),
  ])
  known(ledger)
  const tick = sampleTick()
  const first: unknown[] = []
  const second: unknown[] = []
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n], idempotencyKey: 'k' })
  addBlock(tick, FEED, { key: A, generation: 2, start: 1n, ids: [2n], idempotencyKey: 'l' })
  waiter(tick, A, 1n, first, { idempotencyKey: 'k' })
  waiter(tick, A, 2n, second, { idempotencyKey: 'l' })
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(first).toEqual([['dropped', { kind: 'duplicate-key', rows: 3, dead: 2, version: 2n }]])
  expect(second).toEqual([['committed', 5n]])
  expect(written.at(-1)?.ids).toEqual([2n])
  expect(commits[1]).toMatchObject({
    advances: [{ range: { start: 0n, end: 2n }, recordsIn: 2, recordsFiltered: 1 }],
    idempotencyKeys: [{ tableId: 1, key: 'l', rows: 1 }],
  })
})

test('commits keep their order, and at the maximum submit waits for a place (G-6)', async () => {
  const { flusher, ledger, commits, gate } = stage([committed(1n), committed(2n), committed(3n)])
  known(ledger)
  let open = () => {}
  gate(
    new Promise((resolve) => {
      open = resolve
    }),
  )
  const tick = sampleTick()
  const submitted: number[] = []
  const all: Promise<void>[] = []
  for (let i = 0; i < 3; i++) {
    addBlock(tick, FEED, { key: A, generation: 2, start: BigInt(i), ids: [BigInt(i)] })
    all.push(flusher.submit(tick.seal()).then(() => void submitted.push(i)))
  }
  await new Promise((resolve) => setImmediate(resolve))
  expect(submitted).toEqual([0, 1])
  expect(flusher.ticksInFlight).toBe(2)
  open()
  await Promise.all(all)
  await flusher.drain()
  expect(commits.map(({ advances }) => advances[0].range.start)).toEqual([0n, 1n, 2n])
})

test('a fenced writer fails its requests and says so; later ticks do not commit past the gap', async () => {
  const { flusher, ledger, commits, events } = stage([new MillraceError('writer-fenced', 'fenced'), committed(1n)])
  known(ledger)
  const tick = sampleTick()
  const seen: unknown[] = []
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n] })
  waiter(tick, A, 1n, seen)
  await flusher.submit(tick.seal())
  addBlock(tick, FEED, { key: A, generation: 2, start: 1n, ids: [2n] })
  await flusher.submit(tick.seal())
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(seen).toEqual([['failed', 'fenced']])
  expect(events).toEqual(['fatal fenced'])
  expect(commits).toHaveLength(1)
})

test('files say which attempts before them came to something, and the newest version known (a bucket explains itself)', async () => {
  const stale: TickResult = { outcome: 'stale', stale: [{ key: A, coverage: undefined }] }
  const { flusher, ledger, attempts } = stage([committed(3n), stale, committed(4n), committed(5n)])
  known(ledger)
  const tick = sampleTick()
  addBlock(tick, FEED, { key: B, generation: 4, start: 0n, ids: [1n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [2n] })
  addBlock(tick, FEED, { key: B, generation: 4, start: 1n, ids: [3n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  addBlock(tick, FEED, { key: B, generation: 4, start: 2n, ids: [4n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(
    attempts.map(({ tick, settled, dropped, versionOf }) => ({ tick, settled, dropped, at: versionOf(1) })),
  ).toEqual([
    { tick: 1, settled: 0, dropped: [], at: 5n },
    { tick: 2, settled: 1, dropped: [], at: 5n },
    { tick: 3, settled: 2, dropped: [2], at: 5n },
    { tick: 4, settled: 3, dropped: [2], at: 5n },
  ])
  expect(new Set(attempts.map(({ commitId }) => commitId)).size).toBe(4)
})

test('an attempt whose files could not be deleted is named for as long as this process lives', async () => {
  const away = new MillraceError('catalog-busy', 'away')
  const stale: TickResult = { outcome: 'stale', stale: [{ key: A, coverage: undefined }] }
  const { flusher, ledger, attempts } = stage([
    ...[away, stale, committed(1n)],
    ...Array.from({ length: 40 }, (_, i) => [stale, committed(BigInt(i) + 2n)]).flat(),
  ])
  known(ledger)
  const tick = sampleTick()
  for (let i = 0n; i < 41n; i++) {
    ledger.reload(A, 0n)
    addBlock(tick, FEED, { key: A, generation: ledger.generation(sourceKeyText(A)), start: 0n, ids: [i] })
    addBlock(tick, FEED, { key: B, generation: ledger.generation(sourceKeyText(B)), start: i, ids: [i] })
    await flusher.submit(tick.seal())
    await flusher.drain()
  }
  // The first lost its answer, so its files were left to the sweep; of the others the newest are enough.
  const last = attempts.at(-1)
  expect(last).toMatchObject({ tick: 82, settled: 81 })
  expect(last?.dropped).toHaveLength(33)
  expect(last?.dropped[0]).toBe(1)
})

test('offsets that brought no file are recorded by the next tick that does', async () => {
  const { flusher, ledger, commits } = stage([committed(1n), committed(2n), committed(3n)])
  ledger.reload(A, 0n, UNRECORDED)
  const tick = sampleTick()
  const rowless = { recordsDead: 0, recordsFiltered: 5, recordsIn: 5, logEnd: undefined, caughtUp: false }
  tick.advance({ ...A, range: { start: 0n, end: 5n }, ...rowless }, 2)
  await flusher.submit(tick.seal())
  addBlock(tick, FEED, { key: A, generation: 2, start: 5n, ids: [1n, 2n] })
  await flusher.submit(tick.seal())
  addBlock(tick, FEED, { key: A, generation: 2, start: 7n, ids: [3n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(commits.map(({ segments }) => segments.map(({ sources }) => sources[0]))).toMatchObject([
    [],
    [{ range: { start: 5n, end: 7n }, recordedFrom: 0n, isFirst: true }],
    [{ range: { start: 7n, end: 8n }, recordedFrom: 7n, isFirst: false }],
  ])
})

test('a tick in flight whose predecessor lost its files records from where the files really end', async () => {
  const stale: TickResult = { outcome: 'stale', stale: [{ key: B, coverage: undefined }] }
  const { flusher, ledger, commits, deleted } = stage([stale, committed(1n), committed(2n)])
  ledger.reload(A, 0n, UNRECORDED)
  ledger.reload(B, 0n, UNRECORDED)
  const tick = sampleTick()
  // Rows of B only: A's offsets are recorded by B's file, which B takes with it when it turns out to be stale.
  addBlock(tick, FEED, { key: B, generation: 4, start: 0n, ids: [1n] })
  const rowless = { recordsDead: 0, recordsFiltered: 4, recordsIn: 4, logEnd: undefined, caughtUp: false }
  tick.advance({ ...A, range: { start: 0n, end: 4n }, ...rowless }, 2)
  await flusher.submit(tick.seal())
  addBlock(tick, FEED, { key: A, generation: 2, start: 4n, ids: [2n] })
  await flusher.submit(tick.seal())
  await flusher.drain()
  expect(commits.map(({ advances }) => advances.map(({ source }) => source))).toEqual([['b', 'a'], ['a'], ['a']])
  expect(commits[2].segments[0].sources).toMatchObject([
    { range: { start: 4n, end: 5n }, recordedFrom: 0n, isFirst: true },
  ])
  expect(deleted).toHaveLength(2)
})

test('segments of one tick are uploaded side by side, a bounded number, and committed in their order (G-6)', async () => {
  const { flusher, ledger, commits, uploads, gate } = stage([committed(1n)])
  known(ledger)
  let open = () => {}
  gate(
    new Promise((resolve) => {
      open = resolve
    }),
  )
  const tick = sampleTick()
  for (let i = 0; i < 40; i++) {
    addBlock(tick, sampleFeed(i + 1, `t${i}`), { key: A, generation: 2, start: BigInt(i), ids: [BigInt(i)] })
  }
  await flusher.submit(tick.seal())
  await new Promise((resolve) => setImmediate(resolve))
  expect(uploads.running).toBe(16)
  open()
  await flusher.drain()
  expect(uploads.most).toBe(16)
  expect(commits).toHaveLength(1)
  expect(commits[0].segments.map(({ tableId }) => tableId)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1))
})
