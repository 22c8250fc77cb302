/** Values for our own code (`run`, format `rows`): what the structured clone of an IPC channel can carry. */
import { DuckDBBlobValue, type DuckDBType, DuckDBTypeId, type DuckDBValue } from '@duckdb/node-api'
import { plainValue, scalarText } from './value-text.ts'

/** boolean, number, bigint and text as they are; blob as bytes; everything else as `value-text.ts` writes it. */
export function internalValue(value: DuckDBValue): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'bigint')
    return value
  if (typeof value === 'string') return value
  if (value instanceof DuckDBBlobValue) return new Uint8Array(value.bytes)
  const plain = plainValue(value)
  return typeof plain === 'object' ? plain : scalarText(value)
}

/** DuckDB's name of the type; the long spellings that people write shortened. */
export function columnTypeText(type: DuckDBType): string {
  if (type.typeId === DuckDBTypeId.SQLNULL) return 'NULL'
  return String(type)
}
