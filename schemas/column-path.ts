/**
 * A column, or a field inside one, as people and messages write it: names with dots between them, `address.city`. The element
 * of a list is `element`, those of a map are `key` and `value`. A name with a dot, a blank or a quote in it stands in
 * quotes: `"a.b".c`.
 */
export type ColumnPath = readonly string[]

export function formatPath(path: ColumnPath): string {
  return path.map((name) => (/^[^\s."]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)).join('.')
}

/** undefined when the text is no path: an empty name, a quote that does not end. */
export function parsePath(text: string): ColumnPath | undefined {
  const names: string[] = []
  const part = /(?:"((?:[^"]|"")*)"|([^\s."]+))(\.|$)/y
  while (part.lastIndex < text.length || names.length === 0) {
    const match = part.exec(text)
    if (!match || match[1] === '') return undefined
    names.push(match[1]?.replaceAll('""', '"') ?? match[2])
    if (match[3] === '') return names
  }
  return undefined
}
