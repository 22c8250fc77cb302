/**
 * The SQL names of the sketches, for every engine (docs/reference/sketches.md). An aggregate of ours is a macro: DuckDB's own
 * `list` gathers codes or values, in every GROUP BY and on all threads, and a function of `lake/engine/sketch-functions.ts` makes a
 * sketch of each list.
 *
 * The first statement fails unless DuckDB's `hash` is the function that sketches are made of (value-hash.ts). A release
 * with another one must not start: its sketches would not fit those that are stored.
 */
import { PRECISION_USUAL } from './hll.ts'
import { codeOf, hashOfBytes, hashOfDouble, hashOfInteger, hashOfWide, LONG_BYTES } from './value-hash.ts'

/**
 * What each aggregate stands for: a template with {1} {2} for its arguments, {d} for DISTINCT, and {t:…} for FILTER and OVER with
 * one more condition. DuckDB's macros take none of those three; `query/dialect/` puts the template in place of a call that has one.
 */
export type SketchAggregate = { readonly names: readonly string[]; readonly args: number; readonly template: string }

const HLL_BUILD = (precision: string) =>
  `millrace_hll_of(coalesce(list({d}${codeSql('{1}')}){t:({1}) IS NOT NULL}, []::FLOAT[]), ${precision})`
const MERGE = (merged: string) => `${merged}(coalesce(list({d}{1}){t:({1}) IS NOT NULL}, []::BLOB[]))`

/** The names after the first are those of Snowflake, PostgreSQL's hll extension and Trino. */
export const SKETCH_AGGREGATES: readonly SketchAggregate[] = [
  {
    names: ['hll_build', 'hll_accumulate', 'hll_add_agg', 'approx_set'],
    args: 1,
    template: HLL_BUILD(String(PRECISION_USUAL)),
  },
  { names: ['hll_build', 'hll_add_agg', 'approx_set'], args: 2, template: HLL_BUILD('{2}') },
  { names: ['hll_merge', 'hll_combine', 'hll_union_agg'], args: 1, template: MERGE('millrace_hll_merged') },
  {
    names: ['quantile_sketch_build'],
    args: 1,
    template: 'millrace_quantile_of(coalesce(list({d}({1})::DOUBLE){t:({1}) IS NOT NULL}, []::DOUBLE[]))',
  },
  { names: ['quantile_sketch_merge'], args: 1, template: MERGE('millrace_quantile_merged') },
]

const SHORT_TEXT = 'Zürich, 8004'
const LONG_TEXT = 'a value of more than fifteen bytes'

export function sketchSql(): string[] {
  return [
    hashMacro(),
    `SELECT CASE WHEN [${KNOWN.map(({ sql }) => codeSql(sql)).join(', ')}] = [${KNOWN.map(({ code }) => floatSql(code)).join(', ')}]
       THEN true ELSE error('this DuckDB hashes values otherwise than stored sketches do') END`,
    ...aggregateMacros(),
    unionMacro('hll_union', 'millrace_hll_merged'),
    unionMacro('quantile_sketch_union', 'millrace_quantile_merged'),
    'CREATE MACRO hll_cardinality(s) AS hll_estimate(s)',
  ]
}

function aggregateMacros(): string[] {
  const forms = new Map<string, string[]>()
  for (const { names, args, template } of SKETCH_AGGREGATES) {
    const parameters = ['x', 'y'].slice(0, args)
    const body = template
      .replaceAll('{d}', '')
      .replace(/\{t:([^{}]*\{1\}[^{}]*)\}/g, ' FILTER (WHERE $1)')
      .replace(/\{(\d)\}/g, (_, number) => parameters[Number(number) - 1])
    for (const name of names) forms.set(name, [...(forms.get(name) ?? []), `(${parameters.join(', ')}) AS ${body}`])
  }
  return [...forms].map(([name, bodies]) => `CREATE MACRO ${name}${bodies.join(', ')}`)
}

