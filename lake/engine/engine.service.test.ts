import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tableFromIPC } from 'apache-arrow'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { isMillraceError, type MillraceError } from '../../schemas/errors.ts'
import { runPython } from '../../test/harness/python.ts'
import { createEngine } from './create-engine.ts'
import type { Engine, EngineQuery, EngineResult } from './engine.ts'

let folder: string
let engine: Engine

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-engine-'))
  engine = newEngine()
})
afterAll(async () => {
  await engine.close()
  rmSync(folder, { recursive: true, force: true })
})

function newEngine(mode: 'query' | 'compaction' = 'query', memoryBytes = 256 * 1024 * 1024): Engine {
  return createEngine({
    settings: {
      name: 'test',
      memoryBytes,
      threads: 2,
      spillFolder: join(folder, 'spill'),
      spillBytes: 64 * 1024 * 1024,
      folders: [join(folder, 'data')],
      mode,
    },
    world: createTestWorld(),
  })
}

type Answer = { readonly result: EngineResult; readonly bytes: Buffer }

async function ask(sql: string, options: Partial<EngineQuery> = {}, signal?: AbortSignal): Promise<Answer> {
  const chunks: Uint8Array[] = []
  const result = await engine.query(
    {
      queryId: 'q',
      setup: [],
      sql,
      params: [],
      format: 'json',
      rowsMax: 1_000_000,
      bytesMax: 100_000_000,
      timeoutMs: 60_000,
      ...options,
    },
    { onChunk: (chunk) => void chunks.push(chunk) },
    signal,
  )
  return { result, bytes: Buffer.concat(chunks) }
}

async function json(sql: string, options: Partial<EngineQuery> = {}): Promise<unknown> {
  return JSON.parse(`[${(await ask(sql, options)).bytes.toString()}]`)
}

async function refusal(sql: string, options: Partial<EngineQuery> = {}, signal?: AbortSignal): Promise<MillraceError> {
  try {
    await ask(sql, options, signal)
  } catch (error) {
    if (isMillraceError(error)) return error
    throw error
  }
  throw new Error(`${sql} was answered`)
}

