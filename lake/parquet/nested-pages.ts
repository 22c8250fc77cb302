/**
 * The chunks of a nested column, one for each of its leaves. Values are encoded as those of flat columns are
 * (`chunk-pages.ts`); data pages begin with their levels:
 *
 *   data page body   4-byte length, repetition levels (inside lists and maps); 4-byte length, definition levels; the values
 *
 * Levels take 12 bytes an entry while they are made, and a record of 1 MiB can have half a million entries in a list. So rows are
 * taken a window at a time, all leaves together, and what a window leaves behind are its pages. A page begins where a row does.
 */
import type { Field } from '../../schemas/column-type.ts'
import { invariant } from '../../schemas/errors.ts'
import type { ColumnVector } from '../../schemas/micro-batch.ts'
import { bitWidthOf, hybridBytesMax, writeHybrid } from './bit-packing.ts'
import { startChunk } from './chunk-memory.ts'
import {
  chooseEncoder,
  closeChunk,
  dictionaryPages,
  type EncodedChunk,
  findDistinct,
  PAGE_BYTES,
  PAGE_ROWS,
  type Page,
  type ValueEncoder,
  WORKSPACE_KEPT_MAX,
  workspace,
} from './chunk-pages.ts'
import { type PresentValues, presentValues } from './column-values.ts'
import { entriesWithin, type LeafLevels, leafLevels, leafSlots } from './nested-levels.ts'
import type { WriteParquetOptions } from './parquet.ts'
import { type Extremes, extremesOf } from './value-bounds.ts'

const WINDOW_ENTRIES_MAX = 1 << 20

/** What a leaf has so far. */
type OpenChunk = {
  readonly column: Field
  readonly values: PresentValues
  readonly extremes: Extremes
  readonly encoder: ValueEncoder
  readonly hasDictionary: boolean
  readonly pages: Page[]
  entries: number
  /** Values in its pages. */
  written: number
}

/** In the order of the leaves in the file's schema. */
export function encodeNested(
  vector: ColumnVector,
  from: number,
  to: number,
  options: Pick<WriteParquetOptions, 'compression' | 'level'>,
  windowEntriesMax = WINDOW_ENTRIES_MAX,
): EncodedChunk[] {
  workspace.clear(WORKSPACE_KEPT_MAX)
  startChunk()
  const chunks = leafSlots(vector, from, to).map((leaf) => openChunk(leaf.vector, leaf.from, leaf.to))
  for (const [start, end] of windowsOf(vector, from, to, windowEntriesMax)) {
    leafLevels(vector, start, end).forEach((levels, i) => {
      addPages(chunks[i], levels)
    })
  }
  return chunks.map(({ column, values, extremes, pages, entries, written }) => {
    requireAll(column, values, written)
    return closeChunk(pages, entries, entries - written, extremes, options)
  })
}

function openChunk(vector: ColumnVector, from: number, to: number): OpenChunk {
  const { column } = vector
  const values = presentValues(vector, from, to)
  const distinct = findDistinct(values)
  return {
    column,
    values,
    extremes: extremesOf(column.type, values, distinct?.firsts.subarray(0, distinct.size)),
    encoder: chooseEncoder(vector, values, distinct),
    hasDictionary: distinct !== undefined,
    pages: dictionaryPages(values, distinct),
    entries: 0,
    written: 0,
  }
}

/** More values than entries: a null struct, or the slots of a null list, have some. Fewer: the other way round. */
function requireAll({ name }: Field, values: PresentValues, written: number): void {
  invariant('parquet-null-has-no-values', values.count === written, { column: name, values: values.count, written })
}

/** Rows whose entries are not too many; a row alone may have more. */
function* windowsOf(vector: ColumnVector, from: number, to: number, max: number): Generator<readonly [number, number]> {
  if (to - from <= 1 || entriesWithin(vector, from, to) <= max) {
    yield [from, to]
    return
  }
  const middle = from + ((to - from) >> 1)
  yield* windowsOf(vector, from, middle, max)
  yield* windowsOf(vector, middle, to, max)
}

function addPages(chunk: OpenChunk, levels: LeafLevels): void {
  for (const page of pageEntries(chunk, levels)) {
    if (page.valueEnd > chunk.values.count) requireAll(chunk.column, chunk.values, page.valueEnd)
    const body = dataBody(levels, page, chunk.encoder)
    chunk.pages.push({
      isDictionary: false,
      count: page.end - page.start,
      encoding: chunk.encoder.encoding,
      body,
    })
  }
  chunk.entries += levels.count
  chunk.written += levels.present
}

type PageEntries = {
  readonly start: number
  readonly end: number
  readonly valueStart: number
  readonly valueEnd: number
}

function pageEntries(chunk: OpenChunk, levels: LeafLevels): PageEntries[] {
  const { values, hasDictionary } = chunk
  const { count, definitions, repetitions, definitionMax } = levels
  const offsets = values.form === 'bytes' && !hasDictionary ? values.offsets : undefined
  const pages: PageEntries[] = []
  let start = 0
  let valueStart = chunk.written
  let value = chunk.written
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

function dataBody(levels: LeafLevels, page: PageEntries, encoder: ValueEncoder): Uint8Array {
  const { definitions, repetitions, definitionMax, repetitionMax } = levels
  const bodyStart = workspace.length
  const entries = page.end - page.start
  encoder.write(
    (bytesMax) => {
      const levelBytesMax =
        hybridBytesMax(entries, bitWidthOf(definitionMax)) + hybridBytesMax(entries, bitWidthOf(repetitionMax))
      workspace.reserve(8 + levelBytesMax + bytesMax)
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
