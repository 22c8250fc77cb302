// Arrow buffers taken from memory hold the values that DuckDB itself tells.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tableFromIPC } from 'apache-arrow'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createEngine } from './create-engine.ts'
import type { Engine } from './engine.ts'

let folder: string
let engine: Engine
const ROWS = 5_003

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-arrow-'))
  engine = createEngine({
    settings: {
      name: 'test',
      memoryBytes: 256 * 1024 * 1024,
      threads: 2,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1e9,
      folders: [folder],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(async () => {
  await engine?.close()
  rmSync(folder, { recursive: true, force: true })
})

/** As text in the words of the other side. */
const COLUMNS: readonly (readonly [expression: string, asText: string])[] = [
  ['(h % 256 - 128)::TINYINT', 'c::VARCHAR'],
  ['(h % 65536 - 32768)::SMALLINT', 'c::VARCHAR'],
  ['(h % 4294967296 - 2147483648)::INTEGER', 'c::VARCHAR'],
  ['h - 4611686018427387904', 'c::VARCHAR'],
  ['(h % 256)::UTINYINT', 'c::VARCHAR'],
  ['(h % 65536)::USMALLINT', 'c::VARCHAR'],
  ['(h % 4294967296)::UINTEGER', 'c::VARCHAR'],
  ['hash(i)', 'c::VARCHAR'],
  ["DATE '1970-01-01' + (h % 40000 - 20000)::INTEGER", "(datediff('day', DATE '1970-01-01', c) * 86400000)::VARCHAR"],
  ['((h % 10000 - 5000) / 100)::DECIMAL(4, 2)', '(c * 100)::INTEGER::VARCHAR'],
  ['((h % 1000000000 - 500000000) / 100)::DECIMAL(9, 2)', '(c * 100)::BIGINT::VARCHAR'],
  ['((h % 1000000000000 - 500000000000))::DECIMAL(18, 1)', '(c::DECIMAL(30, 1) * 10)::HUGEINT::VARCHAR'],
  ['(h::HUGEINT * 1000003 - 4611686018427387904000003)::DECIMAL(38, 0)', 'c::HUGEINT::VARCHAR'],
  ["repeat('ä€x', (h % 9)::INTEGER) || CASE WHEN h % 3 = 0 THEN h::VARCHAR ELSE '' END", 'c'],
  ["CASE WHEN h % 2 = 0 THEN 'twelve bytes' ELSE 'thirteen byte' END", 'c'],
]

test.each(COLUMNS)('%s', async (expression, asText) => {
  for (const nulls of ['false', 'h % 7 = 0', 'true']) {
    const rows = `SELECT CASE WHEN ${nulls} THEN NULL ELSE ${expression} END AS c FROM
      (SELECT i, (hash(i) >> 1)::BIGINT AS h FROM range(${ROWS}) r(i))`
    const chunks: Uint8Array[] = []
    const query = { queryId: 'q', setup: [], params: [], rowsMax: 1e9, bytesMax: 1e9, timeoutMs: 6e4 }
    await engine.query(
      { ...query, sql: rows, format: 'arrow' },
      { onChunk: (chunk) => void chunks.push(Buffer.from(chunk)) },
    )
    const expected: unknown[] = []
    await engine.query(
      { ...query, sql: `SELECT ${asText} FROM (${rows}) r(c)`, format: 'rows' },
      { onChunk: () => {}, onRows: (batch) => void expected.push(...batch.map(([value]) => value)) },
    )
    const column = tableFromIPC(Buffer.concat(chunks)).getChildAt(0)!
    const found = Array.from({ length: ROWS }, (_, index) => {
      const value: unknown = column.get(index)
      return value === null ? null : value instanceof Uint32Array ? String(bigintOf(value)) : String(value)
    })
    expect(found).toEqual(expected)
    expect(column.nullCount).toBe(expected.filter((value) => value === null).length)
  }
})

function bigintOf(words: Uint32Array): bigint {
  const unsigned = words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n)
  return BigInt.asIntN(128, unsigned)
}
