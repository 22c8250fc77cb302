/**
 * What may be deleted, and what is still known. A file removed at version r is in version r-1 and not in r, so its bytes may
 * go once every reader's oldest version of that table is at least r, and the removal is old enough for readers that hold no
 * row. The sweep deletes bytes first and forgets the tombstone after: if it stops between, a restart deletes a file that
 * is gone, which is no error.
 */
import { type Selectable, sql } from 'kysely'
import type { Log } from '../../runtime/world.ts'
import type { Catalog } from './catalog.ts'
import type { CoverageRow, Tx } from './database.ts'
import type { Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'deadFiles' | 'forgetFiles' | 'knownPaths' | 'expireRows'>

const HOUR_MS = 3_600_000
const COMMIT_IDS_KEPT_MS = 7 * 24 * HOUR_MS
const IDEMPOTENCY_KEYS_KEPT_MS = 24 * HOUR_MS
const HTTP_PRODUCERS_KEPT_MS = 7 * 24 * HOUR_MS
/** Long after every sweep has looked at a fenced writer's files. A writer that is not known counts as fenced. */
const FENCED_WRITERS_KEPT_MS = 30 * 24 * HOUR_MS
const IDS_AT_ONCE = 500

export function garbage({ read, write }: Transactions, log: Log): Part {
  return {
    deadFiles: (ageMs, limit) =>
      read(async (tx, now) => {
        const rows = await tx
          .selectFrom('tombstones')
          .selectAll()
          .where('removed_at', '<=', now - micros(ageMs))
          .where(({ not, exists, selectFrom }) =>
            not(
              exists(
                selectFrom('readers')
                  .select('readers.reader_id')
                  .whereRef('readers.table_id', '=', 'tombstones.table_id')
                  .whereRef('readers.oldest_version', '<', 'tombstones.removed_version'),
              ),
            ),
          )
          .orderBy('tombstone_id')
          .limit(limit)
          .execute()
        return rows.map((row) => ({
          tombstoneId: Number(row.tombstone_id),
          tableId: Number(row.table_id),
          path: row.path,
          removedVersion: row.removed_version,
          removedAt: row.removed_at,
        }))
      }),

    forgetFiles: async (tombstoneIds) => {
      for (let from = 0; from < tombstoneIds.length; from += IDS_AT_ONCE) {
        const ids = tombstoneIds.slice(from, from + IDS_AT_ONCE).map(BigInt)
        await write(async (tx) => {
          await tx
            .deleteFrom('segments')
            .where('removed_version', 'is not', null)
            .where('segment_id', 'in', (gone) =>
              gone
                .selectFrom('tombstones')
                .select('tombstones.segment_id')
                .where('tombstones.tombstone_id', 'in', ids)
                .where('tombstones.segment_id', 'is not', null),
            )
            .execute()
          await tx.deleteFrom('tombstones').where('tombstone_id', 'in', ids).execute()
        })
      }
    },

    knownPaths: (tableId) =>
      read(async (tx) => {
        const id = BigInt(tableId)
        const segments = await tx.selectFrom('segments').select('path').where('table_id', '=', id).execute()
        const dead = await tx.selectFrom('tombstones').select('path').where('table_id', '=', id).execute()
        const table = await tx
          .selectFrom('tables')
          .select('metadata_location')
          .where('table_id', '=', id)
          .executeTakeFirst()
        const known = new Set<string>()
        for (const { path } of segments) known.add(path)
        for (const { path } of dead) known.add(path)
        if (table?.metadata_location) known.add(table.metadata_location)
        return known
      }),

    expireRows: async () => {
      const expired = await write(async (tx, now) => {
        await tx
          .deleteFrom('commits')
          .where('committed_at', '<', now - micros(COMMIT_IDS_KEPT_MS))
          .execute()
        await tx
          .deleteFrom('idempotency_keys')
          .where('created_at', '<', now - micros(IDEMPOTENCY_KEYS_KEPT_MS))
          .execute()
        await tx
          .deleteFrom('writers')
          .where('fenced_at', '<', now - micros(FENCED_WRITERS_KEPT_MS))
          .execute()
        const idle = await tx
          .deleteFrom('coverage')
          .where(sql<boolean>`source like 'http:%'`)
          .where('updated_at', '<', now - micros(HTTP_PRODUCERS_KEPT_MS))
          .returning(['pipeline', 'source', 'range_end', 'recorded_end'])
          .execute()
        await keepSequences(tx, idle, now)
        return idle
      })
      for (const { pipeline, source, range_end } of expired) {
        log.info('idle HTTP producer expired', { pipeline, source, nextSequence: String(range_end) })
      }
    },
  }
}

type IdleProducer = Pick<Selectable<CoverageRow>, 'pipeline' | 'source' | 'range_end' | 'recorded_end'>

/** A name that comes back goes on where it ended: `(_source, _partition, _offset)` stays unique. */
async function keepSequences(tx: Tx, idle: readonly IdleProducer[], now: bigint): Promise<void> {
  for (let from = 0; from < idle.length; from += IDS_AT_ONCE) {
    const rows = idle.slice(from, from + IDS_AT_ONCE).map(({ range_end, ...row }) => ({
      ...row,
      next_sequence: range_end,
      expired_at: now,
    }))
    await tx
      .insertInto('expired_producers')
      .values(rows)
      .onConflict((conflict) =>
        conflict.columns(['pipeline', 'source']).doUpdateSet({
          next_sequence: sql<bigint>`excluded.next_sequence`,
          recorded_end: sql<bigint>`excluded.recorded_end`,
          expired_at: sql<bigint>`excluded.expired_at`,
        }),
      )
      .execute()
  }
}
