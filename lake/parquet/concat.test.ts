// Files joined without decoding: rows, statistics and key values are those of the inputs, whoever reads them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import { concatParquet, footerOf } from './concat.ts'
import { type SampleColumn, sampleBatch } from './sample-batches.ts'
import { writeParquet } from './write.ts'

let folder: string
let connection: DuckDBConnection
let files = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-concat-'))
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
})
afterAll(() => {
  connection.closeSync()
  rmSync(folder, { recursive: true })
})

type Row = {
  readonly id: bigint
  readonly name: string | null
  readonly price: bigint | null
  readonly raw: Uint8Array
}

const anyRow: fc.Arbitrary<Row> = fc.record({
  id: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  name: fc.option(fc.oneof(fc.constantFrom('a', 'b'), fc.string({ maxLength: 80 })), { nil: null }),
  price: fc.option(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), { nil: null }),
  raw: fc.uint8Array({ maxLength: 20 }),
})

function fileOf(rows: readonly Row[], rowGroupRows: number): Uint8Array {
  const columns: SampleColumn[] = [
    { name: 'id', type: { kind: 'long' }, required: true, values: rows.map(({ id }) => id) },
    { name: 'name', type: { kind: 'string' }, values: rows.map(({ name }) => name) },
    { name: 'price', type: { kind: 'decimal', precision: 38, scale: 2 }, values: rows.map(({ price }) => price) },
    { name: 'raw', type: { kind: 'binary' }, required: true, values: rows.map(({ raw }) => raw) },
  ]
  return writeParquet(sampleBatch(columns), { compression: 'zstd', level: 1, rowGroupRows, keyValues: { of: 'one' } })
    .bytes
}

async function read(file: Uint8Array): Promise<unknown[]> {
  files += 1
  const path = join(folder, `${files}.parquet`)
  writeFileSync(path, file)
  const result = await connection.runAndReadAll(
    `SELECT CAST(id AS VARCHAR), name, CAST(price AS VARCHAR), hex(raw) FROM read_parquet('${path}')`,
  )
  return result.getRows()
}

test('the joined file holds the rows of all files in order, with their statistics', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(anyRow, { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 12 }),
      async (parts, rowGroupRows) => {
        const inputs = parts.map((rows) => fileOf(rows, rowGroupRows))
        const { bytes, footer } = concatParquet(inputs, { of: 'all', more: 'x' })
        expect(await read(bytes)).toEqual((await Promise.all(inputs.map(read))).flat())
        expect(footer).toEqual(footerOf(bytes))
        expect(footer.rowCount).toBe(parts.flat().length)
        expect(Object.fromEntries(footer.keyValues)).toEqual({ of: 'all', more: 'x' })
        const groups = inputs.map(footerOf).flatMap(({ rowGroups }) => rowGroups)
        const withoutPlaces = (group: (typeof groups)[number]) => ({
          rowCount: group.rowCount,
          chunks: group.chunks.map(({ start, end, ...chunk }) => ({ ...chunk, bytes: end - start })),
        })
        expect(footer.rowGroups.map(withoutPlaces)).toEqual(groups.map(withoutPlaces))
        expect(footer.columns).toEqual(footerOf(inputs[0]).columns)
        // Row groups lie one behind the other, without a hole.
        let at = 4
        for (const { chunks } of footer.rowGroups) {
          for (const { start, end } of chunks) {
            expect(start).toBe(at)
            at = end
          }
        }
      },
    ),
    { numRuns: 40 },
  )
})

test('a joined file can be joined again', async () => {
  const rows = Array.from(
    { length: 40 },
    (_, i): Row => ({ id: BigInt(i), name: `n${i}`, price: null, raw: Uint8Array.of(i) }),
  )
  const pieces = [0, 10, 20, 30].map((from) => fileOf(rows.slice(from, from + 10), 4))
  const twice = concatParquet([concatParquet(pieces.slice(0, 3), {}).bytes, pieces[3]], {})
  expect(twice.footer.rowGroups).toHaveLength(12)
  expect((await read(twice.bytes)).map((row) => (row as string[])[0])).toEqual(rows.map(({ id }) => String(id)))
})

test('files with other columns, of other writers, or damaged are refused', () => {
  const row: Row = { id: 1n, name: 'a', price: 1n, raw: new Uint8Array() }
  const good = fileOf([row], 10)
  const other = writeParquet(sampleBatch([{ name: 'id', type: { kind: 'long' }, required: true, values: [1n] }]), {
    compression: 'none',
    level: 1,
    rowGroupRows: 10,
    keyValues: {},
  }).bytes
  const foreign = Uint8Array.from(good)
  const at = Buffer.from(good).lastIndexOf('millrace version')
  foreign.set(Buffer.from('somebody'), at)
  const refusal = (files: Uint8Array[]) => {
    try {
      concatParquet(files, {})
    } catch (error) {
      return isMillraceError(error) ? [error.code, error.facts.index] : error
    }
  }
  expect(refusal([good, other, good])).toEqual(['file-schema-mismatch', 1])
  expect(refusal([other, good, other])).toEqual(['file-schema-mismatch', 1])
  expect(refusal([foreign, good])).toEqual(['file-schema-mismatch', 0])
  expect(refusal([good, good.subarray(0, good.length - 9)])).toEqual(['file-damaged', undefined])
  expect(refusal([good, new Uint8Array(3)])).toEqual(['file-damaged', undefined])
})
