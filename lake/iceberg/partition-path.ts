/**
 * The folder of a table partition under `<location>/data/`: `ts_hour=490896/city=S%C3%A3o%20Paulo/`. Only for people
 * who look into a bucket: readers take partition values from manifests. Whoever reads these files with DuckDB must say
 * `hive_partitioning=false`, or the folder's name becomes a column without a field id that pyiceberg refuses.
 */
import type { Table } from '../catalog/catalog.ts'
import type { PartitionValue } from './iceberg.ts'
import { uuidText } from './single-value.ts'

const VALUE_CHARACTERS_MAX = 60

/** Empty for a table without partitions; else ends with a slash. */
export function partitionPath(table: Table, partition: readonly PartitionValue[]): string {
  return table.partition.map((field, i) => `${escaped(field.name)}=${escaped(valueText(partition[i]))}/`).join('')
}

function valueText(value: PartitionValue): string {
  if (value === null) return '__HIVE_DEFAULT_PARTITION__'
  if (!(value instanceof Uint8Array)) return String(value)
  return value.length === 16 ? uuidText(value) : Buffer.from(value).toString('hex')
}

/** Percent signs for all but letters, digits and `-_.`; long values are cut, since a name has 255 bytes at most. */
function escaped(text: string): string {
  const cut = Array.from(text.toWellFormed()).slice(0, VALUE_CHARACTERS_MAX).join('')
  const safe = encodeURIComponent(cut).replace(
    /[!'()*~]/g,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return safe.length > 200 ? safe.slice(0, 200).replace(/%[0-9A-F]?$/, '') : safe
}
