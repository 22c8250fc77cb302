/**
 * Pieces of one table → the bytes of its segment, and what the catalog is told of them: pure, on whichever thread it runs.
 *
 * Row group by row group, column by column: the values of one are joined in memory that the next one uses again.
 */
import type { NewSegment } from '../../lake/catalog/catalog.ts'
import { checksumOf } from '../../lake/checksum.ts'
import type { WrittenParquet } from '../../lake/parquet/parquet.ts'
import { type RowGroupColumns, writeRowGroups } from '../../lake/parquet/write.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import { type BatchRows, joinColumn } from '../decoder/filter-rows.ts'
import { touchedHours } from './touched-hours.ts'
import { allocate, startOver } from './workspace.ts'

export type SealQuestion = {
  /** At least one, of one schema, in the order of the rows. */
  readonly pieces: readonly MicroBatch[]
  readonly keyValues: Readonly<Record<string, string>>
  readonly eventTimeFieldId: number | undefined
}

export type SealedSegment = Pick<NewSegment, 'bounds' | 'touched'> & {
  readonly rowCount: number
  readonly bytes: Uint8Array
  readonly checksum: string
  /** Gives the bytes' memory back. */
  release?(): void
}

export type WritePieces = (
  pieces: readonly MicroBatch[],
  keyValues: SealQuestion['keyValues'],
) => Pick<WrittenParquet, 'bytes' | 'bounds'>

const ROW_GROUP_ROWS = 122_880
const ZSTD_LEVEL = 1

export function sealSegment(
  { pieces, keyValues, eventTimeFieldId }: SealQuestion,
  write: WritePieces = writePieces,
): SealedSegment {
  const { bytes, bounds } = write(pieces, keyValues)
  return {
    rowCount: pieces.reduce((rows, piece) => rows + piece.rowCount, 0),
    bytes,
    bounds,
    checksum: checksumOf(bytes),
    touched: touchedHours(pieces, eventTimeFieldId),
  }
}

const writePieces: WritePieces = (pieces, keyValues) =>
  writeRowGroups(pieces[0].schema.columns, rowGroups(pieces), { compression: 'zstd', level: ZSTD_LEVEL, keyValues })

function* rowGroups(pieces: readonly MicroBatch[]): Generator<RowGroupColumns> {
  let parts: BatchRows[] = []
  let rows = 0
  for (const batch of pieces) {
    for (let start = 0; start < batch.rowCount; ) {
      const end = Math.min(batch.rowCount, start + ROW_GROUP_ROWS - rows)
      parts.push({ batch, start, end })
      rows += end - start
      start = end
      if (rows < ROW_GROUP_ROWS) continue
      yield { rowCount: rows, vectors: joined(parts) }
      parts = []
      rows = 0
    }
  }
  if (rows > 0) yield { rowCount: rows, vectors: joined(parts) }
}

function* joined(parts: readonly BatchRows[]): Generator<ColumnVector> {
  const [{ batch, start, end }] = parts
  if (parts.length === 1 && start === 0 && end === batch.rowCount) {
    yield* batch.vectors
    return
  }
  for (let index = 0; index < batch.schema.columns.length; index += 1) {
    startOver()
    yield joinColumn(parts, index, allocate)
  }
}
