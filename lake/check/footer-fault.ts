/**
 * A data file's footer against what its manifest says of it: rows, nulls and bounds. A bound in the manifest that leaves
 * out values of the file would make queries skip it wrongly. Manifests are read again here, a few kept, since the bounds of
 * a whole table would not fit into memory.
 */
import type { Field } from '../../schemas/column-type.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import type { Table } from '../catalog/catalog.ts'
import { SCHEMA_ID_KEY } from '../file-mapping.ts'
import { compareBounds, decodeBound } from '../iceberg/bounds.ts'
import { dataFileFromFooter } from '../iceberg/data-file.ts'
import type { DataFile } from '../iceberg/iceberg.ts'
import { decodeManifest } from '../iceberg/manifest.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { leavesOf } from '../parquet/nested-levels.ts'
import type { ParquetFooter } from '../parquet/parquet.ts'
import type { Reference } from './finding.ts'
import type { VerifyOptions } from './verify-file.ts'

const MANIFESTS_KEPT = 8

export function createFooterFault(components: {
  store: ObjectStore
  tables: ReadonlyMap<string, Table>
}): NonNullable<VerifyOptions['footerFault']> {
  const { store, tables } = components
  const kept = new Map<string, Promise<ReadonlyMap<string, DataFile>>>()

  function filesOf(manifest: string): Promise<ReadonlyMap<string, DataFile>> {
    const known = kept.get(manifest)
    if (known) return known
    const reading = store
      .get(manifest)
      .then(({ bytes }) => new Map(decodeManifest(bytes, manifest).map(({ file }) => [file.path, file])))
    kept.set(manifest, reading)
    for (const oldest of kept.keys()) {
      if (kept.size <= MANIFESTS_KEPT) break
      kept.delete(oldest)
    }
    return reading
  }

  return async (reference, footer) => {
    const table = tables.get(reference.table)
    if (reference.kind !== 'data file' || !table) return undefined
    const recorded = (await filesOf(reference.referredBy)).get(reference.path)
    return recorded && footerFault(reference, recorded, footer, table)
  }
}

/** Pure. */
export function footerFault(
  { path }: Pick<Reference, 'path'>,
  recorded: DataFile,
  footer: ParquetFooter,
  table: Table,
): string | undefined {
  const schemaId = footer.keyValues.get(SCHEMA_ID_KEY)
  const schema = table.schemas.find((each) => String(each.schemaId) === schemaId)
  if (!schema) return `its footer names schema ${schemaId ?? 'none'}, which the table does not have`
  let found: DataFile
  try {
    const { bytes, partition, sortOrderId } = recorded
    found = dataFileFromFooter({ path, bytes, footer, table, schema, partition, sortOrderId })
  } catch (error) {
    if (!isMillraceError(error, 'file-schema-mismatch')) throw error
    return error.message
  }
  const leaves = schema.columns.flatMap((column) => leavesOf(column))
  return leaves.map(({ field }) => columnFault(field, recorded, found)).find((fault) => fault !== undefined)
}

function columnFault({ name, fieldId, type }: Field, recorded: DataFile, found: DataFile): string | undefined {
  const nulls = recorded.nullCounts.get(fieldId)
  const foundNulls = found.nullCounts.get(fieldId)
  if (nulls !== undefined && foundNulls !== undefined && nulls !== foundNulls) {
    return `column ${name} has ${foundNulls} nulls, its manifest says ${nulls}`
  }
  for (const [side, sign] of [
    ['lowerBounds', 1],
    ['upperBounds', -1],
  ] as const) {
    const bound = decodeBound(type, recorded[side].get(fieldId))
    const value = decodeBound(type, found[side].get(fieldId))
    if (bound === undefined || value === undefined) continue
    if (compareBounds(type, value, bound) * sign < 0)
      return `values of column ${name} lie outside its manifest's bounds`
  }
  return undefined
}
