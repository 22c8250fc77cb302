// Files without their compression: rows, statistics and bloom filters are those of the file, whoever reads them; or there is none.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import { footerOf } from './concat.ts'
import { unpackParquet } from './unpack.ts'

let folder: string
let connection: DuckDBConnection
let files = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-unpack-'))
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
})
afterAll(() => {
  connection.closeSync()
  rmSync(folder, { recursive: true })
})

async function written(select: string, options: string): Promise<Uint8Array> {
  files += 1
  const path = join(folder, `${files}.parquet`)
  await connection.run(`COPY (${select}) TO '${path}' (FORMAT parquet, ${options})`)
  return readFileSync(path)
}

function saved(bytes: Uint8Array): string {
  files += 1
  const path = join(folder, `${files}.parquet`)
  writeFileSync(path, bytes)
  return path
}

async function rowsOf(sql: string): Promise<string> {
  const rows = (await connection.runAndReadAll(sql)).getRowsJson()
  return JSON.stringify(rows)
}

const EVERY_TYPE = `SELECT r AS id, (r % 7)::INTEGER AS i, 'text ' || (r % 13) AS s, repeat('x', (r % 90)::INTEGER) AS l,
  CASE r % 5 WHEN 0 THEN NULL WHEN 1 THEN 'NaN'::DOUBLE WHEN 2 THEN -0.0::DOUBLE WHEN 3 THEN '-inf'::DOUBLE ELSE r / 3 END AS d,
  (r / 7)::FLOAT AS f, (r * 1.5)::DECIMAL(9, 2) AS d9, (r * 12345.678901)::DECIMAL(38, 6) AS d38, r % 3 = 0 AS b,
  DATE '1969-12-30' + (r % 4)::INTEGER AS day, TIME '00:00:00.000001' + INTERVAL (r) SECOND AS t,
  TIMESTAMP '1969-12-31 23:59:59.999999' + INTERVAL (r) HOUR AS ts, make_timestamp_ns(r * 1001) AS ns,
  TIMESTAMPTZ '2026-03-29 00:30:00+00' + INTERVAL (r) MINUTE AS tz, md5(r::VARCHAR)::UUID AS u,
  CASE WHEN r % 4 = 0 THEN NULL ELSE encode('b' || r) END AS raw,
  CASE WHEN r % 6 = 0 THEN NULL ELSE {'a': r, 'n': [r, NULL, r + 1]} END AS st, map(['k' || r], [r % 2 = 0]) AS m,
  [[r], []] AS ll FROM range($rows) q(r)`

test('every type is read as before, in any row groups', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 2500 }), fc.boolean(), async (rows, small) => {
      const file = await written(
        EVERY_TYPE.replace('$rows', String(rows)),
        `COMPRESSION zstd, ROW_GROUP_SIZE ${small ? 2048 : 122_880}`,
      )
      const unpacked = await unpackParquet(file, 1e9)
      expect(unpacked).toBeDefined()
      const [before, after] = [saved(file), saved(unpacked as Uint8Array)]
      expect(await rowsOf(`FROM '${after}'`)).toBe(await rowsOf(`FROM '${before}'`))
      const statistics =
        'SELECT row_group_id, path_in_schema, num_values, stats_min_value, stats_max_value, stats_null_count, encodings, type FROM'
      expect(await rowsOf(`${statistics} parquet_metadata('${after}')`)).toBe(
        await rowsOf(`${statistics} parquet_metadata('${before}')`),
      )
      expect(await rowsOf(`SELECT DISTINCT compression FROM parquet_metadata('${after}')`)).toBe('[["UNCOMPRESSED"]]')
      expect(await rowsOf(`SELECT * FROM '${after}' WHERE s = 'text 3' AND id > 5`)).toBe(
        await rowsOf(`SELECT * FROM '${before}' WHERE s = 'text 3' AND id > 5`),
      )
    }),
    { numRuns: 3 },
  )
})

test('bloom filters come along, and say the same', async () => {
  const file = await written("SELECT (r % 50) * 3 AS k, 'n' || (r % 40) AS n FROM range(5000) q(r)", 'COMPRESSION zstd')
  const after = saved((await unpackParquet(file, 1e9)) as Uint8Array)
  const probe = `SELECT bloom_filter_excludes FROM parquet_bloom_probe('${after}', 'k', `
  expect(await rowsOf(`${probe}6)`)).toBe('[[false]]')
  expect(await rowsOf(`${probe}7)`)).toBe('[[true]]')
})

test('what another writer made is left as it is, and so is what would be too long', async () => {
  const select = 'SELECT r, r::VARCHAR AS s FROM range(3000) q(r)'
  expect(await unpackParquet(await written(select, 'COMPRESSION snappy'), 1e9)).toBeUndefined()
  expect(await unpackParquet(await written(select, 'COMPRESSION uncompressed'), 1e9)).toBeUndefined()
  const zstd = await written(select, 'COMPRESSION zstd')
  expect(await unpackParquet(zstd, 10_000)).toBeUndefined()
  expect(await unpackParquet(await written('SELECT 1 AS a WHERE false', 'COMPRESSION zstd'), 1e9)).toBeUndefined()
})

test('damaged bytes are an error or nothing, never a file of other rows', async () => {
  const file = await written("SELECT r, 'a' || (r % 9) AS s FROM range(2000) q(r)", 'COMPRESSION zstd')
  const { rowCount } = footerOf(file)
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: file.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, by) => {
      const damaged = Uint8Array.from(file)
      damaged[at] ^= by
      try {
        const unpacked = await unpackParquet(damaged, 1e7)
        if (unpacked) expect(footerOf(unpacked).rowCount).toBe(rowCount)
      } catch (error) {
        expect(isMillraceError(error) || (error as NodeJS.ErrnoException).code !== undefined, String(error)).toBe(true)
      }
    }),
    { numRuns: 150 },
  )
})
