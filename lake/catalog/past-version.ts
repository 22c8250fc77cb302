/**
 * An earlier version of a table (PROTOCOL 6). Nothing is removed at a commit, so a version is all segments with
 * `added_version <= v < removed_version`, and the newest snapshot at or before it.
 *
 *   v is the current version            the table as it is
 *   v was replaced within the window    every file of it is still there: what left the table since then left it within the
 *                                       window, and the sweep waits longer than that (`snapshot.min-age`)
 *   v was replaced before that          refused: files may be gone, and a partial answer is no answer
 *   v is of before a rebuild            refused: a rebuild adds segments again, as of its own version
 *
 * When v was replaced is the time of the commit that made v + 1: a segment's `added_at`, a snapshot's `committed_at` or
 * a mask's `created_at`. None is known any more only when all were removed and swept, which is longer ago than the window.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { Table } from './catalog.ts'
import { RESTORE_KIND } from './commit-ids.ts'
import type { Tx } from './database.ts'

export type PastVersion = {
  readonly metadataLocation: string | undefined
  readonly segmentIds: readonly bigint[]
}

/** @param oldest the start of the window: microseconds of the catalog's clock */
export async function readPastVersion(tx: Tx, table: Table, version: bigint, oldest: bigint): Promise<PastVersion> {
  const { name } = table
  if (version < 0n || version > table.version) {
    throw new MillraceError(
      'value-out-of-range',
      `table "${name}" has no version ${version}; it is at ${table.version}`,
      {
        facts: { table: name, version: String(table.version) },
      },
    )
  }
  if (version < table.version) {
    const replacedAt = await madeAt(tx, table.tableId, version + 1n)
    if (replacedAt === undefined || replacedAt < oldest) {
      throw new MillraceError(
        'value-out-of-range',
        `version ${version} of table "${name}" was replaced longer ago than time-travel.fine keeps versions; it is at ${table.version}`,
        { facts: { table: name, version: String(table.version) } },
      )
    }
    if (await wasRestoredSince(tx, replacedAt)) {
      throw new MillraceError(
        'value-out-of-range',
        `version ${version} of table "${name}" is of before the catalog was rebuilt; it is at ${table.version}`,
        { facts: { table: name, version: String(table.version) } },
      )
    }
  }
  const segments = await tx
    .selectFrom('segments')
    .select('segment_id')
    .where('table_id', '=', BigInt(table.tableId))
    .where('added_version', '<=', version)
    .where((is) => is.or([is('removed_version', 'is', null), is('removed_version', '>', version)]))
    .orderBy('segment_id')
    .execute()
  const snapshot = await tx
    .selectFrom('snapshots')
    .select('metadata_location')
    .where('table_id', '=', BigInt(table.tableId))
    .where('version', '<=', version)
    .orderBy('version', 'desc')
    .limit(1)
    .executeTakeFirst()
  return {
    metadataLocation: snapshot?.metadata_location,
    segmentIds: segments.map(({ segment_id }) => segment_id),
  }
}

/** When the commit was that made this version, as far as the catalog still knows. */
async function madeAt(tx: Tx, tableId: number, version: bigint): Promise<bigint | undefined> {
  const snapshot = await tx
    .selectFrom('snapshots')
    .select('committed_at as at')
    .where('table_id', '=', BigInt(tableId))
    .where('version', '=', version)
    .executeTakeFirst()
  if (snapshot) return snapshot.at
  const segment = await tx
    .selectFrom('segments')
    .select('added_at as at')
    .where('table_id', '=', BigInt(tableId))
    .where('added_version', '=', version)
    .limit(1)
    .executeTakeFirst()
  if (segment) return segment.at
  const mask = await tx
    .selectFrom('masks')
    .select('created_at as at')
    .where('table_id', '=', BigInt(tableId))
    .where('version', '=', version)
    .limit(1)
    .executeTakeFirst()
  return mask?.at
}

async function wasRestoredSince(tx: Tx, time: bigint): Promise<boolean> {
  const restored = await tx
    .selectFrom('commits')
    .select('commit_id')
    .where('committed_at', '>=', time)
    .where('kind', '=', RESTORE_KIND)
    .limit(1)
    .executeTakeFirst()
  return restored !== undefined
}
