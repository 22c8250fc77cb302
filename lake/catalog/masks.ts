/**
 * Masks of dead letters (PROTOCOL 5 in its smallest form): rows that left a table by a commit while their bytes are still in
 * its files. A flush tick brings them, together with the rows that took their place; readers leave masked rows out; a rewrite
 * leaves them out of the bytes, and its commit counts them here. A place is in a table once, so a mask is done when as many rows
 * were left out as it has; its offsets are kept for readers of earlier versions a while longer, then only its counts stay.
 */
import { type Selectable, sql } from 'kysely'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import { maskedCount, maskedText, parseMasked } from '../../schemas/masked-offsets.ts'
import type { Mask, NewMask } from './catalog.ts'
import type { MaskRow, Tx } from './database.ts'
import type { CatalogDialect, RowInsert } from './dialect.ts'
import type { LettersLeft } from './pipeline-facts.ts'

const MASKS: RowInsert = {
  table: 'masks',
  columns: {
    predicate: 'text',
    requested_by: 'text',
    table_id: 'bigint',
    version: 'bigint',
    created_at: 'bigint',
    action: 'text',
    why: 'text',
    counts_json: 'text',
    row_count: 'bigint',
    applied_rows: 'bigint',
    commit_id: 'text',
  },
}

/** Offsets of masks that are done are kept as long as commit ids are: no reader asks for a version that old. */
const KEPT_MICROS = 7n * 24n * 3_600_000_000n
const FORGOTTEN = '[]'

type JsonCount = readonly [source: string, partition: number, rows: number]

export async function insertMasks(
  tx: Tx,
  dialect: CatalogDialect,
  masks: readonly NewMask[],
  versions: ReadonlyMap<number, bigint>,
  { commitId, now }: { readonly commitId: string; readonly now: bigint },
): Promise<void> {
  await requireUnmasked(tx, dialect, masks, versions)
  const rows = masks.map(({ tableId, action, offsets, requestedBy, why }) => [
    maskedText(offsets),
    requestedBy,
    tableId,
    versions.get(tableId) as bigint,
    now,
    action,
    why,
    JSON.stringify(offsets.map((each): JsonCount => [each.source, each.partition, maskedCount([each])])),
    maskedCount(offsets),
    0,
    commitId,
  ])
  await dialect.insertRows(tx, MASKS, rows)
}

/** Whoever takes letters has read them, and the source that counts them has not moved since: none of them is masked. */
async function requireUnmasked(
  tx: Tx,
  dialect: CatalogDialect,
  masks: readonly NewMask[],
  versions: ReadonlyMap<number, bigint>,
): Promise<void> {
  const tables = [...new Set(masks.map(({ tableId }) => tableId))]
  const known = await masksOf(
    tx,
    dialect,
    tables.map((tableId) => ({ tableId, version: versions.get(tableId) as bigint })),
  )
  for (const { tableId, offsets } of masks) {
    const before = (known.get(tableId) ?? []).flatMap((mask) => mask.offsets)
    for (const { source, partition, runs } of offsets) {
      const taken = before.filter((each) => each.source === source && each.partition === partition)
      const twice = taken
        .flatMap((each) => each.runs)
        .find((run) => runs.some(({ start, end }) => start < run.end && run.start < end))
      invariant('G-2.masked-once', twice === undefined, { tableId, source, partition, ...twice })
    }
  }
}