/** Every type, a value and NULL, as each text format shows it. */
const VALUES: readonly (readonly [sql: string, type: string, value: unknown, csv: string])[] = [
  ['true', 'BOOLEAN', true, 'true'],
  ['(-128)::TINYINT', 'TINYINT', -128, '-128'],
  ['(-32768)::SMALLINT', 'SMALLINT', -32768, '-32768'],
  ['2147483647::INTEGER', 'INTEGER', 2147483647, '2147483647'],
  ['(-9223372036854775808)::BIGINT', 'BIGINT', '-9223372036854775808', '-9223372036854775808'],
  ['255::UTINYINT', 'UTINYINT', 255, '255'],
  ['65535::USMALLINT', 'USMALLINT', 65535, '65535'],
  ['4294967295::UINTEGER', 'UINTEGER', 4294967295, '4294967295'],
  ['18446744073709551615::UBIGINT', 'UBIGINT', '18446744073709551615', '18446744073709551615'],
  ['(10::HUGEINT)**30::INT', 'DOUBLE', 1e30, '1e+30'],
  ['170141183460469231731::HUGEINT', 'HUGEINT', '170141183460469231731', '170141183460469231731'],
  ['0.1::FLOAT', 'FLOAT', 0.1, '0.1'],
  ["'NaN'::DOUBLE", 'DOUBLE', 'NaN', 'NaN'],
  ["'-inf'::DOUBLE", 'DOUBLE', '-Infinity', '-Infinity'],
  ['(-0.05)::DECIMAL(10,2)', 'DECIMAL(10,2)', '-0.05', '-0.05'],
  ["DATE '1969-12-31'", 'DATE', '1969-12-31', '1969-12-31'],
  ["TIME '12:34:56.000001'", 'TIME', '12:34:56.000001', '12:34:56.000001'],
  ["TIMESTAMP '1969-12-31 23:59:59.5'", 'TIMESTAMP', '1969-12-31T23:59:59.5', '1969-12-31T23:59:59.5'],
  ["TIMESTAMPTZ '2026-01-31 12:34:56+02'", 'TIMESTAMP WITH TIME ZONE', '2026-01-31T10:34:56Z', '2026-01-31T10:34:56Z'],
  ["'infinity'::TIMESTAMP", 'TIMESTAMP', 'infinity', 'infinity'],
  ["'-infinity'::TIMESTAMP_S", 'TIMESTAMP_S', '-infinity', '-infinity'],
  ["'-infinity'::TIMESTAMP_NS", 'TIMESTAMP_NS', '-infinity', '-infinity'],
  ["DATE '-infinity'", 'DATE', '-infinity', '-infinity'],
  ["[DATE 'infinity', DATE '-infinity']", 'DATE[]', ['infinity', '-infinity'], '"[""infinity"",""-infinity""]"'],
  [
    "'2026-01-31 00:00:01.123456789'::TIMESTAMP_NS",
    'TIMESTAMP_NS',
    '2026-01-31T00:00:01.123456789',
    '2026-01-31T00:00:01.123456789',
  ],
  ["INTERVAL '14 months 3 days 90.5 seconds'", 'INTERVAL', 'P1Y2M3DT1M30.5S', 'P1Y2M3DT1M30.5S'],
  ["'a\"b,\n'", 'VARCHAR', 'a"b,\n', '"a""b,\n"'],
  ["''", 'VARCHAR', '', '""'],
  ["'\\x00\\xFF'::BLOB", 'BLOB', 'AP8=', 'AP8='],
  [
    "'00000000-0000-0000-0000-000000000001'::UUID",
    'UUID',
    '00000000-0000-0000-0000-000000000001',
    '00000000-0000-0000-0000-000000000001',
  ],
  ['[1, NULL, 3]', 'INTEGER[]', [1, null, 3], '"[1,null,3]"'],
  [
    "{'a': 1, 'b': [9223372036854775807]}",
    'STRUCT("a" INTEGER, "b" BIGINT[])',
    { a: 1, b: ['9223372036854775807'] },
    '"{""a"":1,""b"":[""9223372036854775807""]}"',
  ],
  ["MAP {'k': 0.1::FLOAT}", 'MAP(VARCHAR, FLOAT)', { k: 0.1 }, '"{""k"":0.1}"'],
  ['NULL', 'NULL', null, ''],
]

const ARROW_SQL = `SELECT i::INTEGER AS i, i::BIGINT AS l, (i % 2 = 0) AS b, i::DOUBLE / 2 AS d, (i / 100)::DECIMAL(12,2) AS dec,
              CASE WHEN i % 3 = 0 THEN NULL ELSE 'text ' || i END AS s, i::HUGEINT AS h, 'x'::BLOB AS blob,
              DATE '2026-01-01' + i::INTEGER AS day, make_timestamptz(i * 1000000) AS at, INTERVAL (i) DAY AS gap,
              [i] AS list, '00000000-0000-0000-0000-00000000000a'::UUID AS id, TIME '00:00:01' AS t, i::UBIGINT AS u,
              CASE WHEN i % 5 = 0 THEN NULL ELSE {'a': i, 'l': CASE WHEN i % 2 = 1 THEN [0.5, NULL] END} END AS st,
              MAP {'k' || i: {'d': 1.5::DECIMAL(4,2)}} AS m, [[i], NULL, []] AS deep, [i, 2]::BIGINT[2] AS pair
       FROM range(5000) r(i)`

