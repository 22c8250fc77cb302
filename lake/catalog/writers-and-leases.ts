/**
 * Who may commit. Every process registers as a writer; its file names carry the id. A writer that was fenced (silent for too
 * long, or it said goodbye) never commits again, and nothing brings it back: only then may files of its that nobody
 * refers to be deleted. A writer the catalog does not know counts as fenced.
 *
 * A lease gives one writer the right to commit a table's snapshots. Its epoch grows with every new holder. A lease past its
 * time may still commit as long as nobody else took it: the epoch decides, not the clock.
 */

import type { Random } from '../../runtime/world.ts'
import { type Catalog, LAKE_FORMAT, type Lease } from './catalog.ts'
import { requireLive } from './commit-ids.ts'
import type { Tx } from './database.ts'
import { OvertakenError, type Transactions } from './transactions.ts'

type Part = Pick<
  Catalog,
  | 'registerWriter'
  | 'heartbeat'
  | 'retireWriter'
  | 'fenceSilentWriters'
  | 'writerState'
  | 'acquireLease'
  | 'releaseLease'
>

const NOBODY = ''
/** Of a process of the first release, which did not say. */
const FIRST_LAKE_FORMAT = 1n

export function writersAndLeases({ dialect, read, write }: Transactions, random: Random): Part {
  return {
    registerWriter: (kind) => {
      const writerId = random.uuid()
      return write(async (tx, time, mayHaveLanded) => {
        if (mayHaveLanded) {
          const own = await tx
            .selectFrom('writers')
            .select('epoch')
            .where('writer_id', '=', writerId)
            .executeTakeFirst()
          if (own) return { writerId, epoch: Number(own.epoch), kind }
        }
        const now = await time()
        const { latest } = await tx
          .selectFrom('writers')
          .select((all) => all.fn.max('epoch').as('latest'))
          .executeTakeFirstOrThrow()
        const epoch = Number(latest ?? 0n) + 1
        const inserted = await tx
          .insertInto('writers')
          .values({
            writer_id: writerId,
            epoch,
            kind,
            registered_at: now,
            heartbeat_at: now,
            retired_at: null,
            fenced_at: null,
            speaks: LAKE_FORMAT,
          })
          .onConflict((conflict) => conflict.column('epoch').doNothing())
          .executeTakeFirst()
        if (inserted.numInsertedOrUpdatedRows !== 1n) throw new OvertakenError('another writer took the epoch')
        return { writerId, epoch, kind }
      })
    },

    heartbeat: (writer, leaseMs) =>
      write(async (tx, time) => {
        await requireLive(tx, dialect, writer)
        const now = await time()
        await tx
          .updateTable('writers')
          .set({ heartbeat_at: now })
          .where('writer_id', '=', writer.writerId)
          .executeTakeFirst()
        const until = now + micros(leaseMs)
        const rows = await tx
          .updateTable('leases')
          .set({ until })
          .where('holder', '=', writer.writerId)
          .returningAll()
          .execute()
        return rows.map(
          (row): Lease => ({
            tableId: Number(row.table_id),
            holder: row.holder,
            epoch: Number(row.epoch),
            until: row.until,
          }),
        )
      }),

    retireWriter: (writer) =>
      write(async (tx, time) => {
        const now = await time()
        await tx
          .updateTable('writers')
          .set({ retired_at: now, fenced_at: now })
          .where('writer_id', '=', writer.writerId)
          .where('fenced_at', 'is', null)
          .execute()
        await tx.updateTable('leases').set({ holder: NOBODY, until: 0 }).where('holder', '=', writer.writerId).execute()
      }),

    fenceSilentWriters: (silentMs) =>
      write(async (tx, time) => {
        const now = await time()
        // A writer whose row is locked is about to commit: it is not silent, and is looked at again by the next sweep. Whoever
        // is fenced here had either committed before, or finds out when it locks its row.
        const silent = await tx
          .selectFrom('writers')
          .select('writer_id')
          .where('fenced_at', 'is', null)
          .where('heartbeat_at', '<', now - micros(silentMs))
          .orderBy('epoch')
          .modifyEnd(dialect.lockedIfFree)
          .execute()
        await tx
          .updateTable('writers')
          .set({ fenced_at: now })
          .where(
            dialect.textIn(
              'writer_id',
              silent.map((row) => row.writer_id),
            ),
          )
          .execute()
        const rows = await tx
          .selectFrom('writers')
          .select('writer_id')
          .where('fenced_at', 'is not', null)
          .orderBy('epoch')
          .execute()
        return rows.map((row) => row.writer_id)
      }),

    writerState: (writerId) =>
      read(async (tx) => {
        const row = await tx
          .selectFrom('writers')
          .select('fenced_at')
          .where('writer_id', '=', writerId)
          .executeTakeFirst()
        if (!row) return 'unknown'
        return row.fenced_at === null ? 'live' : 'fenced'
      }),

    acquireLease: (tableId, writer, leaseMs) =>
      write(async (tx, time) => {
        await requireLive(tx, dialect, writer)
        const held = await tx
          .selectFrom('leases')
          .selectAll()
          .where('table_id', '=', BigInt(tableId))
          .modifyEnd(dialect.locked)
          .executeTakeFirst()
        const now = await time()
        const until = now + micros(leaseMs)
        if (!held) {
          const first = { table_id: tableId, holder: writer.writerId, epoch: 1, until }
          const inserted = await tx
            .insertInto('leases')
            .values(first)
            .onConflict((conflict) => conflict.column('table_id').doNothing())
            .executeTakeFirst()
          if (inserted.numInsertedOrUpdatedRows !== 1n) throw new OvertakenError('another writer took the lease')
          return { tableId, holder: writer.writerId, epoch: 1, until, lakeFormat: await formatOfAll(tx) }
        }
        const mine = held.holder === writer.writerId
        if (!mine && held.until > now && (await isLive(tx, held.holder))) return undefined
        const epoch = Number(held.epoch) + (mine ? 0 : 1)
        const changed = await tx
          .updateTable('leases')
          .set({ holder: writer.writerId, epoch, until })
          .where('table_id', '=', BigInt(tableId))
          .where('epoch', '=', held.epoch)
          .executeTakeFirst()
        if (changed.numUpdatedRows !== 1n) return undefined
        return { tableId, holder: writer.writerId, epoch, until, lakeFormat: await formatOfAll(tx) }
      }),

    releaseLease: (lease) =>
      write(async (tx) => {
        await tx
          .updateTable('leases')
          .set({ holder: NOBODY, until: 0 })
          .where('table_id', '=', BigInt(lease.tableId))
          .where('holder', '=', lease.holder)
          .where('epoch', '=', BigInt(lease.epoch))
          .execute()
      }),
  }
}

async function formatOfAll(tx: Tx): Promise<number> {
  const { least } = await tx
    .selectFrom('writers')
    .select(({ fn, val }) => fn.min(fn.coalesce('speaks', val(FIRST_LAKE_FORMAT))).as('least'))
    .where('kind', '=', 'compactor')
    .where('fenced_at', 'is', null)
    .executeTakeFirstOrThrow()
  return Number(least ?? FIRST_LAKE_FORMAT)
}

async function isLive(tx: Tx, writerId: string): Promise<boolean> {
  const row = await tx.selectFrom('writers').select('fenced_at').where('writer_id', '=', writerId).executeTakeFirst()
  return row !== undefined && row.fenced_at === null
}

export function micros(milliseconds: number): bigint {
  return BigInt(Math.round(milliseconds * 1000))
}
