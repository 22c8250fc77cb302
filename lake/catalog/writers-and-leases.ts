/**
 * Who may commit. Every process registers as a writer; its file names carry the id. A writer that was fenced (silent for too
 * long, or it said goodbye) never commits again, and nothing brings it back: only then may files of its that nobody
 * refers to be deleted. A writer the catalog does not know counts as fenced.
 *
 * A lease gives one writer the right to commit a table's snapshots. Its epoch grows with every new holder. A lease past its
 * time may still commit as long as nobody else took it: the epoch decides, not the clock.
 */

import type { Random } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Catalog, Lease, Writer } from './catalog.ts'
import type { Tx } from './database.ts'
import type { Transactions } from './transactions.ts'

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

export function writersAndLeases({ read, write }: Transactions, random: Random): Part {
  return {
    registerWriter: (kind) => {
      const writerId = random.uuid()
      return write(async (tx, now) => {
        const { latest } = await tx
          .selectFrom('writers')
          .select((all) => all.fn.max('epoch').as('latest'))
          .executeTakeFirstOrThrow()
        const epoch = Number(latest ?? 0n) + 1
        await tx
          .insertInto('writers')
          .values({
            writer_id: writerId,
            epoch,
            kind,
            registered_at: now,
            heartbeat_at: now,
            retired_at: null,
            fenced_at: null,
          })
          .execute()
        return { writerId, epoch, kind }
      })
    },

    heartbeat: (writer, leaseMs) =>
      write(async (tx, now) => {
        await requireLive(tx, writer)
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
      write(async (tx, now) => {
        await tx
          .updateTable('writers')
          .set({ retired_at: now, fenced_at: now })
          .where('writer_id', '=', writer.writerId)
          .where('fenced_at', 'is', null)
          .execute()
        await tx.updateTable('leases').set({ holder: NOBODY, until: 0 }).where('holder', '=', writer.writerId).execute()
      }),

    fenceSilentWriters: (silentMs) =>
      write(async (tx, now) => {
        await tx
          .updateTable('writers')
          .set({ fenced_at: now })
          .where('fenced_at', 'is', null)
          .where('heartbeat_at', '<', now - micros(silentMs))
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
      write(async (tx, now) => {
        await requireLive(tx, writer)
        const until = now + micros(leaseMs)
        const held = await tx
          .selectFrom('leases')
          .selectAll()
          .where('table_id', '=', BigInt(tableId))
          .executeTakeFirst()
        if (!held) {
          await tx
            .insertInto('leases')
            .values({ table_id: tableId, holder: writer.writerId, epoch: 1, until })
            .execute()
          return { tableId, holder: writer.writerId, epoch: 1, until }
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
        return changed.numUpdatedRows === 1n ? { tableId, holder: writer.writerId, epoch, until } : undefined
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

/** Throws `writer-fenced` unless this registration may still commit. */
export async function requireLive(tx: Tx, writer: Writer): Promise<void> {
  const row = await tx
    .selectFrom('writers')
    .select(['epoch', 'fenced_at'])
    .where('writer_id', '=', writer.writerId)
    .executeTakeFirst()
  if (row && row.fenced_at === null && row.epoch === BigInt(writer.epoch)) return
  const why = row ? 'was fenced: it was silent for too long, or had ended' : 'is not registered'
  throw new MillraceError('writer-fenced', `writer ${writer.writerId} (epoch ${writer.epoch}) ${why}`)
}

async function isLive(tx: Tx, writerId: string): Promise<boolean> {
  const row = await tx.selectFrom('writers').select('fenced_at').where('writer_id', '=', writerId).executeTakeFirst()
  return row !== undefined && row.fenced_at === null
}

export function micros(milliseconds: number): bigint {
  return BigInt(Math.round(milliseconds * 1000))
}