/** As apache-arrow and as pyarrow call the types; the last row as Python prints it. */
const ARROW_TYPES: readonly (readonly [string, string, string])[] = [
  ['Int32', 'int32', '4999'],
  ['Int64', 'int64', '4999'],
  ['Bool', 'bool', 'False'],
  ['Float64', 'double', '2499.5'],
  ['Decimal[12e+2]', 'decimal128(12, 2)', '49.99'],
  ['Utf8', 'string', 'text 4999'],
  ['Decimal[38e0]', 'decimal128(38, 0)', '4999'],
  ['Binary', 'binary', "b'x'"],
  ['Date32<DAY>', 'date32[day]', '2039-09-09'],
  ['Timestamp<MICROSECOND, UTC>', 'timestamp[us, tz=UTC]', '1970-01-01 01:23:19+00:00'],
  ['Interval<MONTH_DAY_NANO>', 'month_day_nano_interval', 'MonthDayNano(months=0, days=4999, nanoseconds=0)'],
  ['List<Int64>', 'list<item: int64>', '[4999]'],
  ['Utf8', 'string', '00000000-0000-0000-0000-00000000000a'],
  ['Time64<MICROSECOND>', 'time64[us]', '00:00:01'],
  ['Uint64', 'uint64', '4999'],
  [
    'Struct<{a:Int64, l:List<Decimal[2e+1]>}>',
    'struct<a: int64, l: list<item: decimal128(2, 1)>>',
    "{'a': 4999, 'l': [Decimal('0.5'), None]}",
  ],
  [
    'Map<{key:Utf8, value:Struct<{d:Decimal[4e+2]}>}>',
    'map<string, struct<d: decimal128(4, 2)>>',
    "[('k4999', {'d': Decimal('1.50')})]",
  ],
  ['List<List<Int64>>', 'list<item: list<item: int64>>', '[[4999], None, []]'],
  ['List<Int64>', 'list<item: int64>', '[4999, 2]'],
]

describe('formats', () => {
  test('json: every type, with its name', async () => {
    const sql = `SELECT ${VALUES.map(([each], i) => `${each} AS c${i}`).join(', ')}`
    const { result, bytes } = await ask(sql)
    expect(JSON.parse(bytes.toString())).toEqual(VALUES.map((each) => each[2]))
    const types = result.columns.map((column) => column.type)
    expect(types).toEqual(VALUES.map((each, i) => (each[1] === 'NULL' ? types[i] : each[1])))
    expect(['NULL', 'INTEGER']).toContain(types.at(-1))
  })

  test('csv: header, quotes, NULL is nothing and an empty text is ""', async () => {
    const sql = `SELECT ${VALUES.map(([each], i) => `${each} AS c${i}`).join(', ')}`
    const { bytes } = await ask(sql, { format: 'csv' })
    expect(bytes.toString()).toBe(
      `${VALUES.map((_, i) => `c${i}`).join(',')}\r\n${VALUES.map((each) => each[3]).join(',')}\r\n`,
    )
  })

  test('jsonl: one object a line, equal names told apart', async () => {
    const { bytes } = await ask("SELECT 1 AS a, 'x' AS a, NULL AS b UNION ALL SELECT 2, 'y', 3 ORDER BY 1", {
      format: 'jsonl',
    })
    const lines = bytes.toString().trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { a: 1, 'a:1': 'x', b: null },
      { a: 2, 'a:1': 'y', b: 3 },
    ])
  })

  test('arrow: apache-arrow reads every type back, in several batches, with NULLs', async () => {
    const { bytes } = await ask(ARROW_SQL, { format: 'arrow' })
    const table = tableFromIPC(bytes)
    expect(table.numRows).toBe(5000)
    expect(table.batches.length).toBeGreaterThan(1)
    const row = (index: number) => table.get(index)?.toJSON() as Record<string, unknown>
    expect(row(4999)).toMatchObject({
      i: 4999,
      l: 4999n,
      b: false,
      d: 2499.5,
      s: 'text 4999',
      u: 4999n,
    })
    expect(row(3)).toMatchObject({ s: null, b: false })
    expect(row(10).st).toBeNull()
    expect((row(4999).list as Iterable<bigint>)[Symbol.iterator]().next().value).toBe(4999n)
    expect(String(row(4999).h)).toBe('4999')
    expect(table.schema.fields.map((field) => String(field.type))).toEqual(ARROW_TYPES.map((each) => each[0]))
  })

  test('arrow: no rows still give a schema', async () => {
    const { bytes } = await ask('SELECT 1 AS a WHERE false', { format: 'arrow' })
    const table = tableFromIPC(bytes)
    expect([table.numRows, table.schema.fields.map((field) => field.name)]).toEqual([0, ['a']])
  })

  test('arrow: pyarrow reads every type', async () => {
    const file = join(folder, 'result.arrow')
    const { bytes } = await ask(ARROW_SQL, { format: 'arrow' })
    writeFileSync(file, bytes)
    const text = `
import json, sys, pyarrow.ipc
table = pyarrow.ipc.open_stream(sys.argv[1]).read_all()
table.validate(full=True)
print(json.dumps([table.num_rows, [str(field.type) for field in table.schema], [str(value) for value in table.slice(4999, 1).to_pylist()[0].values()]]))`
    expect(await runPython({ text }, [file])).toEqual([
      5000,
      ARROW_TYPES.map((each) => each[1]),
      ARROW_TYPES.map((each) => each[2]),
    ])
  })

  test('rows: values for our own code', async () => {
    const rows: unknown[] = []
    await engine.query(
      {
        queryId: 'q',
        setup: [],
        sql: "SELECT 1::BIGINT, 'a', true, NULL",
        params: [],
        format: 'rows',
        rowsMax: 10,
        bytesMax: 1000,
        timeoutMs: 10_000,
      },
      { onChunk: () => {}, onRows: (batch) => void rows.push(...batch) },
    )
    expect(rows).toEqual([[1n, 'a', true, null]])
    expect(await engine.run('SELECT 1::BIGINT AS a UNION ALL SELECT 2 ORDER BY 1')).toEqual([{ a: 1n }, { a: 2n }])
  })
})

