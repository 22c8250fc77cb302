/**
 * Random tables and random statements over them, for the test that compares reading parts of files with reading everything.
 * Every row has an `id` of its own, so that orders and limits have one answer; sums are of whole numbers and decimals, whose
 * order does not matter.
 */
import fc from 'fast-check'

export const SAMPLE_COLUMNS: Readonly<Record<string, string>> = {
  id: 'long',
  i: 'int',
  big: 'long',
  s: 'string',
  d: 'double',
  f: 'float',
  m: 'decimal(10,2)',
  t: 'timestamp',
  tz: 'timestamptz',
  day: 'date',
  b: 'boolean',
  u: 'uuid',
  st: 'struct<city: string, zip: int, deep: struct<x: int, y: string>>',
  l: 'list<int>',
  mp: 'map<string, int>',
}

export type SampleFile = {
  readonly rows: number
  /** Where its values begin: files and row groups then have bounds that differ. */
  readonly base: number
  /** One row in so many is null; 1: all. 0: none. */
  readonly nulls: number
  /** Values in the order of their rows, or mixed. */
  readonly isSorted: boolean
  readonly hasOddNumbers: boolean
}

export const anyFile: fc.Arbitrary<SampleFile> = fc.record({
  rows: fc.integer({ min: 1, max: 7000 }),
  base: fc.integer({ min: 0, max: 6 }).map((step) => step * 3000),
  nulls: fc.constantFrom(0, 0, 1, 3, 17),
  isSorted: fc.boolean(),
  hasOddNumbers: fc.boolean(),
})

