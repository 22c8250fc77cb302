/**
 * Result chunks as one Parquet file, streamed: rows are collected into row groups of `GROUP_ROWS_MAX` rows or
 * `GROUP_BYTES_MAX` bytes, whichever comes first, and a finished row group leaves at once. So memory is bounded by one row
 * group, whatever the result's size; the footer comes last, and a file that was cut has none: no reader takes it.
 *
 * Types without loss (`parquet-columns.ts`); zstd; statistics, so that readers can skip row groups.
 */
import type { DuckDBType, DuckDBValue } from '@duckdb/node-api'
import { createParquetStream } from '../parquet/write.ts'
import { parquetColumns, type RowsBuilder } from './parquet-columns.ts'
import type { ResultEncoder } from './result-encoder.ts'

const GROUP_ROWS_MAX = 122_880
const GROUP_BYTES_MAX = 16 * 1024 * 1024
const ZSTD_LEVEL = 3

export function createParquetEncoder(
  types: readonly DuckDBType[],
  names: readonly string[],
  limits = { rows: GROUP_ROWS_MAX, bytes: GROUP_BYTES_MAX },
): ResultEncoder {
  const { fields, builders, annotations } = parquetColumns(types, names)
  const stream = createParquetStream(fields, {
    compression: 'zstd',
    level: ZSTD_LEVEL,
    keyValues: { 'millrace.duckdb-types': JSON.stringify(types.map(String)) },
    annotations,
  })
  let rows = 0

  function finishGroup(): Uint8Array {
    const vectors = builders.map((builder) => builder.vector())
    const bytes = Buffer.concat(stream.rowGroup({ rowCount: rows, vectors }))
    for (const builder of builders) builder.clear()
    rows = 0
    return bytes
  }

  return {
    begin: () => Buffer.concat(stream.begin()),
    encode(chunk, rowCount) {
      builders.forEach((builder, index) => {
        addColumn(builder, chunk.getColumnVector(index), rowCount)
      })
      rows += rowCount
      const bytes = builders.reduce((sum, builder) => sum + builder.bytes(), 0)
      return rows >= limits.rows || bytes >= limits.bytes ? finishGroup() : new Uint8Array(0)
    },
    end: () => Buffer.concat([...(rows > 0 ? [finishGroup()] : []), ...stream.end()]),
  }
}

function addColumn(builder: RowsBuilder, vector: { getItem(row: number): DuckDBValue }, rowCount: number): void {
  for (let row = 0; row < rowCount; row++) builder.add(vector.getItem(row))
}
