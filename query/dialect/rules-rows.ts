/** Functions of a row that other systems have: conditions, texts, lists, JSON, bits. */
import { literalText } from './call.ts'
import type { Piece } from './pieces.ts'
import { type CallRewrite, filled, MANY, type Rule, rule } from './rule.ts'

/** `multiIf(c1, v1, c2, v2, …, otherwise)` */
function multiIf(rewrite: CallRewrite): Piece[] {
  const { call, own, render, refuse } = rewrite
  if (call.args.length % 2 === 0) refuse('expected pairs of a condition and a value, and one more value at the end')
  const pieces: Piece[] = [own('CASE')]
  for (let at = 0; at + 1 < call.args.length; at += 2)
    pieces.push(own(' WHEN '), ...render(call.args[at].range), own(' THEN '), ...render(call.args[at + 1].range))
  return [...pieces, own(' ELSE '), ...render(call.args.at(-1)!.range), own(' END')]
}

/** `decode(x, a, b, …, otherwise)`, where NULL is equal to NULL. */
function decode(rewrite: CallRewrite): Piece[] {
  const { call, own, render } = rewrite
  const [subject, ...rest] = call.args
  const pieces: Piece[] = [own('CASE')]
  for (let at = 0; at + 1 < rest.length; at += 2) {
    const value = render(rest[at].range)
    pieces.push(own(' WHEN ('), ...render(subject.range), own(') IS NOT DISTINCT FROM ('), ...value, own(') THEN '))
    pieces.push(...render(rest[at + 1].range))
  }
  if (rest.length % 2 === 1) pieces.push(own(' ELSE '), ...render(rest.at(-1)!.range))
  return [...pieces, own(' END')]
}

/** `JSONExtractString(json, 'a', 'b')` and PostgreSQL's `json_extract_path_text`: keys one after the other. */
function jsonPath(template: string) {
  return (rewrite: CallRewrite): Piece[] => {
    const { call, own, render, tokens } = rewrite
    const [before, after] = template.split('@')
    const keys = call.args.slice(1).map(({ range }) => {
      const text = literalText(tokens, range)
      if (text !== undefined) return [own(`->'$."${text.replaceAll('"', '\\"').replaceAll("'", "''")}"'`)]
      // ClickHouse counts elements from 1, JSON from 0.
      return [own('->CAST(('), ...render(range), own(') - 1 AS BIGINT)')]
    })
    return [own(`${before}(CAST(`), ...render(call.args[0].range), own(' AS JSON)'), ...keys.flat(), own(`)${after}`)]
  }
}

/** A URL's part by a regular expression; NULL where there is none. */
const urlPart = (pattern: string) => `nullif(regexp_extract({1}, '${pattern}', 1), '')`
const HOST = '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)'

const CASTS: readonly (readonly [string, string])[] = [
  ['Int8', 'TINYINT'],
  ['Int16', 'SMALLINT'],
  ['Int32', 'INTEGER'],
  ['Int64', 'BIGINT'],
  ['UInt8', 'UTINYINT'],
  ['UInt16', 'USMALLINT'],
  ['UInt32', 'UINTEGER'],
  ['UInt64', 'UBIGINT'],
  ['Float32', 'FLOAT'],
  ['Float64', 'DOUBLE'],
  ['String', 'VARCHAR'],
  ['UUID', 'UUID'],
]

