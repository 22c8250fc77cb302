/**
 * Dead letters taken away by a human: decoded again with what the pipeline decodes by now (`replay`), or given up (`discard`).
 *
 *   letters of one version ─▶ decode ─▶ rows with their own `_source`, `_partition`, `_offset` ┐
 *                                  └──▶ still broken: they stay, with the reason in the answer  ├▶ one flush tick, as any other
 *                                       letters that became rows: a mask over their table       ┘
 *
 * Each tick takes the next numbers of the source `letters:<table>`; of two at once the second one's tick finds the source moved,
 * reads the letters anew and finds those gone. So a letter leaves once, with its row, whoever asks how often (G-1, G-2).
 *
 * A catalog that was made again does not know which letters left: then each is looked up in its table first, and one that is a row
 * already leaves without another (`rows-of-letters.ts`).
 *
 * If we stop before the tick's commit, a restart sees all letters where they were, and files that nothing refers to; after it,
 * rows and letters are as the tick says, and asking again finds nothing to do.
 */
import { join } from 'node:path'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { LetterPlace } from '../../lake/dead-letters/letters-filter.ts'
import { type Letter, type OpenLetters, openLetters } from '../../lake/dead-letters/read-letters.ts'
import {
  forgottenIn,
  openRowsOfLetters,
  placeText,
  type RowsOfLetters,
} from '../../lake/dead-letters/rows-of-letters.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import type { ReaderRow } from '../../lake/reader-row.ts'
import type { World } from '../../runtime/world.ts'
import { lettersKey } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { rowSourceOf } from '../../schemas/kafka-source-text.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import type { DecodedBlock } from '../decoder/decode-plan.ts'
import type { Flusher } from '../flusher.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import type { Decode } from '../kafka-pipeline.ts'
import type { TableFeed } from '../open-tick.ts'
import type { PlanKeeper } from '../schema-keeper.ts'
import type { SourceLedger } from '../source-ledger.ts'
import type { IngestTables } from '../tables.ts'
import { blockOf, outcomeOf, type Tried } from './letters-block.ts'
import { commitLetters, type LettersRequest, openLettersSource } from './letters-tick.ts'

export type LettersAnswer = {
  readonly table: string
  readonly action: LettersRequest['action']
  /** Letters that left as rows. */
  readonly replayed: number
  /** Letters that left without: discarded, or dropped by the pipeline's transforms. */
  readonly discarded: number
  readonly filtered: number
  /** Letters that left because they were rows already: a catalog that was made again had forgotten that they had. */
  readonly already: number
  readonly failed: number
  /** Of the first of them. */
  readonly failures: readonly {
    readonly source: string
    readonly partition: number
    readonly offset: string
    readonly reason: string
  }[]
  /** More letters than `limit` match. */
  readonly more: boolean
  /** Of the dead letters, once the last of them left: for `wait_for`. */
  readonly version: string
}

export type DeadLetters = { take(request: LettersRequest): Promise<LettersAnswer>; close(): Promise<void> }

export type DeadLettersParts = {
  readonly catalog: Catalog
  readonly store: ObjectStore
  readonly world: World
  /** Started for a request, and ended when none came for a while. */
  readonly createEngine: () => Engine
  readonly readerRow: ReaderRow
  readonly flusher: Pick<Flusher, 'submit'>
  readonly ledger: SourceLedger
  readonly tables: IngestTables
  readonly decode: Decode
  /** What a pipeline of this process decodes by. */
  keeperOf(pipeline: string, table: string): Promise<PlanKeeper | undefined>
  /** Where a letter without a topic goes: HTTP. */
  readonly httpTopic: string
  readonly workFolder: string
  count(pipeline: string, action: LettersRequest['action'], letters: number): void
}

const BATCH_LETTERS = 2000
const ATTEMPTS_MAX = 10
const FAILURES_SHOWN_MAX = 20

type Batch = { readonly letters: readonly Letter[]; readonly last: LetterPlace }

type TriedBatch = {
  readonly rows: { readonly feed: TableFeed; readonly batch: MicroBatch }[]
  readonly leaving: Letter[]
  filtered: number
  /** Of the filtered ones. */
  already: number
  readonly failed: Tried['failed'][number][]
}

