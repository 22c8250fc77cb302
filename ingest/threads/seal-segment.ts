/**
 * Pieces of one table → the bytes of its segment, and what the catalog is told of them: pure, on whichever thread it runs.
 */
import type { NewSegment } from '../../lake/catalog/catalog.ts'
import { checksumOf } from '../../lake/checksum.ts'
import type { WriteParquet } from '../../lake/parquet/parquet.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import { concatBatches } from '../decoder/filter-rows.ts'
import { touchedHours } from './touched-hours.ts'

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
}

const ROW_GROUP_ROWS = 122_880
const ZSTD_LEVEL = 1

export function sealSegment(
  { pieces, keyValues, eventTimeFieldId }: SealQuestion,
  writeParquet: WriteParquet,
): SealedSegment {
  const batch = concatBatches(pieces)
  const { bytes, bounds } = writeParquet(batch, {
    compression: 'zstd',
    level: ZSTD_LEVEL,
    rowGroupRows: ROW_GROUP_ROWS,
    keyValues,
  })
  return {
    rowCount: batch.rowCount,
    bytes,
    bounds,
    checksum: checksumOf(bytes),
    touched: touchedHours(batch, eventTimeFieldId),
  }
}
