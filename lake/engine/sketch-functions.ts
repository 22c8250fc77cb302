/**
 * The scalar functions under the sketches' macros (`lake/sketches/sketch-sql.ts`), in JavaScript: DuckDB calls them with a chunk of
 * rows on this process's main thread. Lists come as one run of numbers for all rows of the chunk, which is read in place.
 *
 * NULL gives NULL. An error in a sketch (damaged bytes, a version of tomorrow) ends the statement with its message.
 */
import {
  BIGINT,
  BLOB,
  DOUBLE,
  DuckDBBlobValue,
  type DuckDBBlobVector,
  type DuckDBConnection,
  type DuckDBDataChunk,
  type DuckDBListVector,
  DuckDBScalarFunction,
  type DuckDBType,
  type DuckDBValue,
  FLOAT,
  INTEGER,
  LIST,
  listValue,
} from '@duckdb/node-api'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import { createHll, estimateHll, mergeHll } from '../sketches/hll.ts'
import { createBins, mergeQuantile, type QuantileFacts, quantileOf, readQuantile, sumOf } from '../sketches/quantile.ts'
import { sketchSql } from '../sketches/sketch-sql.ts'

/** Reads row `row` of the chunk that it was made for. */
type RowReader = (row: number) => DuckDBValue

/** For all connections of its database. */
export async function installSketches(connection: DuckDBConnection): Promise<void> {
  registerFunctions(connection)
  for (const statement of sketchSql()) await connection.run(statement)
}

function registerFunctions(connection: DuckDBConnection): void {
  const hll = createHll()
  const bins = createBins()
  const register = (
    name: string,
    parameterTypes: readonly DuckDBType[],
    returnType: DuckDBType,
    open: (chunk: DuckDBDataChunk) => RowReader,
  ) => connection.registerScalarFunction(scalarFunction(name, parameterTypes, returnType, open))

  register('millrace_hll_of', [LIST(FLOAT), INTEGER], BLOB, (chunk) => {
    const { items, rangeOf } = numbersOf(chunk, Float32Array)
    const codes = new Uint32Array(items.buffer, items.byteOffset, items.length)
    const precision = chunk.getColumnVector(1)
    return (row) => {
      hll.reset(Number(precision.getItem(row)))
      const { from, to } = rangeOf(row)
      hll.addCodes(codes, from, to)
      return new DuckDBBlobValue(hll.toBytes())
    }
  })
  register('millrace_hll_merged', [LIST(BLOB)], BLOB, (chunk) => {
    const blobsOf = blobLists(chunk)
    return (row) => new DuckDBBlobValue(mergeHll(hll, blobsOf(row)))
  })
  register('hll_estimate', [BLOB], BIGINT, (chunk) => {
    const sketch = blobs(chunk)
    return (row) => BigInt(Math.round(estimateHll(sketch(row))))
  })
  register('millrace_quantile_of', [LIST(DOUBLE)], BLOB, (chunk) => {
    const { items, rangeOf } = numbersOf(chunk, Float64Array)
    return (row) => {
      bins.reset()
      const { from, to } = rangeOf(row)
      bins.addValues(items, from, to)
      return new DuckDBBlobValue(bins.toBytes())
    }
  })
  register('millrace_quantile_merged', [LIST(BLOB)], BLOB, (chunk) => {
    const blobsOf = blobLists(chunk)
    return (row) => new DuckDBBlobValue(mergeQuantile(bins, blobsOf(row)))
  })
  register('quantile_sketch_estimate', [BLOB, DOUBLE], DOUBLE, (chunk) => {
    const sketch = blobs(chunk)
    const share = chunk.getColumnVector(1)
    return (row) => quantileOf(readQuantile(sketch(row)), Number(share.getItem(row))) ?? null
  })
  register('quantile_sketch_estimate', [BLOB, LIST(DOUBLE)], LIST(DOUBLE), (chunk) => {
    const sketch = blobs(chunk)
    const shares = chunk.getColumnVector(1) as DuckDBListVector
    return (row) => {
      const facts = readQuantile(sketch(row))
      const wanted = shares.getItem(row)?.items ?? []
      return listValue(wanted.map((share) => (share === null ? null : (quantileOf(facts, Number(share)) ?? null))))
    }
  })
  const fact = (name: string, type: DuckDBType, factOf: (facts: QuantileFacts) => DuckDBValue | undefined) =>
    register(name, [BLOB], type, (chunk) => {
      const sketch = blobs(chunk)
      return (row) => factOf(readQuantile(sketch(row))) ?? null
    })
  fact('quantile_sketch_count', BIGINT, ({ count }) => BigInt(count))
  fact('quantile_sketch_min', DOUBLE, ({ min }) => min)
  fact('quantile_sketch_max', DOUBLE, ({ max }) => max)
  fact('quantile_sketch_sum', DOUBLE, sumOf)
}