describe('parameters', () => {
  test('by position and by name, typed by their JSON or by what the statement expects', async () => {
    expect(await json('SELECT $1, $2, $3, $4', { params: [1, 1.5, 'x', null] })).toEqual([['1', 1.5, 'x', null]])
    expect(await json('SELECT $a + $b', { params: { a: 1, b: 2 } })).toEqual([['3']])
    expect(await json('SELECT 9007199254740993::BIGINT = $1', { params: ['9007199254740993'] })).toEqual([[true]])
    expect(await json("SELECT DATE '2026-01-01' < $1", { params: ['2026-01-02'] })).toEqual([[true]])
    expect(await json('SELECT $1', { params: [{ type: 'DECIMAL(18,2)', value: '1.50' }] })).toEqual([['1.50']])
    expect(await json('SELECT list_sum($1)', { params: [[1, 2, 3]] })).toEqual([['6']])
  })

  test('missing, superfluous and unreadable ones are refused by name', async () => {
    expect(await refusal('SELECT $1, $2', { params: [1] })).toMatchObject({
      code: 'parameter-missing',
      facts: { parameter: '2' },
    })
    expect((await refusal('SELECT $1', { params: [1, 2] })).code).toBe('request-invalid')
    expect((await refusal('SELECT $a', { params: { a: 1, b: 2 } })).code).toBe('request-invalid')
    expect((await refusal('SELECT $1', { params: [{ type: 'DATE', value: 'x' }] })).code).toBe('conversion-failed')
    expect((await refusal('SELECT $1', { params: [{ type: 'DATE); DROP', value: 'x' }] })).code).toBe('request-invalid')
  })
})

describe('errors', () => {
  test.each([
    ['SELECT 1 +', 'syntax-error', { line: 1, column: 11 }],
    ['SELECT 1,\n  nope\nFROM range(3)', 'undefined-column', { line: 2, column: 3 }],
    ["SELECT 'é',\n 'ü', nope", 'undefined-column', { line: 2, column: 7 }],
    ['SELECT *\nFROM nowhere', 'undefined-table', { line: 2, column: 6 }],
    ['SELECT nosuch(1)', 'undefined-function', { line: 1, column: 8 }],
    ["SELECT 'a'::INTEGER", 'conversion-failed', { line: 1, column: 11 }],
    ['SELECT 9223372036854775807 + 1', 'value-out-of-range', undefined],
  ])('%s', async (sql, code, position) => {
    const error = await refusal(sql)
    expect([error.code, error.facts.position]).toEqual([code, position])
  })
})

