/**
 * The flush tick that takes letters away: their rows, the mask over their table, and as many numbers of the source
 * `letters:<table>` as letters leave. It goes through the flusher like any other tick, behind those before it, with the same
 * crash points: if we stop before its commit, a restart sees the letters where they were; after it, rows instead of them.
 */
import type { LettersFilter } from '../../lake/dead-letters/letters-filter.ts'
import type { Letter } from '../../lake/dead-letters/read-letters.ts'
import { type Coverage, type SourceKey, sourceKeyText } from '../../schemas/coverage.ts'
import { maskedOffsetsOf } from '../../schemas/masked-offsets.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import type { Flusher } from '../flusher.ts'
import type { PendingAdvance, PendingMask, Piece, SealedBatch, SealedTick, TableFeed } from '../open-tick.ts'
import { coverageEnd, filesRecord, type SourceLedger } from '../source-ledger.ts'
import type { IngestTables } from '../tables.ts'

export type LettersRequest = {
  readonly action: 'replay' | 'discard'
  readonly table: string
  readonly filter: LettersFilter
  /** Most letters that are looked at. */
  readonly limit: number
  readonly requestedBy: string
  readonly why: string
}

export type LettersLeaving = {
  readonly rows: readonly { readonly feed: TableFeed; readonly batch: MicroBatch }[]
  readonly leaving: readonly Letter[]
  readonly filtered: number
}

type Parts = {
  readonly flusher: Pick<Flusher, 'submit'>
  readonly ledger: SourceLedger
  readonly tables: IngestTables
}

/** Where the source that counts a pipeline's letters stands, as of the version that they were read from. */
export function openLettersSource(ledger: SourceLedger, key: SourceKey, coverage: readonly Coverage[]): void {
  const own = coverage.find((each) => sourceKeyText(each) === sourceKeyText(key))
  ledger.reload(key, coverageEnd(own) ?? 0n, filesRecord(own))
}

/**
 * The version of the dead letters' table that has them no more; `stale`: somebody else took letters since they were read.
 * `openLettersSource` came before, and nothing but commits of this since.
 */
export async function commitLetters(
  { flusher, ledger, tables }: Parts,
  request: LettersRequest,
  key: SourceKey,
  { rows, leaving, filtered }: LettersLeaving,
): Promise<bigint | 'stale'> {
  const keyText = sourceKeyText(key)
  const generation = ledger.generation(keyText)
  const start = ledger.next(key)
  if (start === undefined) return 'stale'
  const range = { start, end: start + BigInt(leaving.length) }
  ledger.took(key, range.end)

  const tableId = (await tables.open(request.table)).deadLetters.table.tableId
  const advance: PendingAdvance = {
    ...key,
    keyText,
    generation,
    range,
    recordsIn: leaving.length,
    recordsDead: 0,
    recordsFiltered: filtered,
    logEnd: undefined,
    caughtUp: true,
  }
  const mask: PendingMask = {
    keyText,
    generation,
    tableId,
    action: request.action,
    offsets: maskedOffsetsOf(leaving),
    requestedBy: request.requestedBy,
    why: request.why,
  }
  const batches = batchesOf(rows, { key, keyText, generation, range })
  return new Promise((resolve, reject) => {
    const waiter: SealedTick['waiters'][number] = {
      keyText,
      generation,
      idempotencyKey: undefined,
      tableId,
      range,
      committed: (version) => resolve(version as bigint),
      dropped: () => resolve('stale'),
      failed: reject,
    }
    const tick: SealedTick = {
      batches,
      advances: [advance],
      idempotencyKeys: [],
      masks: [mask],
      waiters: [waiter],
      bytes: leaving.reduce((bytes, { value }) => bytes + (value?.length ?? 0), 0),
      rowCount: batches.reduce((sum, batch) => sum + batch.rowCount, 0),
    }
    flusher.submit(tick).catch(reject)
  })
}

function batchesOf(
  rows: LettersLeaving['rows'],
  origin: { key: SourceKey; keyText: string; generation: number; range: Piece['range'] },
): SealedBatch[] {
  const groups = Map.groupBy(rows, ({ feed }) => `${feed.table.tableId}/${feed.schemaId}`)
  return [...groups.values()].map((group) => ({
    ...group[0].feed,
    pieces: group.map(({ batch }): Piece => ({ ...origin, batch })),
    rowCount: group.reduce((sum, { batch }) => sum + batch.rowCount, 0),
  }))
}
