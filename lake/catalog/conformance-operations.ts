/**
 * What every catalog promises to those who operate a pipeline, part of `conformance.ts`: masks of dead letters, positions moved
 * by humans, and what processes tell of themselves. Guarantees are cited by number.
 */
import { expect, test } from 'vitest'
import { lettersKey, type SourceKey } from '../../schemas/coverage.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { maskedOffsetsOf } from '../../schemas/masked-offsets.ts'
import type { FlushTick, NewMask, Table, Writer } from './catalog.ts'
import type { RaceContext } from './conformance-races.ts'
import { advanceOf, newTableOf, segmentOf, sourceKey, tickOf } from './test-values.ts'

const key = sourceKey(0)
const LETTERS = lettersKey('p', 'flights__dead_letters')
const place = { topic: 'flights', topicId: 'topic-id', partition: 0 }
const asking = { requestedBy: 'ada', why: 'a test' }

function maskOf(letters: Table, offsets: readonly bigint[], action: NewMask['action'] = 'replay'): NewMask {
  const places = offsets.map((offset) => ({ source: key.source, partition: 0, offset }))
  return { tableId: letters.tableId, action, offsets: maskedOffsetsOf(places), ...asking }
}

/** Letters become rows: as many from `first` on in the order of letters that left. */
function replayTick(
  table: Table,
  letters: Table,
  writer: Writer,
  commitId: string,
  offsets: readonly bigint[],
  first = 0n,
): FlushTick {
  const range = { start: first, end: first + BigInt(offsets.length) }
  return {
    commitId,
    writer,
    segments: [segmentOf(table, `${commitId}.parquet`, [{ ...LETTERS, range }])],
    advances: [{ ...advanceOf(LETTERS, range.start, range.end), logEnd: undefined }],
    idempotencyKeys: [],
    masks: [maskOf(letters, offsets)],
  }
}

function discardTick(letters: Table, writer: Writer, commitId: string, offsets: readonly bigint[], first: bigint) {
  const range = { start: first, end: first + BigInt(offsets.length) }
  const advance = { ...advanceOf(LETTERS, range.start, range.end), recordsFiltered: offsets.length, logEnd: undefined }
  return {
    commitId,
    writer,
    segments: [],
    advances: [advance],
    idempotencyKeys: [],
    masks: [maskOf(letters, offsets, 'discard')],
  } satisfies FlushTick
}