describe('a result that fails on its way (G-9)', () => {
  test.each([
    [
      "SELECT CASE WHEN i = 199000 THEN error('late')::VARCHAR ELSE 'a' END FROM range(200000) r(i)",
      'query-invalid',
      'late',
    ],
    [
      "SELECT '1' || (CASE WHEN i < 190000 THEN '1' ELSE 'x' END)::INTEGER FROM range(200000) r(i)",
      'conversion-failed',
      'x',
    ],
    [
      'SELECT i, $1::BIGINT + CASE WHEN i < 190000 THEN 0 ELSE 9223372036854775807 END FROM range(200000) r(i)',
      'value-out-of-range',
      'Overflow',
    ],
  ])('%s is that error, not a shorter result', async (sql, code, text) => {
    const params = sql.includes('$1') ? [1] : []
    for (const format of ['json', 'jsonl', 'csv', 'arrow'] as const) {
      const error = await refusal(sql, { format, params })
      expect([error.code, error.message]).toEqual([code, expect.stringContaining(text)])
    }
  })

  test.each(['arrow', 'parquet'] as const)(
    '%s: what left before has no end, so that no reader takes it for a whole',
    async (format) => {
      const sql = `SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS t, CASE WHEN i = 199000 THEN error('late') END AS e
      FROM range(200000) r(i)`
      const chunks: Uint8Array[] = []
      const request = { queryId: 'late', setup: [], sql, params: [], rowsMax: 1e6, bytesMax: 1e9, timeoutMs: 60_000 }
      await expect(
        engine.query({ ...request, format }, { onChunk: (chunk) => void chunks.push(chunk) }),
      ).rejects.toMatchObject({ code: 'query-invalid' })
      const left = Buffer.concat(chunks)
      expect(left.length).toBeGreaterThan(1_000_000)
      expect(left.subarray(-4).toString('latin1')).not.toBe('PAR1')
      expect(left.subarray(-8).toString('hex')).not.toBe('ffffffff00000000')
    },
  )
})

describe('the sandbox', () => {
  test.each([
    "COPY (SELECT 1) TO 'x.parquet'",
    'CREATE TABLE t (a INTEGER)',
    'SET threads = 8',
    "ATTACH 'x.db'",
    'INSTALL httpfs',
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM '/etc/passwd'",
    'SELECT 1; SELECT 2; CREATE TABLE u (a INTEGER)',
    'CALL checkpoint()',
  ])('%s is not run', async (sql) => {
    expect(['statement-refused', 'syntax-error', 'query-invalid', 'undefined-table']).toContain(
      (await refusal(sql)).code,
    )
  })

  test('a session has its own time zone', async () => {
    const setup = ["SET TimeZone = 'America/New_York'"]
    expect(await json("SELECT TIMESTAMPTZ '2026-01-01 00:00:00'", { setup })).toEqual([['2026-01-01T05:00:00Z']])
    expect(await json("SELECT TIMESTAMPTZ '2026-01-01 00:00:00'")).toEqual([['2026-01-01T00:00:00Z']])
  })
})

