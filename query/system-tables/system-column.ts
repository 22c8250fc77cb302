/** A column of a system table: its name, and its type as SQL has it. */
export type SystemColumn = { readonly name: string; readonly type: SystemType }

export type SystemType =
  | 'VARCHAR'
  | 'VARCHAR[]'
  | 'BOOLEAN'
  | 'INTEGER'
  | 'BIGINT'
  | 'TIMESTAMPTZ'
  | 'MAP(VARCHAR, VARCHAR)'
  | 'MAP(VARCHAR, STRUCT(null_count BIGINT, lower VARCHAR, upper VARCHAR))'

export function columns<const Names extends Readonly<Record<string, SystemType>>>(types: Names): SystemColumn[] {
  return Object.entries(types).map(([name, type]): SystemColumn => ({ name, type }))
}
