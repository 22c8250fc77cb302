/**
 * The FIELD_IDS of a COPY: every column by name, with what is inside a nested one.
 *
 *   {"id": 16, "address": {__duckdb_field_id: 17, "city": 20}, "tags": {__duckdb_field_id: 18, element: 21}}
 */

import { childFields, type Field } from '../schemas/column-type.ts'
import { OWN_ID_KEY } from '../schemas/table-schema.ts'
import { quoteName } from './file-mapping.ts'

export function fieldIdsSql(columns: readonly Field[]): string {
  return `{${columns.map(entry).join(', ')}}`
}

function entry({ name, fieldId, type }: Field): string {
  const inside = childFields(type)
  if (inside.length === 0) return `${quoteName(name)}: ${fieldId}`
  return `${quoteName(name)}: {${[`${OWN_ID_KEY}: ${fieldId}`, ...inside.map(entry)].join(', ')}}`
}
