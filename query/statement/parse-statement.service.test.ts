import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type ParsedStatement, parseStatement } from './parse-statement.ts'

let engine: Engine
beforeAll(() => {
  engine = createEngine({
    settings: {
      name: 'parser',
      memoryBytes: 256 * 1024 * 1024,
      threads: 1,
      spillFolder: join(tmpdir(), 'millrace-parse-statement-test'),
      spillBytes: 0,
      folders: [],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(() => engine.close())

function parse(sql: string): Promise<ParsedStatement> {
  return parseStatement(sql, async (text) => String((await engine.run(text))[0].tree))
}

async function run(sql: string): Promise<unknown[][]> {
  const statement = await parse(sql)
  const rows: unknown[][] = []
  try {
    await engine.query(
      {
        queryId: 'q',
        setup: [],
        sql: statement.sql,
        params: [],
        format: 'rows',
        rowsMax: 1000,
        bytesMax: 1e6,
        timeoutMs: 10_000,
      },
      { onChunk: () => {}, onRows: (chunk) => void rows.push(...(chunk as unknown[][])) },
    )
  } catch (error) {
    throw statement.inOriginal(error)
  }
  return rows
}

async function failure(sql: string): Promise<{ code: string; message: string; at: string }> {
  try {
    await run(sql)
  } catch (error) {
    const { code, message, facts } = error as { code: string; message: string; facts: Record<string, unknown> }
    const { line, column } = (facts.position ?? {}) as { line?: number; column?: number }
    return { code, message: message.split('\n')[0], at: `${line}:${column}` }
  }
  throw new Error(`accepted: ${sql}`)
}

describe('what is rewritten', () => {
  test.each([
    // DuckDB's own statements stay as they are, byte for byte.
    ["SELECT 'uniq(x)' AS a, sum(x) /* uniq(x) */ FROM t -- nvl(1)", undefined],
    ['SELECT "uniq"', undefined],
    ['SELECT uniq FROM t', undefined],
    ['WITH nvl(a) AS (SELECT 1) SELECT a FROM nvl', undefined],
    ['SELECT uniq(x) FROM t', 'SELECT approx_count_distinct(x) AS "uniq(x)" FROM t'],
    ['SELECT UNIQ ( x ) u FROM t', 'SELECT approx_count_distinct(x) u FROM t'],
    ['SELECT u: uniq(x) FROM t', 'SELECT u: approx_count_distinct(x) FROM t'],
    ['EXPLAIN SELECT uniq(x) AS u FROM t', 'EXPLAIN SELECT approx_count_distinct(x) AS u FROM t'],
    [
      'SELECT nvl(nvl(a, b), $$x, y$$) AS a FROM t GROUP BY nvl(a, b)',
      'SELECT coalesce(coalesce(a, b), $$x, y$$) AS a FROM t GROUP BY coalesce(a, b)',
    ],
    ["SELECT 'é', lower(a).startsWith('é') AS b", "SELECT 'é', lower(a).starts_with('é') AS b"],
    [
      'SELECT a.b.nvl(1).nvl(2) AS x FROM t ORDER BY ifNull(a, 3) DESC',
      'SELECT coalesce(coalesce(a.b, 1), 2) AS x FROM t ORDER BY ifNull(a, 3) DESC',
    ],
    // A repeated argument stays one parameter.
    ["SELECT div0(?, ?) AS d, '?' AS q", "SELECT CASE WHEN ($2) = 0 THEN 0 ELSE ($1) / ($2) END AS d, '?' AS q"],
    ['SELECT ? AS a', undefined],
    ['SELECT any(x) AS a FROM t WHERE 1 = any([1])', 'SELECT any_value(x) AS a FROM t WHERE 1 = any([1])'],
  ])('%s', async (sql, expected) => {
    expect((await parse(sql)).sql).toBe(expected ?? sql)
  })

  test.each([
    ['SELECT quantile(0.5)(x), quantiles(0.5, 1)(x) FROM (VALUES (1), (3)) t(x)', [[2, [2, 3]]]],
    ["SELECT listagg(x, '-') WITHIN GROUP (ORDER BY x DESC) FILTER (WHERE x < 3) FROM range(5) t(x)", [['2-1-0']]],
    ['SELECT approx_percentile(0.25) WITHIN GROUP (ORDER BY x DESC) FROM range(5) t(x)', [[3n]]],
    ['SELECT last(x, -x) OVER () FROM range(2) t(x)', [[0n], [0n]]],
    [
      'SELECT lag(x) IGNORE NULLS OVER (ORDER BY i) FROM (VALUES (1, 5), (2, NULL), (3, 7)) t(i, x) ORDER BY i',
      [[null], [5], [5]],
    ],
    ["SELECT floor(TIMESTAMP '2026-01-01 01:30:00' TO hour)::VARCHAR", [['2026-01-01 01:00:00']]],
    ["SELECT safe_cast('x' AS INTEGER)", [[null]]],
    ["SELECT group_concat(x ORDER BY x DESC SEPARATOR '/') FROM range(3) t(x)", [['2/1/0']]],
    [
      'SELECT x, count(*) FROM range(2) t(x) GROUP BY x WITH ROLLUP ORDER BY x',
      [
        [0n, 1n],
        [1n, 1n],
        [null, 2n],
      ],
    ],
    ['SELECT x FROM range(9) t(x) ORDER BY x LIMIT 3, 2', [[3n], [4n]]],
  ])('other syntax: %s', async (sql, expected) => {
    expect(await run(sql)).toEqual(expected)
  })
})

describe('errors are about what the user wrote', () => {
  test.each([
    [
      'SELECT 1,\n  nvl(a, 2)',
      'undefined-column',
      'Referenced column "a" was not found because the FROM clause is missing',
      '2:7',
    ],
    [
      "SELECT 'é', uniq(1),\n uniq([1], nosuch) FROM range(1)",
      'undefined-column',
      'Referenced column "nosuch" not found in FROM clause!',
      '2:12',
    ],
    [
      'SELECT toStartOfHour(5)',
      'undefined-function',
      'toStartOfHour: an argument has a type that it does not take',
      '1:8',
    ],
    [
      'SELECT percentile(x, 500) FROM range(2) t(x)',
      'query-invalid',
      'percentile: expected a percentile from 0 to 100 as the second argument',
      '1:8',
    ],
    [
      'SELECT\n\n approx_percentile(DISTINCT x, 0.5) FROM range(2) t(x)',
      'query-invalid',
      'approx_percentile: DISTINCT does not go with it',
      '3:2',
    ],
    ["EXPLAIN SELECT nvl(1, 2), getenv('HOME')", 'statement-refused', 'function getenv is not available', '1:27'],
    ["SELECT nvl(getenv('HOME'), 'x')", 'statement-refused', 'function getenv is not available', '1:12'],
    ['SELECT nvl(1, 2) + ', 'syntax-error', 'syntax error at end of input', '1:20'],
    ['SELECT any(x) FROM t WHERE', 'syntax-error', 'syntax error at or near "any"', '1:8'],
    ["SELECT nvl(CAST('x' AS INTEGER), 1)", 'conversion-failed', "Could not convert string 'x' to INT32", '1:12'],
    ['SELECT 1, nvl(1, 2, 3)', 'query-invalid', 'nvl: expected 2 arguments, found 3', '1:11'],
  ])('%s', async (sql, code, message, at) => {
    expect(await failure(sql)).toEqual({ code, message, at })
  })
})

describe('PIVOT over values that are in the data', () => {
  async function resolved(sql: string, values: readonly string[] = ['a', "b'c"]): Promise<string[]> {
    const asked: string[] = []
    const statement = await parse(sql)
    const last = await statement.withValues!(async (select) => {
      asked.push(select.sql)
      return values
    })
    return [...asked, last.sql]
  }

  test.each([
    [
      'PIVOT t ON k USING sum(v)',
      [
        ' SELECT DISTINCT value FROM (SELECT CAST(k AS VARCHAR) AS value FROM t) WHERE value IS NOT NULL ORDER BY value LIMIT 10001',
        "PIVOT t ON k  IN ('a', 'b''c') USING sum(v)",
      ],
    ],
    [
      'WITH u AS (FROM t) SELECT * FROM u PIVOT (sum(v) FOR k IN (ANY ORDER BY k))',
      [
        'WITH u AS (FROM t) SELECT DISTINCT value FROM (SELECT CAST(k AS VARCHAR) AS value FROM u) WHERE value IS NOT NULL ORDER BY value LIMIT 10001',
        "WITH u AS (FROM t) SELECT * FROM u PIVOT (sum(v) FOR k  IN ('a', 'b''c') )",
      ],
    ],
    [
      'EXPLAIN FROM t PIVOT (sum(v) FOR k IN (SELECT x FROM other))',
      [
        ' SELECT DISTINCT value FROM (SELECT CAST("millrace value" AS VARCHAR) AS value FROM (SELECT x FROM other) AS "millrace values"("millrace value")) WHERE value IS NOT NULL ORDER BY value LIMIT 10001',
        "EXPLAIN FROM t PIVOT (sum(v) FOR k  IN ('a', 'b''c') )",
      ],
    ],
  ])('%s', async (sql, expected) => {
    expect(await resolved(sql)).toEqual(expected)
  })

  test("other systems' functions in it, and its tables before the values are known", async () => {
    const statement = await parse('PIVOT (SELECT a, nvl(b, 0) AS b FROM t JOIN u USING (id)) ON a USING uniq(b)')
    expect(statement.tables.map(({ name }) => name)).toEqual(['t', 'u'])
    expect((await resolved('PIVOT t ON nvl(a, 0) USING uniq(b) AS u')).at(-1)).toBe(
      "PIVOT t ON coalesce(a, 0)  IN ('a', 'b''c') USING approx_count_distinct(b) AS u",
    )
  })

  test.each([
    ['PIVOT t ON getenv(k) USING sum(v)', 'statement-refused', { line: 1, column: 12 }],
    ["PIVOT (FROM '/etc/passwd') ON x USING sum(v)", 'statement-refused', { line: 1, column: 13 }],
    ['PIVOT t ON k USING', 'syntax-error', { line: 1, column: 19 }],
  ])('refused: %s', async (sql, code, position) => {
    await expect(parse(sql)).rejects.toMatchObject({ code, facts: position ? { position } : {} })
  })

  test('too many values, and what is wrong while they are asked', async () => {
    const many = Array.from({ length: 10_001 }, (_, index) => String(index))
    await expect(resolved('PIVOT t ON k USING sum(v)', many)).rejects.toMatchObject({ code: 'query-invalid' })
    const statement = await parse('PIVOT t\n ON nosuch USING sum(v)')
    const failing = statement.withValues!(async (select) => {
      await engine.query(
        {
          queryId: 'q',
          setup: ['CREATE TEMP VIEW t AS SELECT 1 AS k, 2 AS v'],
          sql: select.sql,
          params: [],
          format: 'rows',
          rowsMax: 9,
          bytesMax: 1e6,
          timeoutMs: 9000,
        },
        { onChunk: () => {} },
      )
      return []
    })
    await expect(failing).rejects.toMatchObject({
      code: 'undefined-column',
      facts: { position: { line: 2, column: 5 } },
    })
  })
})
