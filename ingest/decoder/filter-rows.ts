/**
 * Rows of a micro-batch that stay (`filterRows`: a stale source's rows leave) and micro-batches joined (`concatBatches`).
 * Both go through the same copy of row runs, and share no buffer with their input.
 */
import { invariant } from '../../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import { countNulls, dataBytes, valueWidth } from './column-builder.ts'

type Run = { readonly batch: MicroBatch; readonly start: number; readonly end: number }

/** The rows whose entry of `keep` (one per row) is not 0. */
export function filterRows(batch: MicroBatch, keep: Uint8Array): MicroBatch {
  invariant('one keep entry per row', keep.length >= batch.rowCount, { rows: batch.rowCount, keep: keep.length })
  const runs: Run[] = []
  for (let row = 0; row < batch.rowCount; ) {
    if (keep[row] === 0) {
      row += 1
      continue
    }
    const start = row
    while (row < batch.rowCount && keep[row] !== 0) row += 1
    runs.push({ batch, start, end: row })
  }
  return copyRuns(batch.schema, runs)
}

/** All rows in order; the batches have one schema. */
export function concatBatches(batches: readonly MicroBatch[]): MicroBatch {
  const [first] = batches
  for (const batch of batches) {
    const same = batch.schema.schemaId === first.schema.schemaId && batch.vectors.length === first.vectors.length
    invariant('joined batches have one schema', same, { schemaId: batch.schema.schemaId })
  }
  return copyRuns(
    first.schema,
    batches.map((batch) => ({ batch, start: 0, end: batch.rowCount })),
  )
}

function copyRuns(schema: MicroBatch['schema'], runs: readonly Run[]): MicroBatch {
  const rowCount = runs.reduce((rows, run) => rows + run.end - run.start, 0)
  const vectors = schema.columns.map((_, index) => copyColumn(schema, index, runs, rowCount))
  return { schema, rowCount, vectors }
}

function copyColumn(schema: MicroBatch['schema'], index: number, runs: readonly Run[], rows: number): ColumnVector {
  const column = schema.columns[index]
  const width = valueWidth(column.type.kind)
  const validity = copyValidity(index, runs, rows)
  const nullCount = validity ? countNulls(validity, rows) : 0
  const shared = { column, length: rows, nullCount, validity: nullCount > 0 ? validity : undefined }
  let out = 0
  if (width >= 0) {
    const data = new Uint8Array(dataBytes(width, rows))
    for (const run of runs) {
      const from = run.batch.vectors[index].data
      if (width > 0) data.set(from.subarray(run.start * width, run.end * width), out * width)
      else copyBits(from, run.start, run.end, data, out)
      out += run.end - run.start
    }
    return { ...shared, data, offsets: undefined }
  }
  const offsets = new Int32Array(rows + 1)
  for (const run of runs) {
    const from = run.batch.vectors[index].offsets!
    const shift = offsets[out] - from[run.start]
    for (let row = run.start; row < run.end; row += 1) {
      out += 1
      offsets[out] = from[row + 1] + shift
    }
  }
  const data = new Uint8Array(offsets[rows])
  out = 0
  for (const run of runs) {
    const vector = run.batch.vectors[index]
    data.set(vector.data.subarray(vector.offsets![run.start], vector.offsets![run.end]), offsets[out])
    out += run.end - run.start
  }
  return { ...shared, data, offsets }
}

function copyValidity(index: number, runs: readonly Run[], rows: number): Uint8Array | undefined {
  if (runs.every((run) => run.batch.vectors[index].validity === undefined)) return undefined
  const validity = new Uint8Array((rows + 7) >> 3)
  let out = 0
  for (const run of runs) {
    const from = run.batch.vectors[index].validity
    if (from) copyBits(from, run.start, run.end, validity, out)
    else for (let row = out; row < out + run.end - run.start; row += 1) validity[row >> 3] |= 1 << (row & 7)
    out += run.end - run.start
  }
  return validity
}

function copyBits(from: Uint8Array, start: number, end: number, to: Uint8Array, out: number): void {
  for (let row = start, bit = out; row < end; row += 1, bit += 1) {
    if ((from[row >> 3] >> (row & 7)) & 1) to[bit >> 3] |= 1 << (bit & 7)
  }
}
