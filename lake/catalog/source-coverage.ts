/**
 * Coverage: which offsets each pipeline consumed of each source. The only position there is; a flush tick extends it from
 * exactly where it ends (`flush-tick.ts`), everything else here reads it or says how fresh it is.
 */
import type { Selectable } from 'kysely'
import type { Coverage, SourceKey } from '../../schemas/coverage.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { invariant } from '../../schemas/errors.ts'
import type { Catalog } from './catalog.ts'
import type { CoverageRow, Tx } from './database.ts'
import { coverageOf } from './rows-as-values.ts'
import type { Transactions } from './transactions.ts'
import { requireLive } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'coverage' | 'beginCoverage' | 'touchCaughtUp'>

/** Names in one IN list; well below what any database takes. */
const NAMES_AT_ONCE = 500
const HTTP_SOURCE = 'http:'

export function sourceCoverage({ read, write }: Transactions): Part {
  return {
    coverage: (pipeline, sources) =>
      read(async (tx) => {
        if (sources) return coverageOfSources(tx, pipeline, sources)
        const rows = await tx
          .selectFrom('coverage')
          .selectAll()
          .where('pipeline', '=', pipeline)
          .orderBy('source')
          .orderBy('partition')
          .execute()
        return rows.map(coverageOf)
      }),

    beginCoverage: (key, start) => {
      invariant('coverage.start', start >= 0n, { ...key, start })
      return write(async (tx, now) => {
        await tx
          .insertInto('coverage')
          .values(emptyCoverage(key, start, now))
          .onConflict((conflict) => conflict.doNothing())
          .execute()
        return coverageOf(
          await tx
            .selectFrom('coverage')
            .selectAll()
            .where('pipeline', '=', key.pipeline)
            .where('source', '=', key.source)
            .where('partition', '=', BigInt(key.partition))
            .executeTakeFirstOrThrow(),
        )
      })
    },

    touchCaughtUp: async (writer, keys) => {
      if (keys.length === 0) return
      await write(async (tx, now) => {
        await requireLive(tx, writer)
        for (const key of keys) {
          // Coverage that ends elsewhere belongs to another process now: what we know of it says nothing.
          await tx
            .updateTable('coverage')
            .set({ caught_up_at: now, log_end: key.logEnd })
            .where('pipeline', '=', key.pipeline)
            .where('source', '=', key.source)
            .where('partition', '=', BigInt(key.partition))
            .where('range_end', '=', key.end)
            .execute()
        }
      })
    },
  }
}

export async function coverageOfSources(tx: Tx, pipeline: string, sources: readonly string[]): Promise<Coverage[]> {
  const found: Coverage[] = []
  const distinct = [...new Set(sources)]
  for (let from = 0; from < distinct.length; from += NAMES_AT_ONCE) {
    const rows = await tx
      .selectFrom('coverage')
      .selectAll()
      .where('pipeline', '=', pipeline)
      .where('source', 'in', distinct.slice(from, from + NAMES_AT_ONCE))
      .orderBy('source')
      .orderBy('partition')
      .execute()
    found.push(...rows.map(coverageOf))
  }
  const known = new Set(found.map(({ source }) => source))
  const missing = distinct.filter((source) => source.startsWith(HTTP_SOURCE) && !known.has(source))
  if (missing.length > 0) found.push(...(await expiredProducers(tx, pipeline, missing)))
  return found
}

/** Empty coverage at the end of an expired producer's sequence: who goes on there loses nothing and doubles nothing. */
async function expiredProducers(tx: Tx, pipeline: string, sources: readonly string[]): Promise<Coverage[]> {
  const found: Coverage[] = []
  for (let from = 0; from < sources.length; from += NAMES_AT_ONCE) {
    const rows = await tx
      .selectFrom('expired_producers')
      .selectAll()
      .where('pipeline', '=', pipeline)
      .where('source', 'in', sources.slice(from, from + NAMES_AT_ONCE))
      .execute()
    for (const row of rows) {
      const key = { pipeline, source: row.source, partition: 0 }
      const empty = coverageOf({
        ...emptyCoverage(key, row.next_sequence, row.expired_at),
        recorded_end: row.recorded_end,
      })
      found.push({ ...empty, expiredAt: row.expired_at })
    }
  }
  return found
}

/** Coverage of all these sources, by key text. */
export async function coverageByKey(tx: Tx, keys: readonly SourceKey[]): Promise<Map<string, Coverage>> {
  const sources = Map.groupBy(keys, ({ pipeline }) => pipeline)
  const found = new Map<string, Coverage>()
  for (const [pipeline, ofPipeline] of sources) {
    const names = ofPipeline.map(({ source }) => source)
    for (const coverage of await coverageOfSources(tx, pipeline, names)) found.set(sourceKeyText(coverage), coverage)
  }
  return found
}

export function emptyCoverage(key: SourceKey, start: bigint, now: bigint): Selectable<CoverageRow> {
  return {
    pipeline: key.pipeline,
    source: key.source,
    partition: BigInt(key.partition),
    earlier_ranges_json: '[]',
    range_start: start,
    range_end: start,
    records_in: 0n,
    records_dead: 0n,
    records_filtered: 0n,
    log_end: null,
    caught_up_at: null,
    updated_at: now,
    recorded_end: null,
  }
}
