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
import type { CatalogDialect, RowInsert } from './dialect.ts'
import { forgetMasks } from './masks.ts'
import type { Time, Transactions } from './transactions.ts'
import { micros } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'deadFiles' | 'forgetFiles' | 'knownPaths' | 'expireRows'>

const HOUR_MS = 3_600_000
const COMMIT_IDS_KEPT_MS = 7 * 24 * HOUR_MS
const IDEMPOTENCY_KEYS_KEPT_MS = 24 * HOUR_MS
const HTTP_PRODUCERS_KEPT_MS = 7 * 24 * HOUR_MS
/** Long after every sweep has looked at a fenced writer's files. A writer that is not known counts as fenced. */
const FENCED_WRITERS_KEPT_MS = 30 * 24 * HOUR_MS
const IDS_AT_ONCE = 500
const ROWS_AT_ONCE = 2_000

const EXPIRED_PRODUCERS: RowInsert = {
  table: 'expired_producers',
  columns: { pipeline: 'text', source: 'text', next_sequence: 'bigint', recorded_end: 'bigint', expired_at: 'bigint' },
  ending: `on conflict (pipeline, source) do update set
    next_sequence = excluded.next_sequence,
    recorded_end = excluded.recorded_end,
    expired_at = excluded.expired_at`,
}

export function garbage({ dialect, read, write }: Transactions, log: Log): Part {
  return {
    deadFiles: (ageMs, limit) =>
      read(async (tx, time) => {
        const now = await time()
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
        const ids = tombstoneIds.slice(from, from + IDS_AT_ONCE)
        await write(async (tx) => {
          await tx
            .deleteFrom('segments')
            .where('removed_version', 'is not', null)
            .where('segment_id', 'in', (gone) =>
              gone
                .selectFrom('tombstones')
                .select('tombstones.segment_id')
                .where(dialect.idIn('tombstones.tombstone_id', ids))
                .where('tombstones.segment_id', 'is not', null),
            )
            .execute()
          await tx.deleteFrom('tombstones').where(dialect.idIn('tombstone_id', ids)).execute()
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
      await untilFew(() => write(deleteOldCommits))
      await untilFew(() => write(deleteOldKeys))
      await write(deleteFencedWriters)
      await write(async (tx, time) => forgetMasks(tx, await time()))
      await untilFew(async () => {
        const expired = await write((tx, time) => deleteIdleProducers(tx, dialect, time))
        for (const { pipeline, source, range_end } of expired) {
          log.info('idle HTTP producer expired', { pipeline, source, nextSequence: String(range_end) })
        }
        return expired.length
      })
    },
  }
}

/** Many rows go in several transactions, so that none of them holds up the others. */
async function untilFew(deleteSome: () => Promise<number>): Promise<void> {
  while ((await deleteSome()) >= ROWS_AT_ONCE);
}

async function deleteOldCommits(tx: Tx, time: Time): Promise<number> {
  const oldest = (await time()) - micros(COMMIT_IDS_KEPT_MS)
  const { numDeletedRows } = await tx
    .deleteFrom('commits')
    .where('commit_id', 'in', (old) =>
      old.selectFrom('commits').select('commit_id').where('committed_at', '<', oldest).limit(ROWS_AT_ONCE),
    )
    .executeTakeFirst()
  return Number(numDeletedRows)
}

async function deleteOldKeys(tx: Tx, time: Time): Promise<number> {
  const oldest = (await time()) - micros(IDEMPOTENCY_KEYS_KEPT_MS)
  const { numDeletedRows } = await tx
    .deleteFrom('idempotency_keys')
    .where(({ eb, refTuple, selectFrom }) =>
      eb(
        refTuple('table_id', 'key'),
        'in',
        selectFrom('idempotency_keys as old')
          .select(['old.table_id', 'old.key'])
          .where('old.created_at', '<', oldest)
          .limit(ROWS_AT_ONCE)
          .$asTuple('table_id', 'key'),
      ),
    )
    .executeTakeFirst()
  return Number(numDeletedRows)
}

/** The newest stays, whatever its age: epochs only grow. */
async function deleteFencedWriters(tx: Tx, time: Time): Promise<void> {
  const oldest = (await time()) - micros(FENCED_WRITERS_KEPT_MS)
  await tx
    .deleteFrom('writers')
    .where('fenced_at', '<', oldest)
    .where('epoch', '<', ({ selectFrom }) =>
      selectFrom('writers as every').select(({ fn }) => fn.max('every.epoch').as('newest')),
    )
    .execute()
}

async function deleteIdleProducers(tx: Tx, dialect: CatalogDialect, time: Time) {
  const now = await time()
  const oldest = now - micros(HTTP_PRODUCERS_KEPT_MS)
  const isHttp = sql<boolean>`source like 'http:%'`
  const idle = await tx
    .selectFrom('coverage')
    .select('source')
    .where(isHttp)
    .where('updated_at', '<', oldest)
    .orderBy('pipeline')
    .orderBy('source')
    .orderBy('partition')
    .limit(ROWS_AT_ONCE)
    .modifyEnd(dialect.lockedIfFree)
    .execute()
  if (idle.length === 0) return []
  const gone = await tx
    .deleteFrom('coverage')
    .where(
      dialect.textIn(
        'source',
        idle.map(({ source }) => source),
      ),
    )
    .where(isHttp)
    .where('updated_at', '<', oldest)
    .returning(['pipeline', 'source', 'range_end', 'recorded_end'])
    .execute()
  await keepSequences(tx, dialect, gone, now)
  return gone
}

type IdleProducer = Pick<Selectable<CoverageRow>, 'pipeline' | 'source' | 'range_end' | 'recorded_end'>

/** A name that comes back goes on where it ended: `(_source, _partition, _offset)` stays unique. */
async function keepSequences(
  tx: Tx,
  dialect: CatalogDialect,
  idle: readonly IdleProducer[],
  now: bigint,
): Promise<void> {
  const rows = idle.map((row) => [row.pipeline, row.source, row.range_end, row.recorded_end, now])
  await dialect.insertRows(tx, EXPIRED_PRODUCERS, rows)
}
