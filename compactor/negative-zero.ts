/**
 * -0.0 equals 0.0, but DuckDB's bloom filters tell them apart (1.5.6): of a file with a bloom filter over values with -0.0,
 * `x = 0` loses those rows. Which columns of a written file may be so is told by its footer; most have no zero at all, or no
 * bloom filter, and are not looked at. A file that is so is written again without bloom filters. Pure.
 */
import { quoteName, quoteText } from '../lake/file-mapping.ts'
import type { ColumnChunk, ParquetFooter } from '../lake/parquet/parquet.ts'

/** Counts rows with -0.0, as `rows`; undefined: there can be none that matter. */
export function negativeZerosSql(localFile: string, footer: ParquetFooter): string | undefined {
  const suspects = footer.fields.filter(({ columnIndex }) => {
    if (columnIndex === undefined) return false
    const { physical } = footer.columns[columnIndex]
    if (physical !== 'FLOAT' && physical !== 'DOUBLE') return false
    return footer.rowGroups.some(({ chunks }) => hasFilterOverZero(chunks[columnIndex]))
  })
  if (suspects.length === 0) return undefined
  // Not `= 0`: the bloom filter would answer that.
  const conditions = suspects.map(({ name }) => `(signbit(${quoteName(name)}) AND ${quoteName(name)} >= 0)`)
  return `SELECT count(*) AS rows FROM read_parquet(${quoteText(localFile)}, hive_partitioning=false) WHERE ${conditions.join(' OR ')}`
}

function hasFilterOverZero({ bloomFilter, statistics }: ColumnChunk): boolean {
  if (bloomFilter === undefined) return false
  const min = statistics?.min && numberOf(statistics.min)
  const max = statistics?.max && numberOf(statistics.max)
  return !((min !== undefined && min > 0) || (max !== undefined && max < 0))
}

function numberOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return bytes.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true)
}