/** The rows of a file as a SELECT of `SAMPLE_COLUMNS`; ids from `firstId` on. */
export function fileSelect({ rows, base, nulls, isSorted, hasOddNumbers }: SampleFile, firstId: number): string {
  const v = isSorted ? `(${base} + r)` : `(${base} + (hash(r + ${base}) % 4000)::INTEGER)`
  const maybe = (sql: string, salt: number) =>
    nulls === 0 ? sql : `CASE WHEN (hash(r * 31 + ${salt}) % ${nulls}) = 0 THEN NULL ELSE ${sql} END`
  const odd = (sql: string) =>
    hasOddNumbers
      ? `CASE r % 50 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-0.0'::DOUBLE WHEN 2 THEN 'inf'::DOUBLE WHEN 3 THEN 0.0 ELSE ${sql} END`
      : sql
  const long = `CASE WHEN r % 5 = 0 THEN 'a long text that is cut in bounds ' || ${v} ELSE chr(97 + (${v} // 1000)::INTEGER % 26) || (${v} % 400) END`
  const columns = [
    `${firstId} + r`,
    maybe(`${v}::INTEGER`, 1),
    maybe(`(${v}::BIGINT - 5000) * 3000000000`, 2),
    maybe(long, 3),
    maybe(odd(`(${v} - 4000) / 8.0`), 4),
    maybe(`${odd(`(${v} - 4000) / 10.0`)}::FLOAT`, 5),
    maybe(`((${v} - 3000) / 100.0)::DECIMAL(10,2)`, 6),
    maybe(`TIMESTAMP '2026-03-27 00:00:00' + INTERVAL (${v}) MINUTE`, 7),
    maybe(`TIMESTAMPTZ '2026-10-23 00:00:00Z' + INTERVAL (${v}) MINUTE`, 8),
    maybe(`DATE '1969-12-01' + (${v} // 100)::INTEGER`, 9),
    maybe(`${v} % 3 = 0`, 10),
    maybe(`('00000000-0000-0000-0000-' || lpad(to_hex(${v} // 7), 12, '0'))::UUID`, 11),
    maybe(
      `{'city': ${maybe(`'city ' || (${v} // 500)`, 12)}, 'zip': ${maybe(`(${v} // 3)::INTEGER`, 13)}, 'deep': ${maybe(`{'x': ${v}::INTEGER, 'y': 'y' || (${v} % 9)}`, 14)}}`,
      15,
    ),
    maybe(`[${v}::INTEGER, (${v} % 7)::INTEGER]`, 16),
    maybe(`MAP {'k': (${v} % 100)::INTEGER, 'z': 1}`, 17),
  ]
  return `SELECT ${columns.join(', ')} FROM range(${rows}) q(r)`
}

const small = fc.integer({ min: -50, max: 25_000 })
const op = fc.constantFrom('=', '<', '<=', '>', '>=', '!=')
const text = fc.oneof(
  fc
    .tuple(fc.integer({ min: 0, max: 25 }), fc.integer({ min: 0, max: 399 }))
    .map(([a, n]) => `${String.fromCharCode(97 + a)}${n}`),
  small.map((n) => `a long text that is cut in bounds ${n}`),
  fc.constantFrom('', "it's AND i=5", 'zz'),
)
const quoted = (value: string) => `'${value.replaceAll("'", "''")}'`
const minute = (start: string, n: number) =>
  new Date(Date.parse(start) + n * 60_000).toISOString().replace('T', ' ').slice(0, 19)
const timestamp = small.map((n) => `TIMESTAMP '${minute('2026-03-27T00:00:00Z', n)}'`)
const instant = small.map((n) => `TIMESTAMPTZ '${minute('2026-10-23T00:00:00Z', n)}Z'`)
const date = small.map((n) => `DATE '${minute('2026-10-23T00:00:00Z', n).slice(0, 10)}'`)
const uuid = small.map(
  (n) =>
    `'00000000-0000-0000-0000-${Math.max(0, n >> 3)
      .toString(16)
      .padStart(12, '0')}'::UUID`,
)
const zone = fc.constantFrom('Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'UTC')

/** `p` is put before column names: `a.` or nothing. */
const comparison: fc.Arbitrary<(p: string) => string> = fc.oneof(
  fc.tuple(fc.constantFrom('i', 'id', 'st.zip', 'st.deep.x', 'l[1]', "mp['k']"), op, small).map(
    ([c, o, v]) =>
      (p: string) =>
        `${p}${c} ${o} ${v}`,
  ),
  fc.tuple(fc.constantFrom('i', 'st.zip', 'id'), fc.array(small, { minLength: 1, maxLength: 12 })).map(
    ([c, list]) =>
      (p: string) =>
        `${p}${c} IN (${list.join(', ')})`,
  ),
  fc.tuple(fc.constantFrom('i', 'id'), small, small).map(
    ([c, a, z]) =>
      (p: string) =>
        `${p}${c} BETWEEN ${a} AND ${z}`,
  ),
  fc.tuple(op, small).map(
    ([o, v]) =>
      (p: string) =>
        `${p}i ${o} ${v}.5`,
  ),
  fc.tuple(op, small).map(
    ([o, v]) =>
      (p: string) =>
        `${p}big ${o} ${BigInt(v - 5000) * 3_000_000_000n}`,
  ),
  fc
    .tuple(
      fc.constantFrom('d', 'f'),
      op,
      fc.constantFrom('0', '-0.0', "'nan'::DOUBLE", '12.5', '-3.1', '400', "'inf'::DOUBLE"),
    )
    .map(
      ([c, o, v]) =>
        (p: string) =>
          `${p}${c} ${o} ${v}`,
    ),
  fc.tuple(op, small).map(
    ([o, v]) =>
      (p: string) =>
        `${p}m ${o} ${(v - 3000) / 100}`,
  ),
  fc.tuple(op, text).map(
    ([o, v]) =>
      (p: string) =>
        `${p}s ${o} ${quoted(v)}`,
  ),
  fc
    .array(text, { minLength: 1, maxLength: 4 })
    .map((list) => (p: string) => `${p}s IN (${list.map(quoted).join(', ')})`),
  fc.tuple(fc.constantFrom('a1%', 'b%', 'a long%', 'c_2%', '%7', ''), fc.boolean()).map(
    ([v, not]) =>
      (p: string) =>
        `${p}s ${not ? 'NOT ' : ''}LIKE '${v}'`,
  ),
  text.map((v) => (p: string) => `starts_with(${p}s, ${quoted(v.slice(0, 2))})`),
  text.map((v) => (p: string) => `substr(${p}s, 1, 2) = ${quoted(v.slice(0, 2))}`),
  fc.tuple(op, fc.integer({ min: 0, max: 50 })).map(
    ([o, v]) =>
      (p: string) =>
        `${p}st.city ${o} 'city ${v}'`,
  ),
  fc.tuple(op, timestamp).map(
    ([o, v]) =>
      (p: string) =>
        `${p}t ${o} ${v}`,
  ),
  fc.tuple(op, instant).map(
    ([o, v]) =>
      (p: string) =>
        `${p}tz ${o} ${v}`,
  ),
  fc.tuple(fc.constantFrom('t', 'tz'), op, date).map(
    ([c, o, v]) =>
      (p: string) =>
        `${p}${c}::DATE ${o} ${v}`,
  ),
  fc.tuple(fc.constantFrom('t', 'tz'), fc.constantFrom('hour', 'day', 'week', 'month', 'year'), op, date).map(
    ([c, unit, o, v]) =>
      (p: string) =>
        `date_trunc('${unit}', ${p}${c}) ${o} ${v}`,
  ),
  fc.tuple(zone, op, timestamp).map(
    ([z, o, v]) =>
      (p: string) =>
        `${p}tz AT TIME ZONE '${z}' ${o} ${v}`,
  ),
  fc.tuple(fc.constantFrom('1 hour', '2 days', '1 month', '90 minutes'), op, timestamp).map(
    ([w, o, v]) =>
      (p: string) =>
        `time_bucket(INTERVAL '${w}', ${p}t) ${o} ${v}`,
  ),
  fc.tuple(op, instant).map(
    ([o, v]) =>
      (p: string) =>
        `time_bucket(INTERVAL '3 hours', ${p}tz) ${o} ${v}`,
  ),
  fc.tuple(op, instant).map(
    ([o, v]) =>
      (p: string) =>
        `epoch_ms(${p}tz) ${o} epoch_ms(${v})`,
  ),
  fc.tuple(fc.constantFrom('t', 'tz', 'day'), op, fc.constantFrom(1969, 1970, 2025, 2026, 2027)).map(
    ([c, o, v]) =>
      (p: string) =>
        `year(${p}${c}) ${o} ${v}`,
  ),
  fc.tuple(op, fc.integer({ min: -40, max: 200 })).map(
    ([o, v]) =>
      (p: string) =>
        `${p}day ${o} DATE '1970-01-01' + ${v}`,
  ),
  fc.tuple(fc.constantFrom('=', 'IN'), uuid, uuid).map(
    ([o, v, w]) =>
      (p: string) =>
        o === '=' ? `${p}u = ${v}` : `${p}u IN (${v}, ${w})`,
  ),
  fc
    .tuple(fc.constantFrom('i', 's', 'd', 'tz', 'st', 'st.city', 'st.deep', 'st.deep.x', 'l', 'b', 'u'), fc.boolean())
    .map(
      ([c, not]) =>
        (p: string) =>
          `${p}${c} IS ${not ? 'NOT ' : ''}NULL`,
    ),
  fc.boolean().map((not) => (p: string) => (not ? `NOT ${p}b` : `${p}b`)),
  small.map((v) => (p: string) => `${p}i + 1 > ${v}`),
  small.map((v) => (p: string) => `list_contains(${p}l, ${v})`),
)

type Condition = (p: string) => string
const condition: fc.Arbitrary<Condition> = fc.letrec<{ any: Condition }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { arbitrary: comparison, weight: 4 },
    {
      arbitrary: fc.tuple(tie('any'), tie('any')).map(
        ([a, z]) =>
          (p: string) =>
            `(${a(p)} AND ${z(p)})`,
      ),
      weight: 2,
    },
    {
      arbitrary: fc.tuple(tie('any'), tie('any')).map(
        ([a, z]) =>
          (p: string) =>
            `(${a(p)} OR ${z(p)})`,
      ),
      weight: 1,
    },
    { arbitrary: tie('any').map((a) => (p: string) => `NOT (${a(p)})`), weight: 1 },
  ),
})).any

