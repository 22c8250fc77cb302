import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { checkStatement, parseSql, prepareText, type Statement } from './statement.ts'

let engine: Engine
beforeAll(() => {
  engine = createEngine({
    settings: {
      name: 'parser',
      memoryBytes: 256 * 1024 * 1024,
      threads: 1,
      spillFolder: join(tmpdir(), 'millrace-statement-test'),
      spillBytes: 0,
      folders: [],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(() => engine.close())

async function check(sql: string): Promise<Statement> {
  const [row] = await engine.run(parseSql(prepareText(sql).parsed))
  return checkStatement(sql, String(row.tree))
}

async function refusal(sql: string): Promise<string> {
  try {
    await check(sql)
  } catch (error) {
    if (isMillraceError(error)) return error.code
    throw error
  }
  return 'accepted'
}

describe('what may run, with the tables it reads', () => {
  test.each([
    ['SELECT 1', []],
    ['VALUES (1), (2)', []],
    ['FROM flights', ['flights']],
    ['TABLE Flights;', ['flights']],
    ['select * from "Flights" f, (select * from airports) a', ['flights', 'airports']],
    ['WITH flights AS (SELECT 1) SELECT * FROM flights', []],
    ['WITH a AS (SELECT * FROM flights), b AS (SELECT * FROM a) SELECT * FROM b', ['flights']],
    ['WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a', ['b']],
    ['WITH flights AS (SELECT * FROM flights) SELECT * FROM flights', ['flights']],
    ['WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r', []],
    ['SELECT (WITH q AS (SELECT 1) SELECT * FROM q), (SELECT count(*) FROM q)', ['q']],
    ['SELECT * FROM a WHERE x IN (SELECT y FROM b) AND EXISTS (FROM c)', ['a', 'b', 'c']],
    ['SELECT 1 FROM a UNION ALL SELECT 2 FROM b ORDER BY (SELECT 1 FROM c)', ['a', 'b', 'c']],
    ['SELECT * FROM range(10), unnest([1, 2]) u, generate_series(1, 3)', []],
    ['SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t QUALIFY 1 = 1', ['t']],
    ['SELECT * FROM t JOIN LATERAL (SELECT * FROM u WHERE u.a = t.a) ON true', ['t', 'u']],
    ["SELECT list_transform([1], lambda x: x + 1), 'COPY t TO x; DROP TABLE y'", []],
    ['/* DROP TABLE x; */ SELECT 1 -- ; SELECT 2', []],
    ['DESCRIBE flights', ['flights']],
    ['SUMMARIZE SELECT * FROM flights', ['flights']],
    ['SHOW TABLES', []],
    ['SHOW COLUMNS FROM flights', ['flights']],
    ['SELECT main.Flights.a FROM main.Flights, millrace.main.airports', ['flights', 'airports']],
    ['WITH flights AS (SELECT 1) SELECT * FROM main.flights', ['flights']],
    ['SELECT * FROM information_schema.tables, millrace.files', []],
    ['EXPLAIN SELECT * FROM flights', ['flights']],
    ['EXPLAIN ANALYZE SELECT * FROM flights', ['flights']],
    ['/* why */ explain /* so slow */ analyze -- ?\n(SELECT * FROM flights)', ['flights']],
    ['EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM flights', ['flights']],
    ['-- why\n /* not */ explain FROM flights', ['flights']],
  ] as const)('%s', async (sql, tables) => {
    expect((await check(sql)).tables.map((table) => table.name).sort()).toEqual([...tables].sort())
  })

  test('tells the kinds apart', async () => {
    const kinds = await Promise.all(
      ['SELECT 1', 'DESCRIBE t', 'SHOW TABLES', 'EXPLAIN SELECT 1', 'SUMMARIZE t'].map(check),
    )
    expect(kinds.map((each) => each.kind)).toEqual(['select', 'describe', 'show-tables', 'explain', 'select'])
  })

  test('names that the engine does not know are replaced where they stand', async () => {
    const texts = [
      ['SELECT 1', 'SELECT 1'],
      ["SELECT 'ö', t.x FROM  Information_Schema.tables t", "SELECT 'ö', t.x FROM  millrace_catalogue.tables t"],
      [
        'SELECT "information_schema" . "views".a FROM "information_schema" . "views"',
        'SELECT "millrace_catalogue" . "views".a FROM "millrace_catalogue" . "views"',
      ],
      ['FROM millrace.millrace.files', 'FROM          millrace.files'],
      ['FROM millrace.information_schema.tables', 'FROM          millrace_catalogue.tables'],
      ['SELECT information_schema.a FROM flights information_schema', undefined],
      ['show columns\nin t', 'DESCRIBE    \n   t'],
      ["SELECT 'information_schema.tables', 'show columns from t'", undefined],
    ] as const
    for (const [sql, expected] of texts) expect((await check(sql)).sql).toBe(expected ?? sql)
  })

  test('hidden columns count only when they are named, the clock only when it is asked', async () => {
    expect([...(await check('SELECT * FROM t')).hiddenColumns]).toEqual([])
    expect([...(await check('SELECT t._OFFSET FROM t ORDER BY "_arrived"')).hiddenColumns].sort()).toEqual([
      '_arrived',
      '_offset',
    ])
    const clocks = await Promise.all(
      ['SELECT now()', 'SELECT current_timestamp', 'SELECT today()', 'SELECT 1'].map(check),
    )
    expect(clocks.map((each) => each.usesClock)).toEqual([true, true, true, false])
  })
})

describe('what may not', () => {
  test.each([
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "COPY t FROM '/tmp/x.csv'",
    "/* SELECT */ COPY t TO 'x'",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "ATTACH '/tmp/x.db' AS x",
    'DETACH x',
    'CREATE TABLE t (a INTEGER)',
    'CREATE TABLE t AS SELECT 1',
    'CREATE TEMP VIEW v AS SELECT 1',
    'CREATE MACRO m(a) AS a + 1',
    'CREATE SECRET s (TYPE s3)',
    'DROP TABLE flights',
    'ALTER TABLE flights ADD COLUMN x INTEGER',
    'INSERT INTO flights VALUES (1)',
    'UPDATE flights SET a = 1',
    'DELETE FROM flights',
    'TRUNCATE flights',
    'MERGE INTO flights USING t ON true WHEN MATCHED THEN DELETE',
    'WITH d AS (DELETE FROM flights RETURNING *) SELECT * FROM d',
    'WITH d AS (INSERT INTO flights VALUES (1) RETURNING *) SELECT * FROM d',
    'SELECT 1; SELECT 2',
    'SELECT 1; DROP TABLE flights',
    "SELECT 1;\n--\n;COPY t TO 'x'",
    'SET threads = 1',
    'RESET threads',
    'PRAGMA database_list',
    'PRAGMA enable_profiling',
    'CALL pragma_version()',
    'INSTALL httpfs',
    'LOAD httpfs',
    'CHECKPOINT',
    'VACUUM',
    'BEGIN',
    'PREPARE p AS SELECT 1',
    'EXECUTE p',
    "EXPLAIN ANALYZE COPY t TO 'x'",
    'EXPLAIN ANALYZE DELETE FROM t',
    'EXPLAIN (ANALYZE, FORMAT json) INSERT INTO t VALUES (1)',
    'EXPLAIN ANALYZE SELECT 1; SELECT 2',
    "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')",
    'EXPLAIN ANALYZE EXPLAIN ANALYZE SELECT 1',
    "EXPLAIN COPY t TO 'x'",
    'USE memory',
    'SET VARIABLE x = 1',
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM READ_CSV('/etc/passwd')",
    'SELECT * FROM "read_blob"(\'/etc/passwd\')',
    "SELECT * FROM main.read_text('/etc/passwd')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "WITH x AS (SELECT * FROM read_parquet('x')) SELECT * FROM x",
    "SELECT * FROM t WHERE a IN (SELECT file FROM glob('/*'))",
    "FROM parquet_metadata('x')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('duckdb_settings')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    'SELECT * FROM duckdb_settings()',
    'SELECT * FROM duckdb_secrets()',
    'SELECT * FROM duckdb_views',
    'WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings()',
    'SELECT * FROM pg_catalog.pg_class',
    'SELECT * FROM pg_class',
    'SELECT * FROM information_schema.routines',
    'SELECT * FROM system.information_schema.tables',
    'SELECT * FROM main.duckdb_tables',
    'SELECT * FROM main."x.csv"',
    'SELECT * FROM millrace_catalogue.tables',
    'SELECT * FROM temp.main.flights',
    'SELECT * FROM millrace/* */.main.flights',
    'SELECT * FROM memory.main.flights',
    'SELECT * FROM system.main.duckdb_tables',
    "SELECT current_setting('temp_directory')",
    "SELECT getenv('HOME')",
    "SELECT pg_get_viewdef('flights')",
    'SELECT * FROM pragma_database_list()',
    'SELECT * FROM sqlite_master',
    "SELECT nextval('s')",
    "SELECT 1 ORDER BY current_setting('threads')",
    "SELECT a FROM t GROUP BY getenv('x') HAVING getvariable('y') > 1",
    "SELECT sum(a) FILTER (WHERE getenv('x') = '') OVER (ORDER BY getenv('y')) FROM t",
    "SELECT 'x'.getenv()",
    'SELECT * FROM flights AT (VERSION => 1)',
    'SELECT 1 INTO t',
    '',
    '-- nothing',
    ';',
    'SHOW CREATE TABLE flights',
    'SELECT * FROM (SHOW TABLES)',
  ])('%s', async (sql) => {
    expect(['statement-refused', 'syntax-error', 'query-invalid']).toContain(await refusal(sql))
  })

  test('runs of comments that would hold DuckDB’s lexer for minutes are refused before it sees them; others are not', async () => {
    const refused = { code: 'request-too-large', message: expect.stringContaining('leave them out') }
    for (const sql of [`SELECT 1${'/**/'.repeat(100_000)}`, `SELECT 1${'/*'.repeat(9_000)}${'*/'.repeat(9_000)}`])
      await expect(check(sql)).rejects.toMatchObject(refused)
    for (const sql of [`SELECT 1${' /**/'.repeat(5_000)}`, `SELECT '${'='.repeat(5_000)}' ${'/'.padEnd(5_000, '*')}/`])
      expect((await check(sql)).kind).toBe('select')
  })

  test('errors point at the place', async () => {
    await expect(check("SELECT 1,\n  getenv('HOME')")).rejects.toMatchObject({
      facts: { position: { line: 2, column: 3 } },
    })
    await expect(check('SELECT 1 +')).rejects.toMatchObject({
      code: 'syntax-error',
      facts: { position: { line: 1, column: 11 } },
    })
    const [reference] = (await check("SELECT 'é',\n 1 FROM nowhere")).tables
    expect(reference.position).toEqual({ line: 2, column: 9 })
  })
})
