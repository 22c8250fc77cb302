/** What the shell completes beside the names of the lake: keywords where one may come, and the functions that people use. */

export const KEYWORDS: readonly string[] =
  `SELECT FROM WHERE GROUP BY ORDER HAVING QUALIFY WINDOW LIMIT OFFSET FETCH DISTINCT ALL AS ON USING AND OR NOT IN IS NULL
  LIKE ILIKE BETWEEN EXISTS CASE WHEN THEN ELSE END CAST TRY_CAST JOIN INNER LEFT RIGHT FULL OUTER CROSS NATURAL LATERAL ASOF SEMI
  ANTI POSITIONAL UNION INTERSECT EXCEPT WITH RECURSIVE MATERIALIZED VALUES TABLE OVER PARTITION ROWS RANGE GROUPS UNBOUNDED PRECEDING
  FOLLOWING CURRENT ROW FILTER ASC DESC NULLS FIRST LAST DESCRIBE SUMMARIZE SHOW TABLES SCHEMAS COLUMNS EXPLAIN ANALYZE PIVOT UNPIVOT
  GROUPING SETS ROLLUP CUBE TABLESAMPLE SAMPLE INTERVAL DATE TIME TIMESTAMP TIMESTAMPTZ EXCLUDE REPLACE RENAME TRUE FALSE COLLATE
  ANY SOME IGNORE RESPECT WITHIN ESCAPE SIMILAR TO FOR`.split(/\s+/)

export const FUNCTIONS: readonly string[] =
  `abs age any_value approx_count_distinct approx_quantile arg_max arg_min array_agg avg bit_and bit_or bool_and bool_or bucket ceil
  coalesce concat concat_ws contains corr count count_if covar_pop cume_dist current_date current_timestamp date_bin date_diff
  date_part date_sub date_trunc day dayofweek dayname dense_rank ends_with epoch epoch_ms exp extract first first_value floor format
  from_json generate_series greatest group_concat hash histogram hour ifnull isfinite isnan json_array_length json_extract
  json_extract_string json_keys json_type json_valid lag last last_value lead least left len length levenshtein list list_aggregate
  list_contains list_distinct list_filter list_sort list_transform ln log lower lpad ltrim make_date make_timestamp map map_entries
  map_keys map_values max max_by md5 median min min_by minute mod mode month monthname now nth_value ntile nullif percent_rank
  percentile_cont percentile_disc power printf product quantile_cont quantile_disc quarter random range rank regexp_extract
  regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse right round row_number
  row_to_json rpad rtrim second sha256 sign split_part sqrt starts_with stddev stddev_pop strftime string_agg string_split strlen
  strpos strptime struct_pack substring sum time_bucket to_days to_hours to_json to_minutes to_timestamp today trim trunc typeof
  unnest upper uuid var_pop variance week width_bucket year`.split(/\s+/)

/** After these a table's name comes. */
export const BEFORE_TABLE: ReadonlySet<string> = new Set([
  'from',
  'join',
  'describe',
  'desc',
  'summarize',
  'table',
  'in',
  'into',
])

/** What ends the list of tables that FROM begins. */
export const AFTER_TABLES: ReadonlySet<string> = new Set(
  'where group order having qualify window limit offset union intersect except select on using set sample tablesample'.split(
    ' ',
  ),
)

/** Names that need quotes. */
export const RESERVED: ReadonlySet<string> = new Set(
  `all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create default deferrable desc
  describe distinct do else end except false fetch for foreign from group having in initially intersect into lambda lateral leading
  limit not null offset on only or order pivot pivot_longer pivot_wider placing primary qualify references returning select show some
  summarize symmetric table then to trailing true union unique unpivot using variadic when where window with`.split(
    /\s+/,
  ),
)
