/**
 * The chunk of one leaf of a nested column. Values are encoded as those of flat columns are (`chunk-pages.ts`); its data
 * pages begin with their levels:
 *
 *   data page body   4-byte length, repetition levels (inside lists and maps); 4-byte length, definition levels; the values
 *
 * A page begins where a row does.
 */
import { invariant } from '../../schemas/errors.ts'
import { bitWidthOf, hybridBytesMax, writeHybrid } from './bit-packing.ts'
import {
  chooseEncoder,
  closeChunk,
  dictionaryPages,
  type EncodedChunk,
  findDistinct,
  PAGE_BYTES,
  PAGE_ROWS,
  type ValueEncoder,
  WORKSPACE_KEPT_MAX,
  workspace,
} from './chunk-pages.ts'
import { type PresentValues, presentValues } from './column-values.ts'
import type { LeafLevels } from './nested-levels.ts'
import type { WriteParquetOptions } from './parquet.ts'
import { extremesOf } from './value-bounds.ts'

export function encodeLeaf(
  leaf: LeafLevels,
  options: Pick<WriteParquetOptions, 'compression' | 'level'>,
): EncodedChunk {
  workspace.clear(WORKSPACE_KEPT_MAX)
  const { vector, from, to, count, present } = leaf
  const values = presentValues(vector, from, to)
  // More values than entries: a null struct, or the slots of a null list, have some.
  invariant('parquet-null-has-no-values', values.count === present, {
    column: vector.column.name,
    values: values.count,
    present,
  })
  const distinct = findDistinct(values)
  const extremes = extremesOf(vector.column.type, values, distinct?.firsts.subarray(0, distinct.size))
  const encoder = chooseEncoder(vector, values, distinct)
  const pages = dictionaryPages(values, distinct)
  for (const page of pageEntries(leaf, values, distinct !== undefined)) {
    const body = dataBody(leaf, page, encoder)
    pages.push({ isDictionary: false, count: page.end - page.start, encoding: encoder.encoding, body })
  }
  return closeChunk(pages, count, count - present, extremes, options)
}

type PageEntries = {
  readonly start: number
  readonly end: number
  readonly valueStart: number
  readonly valueEnd: number
}

function pageEntries(leaf: LeafLevels, values: PresentValues, hasDictionary: boolean): PageEntries[] {
  const { count, definitions, repetitions, definitionMax } = leaf
  const offsets = values.form === 'bytes' && !hasDictionary ? values.offsets : undefined
  const pages: PageEntries[] = []
  let start = 0
  let valueStart = 0
  let value = 0
  for (let i = 0; i < count; i++) {
    const isFull =
      i - start >= PAGE_ROWS || (offsets !== undefined && offsets[value] - offsets[valueStart] > PAGE_BYTES)
    if (isFull && (repetitions === undefined || repetitions[i] === 0)) {
      pages.push({ start, end: i, valueStart, valueEnd: value })
      start = i
      valueStart = value
    }
    if (definitions[i] === definitionMax) value++
  }
  pages.push({ start, end: count, valueStart, valueEnd: value })
  return pages
}

function dataBody(leaf: LeafLevels, page: PageEntries, encoder: ValueEncoder): Uint8Array {
  const { definitions, repetitions, definitionMax, repetitionMax } = leaf
  const bodyStart = workspace.length
  const entries = page.end - page.start
  encoder.write(
    (bytesMax) => {
      const levels =
        hybridBytesMax(entries, bitWidthOf(definitionMax)) + hybridBytesMax(entries, bitWidthOf(repetitionMax))
      workspace.reserve(8 + levels + bytesMax)
      if (repetitions !== undefined) writeLevels(repetitions, page, repetitionMax)
      if (definitionMax > 0) writeLevels(definitions, page, definitionMax)
      return workspace
    },
    page.valueStart,
    page.valueEnd,
  )
  return workspace.bytes.subarray(bodyStart, workspace.length)
}

function writeLevels(levels: Int32Array, { start, end }: PageEntries, largest: number): void {
  const at = workspace.length
  workspace.length += 4
  writeHybrid(workspace, levels, start, end, bitWidthOf(largest))
  const { buffer, byteOffset } = workspace.bytes
  new DataView(buffer, byteOffset).setUint32(at, workspace.length - at - 4, true)
}