export function createDeadLetters(parts: DeadLettersParts): DeadLetters {
  const { catalog } = parts
  let turn: Promise<unknown> = Promise.resolve()
  let requests = 0

  /** One request at a time: they share the source that counts what left. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work, work)
    turn = result.catch(() => {})
    return result
  }

  async function take(request: LettersRequest): Promise<LettersAnswer> {
    const engine = parts.createEngine()
    try {
      return await takeAll(request, engine)
    } finally {
      await engine.close()
    }
  }

  async function takeAll(request: LettersRequest, engine: Engine): Promise<LettersAnswer> {
    const lettersTable = `${request.table}${DEAD_LETTERS_SUFFIX}`
    const totals = { replayed: 0, discarded: 0, filtered: 0, already: 0, failed: 0 }
    const failures: LettersAnswer['failures'][number][] = []
    let after: LetterPlace | undefined
    let left = request.limit
    let attempts = 0
    let version = 0n
    let more = false
    requests += 1
    const open = async () => {
      const workFolder = join(parts.workFolder, `letters-${requests}`)
      const letters = await openLetters({ ...parts, engine, table: lettersTable, workFolder })
      try {
        return { letters, rows: await rowsOf(request, letters, lettersTable, engine) }
      } catch (error) {
        await letters.close()
        throw error
      }
    }
    const close = async ({ letters, rows }: Awaited<ReturnType<typeof open>>) => {
      rows?.close()
      await letters.close()
    }
    let reading = await open()
    /** Pipelines whose letters were counted since the letters were read. */
    let counted = new Set<string>()
    try {
      for (;;) {
        const batch = await nextBatch(reading.letters, request, after, left)
        if (!batch) break
        if (left <= 0) {
          more = true
          break
        }
        const tried = await tryBatch(request, batch.letters, reading.rows)
        const key = lettersKey(batch.letters[0].pipeline as string, lettersTable)
        if (!counted.has(key.pipeline)) openLettersSource(parts.ledger, key, reading.letters.coverage)
        counted.add(key.pipeline)
        const committed =
          tried.leaving.length === 0 ? reading.letters.version : await commitLetters(parts, request, key, tried)
        if (committed === 'stale') {
          attempts += 1
          if (attempts >= ATTEMPTS_MAX) {
            throw new MillraceError('commit-conflict', `letters of ${lettersTable} are taken by others too; try again`)
          }
          await close(reading)
          reading = await open()
          counted = new Set()
          continue
        }
        attempts = 0
        version = committed
        left -= batch.letters.length
        after = batch.last
        parts.count(key.pipeline, request.action, tried.leaving.length)
        if (request.action === 'replay') totals.replayed += tried.leaving.length - tried.filtered
        else totals.discarded += tried.leaving.length
        totals.filtered += request.action === 'replay' ? tried.filtered - tried.already : 0
        totals.already += tried.already
        totals.failed += tried.failed.length
        for (const { letter, reason } of tried.failed.slice(0, FAILURES_SHOWN_MAX - failures.length)) {
          const { source, partition, offset } = letter
          failures.push({ source, partition, offset: String(offset), reason })
        }
      }
      const { action, table } = request
      return { table, action, ...totals, failures, more, version: String(version || reading.letters.version) }
    } finally {
      await close(reading)
    }
  }

  /** undefined: every letter that left is known to have. Asked after the letters were read: who takes some meanwhile makes us stale. */
  async function rowsOf(
    request: LettersRequest,
    { tableId }: OpenLetters,
    lettersTable: string,
    engine: Engine,
  ): Promise<RowsOfLetters | undefined> {
    if (request.action === 'discard') return undefined
    if (forgottenIn(await catalog.pipelineFacts(), { tableId, name: lettersTable }) === 0n) return undefined
    const workFolder = join(parts.workFolder, `rows-${requests}`)
    return openRowsOfLetters({ ...parts, engine, table: request.table, workFolder })
  }

  async function nextBatch(
    opened: OpenLetters,
    { filter }: LettersRequest,
    after: LetterPlace | undefined,
    left: number,
  ): Promise<Batch | undefined> {
    const letters = await opened.next(filter, after, Math.max(1, Math.min(BATCH_LETTERS, left)))
    const last = letters.at(-1)
    if (!last) return undefined
    // One tick has letters of one pipeline only: those of the first one's, and the others come next.
    const pipelines = await pipelinesOf(letters)
    const until = pipelines.findIndex((pipeline) => pipeline !== pipelines[0])
    const own = until < 0 ? letters : letters.slice(0, until)
    return { letters: own.map((letter) => ({ ...letter, pipeline: pipelines[0] })), last: own.at(-1) as Letter }
  }

  /** Of letters that do not say it: the pipeline that has consumed the place. */
  async function pipelinesOf(letters: readonly Letter[]): Promise<string[]> {
    if (letters.every(({ pipeline }) => pipeline !== null)) return letters.map(({ pipeline }) => pipeline as string)
    const { coverage } = await catalog.pipelineFacts()
    const known = new Map(
      coverage.map(({ pipeline, source, partition }) => [`${rowSourceOf(source)}/${partition}`, pipeline]),
    )
    return letters.map(({ pipeline, source, partition, offset }) => {
      const found = pipeline ?? known.get(`${source}/${partition}`)
      if (found !== undefined) return found
      throw new MillraceError('not-found', `no pipeline is known for the letter at ${source}/${partition} ${offset}`)
    })
  }

  async function tryBatch(
    request: LettersRequest,
    letters: readonly Letter[],
    rows: RowsOfLetters | undefined,
  ): Promise<TriedBatch> {
    const leaveAsIs = (leaving: Letter[], already: number): TriedBatch => ({
      rows: [],
      leaving,
      filtered: leaving.length,
      already,
      failed: [],
    })
    if (request.action === 'discard') return leaveAsIs([...letters], 0)
    const places = await rows?.places(letters)
    const isRow = (letter: Letter) => places?.has(placeText(letter)) === true
    const leaving = letters.filter(isRow)
    if (leaving.length === letters.length) return leaveAsIs(leaving, leaving.length)
    const others = letters.filter((letter) => !isRow(letter))
    const tried = await decodeAgain(request.table, others)
    tried.leaving.push(...leaving)
    return { ...tried, filtered: tried.filtered + leaving.length, already: leaving.length }
  }

  async function decodeAgain(tableName: string, letters: readonly Letter[]): Promise<TriedBatch> {
    const pipeline = letters[0].pipeline as string
    const keeper = await parts.keeperOf(pipeline, tableName)
    if (!keeper) {
      throw new MillraceError(
        'not-found',
        `pipeline "${pipeline}" does not run in this ingest process, so it cannot decode its letters: ask one that runs it, or start it`,
      )
    }
    const tried: TriedBatch = { rows: [], leaving: [], filtered: 0, already: 0, failed: [] }
    // By topic-partition, in the order of their places.
    for (const group of Map.groupBy(letters, ({ source, partition }) => `${source}/${partition}`).values()) {
      const decoded = await decode(keeper, blockOf(group, group[0].topic ?? parts.httpTopic), group[0].source)
      const table = await parts.tables.open(tableName)
      const outcome = outcomeOf(group, decoded, {
        table: table.ready?.feed.table.tableId ?? 0,
        deadLetters: table.deadLetters.table.tableId,
      })
      if (outcome.rows && table.ready) {
        const { batch, schemaId } = outcome.rows
        tried.rows.push({ batch, feed: keeper.feed(table.ready.feed.table.tableId, schemaId) })
      }
      tried.leaving.push(...outcome.leaving)
      tried.failed.push(...outcome.failed)
      tried.filtered += outcome.filtered
    }
    return tried
  }

  async function decode(keeper: PlanKeeper, block: RecordBlock, source: string): Promise<DecodedBlock> {
    let isFinal = false
    for (;;) {
      const plan = keeper.plan()
      const result = await parts.decode(plan, block, block.startOffset, source, isFinal)
      if (result.kind === 'decoded') return result
      isFinal = (await keeper.resolve(result)).number === plan.number
    }
  }

  return {
    take: (request) => inTurn(() => take(request)),
    close: () => parts.readerRow.close(),
  }
}