/** Of each table: masks that its files at that version may still hold rows of. */
export async function masksOf(
  tx: Tx,
  dialect: CatalogDialect,
  versions: readonly { readonly tableId: number; readonly version: bigint }[],
): Promise<Map<number, Mask[]>> {
  if (versions.length === 0) return new Map()
  const rows = await tx
    .selectFrom('masks')
    .select(['mask_id', 'table_id', 'version', 'created_at', 'predicate', 'applied_version', 'applied_rows'])
    .where(
      dialect.idIn(
        'table_id',
        versions.map(({ tableId }) => tableId),
      ),
    )
    .where('predicate', '<>', FORGOTTEN)
    .orderBy('mask_id')
    .execute()
  const asked = new Map(versions.map(({ tableId, version }) => [tableId, version]))
  const pending = rows.filter(({ table_id, version, applied_version }) => {
    const at = asked.get(Number(table_id)) as bigint
    return version <= at && (applied_version === null || applied_version > at)
  })
  return new Map(
    [...Map.groupBy(pending, ({ table_id }) => Number(table_id))].map(([tableId, own]) => [tableId, own.map(maskOf)]),
  )
}

function maskOf(
  row: Pick<Selectable<MaskRow>, 'mask_id' | 'version' | 'created_at' | 'predicate' | 'applied_rows'>,
): Mask {
  try {
    return {
      maskId: Number(row.mask_id),
      version: row.version,
      createdAt: row.created_at,
      offsets: parseMasked(row.predicate),
      appliedRows: Number(row.applied_rows),
    }
  } catch (cause) {
    throw new MillraceError('file-damaged', `catalog: the offsets of mask ${row.mask_id} cannot be read`, { cause })
  }
}

/** In the transaction of the rewrite that left these rows out. */
export async function applyMasks(
  tx: Tx,
  maskedRows: ReadonlyMap<number, number>,
  version: bigint,
  now: bigint,
): Promise<void> {
  for (const [maskId, rows] of [...maskedRows].sort(([a], [b]) => a - b)) {
    if (rows === 0) continue
    const row = await tx
      .updateTable('masks')
      .set({ applied_rows: sql<bigint>`applied_rows + ${BigInt(rows)}` })
      .where('mask_id', '=', BigInt(maskId))
      .returning(['row_count', 'applied_rows'])
      .executeTakeFirst()
    invariant('G-2.masked', row !== undefined && row.applied_rows <= row.row_count, { maskId, rows, ...row })
    if (row.applied_rows < row.row_count) continue
    await tx
      .updateTable('masks')
      .set({ applied_version: version, applied_at: now })
      .where('mask_id', '=', BigInt(maskId))
      .execute()
  }
}

/** What is left of old masks are their counts: who took how many rows away, and why. */
export async function forgetMasks(tx: Tx, now: bigint): Promise<void> {
  await tx
    .updateTable('masks')
    .set({ predicate: FORGOTTEN })
    .where('applied_at', '<', now - KEPT_MICROS)
    .where('predicate', '<>', FORGOTTEN)
    .execute()
}

/**
 * A rebuild took other metadata than the catalog named: nobody knows which masked rows its files hold. All masks of the table are
 * forgotten, with their counts, so that whoever replays looks letters up in their table first (`rows-of-letters.ts`). Who
 * asked for them and why stays.
 */
export async function forgetMasksOf(tx: Tx, tableId: bigint, version: bigint, now: bigint): Promise<void> {
  await tx
    .updateTable('masks')
    .set({
      predicate: FORGOTTEN,
      counts_json: '[]',
      row_count: 0n,
      applied_rows: 0n,
      applied_version: version,
      applied_at: now,
    })
    .where('table_id', '=', tableId)
    .execute()
}

export async function lettersLeftIn(tx: Tx): Promise<LettersLeft[]> {
  const rows = await tx.selectFrom('masks').select(['table_id', 'action', 'counts_json']).orderBy('mask_id').execute()
  const sums = new Map<string, LettersLeft>()
  for (const { table_id, action, counts_json } of rows) {
    for (const [source, partition, count] of JSON.parse(counts_json) as JsonCount[]) {
      const key = JSON.stringify([String(table_id), action, source, partition])
      const before = sums.get(key)?.rows ?? 0
      sums.set(key, { tableId: Number(table_id), action, source, partition, rows: before + count })
    }
  }
  return [...sums.values()]
}
