/**
 * Which process wrote a file, from its name. Only names that our processes give count: another tool's file in a table's
 * folder is nobody's leftover, and its random id no writer's.
 *
 *   segments/<writer>-00000001.parquet           segments/<writer>-merged-00000001.parquet
 *   data/…/<writer>-00000001.parquet             data/…/<writer>-cold-00000001.parquet
 *   metadata/00001-<writer>-<id>.metadata.json   metadata/snap-<snapshot>-<writer>-<id>.avro
 *   metadata/<writer>-<id>-m0.avro               metadata/<writer>-<id>.checkpoint.json.zst   (or .gz; the writer without dashes)
 */
const ID = '[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}'

const NAMES: readonly { readonly folder: string; readonly name: RegExp }[] = [
  { folder: 'segments', name: new RegExp(`^(${ID})-(?:merged-)?\\d+\\.parquet$`) },
  { folder: 'data', name: new RegExp(`^(${ID})-(?:cold-)?\\d+\\.parquet$`) },
  { folder: 'metadata', name: new RegExp(`^\\d+-(${ID})-${ID}\\.metadata\\.json$`) },
  { folder: 'metadata', name: new RegExp(`^snap-\\d+-(${ID})-${ID}\\.avro$`) },
  { folder: 'metadata', name: new RegExp(`^(${ID})-${ID}-m\\d+\\.avro$`) },
  { folder: 'metadata', name: new RegExp(`^(${ID})-${ID}\\.checkpoint\\.json\\.(?:gz|zst)$`) },
]

/** With its dashes, however the name spells it. */
export function writerIdOf(path: string): string | undefined {
  const names = path.split('/')
  const last = names.pop() ?? ''
  for (const { folder, name } of NAMES) {
    const match = names.includes(folder) ? name.exec(last) : undefined
    if (match) return dashed(match[1])
  }
  return undefined
}

function dashed(id: string): string {
  const plain = id.replaceAll('-', '')
  return [8, 12, 16, 20, 32].map((end, index) => plain.slice([0, 8, 12, 16, 20][index], end)).join('-')
}
