/**
 * Names that a statement may give to columns: every text of its tree but those that refer to a column. Whatever is not among them
 * is a name that only a table can have given. undefined: a table function may give any.
 */
export function givenNames(tree: unknown): ReadonlySet<string> | undefined {
  const names = new Set<string>()
  const isKnown = collect(tree, names)
  return isKnown ? names : undefined
}

function collect(value: unknown, names: Set<string>): boolean {
  if (typeof value === 'string') {
    names.add(value.toLowerCase())
    return true
  }
  if (Array.isArray(value)) return value.every((each) => collect(each, names))
  if (typeof value !== 'object' || value === null) return true
  const node = value as Readonly<Record<string, unknown>>
  if (node.type === 'TABLE_FUNCTION') return false
  return Object.entries(node).every(
    ([key, each]) => (node.class === 'COLUMN_REF' && key === 'column_names') || collect(each, names),
  )
}
