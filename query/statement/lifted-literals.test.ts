import { expect, test } from 'vitest'
import { classOfNumber, classOfText, probeValue, shapeOf } from './lifted-literals.ts'

test('literals are found where they are, and nowhere else', () => {
  const sql = `SELECT "a 1", 'it''s', x2, $1 -- 'no' 5
    /* 6 ' */ FROM t WHERE a.b >= 1.50 AND c < 0x1F AND d = 'Ä'`.replace('Ä', 'z')
  const shape = shapeOf(sql)
  expect(shape?.literals.map(({ start, end, value }) => [sql.slice(start, end), value])).toEqual([
    ["'it''s'", "it's"],
    ['1.50', '1.50'],
    ["'z'", 'z'],
  ])
  expect(shape?.key).toContain('0x1F')
})

test.each([
  "SELECT E'a\\'b'",
  "SELECT x'00'",
  'SELECT $$a$$',
  'SELECT $q$5$q$',
  "SELECT 'ä'",
  "SELECT 'open",
  "SELECT 1'a'",
])('a text with anything unusual has no shape: %s', (sql) => expect(shapeOf(sql)).toBeUndefined())

test('shapes are the same for values of a class, and others for other classes', () => {
  const key = (value: string) => shapeOf(`SELECT a FROM t WHERE a = ${value}`)?.key
  const same = (...values: string[]) => expect(new Set(values.map(key)).size).toBe(1)
  same('1', '22', '2147483647')
  same('2147483648', '9223372036854775807')
  same('1.25', '9.99')
  same("'2026-01-01'", "'1999-12-31'")
  same("'2026-01-01 10:00:00+02'", "'1999-12-31 00:00:59+02'")
  same("'a'", "''", "'2026-01-01x'")
  const classes = ['1', '2147483648', '1.2', '1.25', '11.2', "'2026-01-01'", "'2026-01-01 10:00:00'", "'a'"]
  const others = [
    "'2026-01-01T10:00:00'",
    "'2026-01-01 10:00:00Z'",
    "'2026-01-01 10:00:00.5'",
    '1e5',
    '1_0',
    '.5',
    "'now'",
  ]
  const uuid = "'00000000-0000-4000-8000-000000000000'"
  expect(new Set([...classes, ...others, uuid].map(key)).size).toBe(classes.length + others.length + 1)
})

test('probes are of the class that they stand for, and all different', () => {
  for (const value of ['7', '3000000000', '1.25', '123.456', '0.1']) {
    const literalClass = classOfNumber(value)!
    const values = [0, 1, 2, 3].flatMap((index) =>
      (['low', 'middle', 'high'] as const).flatMap((role) =>
        ([0, 1] as const).map((probe) => probeValue(literalClass, role, index, probe)),
      ),
    )
    const given = values.filter((each) => each !== undefined)
    for (const each of given) expect([each, classOfNumber(each)]).toEqual([each, literalClass])
    expect(new Set(given).size).toBe(given.length)
  }
  for (const value of ['x', '2026-01-01', '2026-01-01T10:00:00.123+02:00', '00000000-0000-4000-8000-000000000000']) {
    const literalClass = classOfText(value)!
    const probe = probeValue(literalClass, 'high', 3, 1)!
    expect(classOfText(probe)).toEqual(literalClass)
    expect(probe > probeValue(literalClass, 'low', 3, 1)!).toBe(true)
  }
})
