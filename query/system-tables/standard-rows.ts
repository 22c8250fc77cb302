/**
 * `information_schema` of a lake: what tables are there, with the columns that `SELECT *` shows. Pure. Millrace's own tables are
 * listed as views, as the standard has it of a system's own.
 */
import type { Table } from '../../lake/catalog/catalog.ts'
import { duckdbType } from '../../lake/file-mapping.ts'
import type { SystemRow } from '../../lake/pipeline-rows.ts'
import type { ColumnType } from '../../schemas/column-type.ts'
import { isHidden } from '../../schemas/table-schema.ts'
import { STANDARD_SCHEMA } from '../statement/standard-schema.ts'
import { LAKE_CATALOG, LAKE_SCHEMA, partsOf, SYSTEM_SCHEMA, SYSTEM_TABLES, type SystemTable } from './columns.ts'
import type { STANDARD_COLUMNS } from './standard-columns.ts'

type StandardTable = keyof typeof STANDARD_COLUMNS

export function standardRows(tables: readonly Table[]): Record<StandardTable, () => SystemRow[]> {
  return {
    tables: () => [
      ...tables.map(({ name }) => tableRow(LAKE_SCHEMA, name, 'BASE TABLE')),
      ...systemTables().map(([schema, name]) => tableRow(schema, name, 'VIEW')),
    ],
    columns: () => [...tables.flatMap(lakeColumns), ...systemTables().flatMap(([, , id]) => systemColumns(id))],
    schemata: () =>
      [LAKE_SCHEMA, SYSTEM_SCHEMA, STANDARD_SCHEMA].map((schema_name) => ({
        catalog_name: LAKE_CATALOG,
        schema_name,
        schema_owner: 'millrace',
      })),
    views: () =>
      systemTables().map(([table_schema, table_name]) => ({
        table_catalog: LAKE_CATALOG,
        table_schema,
        table_name,
        check_option: 'NONE',
        is_updatable: 'NO',
        is_insertable_into: 'NO',
        is_trigger_updatable: 'NO',
        is_trigger_deletable: 'NO',
        is_trigger_insertable_into: 'NO',
      })),
    // A lake keeps no keys: rows are as they came.
    table_constraints: () => [],
    key_column_usage: () => [],
    referential_constraints: () => [],
  }
}

function systemTables(): (readonly [schema: string, name: string, id: SystemTable])[] {
  return (Object.keys(SYSTEM_TABLES) as SystemTable[]).map((id) => [...partsOf(id), id] as const)
}

function tableRow(table_schema: string, table_name: string, table_type: string): SystemRow {
  return {
    table_catalog: LAKE_CATALOG,
    table_schema,
    table_name,
    table_type,
    is_insertable_into: 'NO',
    is_typed: 'NO',
  }
}

function lakeColumns(table: Table): SystemRow[] {
  const columns = (table.schemas.at(-1)?.columns ?? []).filter((column) => !isHidden(column))
  return columns.map(({ name, type, required }, index) => ({
    table_catalog: LAKE_CATALOG,
    table_schema: LAKE_SCHEMA,
    table_name: table.name,
    column_name: name,
    ordinal_position: index + 1,
    is_nullable: required ? 'NO' : 'YES',
    data_type: duckdbType(type),
    ...measures(type),
    ...NOT_GENERATED,
  }))
}

function systemColumns(id: SystemTable): SystemRow[] {
  const [table_schema, table_name] = partsOf(id)
  return SYSTEM_TABLES[id].map(({ name, type }, index) => ({
    table_catalog: LAKE_CATALOG,
    table_schema,
    table_name,
    column_name: name,
    ordinal_position: index + 1,
    is_nullable: 'YES',
    data_type: type === 'TIMESTAMPTZ' ? 'TIMESTAMP WITH TIME ZONE' : type,
    ...(type === 'BIGINT' ? measures({ kind: 'long' }) : {}),
    ...(type === 'INTEGER' ? measures({ kind: 'int' }) : {}),
    ...(type === 'TIMESTAMPTZ' ? measures({ kind: 'timestamptz' }) : {}),
    ...NOT_GENERATED,
  }))
}

const NOT_GENERATED: SystemRow = {
  is_self_referencing: 'NO',
  is_identity: 'NO',
  is_generated: 'NEVER',
  is_updatable: 'NO',
}

/** Precision of numbers in binary or decimal digits, of times in digits behind the second. */
function measures(type: ColumnType): SystemRow {
  const binary = (numeric_precision: number, numeric_scale?: number): SystemRow => ({
    numeric_precision,
    numeric_precision_radix: 2,
    numeric_scale,
  })
  switch (type.kind) {
    case 'int':
      return binary(32, 0)
    case 'long':
      return binary(64, 0)
    case 'float':
      return binary(24)
    case 'double':
      return binary(53)
    case 'decimal':
      return { numeric_precision: type.precision, numeric_precision_radix: 10, numeric_scale: type.scale }
    case 'date':
      return { datetime_precision: 0 }
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return { datetime_precision: 6 }
    default:
      return {}
  }
}