function scalarFunction(
  name: string,
  parameterTypes: readonly DuckDBType[],
  returnType: DuckDBType,
  open: (chunk: DuckDBDataChunk) => RowReader,
): DuckDBScalarFunction {
  return DuckDBScalarFunction.create({
    name,
    parameterTypes,
    returnType,
    mainFunction(info, chunk, output) {
      try {
        const read = open(chunk)
        const inputs = parameterTypes.map((_, index) => chunk.getColumnVector(index))
        for (let row = 0; row < chunk.rowCount; row++) {
          const isNull = inputs.some((input) => !isValid(input, row))
          output.setItem(row, isNull ? null : read(row))
        }
        output.flush()
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        info.setError(error instanceof MillraceError ? `${publicName(name)}: ${message}` : message)
      }
    },
  })
}

function publicName(name: string): string {
  return name
    .replace('millrace_hll_of', 'hll_build')
    .replace('millrace_quantile_of', 'quantile_sketch_build')
    .replace(/^millrace_(hll|quantile)_merged$/, (_, kind) => (kind === 'hll' ? 'hll_merge' : 'quantile_sketch_merge'))
}

/** What the binding's vectors hold, and hide: their own getters copy a list's numbers before they give one of them. */
type Inside = {
  readonly items?: unknown
  readonly validity?: { itemValid(row: number): boolean }
}

function isValid(vector: unknown, row: number): boolean {
  const { validity } = vector as Inside
  invariant('duckdb-vector', validity !== undefined, { vector })
  return validity.itemValid(row)
}

type NumberArray = Float32Array | Float64Array

/** The numbers of every list of column 0 of the chunk, one behind the other, and where each list's are. */
function numbersOf<T extends NumberArray>(
  chunk: DuckDBDataChunk,
  arrayType: new (...args: never[]) => T,
): { readonly items: T; rangeOf(row: number): { from: number; to: number } } {
  const lists = chunk.getColumnVector(0) as DuckDBListVector
  const { items } = lists.childVector as unknown as Inside
  invariant('duckdb-vector', items instanceof arrayType, { expected: arrayType.name })
  return {
    items,
    rangeOf(row) {
      const from = lists.getEntryOffset(row)
      return { from, to: from + lists.getEntryLength(row) }
    },
  }
}

function blobLists(chunk: DuckDBDataChunk): (row: number) => (Uint8Array | undefined)[] {
  const lists = chunk.getColumnVector(0) as DuckDBListVector
  const all = lists.childVector as DuckDBBlobVector
  return (row) => {
    const from = lists.getEntryOffset(row)
    return Array.from({ length: lists.getEntryLength(row) }, (_, i) => all.getItemBytes(from + i) ?? undefined)
  }
}

function blobs(chunk: DuckDBDataChunk): (row: number) => Uint8Array {
  const sketches = chunk.getColumnVector(0) as DuckDBBlobVector
  return (row) => sketches.getItemBytes(row) ?? new Uint8Array(0)
}