const KNOWN = [
  { sql: '42', code: codeOf(hashOfInteger(42n)) },
  { sql: '-1::TINYINT', code: codeOf(hashOfInteger(-1n)) },
  { sql: '0.1::DOUBLE', code: codeOf(hashOfDouble(0.1)) },
  { sql: "'NaN'::FLOAT", code: codeOf(hashOfDouble(Number.NaN)) },
  { sql: `'${SHORT_TEXT}'`, code: codeOf(hashOfBytes(Buffer.from(SHORT_TEXT))) },
  { sql: `'${LONG_TEXT}'`, code: codeOf(hashOfBytes(Buffer.from(LONG_TEXT))) },
  { sql: '-12.50::DECIMAL(9, 2)', code: codeOf(hashOfWide(-12_500_000_000_000_000_000n)) },
] as const

/** Mixed once more: keys with 32 zero bits at the end would fill some registers and not others. */
function codeSql(value: string): string {
  return `hash(millrace_value_hash(${value}))::FLOAT`
}

function floatSql(code: number): string {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, code)
  return `${view.getFloat32(0)}::FLOAT`
}

/**
 * Equal values of the types that a column may be widened to have one hash. DuckDB knows the type of `x` when it plans: of the
 * CASE one branch is left, which costs what it shows. Every branch must be valid for every type, hence TRY_CAST.
 */
function hashMacro(): string {
  const as = (type: string) => `hash(TRY_CAST(x AS ${type}))`
  const text = bytesHash('TRY_CAST(x AS VARCHAR)', 'strlen', "'x'")
  const bytes = bytesHash('TRY_CAST(x AS BLOB)', 'octet_length', "'x'::BLOB")
  const ifCast = (type: string) => `CASE WHEN TRY_CAST(x AS ${type}) IS NULL THEN ${text} ELSE ${as(type)} END`
  return `CREATE MACRO millrace_value_hash(x) AS CASE
    WHEN typeof(x) IN ('BOOLEAN', 'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'UTINYINT', 'USMALLINT', 'UINTEGER')
      THEN ${as('BIGINT')}
    WHEN typeof(x) IN ('UBIGINT', 'HUGEINT', 'UHUGEINT') THEN ${ifCast('BIGINT')}
    WHEN typeof(x) IN ('FLOAT', 'DOUBLE') THEN ${as('DOUBLE')}
    WHEN typeof(x) IN ('VARCHAR', 'JSON') OR typeof(x) LIKE 'ENUM%' THEN ${text}
    WHEN typeof(x) = 'BLOB' THEN ${bytes}
    WHEN typeof(x) IN ('DATE', 'TIMESTAMP', 'TIMESTAMP_S', 'TIMESTAMP_MS') THEN ${as('TIMESTAMP')}
    WHEN typeof(x) IN ('TIMESTAMP WITH TIME ZONE', 'TIMESTAMP_NS', 'TIME', 'TIME_NS', 'UUID', '"NULL"') THEN hash(x)
    WHEN typeof(x) LIKE 'DECIMAL%' AND TRY_CAST(regexp_extract(typeof(x), ',(\\d+)', 1) AS INTEGER) <= 18
      THEN ${ifCast('DECIMAL(38, 18)')}
    WHEN typeof(x) LIKE 'DECIMAL%' THEN ${text}
    ELSE error('hll_build: expected a plain value, found ' || typeof(x) || '; cast it to VARCHAR')::VARCHAR::UBIGINT END`
}

/** Long ones are looked at twice, the second time one byte further: see `LONG_BYTES`. */
function bytesHash(value: string, length: string, prefix: string): string {
  return `CASE WHEN ${length}(${value}) < ${LONG_BYTES} THEN hash(${value}) ELSE hash(${value}, hash(${prefix} || ${value})) END`
}

function unionMacro(name: string, merged: string): string {
  return `CREATE MACRO ${name}(a, b) AS CASE WHEN a IS NULL AND b IS NULL THEN NULL ELSE ${merged}([a, b]) END`
}
