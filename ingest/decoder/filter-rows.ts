/**
 * Micro-batches joined (`concatBatches`: the pieces of a segment) and rows of one that stay (`filterRows`). Both go through
 * the same copy of row runs. `filterRows` and joining several share no buffer with their input.
 *
 *   fixed width, bits   the runs' values one behind the other
 *   variable length     offsets moved to where the run's bytes go, then the bytes
 *   struct              each child by the same runs; list, map: offsets moved, then each child by runs of its own slots
 */
import { invariant } from '../../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import { countNulls, dataBytes, valueWidth } from './column-builder.ts'

/** Slots [start, end) of one vector. */
type Run = { readonly vector: ColumnVector; readonly start: number; readonly end: number }

/** The rows whose entry of `keep` (one per row) is not 0. */
export function filterRows(batch: MicroBatch, keep: Uint8Array): MicroBatch {
  invariant('one keep entry per row', keep.length >= batch.rowCount, { rows: batch.rowCount, keep: keep.length })
  const kept: BatchRows[] = []
  for (let row = 0; row < batch.rowCount; ) {
    if (keep[row] === 0) {
      row += 1
      continue
    }
    const start = row
    while (row < batch.rowCount && keep[row] !== 0) row += 1
    kept.push({ batch, start, end: row })
  }
  return joinRows(kept.length > 0 ? kept : [{ batch, start: 0, end: 0 }])
}

/** Where joined values go: cleared memory, eight bytes aligned. */
export type Allocate = (bytes: number) => Uint8Array

const allocateFresh: Allocate = (bytes) => new Uint8Array(bytes)

export type BatchRows = { readonly batch: MicroBatch; readonly start: number; readonly end: number }

/** One column of rows of several batches of one schema, joined in memory of the caller's. */
export function joinColumn(parts: readonly BatchRows[], index: number, allocate: Allocate): ColumnVector {
  const runs = parts.map(({ batch, start, end }) => ({ vector: batch.vectors[index], start, end }))
  return copyRuns(runs[0].vector, runs, countRows(parts), allocate)
}

export function countRows(parts: readonly BatchRows[]): number {
  return parts.reduce((rows, { start, end }) => rows + end - start, 0)
}

function joinRows(parts: readonly BatchRows[]): MicroBatch {
  const { schema } = parts[0].batch
  const vectors = schema.columns.map((_, index) => joinColumn(parts, index, allocateFresh))
  return { schema, rowCount: countRows(parts), vectors }
}

/** All rows in order; the batches have one schema. A single batch is given back as it is. */
export function concatBatches(batches: readonly MicroBatch[]): MicroBatch {
  const [first] = batches
  for (const batch of batches) {
    const same = batch.schema.schemaId === first.schema.schemaId && batch.vectors.length === first.vectors.length
    invariant('joined batches have one schema', same, { schemaId: batch.schema.schemaId })
  }
  if (batches.length === 1) return first
  return joinRows(batches.map((batch) => ({ batch, start: 0, end: batch.rowCount })))
}

/** `like`: any vector of the same column. */
function copyRuns(like: ColumnVector, runs: readonly Run[], rows: number, allocate: Allocate): ColumnVector {
  const { column } = like
  const width = valueWidth(column.type.kind)
  const validity = copyValidity(runs, rows, allocate)
  const nullCount = validity ? countNulls(validity, rows) : 0
  const shared = { column, length: rows, nullCount, validity: nullCount > 0 ? validity : undefined }
  if (width >= 0) return { ...shared, data: copyFixed(runs, width, rows, allocate), offsets: undefined }
  const offsets = like.offsets && moveOffsets(runs, rows, allocate)
  if (!like.children) return { ...shared, data: copyVariable(runs, offsets!, allocate), offsets }
  const inside = (run: Run, index: number): Run => ({
    vector: run.vector.children![index],
    start: run.vector.offsets ? run.vector.offsets[run.start] : run.start,
    end: run.vector.offsets ? run.vector.offsets[run.end] : run.end,
  })
  const children = like.children.map((child, index) =>
    copyRuns(
      child,
      runs.map((run) => inside(run, index)),
      offsets ? offsets[rows] : rows,
      allocate,
    ),
  )
  return { ...shared, data: new Uint8Array(0), offsets, children }
}

function copyFixed(runs: readonly Run[], width: number, rows: number, allocate: Allocate): Uint8Array {
  const data = allocate(dataBytes(width, rows))
  // Bits are only ever set.
  if (width === 0) data.fill(0)
  let out = 0
  for (const { vector, start, end } of runs) {
    if (width > 0) data.set(vector.data.subarray(start * width, end * width), out * width)
    else copyBits(vector.data, start, end, data, out)
    out += end - start
  }
  return data
}

function moveOffsets(runs: readonly Run[], rows: number, allocate: Allocate): Int32Array {
  const bytes = allocate((rows + 1) * 4)
  const offsets = new Int32Array(bytes.buffer, bytes.byteOffset, rows + 1)
  offsets[0] = 0
  let out = 0
  for (const { vector, start, end } of runs) {
    const from = vector.offsets!
    const shift = offsets[out] - from[start]
    for (let row = start; row < end; row += 1) {
      out += 1
      offsets[out] = from[row + 1] + shift
    }
  }
  return offsets
}

function copyVariable(runs: readonly Run[], offsets: Int32Array, allocate: Allocate): Uint8Array {
  const data = allocate(offsets[offsets.length - 1])
  let at = 0
  for (const { vector, start, end } of runs) {
    const bytes = vector.data.subarray(vector.offsets![start], vector.offsets![end])
    data.set(bytes, at)
    at += bytes.length
  }
  return data
}

function copyValidity(runs: readonly Run[], rows: number, allocate: Allocate): Uint8Array | undefined {
  if (runs.every((run) => run.vector.validity === undefined)) return undefined
  const validity = allocate((rows + 7) >> 3).fill(0)
  let out = 0
  for (const { vector, start, end } of runs) {
    if (vector.validity) copyBits(vector.validity, start, end, validity, out)
    else for (let row = out; row < out + end - start; row += 1) validity[row >> 3] |= 1 << (row & 7)
    out += end - start
  }
  return validity
}

function copyBits(from: Uint8Array, start: number, end: number, to: Uint8Array, out: number): void {
  for (let row = start, bit = out; row < end; row += 1, bit += 1) {
    if ((from[row >> 3] >> (row & 7)) & 1) to[bit >> 3] |= 1 << (bit & 7)
  }
}