describe('limits', () => {
  test('rows beyond the limit are cut and said to be', async () => {
    const { result, bytes } = await ask('SELECT i FROM range(100000) r(i)', { rowsMax: 3000 })
    expect([result.rowCount, result.truncated]).toEqual([3000, true])
    expect(JSON.parse(`[${bytes}]`)).toHaveLength(3000)
    expect((await ask('SELECT i FROM range(3000) r(i)', { rowsMax: 3000 })).result.truncated).toBe(false)
  })

  test('more bytes than allowed are an error', async () => {
    expect((await refusal("SELECT repeat('x', 1000) FROM range(10000)", { bytesMax: 100_000 })).code).toBe(
      'request-too-large',
    )
  })

  test('a statement beyond its time ends', async () => {
    expect(
      (
        await refusal('SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5', {
          timeoutMs: 300,
        })
      ).code,
    ).toBe('query-timeout')
  })

  test('a cancelled statement ends, and others go on', async () => {
    const abort = new AbortController()
    const other = json('SELECT count(*) FROM range(1000000)')
    const cancelled = refusal(
      'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5',
      {},
      abort.signal,
    )
    expect(await other).toEqual([['1000000']])
    abort.abort()
    expect((await cancelled).code).toBe('query-cancelled')
    expect(await json('SELECT 1')).toEqual([[1]])
  })

  test("DuckDB's own memory limit", async () => {
    const error = await refusal('SELECT len(list(i)) FROM range(200000000) r(i)')
    expect(error.code).toBe('out-of-memory')
  })
})

describe('the process', () => {
  test('what neither its memory limit nor an interrupt stops is killed, and a new one answers', async () => {
    const error = await refusal('SELECT len(range(2000000000))', { timeoutMs: 30_000 })
    expect(error.code).toBe('out-of-memory')
    expect(await json('SELECT 1')).toEqual([[1]])
  })

  test('kill -9 in the middle of a statement fails it with engine-lost; the next one is answered', async () => {
    let killed = false
    const lost = engine.query(
      {
        queryId: 'q',
        setup: [],
        sql: 'SELECT i FROM range(100000000) r(i)',
        params: [],
        format: 'json',
        rowsMax: 1e9,
        bytesMax: 1e12,
        timeoutMs: 60_000,
      },
      {
        onChunk() {
          if (!killed) engine.kill()
          killed = true
        },
      },
    )
    await expect(lost).rejects.toMatchObject({ code: 'engine-lost' })
    expect(await json('SELECT 1')).toEqual([[1]])
  })

  test('what a killed engine spilled is gone when the next one starts', async () => {
    const spillFolder = join(folder, 'spill-of-a-killed-one')
    mkdirSync(spillFolder)
    writeFileSync(join(spillFolder, 'duckdb_temp_storage_DEFAULT-0.tmp'), 'left behind')
    const settings = {
      name: 'next',
      memoryBytes: 256 * 1024 * 1024,
      threads: 1,
      spillFolder,
      spillBytes: 1e6,
      folders: [],
    }
    const next = createEngine({ settings: { ...settings, mode: 'query' }, world: createTestWorld() })
    await next.run('SELECT 1')
    await next.close()
    expect(readdirSync(spillFolder)).toEqual([])
  })

  test('a slow receiver holds the engine back', async () => {
    let received = 0
    const gate = Promise.withResolvers<void>()
    const query = engine.query(
      {
        queryId: 'q',
        setup: [],
        sql: 'SELECT i FROM range(200000) r(i)',
        params: [],
        format: 'jsonl',
        rowsMax: 1e9,
        bytesMax: 1e12,
        timeoutMs: 60_000,
      },
      {
        async onChunk() {
          received++
          await gate.promise
        },
      },
    )
    expect(await json('SELECT 42')).toEqual([[42]])
    expect(received).toBeLessThanOrEqual(1)
    gate.resolve()
    expect((await query).rowCount).toBe(200_000)
  })

  test('a compaction engine writes inside its folders only', async () => {
    const compaction = newEngine('compaction')
    try {
      mkdirSync(join(folder, 'data'), { recursive: true })
      await compaction.run(`COPY (SELECT 1 AS a) TO '${join(folder, 'data', 'a.parquet')}' (FORMAT parquet)`)
      expect(await compaction.run(`SELECT a FROM read_parquet('${join(folder, 'data', 'a.parquet')}')`)).toEqual([
        { a: 1 },
      ])
      await expect(compaction.run(`COPY (SELECT 1) TO '${join(folder, 'b.parquet')}'`)).rejects.toMatchObject({
        code: 'statement-refused',
      })
    } finally {
      await compaction.close()
    }
  })
})
