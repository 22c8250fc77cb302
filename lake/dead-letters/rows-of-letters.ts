/**
 * Which letters are rows of their table already (ADR 26). A catalog that was made again from its bucket does not know the masks of
 * letters that left: those whose bytes are still in files are letters once more, and their rows are in the table. Whoever
 * replays asks here first, so that no record is a row twice (G-2).
 *
 *   forgottenIn   how many letters left that no mask is known of: `letters:<table>` counts all that left, masks those known. A replay's
 *                 rows are in no bucket without that count, since the same footers and checkpoints say both
 *   places        of these letters those that are rows, in the files whose bounds may hold them
 *
 * Nothing is asked of a table whose masks are all known. Files that are too much to fetch are an error that says what to do
 * instead; guessing would double rows.
 */
import { rm } from 'node:fs/promises'
import { LETTERS_SOURCE } from '../../schemas/coverage.ts'
import { maskedOffsetsOf } from '../../schemas/masked-offsets.ts'
import type { Catalog } from '../catalog/catalog.ts'
import type { PipelineFacts } from '../catalog/pipeline-facts.ts'
import type { Engine } from '../engine/engine.ts'
import { relationSql } from '../file-mapping.ts'
import { maskedSql, PLACE_COLUMNS } from '../mask-sql.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import type { ReaderRow } from '../reader-row.ts'
import type { LetterPlace } from './letters-filter.ts'
import { filesOf, openFiles, type TableFile } from './open-files.ts'

export type RowsOfLetters = {
  /** Those of the letters that are rows: see `placeText`. */
  places(letters: readonly LetterPlace[]): Promise<ReadonlySet<string>>
  close(): void
}

const ADVICE =
  'their catalog was made again, and letters that are rows already have to be told apart. Take fewer with a filter, or see which are rows with millrace reconcile and discard those'
const [, PARTITION, OFFSET] = PLACE_COLUMNS

export function forgottenIn(
  { coverage, lettersLeft }: Pick<PipelineFacts, 'coverage' | 'lettersLeft'>,
  letters: { readonly tableId: number; readonly name: string },
): bigint {
  const left = coverage
    .filter(({ source }) => source === `${LETTERS_SOURCE}${letters.name}`)
    .reduce((sum, { ranges }) => sum + (ranges.at(-1)?.end ?? 0n), 0n)
  const known = lettersLeft
    .filter(({ tableId }) => tableId === letters.tableId)
    .reduce((sum, { rows }) => sum + BigInt(rows), 0n)
  return left > known ? left - known : 0n
}

export function placeText({ source, partition, offset }: LetterPlace): string {
  return JSON.stringify([source, partition, String(offset)])
}

/** Of a version of the table that is not older than the letters'; a table that does not exist has no rows. */
export async function openRowsOfLetters(components: {
  catalog: Pick<Catalog, 'findTable' | 'readTables'>
  store: ObjectStore
  engine: Engine
  readerRow: Pick<ReaderRow, 'hold'>
  /** What begins with it is of this call alone. */
  workFolder: string
  table: string
}): Promise<RowsOfLetters> {
  const { catalog, store, engine, readerRow, workFolder, table } = components
  if (!(await catalog.findTable(table))) return { places: async () => new Set(), close: () => {} }
  const [version] = await catalog.readTables([table], { coverage: false })
  const letGo = await readerRow.hold([version])
  let files: TableFile[]
  try {
    files = await filesOf(version, store)
  } catch (error) {
    letGo()
    throw error
  }
  let asked = 0
  return {
    close: letGo,
    async places(letters) {
      const wanted = files.filter((file) => mayHold(file, letters))
      if (wanted.length === 0) return new Set()
      asked += 1
      const folder = `${workFolder}-${asked}`
      try {
        const opened = await openFiles(wanted, { store, workFolder: folder, table, advice: ADVICE })
        const relation = relationSql(opened, version.table.schemas, PLACE_COLUMNS)
        const asMask = { maskId: 0, version: 0n, createdAt: 0n, offsets: maskedOffsetsOf(letters) }
        const rows = await engine.run(
          `SELECT DISTINCT _source, _partition, _offset FROM (${relation}) WHERE ${maskedSql([asMask])}`,
        )
        return new Set(
          rows.map(({ _source, _partition, _offset }) =>
            placeText({
              source: String(_source),
              partition: Number(_partition),
              offset: BigInt(_offset as bigint),
            }),
          ),
        )
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

/** True when bounds of topic-partition and offset do not exclude it. */
function mayHold(file: TableFile, letters: readonly LetterPlace[]): boolean {
  const [partitionMin, partitionMax] = boundsOf(file, PARTITION.fieldId, 4)
  const [offsetMin, offsetMax] = boundsOf(file, OFFSET.fieldId, 8)
  const isIn = (value: bigint, min: bigint | undefined, max: bigint | undefined) =>
    (min === undefined || value >= min) && (max === undefined || value <= max)
  return letters.some(
    ({ partition, offset }) =>
      isIn(BigInt(partition), partitionMin, partitionMax) && isIn(offset, offsetMin, offsetMax),
  )
}

function boundsOf(file: TableFile, fieldId: number, width: 4 | 8): readonly (bigint | undefined)[] {
  const bytes =
    'lowerBounds' in file
      ? [file.lowerBounds.get(fieldId), file.upperBounds.get(fieldId)]
      : [file.bounds.find((each) => each.fieldId === fieldId)].flatMap((each) => [each?.lower, each?.upper])
  return bytes.map((each) => wholeOf(each, width))
}

/** Iceberg's single-value form; undefined for what is not of the width. */
function wholeOf(bytes: Uint8Array | undefined, width: 4 | 8): bigint | undefined {
  if (bytes?.byteLength !== width) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, width)
  return width === 8 ? view.getBigInt64(0, true) : BigInt(view.getInt32(0, true))
}
