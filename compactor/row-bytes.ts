/**
 * How many bytes a row of some files takes once it is unpacked: what a COPY holds in memory is counted in these, and the bytes
 * of the files say little about it (a minute of 2,000-byte texts that are alike is 0.5 MB of Parquet and 220 MB in a sort). Pure.
 *
 *   fixed width          16 bytes, with what it costs in a row of the sort
 *   text, plain pages    the footer says it: unpacked bytes of the chunk
 *   text, dictionary     the footer says only how long the dictionary is; when that could be much, the engine is asked for the
 *                        sum of the lengths, which it computes per dictionary entry
 *   nested               its leaves, and the same again for what holds them
 */
import type { MappedFile } from '../lake/file-mapping.ts'
import { quoteName } from '../lake/file-mapping.ts'
import type { SchemaNode } from '../lake/parquet/parquet.ts'
import { isNested } from '../schemas/column-type.ts'
import type { Column } from '../schemas/table-schema.ts'

const VALUE_BYTES = 16
/** A dictionary of no more than this holds nothing that is long. */
const SHORT_BYTES = 256

export type RowBytes = {
  /** Of all columns whose size the footers tell. */
  readonly known: number
  /** These are to be measured. */
  readonly unknown: readonly Column[]
}

export function rowBytesOf(files: readonly MappedFile[], columns: readonly Column[]): RowBytes {
  const rows = files.reduce((sum, { footer }) => sum + footer.rowCount, 0)
  const unknown: Column[] = []
  let known = 0
  for (const column of columns) {
    known += VALUE_BYTES
    const isText = isTextual(column)
    if (rows === 0 || !(isText || isNested(column.type))) continue
    let bytes = 0
    let longest = 0
    for (const { footer } of files) {
      const node = footer.fields.find(({ fieldId }) => fieldId === column.fieldId)
      for (const index of node ? leavesOf(node) : []) {
        for (const { chunks } of footer.rowGroups) {
          const { encodings, uncompressedBytes, valueCount } = chunks[index]
          const hasDictionary = encodings.some((each) => each.includes('DICTIONARY'))
          if (isText && hasDictionary) longest = Math.max(longest, uncompressedBytes)
          bytes += uncompressedBytes + (isText ? 0 : VALUE_BYTES * valueCount)
        }
      }
    }
    if (longest > SHORT_BYTES) unknown.push(column)
    else known += Math.max(longest, bytes / rows)
  }
  return { known, unknown }
}

function isTextual({ type }: Column): boolean {
  return type.kind === 'string' || type.kind === 'json' || type.kind === 'binary'
}

function leavesOf({ columnIndex, children }: SchemaNode): readonly number[] {
  return columnIndex === undefined ? children.flatMap(leavesOf) : [columnIndex]
}

/** One row, `bytes`: of all these columns together. `relation` has them. */
export function lengthsSql(relation: string, columns: readonly Column[]): string {
  const sums = columns.map(({ name, type }) => {
    const length = type.kind === 'binary' ? 'octet_length' : 'strlen'
    return `coalesce(sum(${length}(${quoteName(name)})), 0)`
  })
  return `SELECT CAST(${sums.join(' + ')} AS DOUBLE) AS bytes FROM (${relation})`
}
