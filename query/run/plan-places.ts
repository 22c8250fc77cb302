/**
 * A plan that was measured names the files it read, by their paths on the server: those are nobody's business. In DuckDB's boxes
 * a path is wrapped over lines, under a label, until the next empty line of that box; in its other formats it stands in one piece.
 */
const LABEL = 'Filename(s):'
const JSON_FIELD = /("Filename\(s\)":\s*)(?:"(?:[^"\\]|\\.)*"|\[[^\]]*\])/g
const PATH = /(?:file:\/\/)?\/[^\s"'<>,│]*\.(?:parquet|json)\b/g

export function withoutPlaces(plan: string): string {
  const lines = plan.split('\n')
  for (let at = 0; at < lines.length; at++) {
    for (let label = lines[at].indexOf(LABEL); label >= 0; label = lines[at].indexOf(LABEL, label + 1)) {
      const left = lines[at].lastIndexOf('│', label)
      const right = lines[at].indexOf('│', label)
      if (left >= 0 && right >= 0) emptyBelow(lines, at + 1, left + 1, right)
    }
  }
  return lines.join('\n').replace(JSON_FIELD, '$1""').replace(PATH, '')
}

function emptyBelow(lines: string[], from: number, left: number, right: number): void {
  for (let at = from; at < lines.length; at++) {
    const line = lines[at]
    if (line.slice(left, right).trim() === '' || /[└┘┴┬─]/.test(line.slice(left, right))) return
    lines[at] = line.slice(0, left) + ' '.repeat(right - left) + line.slice(right)
  }
}