export const ROWS: readonly Rule[] = [
  // Conditions
  rule('if iff', 3, 'CASE WHEN {1} THEN {2} ELSE {3} END'),
  rule('multiIf', [3, MANY], multiIf),
  rule('decode', [3, MANY], decode),
  rule('ifNull nvl', 2, 'coalesce({1}, {2})'),
  rule('nvl2', 3, 'CASE WHEN ({1}) IS NOT NULL THEN {2} ELSE {3} END'),
  rule('zeroifnull', 1, 'coalesce({1}, 0)'),
  rule('nullifzero', 1, 'nullif({1}, 0)'),
  rule('isNull', 1, '(({1}) IS NULL)'),
  rule('isNotNull', 1, '(({1}) IS NOT NULL)'),
  rule('assumeNotNull', 1, '({1})'),
  rule('equal_null', 2, '(({1}) IS NOT DISTINCT FROM ({2}))'),
  rule('safe_divide', 2, '(({1}) / nullif({2}, 0))'),
  rule('div0', 2, 'CASE WHEN ({2}) = 0 THEN 0 ELSE ({1}) / ({2}) END'),
  rule('div0null', 2, 'CASE WHEN coalesce({2}, 0) = 0 THEN 0 ELSE ({1}) / ({2}) END'),
  rule('intDiv div', 2, '(({1}) // ({2}))'),
  rule('intDivOrZero', 2, 'coalesce(({1}) // nullif({2}, 0), 0)'),
  rule('modulo', 2, '(({1}) % ({2}))'),
  rule('truncate', 1, 'trunc'),
  rule('is_nan', 1, 'isnan'),
  rule('is_finite', 1, 'isfinite'),
  rule('is_infinite', 1, 'isinf'),
  rule('rand', 0, 'random'),
  rule('square', 1, 'pow({1}, 2)'),
  rule(
    'width_bucket',
    4,
    'CASE WHEN ({1}) < ({2}) THEN 0 WHEN ({1}) >= ({3}) THEN ({4}) + 1 ELSE CAST(floor((({1}) - ({2})) * ({4}) / (({3}) - ({2}))) AS BIGINT) + 1 END',
  ),
  ...CASTS.map(([name, type]) => rule(`to${name}`, 1, `CAST({1} AS ${type})`)),
  ...CASTS.map(([name, type]) => rule(`to${name}OrNull`, 1, `TRY_CAST({1} AS ${type})`)),
  ...CASTS.slice(0, 10).map(([name, type]) => rule(`to${name}OrZero`, 1, `coalesce(TRY_CAST({1} AS ${type}), 0)`)),
  rule('to_varchar to_json_string json_format toJSONString', 1, (rewrite) =>
    filled(rewrite.call.name === 'to_varchar' ? 'CAST({1} AS VARCHAR)' : 'CAST(to_json({1}) AS VARCHAR)', rewrite),
  ),
  rule('try_to_number try_to_double', 1, 'TRY_CAST({1} AS DOUBLE)'),
  rule('try_to_timestamp', 1, 'TRY_CAST({1} AS TIMESTAMP)'),
  rule('try_to_date', 1, 'TRY_CAST({1} AS DATE)'),
  // Bits
  rule('bitwise_and bitand bitAnd', 2, '(({1}) & ({2}))'),
  rule('bitwise_or bitor bitOr', 2, '(({1}) | ({2}))'),
  rule('bitwise_xor bitxor bitXor', 2, 'xor({1}, {2})'),
  rule('bitwise_not bitnot bitNot', 1, '(~({1}))'),
  rule('bitwise_left_shift bitShiftLeft bitshiftleft', 2, '(({1}) << ({2}))'),
  rule('bitwise_right_shift bitShiftRight bitshiftright', 2, '(({1}) >> ({2}))'),
  rule('bitCount', 1, 'bit_count'),
  // Texts
  rule('regexp_like regexp_contains match', [2, 3], 'regexp_matches'),
  rule('rlike', 2, 'regexp_full_match'),
  rule('regexp_count', 2, 'len(regexp_extract_all({1}, {2}))'),
  rule('regexp_substr', 2, "nullif(regexp_extract({1}, {2}), '')"),
  rule('regexp_split', 2, 'string_split_regex'),
  rule('replaceRegexpAll', 3, "regexp_replace({1}, {2}, {3}, 'g')"),
  rule('replaceRegexpOne', 3, 'regexp_replace({1}, {2}, {3})'),
  rule('replaceAll', 3, 'replace'),
  rule('splitByChar splitByString', 2, 'string_split({2}, {1})'),
  rule('splitByRegexp', 2, 'string_split_regex({2}, {1})'),
  rule('startsWith', 2, 'starts_with'),
  rule('endsWith', 2, 'ends_with'),
  rule('contains_string', 2, 'contains'),
  rule('icontains_string contains_substr', 2, 'contains(lower({1}), lower({2}))'),
  rule('positionCaseInsensitive', 2, 'strpos(lower({1}), lower({2}))'),
  rule('locate charindex', 2, 'strpos({2}, {1})'),
  rule('lowerUTF8', 1, 'lower'),
  rule('upperUTF8', 1, 'upper'),
  rule('lengthUTF8 char_length character_length', 1, 'length'),
  rule('substringUTF8', [2, 3], 'substring'),
  rule('textcat', 2, 'concat'),
  rule('empty', 1, '(len({1}) = 0)'),
  rule('notEmpty', 1, '(len({1}) > 0)'),
  rule('levenshtein_distance editDistance', 2, 'levenshtein'),
  rule('hamming_distance', 2, 'hamming'),
  rule('codepoint', 1, 'unicode'),
  rule('space', 1, "repeat(' ', {1})"),
  rule(
    'initcap',
    1,
    "regexp_replace(array_to_string(list_transform(regexp_extract_all(lower({1}), '[\\p{L}\\p{N}]+|[^\\p{L}\\p{N}]+'), lambda w: upper(w[1]) || w[2:]), ''), '', '')",
  ),
  rule('url_extract_host domain', 1, urlPart(HOST)),
  rule('url_extract_protocol protocol', 1, urlPart('^([A-Za-z][A-Za-z0-9+.-]*)://')),
  rule('url_extract_path path', 1, urlPart('^(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?([^?#]*)')),
  rule('url_extract_query queryString', 1, urlPart('[?]([^#]*)')),
  // Lists and maps
  rule('element_at', 2, '({1})[{2}]'),
  rule('has', 2, 'list_contains'),
  rule('hasAny arrays_overlap', 2, 'list_has_any'),
  rule('hasAll', 2, 'list_has_all'),
  rule('indexOf', 2, 'coalesce(list_position({1}, {2}), 0)'),
  rule('array_size', 1, 'len'),
  rule('array_join', 2, 'array_to_string'),
  rule('array_max arrayMax', 1, 'list_max'),
  rule('array_min arrayMin', 1, 'list_min'),
  rule('array_sum arraySum', 1, 'list_sum'),
  rule('array_average arrayAvg', 1, 'list_avg'),
  rule('array_union', 2, 'list_distinct(list_concat({1}, {2}))'),
  rule('array_except', 2, 'list_distinct(list_filter({1}, lambda e: NOT list_contains({2}, e)))'),
  rule('array_remove', 2, 'list_filter({1}, lambda e: e IS DISTINCT FROM ({2}))'),
  rule('arraySort', 1, 'list_sort'),
  rule('arrayReverseSort', 1, 'list_reverse_sort'),
  rule('arrayDistinct', 1, 'list_distinct'),
  rule('arrayReverse', 1, 'list_reverse'),
  rule('arrayFlatten', 1, 'flatten'),
  rule('arrayConcat', 2, 'list_concat'),
  rule('arrayElement', 2, '({1})[{2}]'),
  rule('arrayJoin', 1, 'unnest'),
  rule('transform', 2, 'list_transform'),
  rule('any_match', 2, 'list_bool_or(list_transform({1}, {2}))'),
  rule('all_match', 2, 'list_bool_and(list_transform({1}, {2}))'),
  rule('none_match', 2, '(NOT list_bool_or(list_transform({1}, {2})))'),
  rule('slice', 3, 'list_slice({1}, {2}, ({2}) + ({3}) - 1)'),
  rule('sequence generate_array', [2, 3], 'generate_series'),
  rule('zip', [2, MANY], 'list_zip'),
  rule('mapKeys', 1, 'map_keys'),
  rule('mapValues', 1, 'map_values'),
  rule('mapContains', 2, 'map_contains'),
  // JSON
  rule('json_extract_scalar get_json_object', 2, 'json_extract_string'),
  rule('json_parse parse_json', 1, 'CAST({1} AS JSON)'),
  rule('json_array_get', 2, "json_extract({1}, '$[' || ({2}) || ']')"),
  rule('json_size json_array_size', 1, 'json_array_length'),
  rule('json_object_keys object_keys jsonb_object_keys', 1, 'json_keys'),
  rule('JSONExtractString', [1, MANY], jsonPath("(@->>'$')")),
  rule('JSONExtractInt', [1, MANY], jsonPath("coalesce(TRY_CAST(@->>'$' AS BIGINT), 0)")),
  rule('JSONExtractFloat', [1, MANY], jsonPath("coalesce(TRY_CAST(@->>'$' AS DOUBLE), 0)")),
  rule('JSONExtractBool', [1, MANY], jsonPath("coalesce(TRY_CAST(@->>'$' AS BOOLEAN), false)")),
  rule('JSONExtractRaw', [1, MANY], jsonPath('@')),
  rule('JSONHas', [2, MANY], jsonPath('(json_type(@) IS NOT NULL)')),
  rule('json_extract_path_text jsonb_extract_path_text', [2, MANY], jsonPath("(@->>'$')")),
]