const column = fc.constantFrom(
  ...Object.keys(SAMPLE_COLUMNS),
  'st.city',
  'st.zip',
  'st.deep.x',
  'st.deep',
  "mp['k']",
  'l[2]',
)
const columns = fc.oneof(
  fc.constant('*'),
  fc.array(column, { minLength: 1, maxLength: 4 }).map((list) => list.map((each, n) => `${each} AS c${n}`).join(', ')),
)
const sortKey = fc
  .tuple(
    fc.constantFrom('i', 's', 't', 'tz', 'm', 'day', 'big', 'd', 'st.zip', 'i % 7'),
    fc.constantFrom('', ' DESC', ' NULLS FIRST', ' DESC NULLS FIRST'),
  )
  .map((parts) => parts.join(''))
const aggregates = `count(*), count(i), sum(i), min(s), max(tz), count(DISTINCT day), sum(m), max(st.city), count(l)`

export type SampleStatement = {
  readonly sql: string
  /** Any so many rows of these are an answer. */
  readonly anyOf?: { readonly all: string; readonly rowsMax: number }
}

const limit = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.constantFrom('', ' OFFSET 3'))

/** Statements over the tables `$t` and `$o` (few rows): names are put in later. */
export const anyStatement: fc.Arbitrary<SampleStatement> = fc.oneof(
  condition.map((w) => ({ sql: `SELECT ${aggregates} FROM $t WHERE ${w('')}` })),
  fc.tuple(columns, condition, sortKey, limit).map(([c, w, k, [n, o]]) => ({
    sql: `SELECT ${c} FROM $t WHERE ${w('')} ORDER BY ${k}, id LIMIT ${n}${o}`,
  })),
  fc
    .tuple(columns, sortKey, limit)
    .map(([c, k, [n, o]]) => ({ sql: `SELECT ${c} FROM $t ORDER BY ${k}, id LIMIT ${n}${o}` })),
  fc.tuple(condition, fc.integer({ min: 0, max: 30 }), fc.boolean()).map(([w, n, isFiltered]) => {
    const from = `FROM $t${isFiltered ? ` WHERE ${w('')}` : ''}`
    return { sql: `SELECT * ${from} LIMIT ${n}`, anyOf: { all: `SELECT * ${from}`, rowsMax: n } }
  }),
  fc.tuple(columns, condition).map(([c, w]) => ({ sql: `SELECT ${c} FROM $t WHERE ${w('')}` })),
  fc.tuple(columns, small).map(([c, v]) => ({ sql: `SELECT ${c} FROM $t WHERE id = ${v}` })),
  fc
    .constantFrom('min(i), max(tz)', 'max(s)', 'min(day), max(day), min(m)', 'max(d)', 'min(u)', 'max(f), min(t)')
    .map((list) => ({
      sql: `SELECT ${list} FROM $t`,
    })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `SELECT count(*), sum(x.i), max(y.s), sum(y.m) FROM $t x JOIN $t y ON x.id = y.id WHERE ${a('x.')} AND ${z('y.')}`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `SELECT count(*), sum(x.i), max(y.s), count(y.tz) FROM $t x LEFT JOIN $t y ON x.id = y.id + 1 AND ${z('y.')} WHERE ${a('x.')}`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `WITH a AS (SELECT * FROM $t WHERE ${a('')}), z AS (SELECT id, s, st FROM $t WHERE ${z('')}) SELECT count(*), sum(a.i), max(z.s), max(z.st.city) FROM a JOIN z USING (id)`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `WITH a AS (SELECT * FROM $t WHERE ${a('')}) SELECT count(*), sum(i) FROM a UNION ALL SELECT count(s), max(i) FROM a WHERE ${z('')}`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `SELECT i AS x, s AS y FROM $t WHERE ${a('')} UNION ALL SELECT st.zip, st.city FROM $t WHERE ${z('')}`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `SELECT id FROM $t WHERE ${a('')} EXCEPT SELECT id FROM $t WHERE ${z('')}`,
  })),
  condition.map((w) => ({
    sql: `SELECT id, row_number() OVER (PARTITION BY b ORDER BY i, id) AS n, lag(i) OVER (ORDER BY id) AS before FROM $t WHERE ${w('')} QUALIFY n <= 3`,
  })),
  condition.map((w) => ({
    sql: `SELECT day, b, count(*), sum(i) FROM $t WHERE ${w('')} GROUP BY ROLLUP (day, b) HAVING count(*) > 1`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `SELECT count(*), sum(i) FROM $t WHERE i IN (SELECT st.zip FROM $t WHERE ${a('')}) AND ${z('')}`,
  })),
  fc.tuple(condition, condition).map(([a, z]) => ({
    sql: `SELECT count(*), max(s) FROM $t x WHERE ${a('x.')} AND EXISTS (SELECT 1 FROM $o o WHERE o.k = x.i AND ${z('x.')})`,
  })),
  condition.map((w) => ({
    sql: `SELECT count(*), min(s) FROM $t WHERE tz > (SELECT max(tz) FROM $t WHERE ${w('')}) - INTERVAL 3 DAY`,
  })),
  condition.map((w) => ({
    sql: `SELECT o.k, q.id, q.s FROM $o o, LATERAL (SELECT id, s FROM $t r WHERE r.i = o.k AND ${w('r.')} ORDER BY id LIMIT 2) q`,
  })),
  condition.map((w) => ({
    sql: `SELECT o.name, count(*), sum(r.m) FROM $t r JOIN $o o ON r.i = o.k WHERE ${w('r.')} GROUP BY o.name`,
  })),
  fc.tuple(date, op).map(([v, o]) => ({
    sql: `SELECT count(*) FROM (SELECT t AS tz, tz AS t, i FROM $t) WHERE tz::DATE ${o} ${v} OR t::DATE = ${v}`,
  })),
  fc.tuple(columns, condition, sortKey, limit).map(([c, w, k, [n]]) => ({
    sql: `SELECT * FROM (SELECT ${c === '*' ? '*' : `id, ${c}`} FROM $t WHERE ${w('')} ORDER BY ${k}, id LIMIT ${n}) q`,
  })),
)