export function describeOperations(context: () => RaceContext): void {
  async function withLetters() {
    const { catalog, started } = context()
    const state = await started()
    const letters = await catalog.createTable(newTableOf('flights__dead_letters'))
    await catalog.commitTick({
      ...tickOf(letters, state.writer, 'dead', key, 0n, 10n),
      advances: [{ ...advanceOf(key, 0n, 10n), recordsDead: 10 }],
    })
    return { ...state, letters }
  }

  test('letters leave in the transaction that brings their rows, once for one commit id (G-1, G-2)', async () => {
    const { catalog, live } = context()
    const { table, letters, writer } = await withLetters()
    const before = await live('flights__dead_letters')
    const tick = replayTick(table, letters, writer, 'r1', [3n, 4n, 7n])
    expect(await catalog.commitTick(tick)).toMatchObject({ outcome: 'committed' })
    expect(await catalog.commitTick(tick)).toMatchObject({ outcome: 'already-committed' })
    const after = await live('flights__dead_letters')
    expect(after.version).toBe(before.version + 1n)
    expect(after.masks).toEqual([
      {
        maskId: expect.any(Number),
        createdAt: expect.any(BigInt),
        version: after.version,
        offsets: maskOf(letters, [3n, 4n, 7n]).offsets,
        appliedRows: 0,
      },
    ])
    expect((await live('flights')).masks).toEqual([])
    const [{ recordsIn, ranges }] = await catalog.coverage('p', [LETTERS.source])
    expect([recordsIn, ranges]).toEqual([3n, [{ start: 0n, end: 3n }]])
  })

  test('of two replays at once the second finds the letters moved, and nothing of it is in (G-2)', async () => {
    const { catalog, other, live } = context()
    const { table, letters, writer } = await withLetters()
    const outcomes = await Promise.all([
      catalog.commitTick(replayTick(table, letters, writer, 'r1', [3n])),
      other.commitTick(replayTick(table, letters, writer, 'r2', [3n])),
    ])
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['committed', 'stale'])
    expect((await live('flights')).segments).toHaveLength(1)
    expect((await live('flights__dead_letters')).masks).toHaveLength(1)
  })

  test('letters that leave must be counted, or the tick is refused whole (G-1)', async () => {
    const { catalog } = context()
    const { table, letters, writer } = await withLetters()
    const tick = { ...replayTick(table, letters, writer, 'r1', [3n]), masks: [maskOf(letters, [3n, 4n])] }
    await expect(catalog.commitTick(tick)).rejects.toMatchObject({ code: 'invariant-broken' })
  })

  test('a mask is over when rewrites left all its rows out; an earlier version still has it (G-3)', async () => {
    const { catalog, other, live, snapshotOf } = context()
    const state = await withLetters()
    const { letters, writer, compactor } = state
    await catalog.commitTick(discardTick(letters, writer, 'd1', [1n, 2n], 0n))
    const { version, masks = [], segments } = await live('flights__dead_letters')
    const lease = (await catalog.acquireLease(letters.tableId, compactor, 1000))!
    const snapshot = snapshotOf(
      { ...state, table: letters, lease },
      's1',
      segments.map(({ segmentId }) => segmentId),
    )
    const [{ maskId }] = masks
    await catalog.commitSnapshot({ ...snapshot, maskedRows: new Map([[maskId, 2]]) })
    expect((await live('flights__dead_letters')).masks).toEqual([])
    const at = { versions: new Map([['flights__dead_letters', version]]), windowMs: 60_000 }
    const [past] = await other.readTables(['flights__dead_letters'], { at })
    expect(past.masks).toEqual(masks.map((mask) => ({ ...mask, appliedRows: 2 })))
  })

  test('a rewrite cannot leave out more rows than a mask has (G-2)', async () => {
    const { catalog, live, snapshotOf } = context()
    const state = await withLetters()
    const { letters, writer, compactor } = state
    await catalog.commitTick(discardTick(letters, writer, 'd1', [1n], 0n))
    const { masks = [], segments } = await live('flights__dead_letters')
    const lease = (await catalog.acquireLease(letters.tableId, compactor, 1000))!
    const ids = segments.map(({ segmentId }) => segmentId)
    const snapshot = snapshotOf({ ...state, table: letters, lease }, 's1', ids)
    await expect(
      catalog.commitSnapshot({ ...snapshot, maskedRows: new Map([[masks[0].maskId, 2]]) }),
    ).rejects.toMatchObject({ code: 'invariant-broken' })
    expect((await live('flights__dead_letters')).segments).toHaveLength(1)
  })

  async function consumed(end: bigint) {
    const { catalog, started } = context()
    const { table, writer } = await started()
    await catalog.bindPipeline('p', [table.tableId], ['flights'])
    await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, end))
    return { table, writer }
  }

  test('forward: a new stretch, and what lies between is told as skipped; offsets stay unique (G-2)', async () => {
    const { catalog } = context()
    const { table, writer } = await consumed(50n)
    const options = { ...asking, allowDuplicates: false }
    const wanted = [{ ...place, offset: 80n, logStart: 0n }]
    expect(await catalog.moveOffsets('p', wanted, options)).toEqual([
      { topic: 'flights', partition: 0, source: `${key.source}@80`, kind: 'skip', range: { start: 50n, end: 80n } },
    ])
    expect((await catalog.moveOffsets('p', wanted, options))[0].kind).toBe('none')
    const stretch: SourceKey = { ...key, source: `${key.source}@80` }
    expect(await catalog.commitTick(tickOf(table, writer, 'c2', stretch, 80n, 90n))).toMatchObject({
      outcome: 'committed',
    })
    expect(await catalog.offsetMoves('p')).toMatchObject([
      { kind: 'skip', range: { start: 50n, end: 80n }, requestedBy: 'ada', why: 'a test' },
    ])
  })

  test('a skip that brought nothing is taken back by going back', async () => {
    const { catalog } = context()
    await consumed(50n)
    const options = { ...asking, allowDuplicates: false }
    await catalog.moveOffsets('p', [{ ...place, offset: 80n, logStart: 0n }], options)
    const [back] = await catalog.moveOffsets('p', [{ ...place, offset: 50n, logStart: 0n }], options)
    expect(back).toMatchObject({ kind: 'none', source: key.source })
    expect((await catalog.coverage('p')).map(({ source }) => source)).toEqual([key.source])
  })

  test('backward: what was consumed adds nothing, unless doubling is asked for as another source (G-2)', async () => {
    const { catalog } = context()
    await consumed(50n)
    const wanted = [{ ...place, offset: 10n, logStart: 0n }]
    const [nothing] = await catalog.moveOffsets('p', wanted, { ...asking, allowDuplicates: false })
    expect(nothing.kind).toBe('none')
    const [again] = await catalog.moveOffsets('p', wanted, { ...asking, allowDuplicates: true })
    expect(again).toMatchObject({ kind: 'rewind', source: `${key.source}#2`, range: { start: 10n, end: 50n } })
  })

  test('a backfill takes the uncovered parts of a range only, and is over at its end (G-2)', async () => {
    const { catalog } = context()
    const { table, writer } = await consumed(50n)
    await catalog.moveOffsets('p', [{ ...place, offset: 80n, logStart: 0n }], { ...asking, allowDuplicates: false })
    const range = { start: 40n, end: 70n }
    const begun = await catalog.beginBackfill('p', [{ ...place, range }], asking)
    expect(begun).toEqual([
      { topic: 'flights', partition: 0, source: `${key.source}@50`, kind: 'backfill', range: { start: 50n, end: 70n } },
    ])
    const [again] = await catalog.beginBackfill('p', [{ ...place, range }], asking)
    expect(again.kind).toBe('none')
    const stretch: SourceKey = { ...key, source: `${key.source}@50` }
    expect((await catalog.backfills('p')).map((each) => each.coverage.ranges)).toEqual([[{ start: 50n, end: 50n }]])
    await catalog.commitTick(tickOf(table, writer, 'b1', stretch, 50n, 70n))
    expect(await catalog.backfills('p')).toEqual([])
  })

  test('positions of a pipeline that runs are not moved; those of one whose process died are', async () => {
    const { catalog, other, advance } = context()
    const { writer } = await consumed(50n)
    await other.tellTask(writer, 'p', 'running')
    const wanted = [{ ...place, offset: 80n, logStart: 0n }]
    const refused = await catalog.moveOffsets('p', wanted, { ...asking, allowDuplicates: false }).catch((e) => e)
    expect(isMillraceError(refused, 'request-invalid') && refused.message).toContain(writer.writerId)
    expect((await catalog.coverage('p')).map(({ source }) => source)).toEqual([key.source])
    await advance(31_000)
    const [moved] = await catalog.moveOffsets('p', wanted, { ...asking, allowDuplicates: false })
    expect(moved.kind).toBe('skip')
    await other.heartbeat(writer, 1000)
    await other.tellTask(writer, 'p', undefined)
    const [further] = await catalog.moveOffsets('p', [{ ...place, offset: 90n, logStart: 0n }], {
      ...asking,
      allowDuplicates: false,
    })
    expect(further.kind).toBe('skip')
  })

  test('what processes tell is read in one piece with the versions of tables; a fenced one tells nothing', async () => {
    const { catalog, other, advance } = context()
    const { writer } = await consumed(50n)
    const status = {
      pipeline: 'p',
      topic: 'flights',
      partition: 0,
      source: key.source,
      state: 'waiting',
      detail: 'segment upload failed',
      logStart: 0n,
      logEnd: 70n,
      position: 60n,
      rowsPerSecond: 12.4,
      bytesPerSecond: undefined,
    } as const
    await catalog.tellPartitions(writer, [status])
    await catalog.tellPartitions(writer, [{ ...status, position: 65n }])
    const { pipelines } = await other.readTables(['flights'], { pipelines: true })
    expect(pipelines?.partitions).toEqual([
      {
        ...status,
        position: 65n,
        rowsPerSecond: 12,
        writerId: writer.writerId,
        isLive: true,
        updatedAt: expect.any(BigInt),
      },
    ])
    expect(pipelines?.bindings).toContainEqual({
      pipeline: 'p',
      topic: 'flights',
      tableId: expect.any(Number),
      table: 'flights',
    })
    expect((await other.readTables(['flights'])).pipelines).toBeUndefined()
    await advance(120_000)
    await catalog.fenceSilentWriters(1000)
    await expect(catalog.tellPartitions(writer, [status])).rejects.toMatchObject({ code: 'writer-fenced' })
    expect((await other.pipelineFacts()).partitions[0].isLive).toBe(false)
  })
}
