-- grouping
SELECT country, channel, sum(amount) FROM sales GROUP BY GROUPING SETS ((country, channel), (country), ())
SELECT country, channel, sum(amount), GROUPING(country, channel) FROM sales GROUP BY ROLLUP (country, channel)
SELECT country, channel, day, count(*) FROM sales GROUP BY CUBE (country, channel, day)
SELECT country, count(*) FROM sales GROUP BY country HAVING count(*) > 50 ORDER BY ALL
SELECT country, channel, avg(price) FROM sales GROUP BY ALL ORDER BY ALL
SELECT count(DISTINCT country), count(*) FILTER (WHERE amount > 50), sum(DISTINCT amount) FROM sales
SELECT list(amount ORDER BY at_time DESC)[:3], string_agg(DISTINCT country, ',' ORDER BY country) FROM sales
SELECT mode(country) FILTER (WHERE country = 'de'), median(amount), quantile_cont(price, [0.25, 0.5]), percentile_cont(0.9) WITHIN GROUP (ORDER BY price), mad(price) FROM sales
SELECT arg_max(country, at_time), max_by(channel, at_time), min(amount, 3), max(amount, 2), arg_min(user_id, at_time, 2) FROM sales
SELECT histogram(channel), approx_count_distinct(country), bool_and(amount > 0), bit_xor(amount), product(1 + price / 100) > 1 FROM sales
SELECT round(regr_slope(price, amount), 9), round(corr(price, amount), 9), round(covar_samp(price, amount), 9), round(skewness(amount), 9), round(kurtosis(amount), 9), round(entropy(country), 9) FROM sales
SELECT any_value(country) FROM sales WHERE country = 'de'
SELECT day, count(*) FROM sales WHERE country IS DISTINCT FROM 'de' GROUP BY 1 ORDER BY 1
-- windows
SELECT user_id, ROW_NUMBER() OVER (PARTITION BY country ORDER BY at_time), RANK() OVER (ORDER BY amount), DENSE_RANK() OVER (ORDER BY amount), NTILE(4) OVER (ORDER BY at_time), PERCENT_RANK() OVER (ORDER BY amount), CUME_DIST() OVER (ORDER BY amount) FROM sales
SELECT at_time, LEAD(amount) OVER w, LAG(amount, 2, -1) OVER w, FIRST_VALUE(amount) OVER w, LAST_VALUE(amount) OVER w, NTH_VALUE(amount, 3) OVER w FROM sales WINDOW w AS (PARTITION BY channel ORDER BY at_time)
SELECT at_time, sum(amount) OVER (ORDER BY at_time ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM sales
SELECT at_time, sum(amount) OVER (ORDER BY at_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) FROM sales
SELECT at_time, avg(amount) OVER (ORDER BY at_time RANGE BETWEEN INTERVAL 30 MINUTE PRECEDING AND INTERVAL 30 MINUTE FOLLOWING EXCLUDE CURRENT ROW) FROM sales
SELECT amount, count(*) OVER (ORDER BY amount GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES) FROM sales
SELECT amount, sum(amount) OVER (ORDER BY amount ROWS UNBOUNDED PRECEDING EXCLUDE GROUP) FROM sales ORDER BY amount, user_id
SELECT user_id, last_value(user_id IGNORE NULLS) OVER (ORDER BY at_time) FROM sales
SELECT at_time, count(DISTINCT country) OVER (ORDER BY at_time ROWS 10 PRECEDING), median(price) OVER (ORDER BY at_time ROWS 5 PRECEDING), max(price) FILTER (WHERE channel = 'web') OVER (PARTITION BY day) FROM sales
SELECT at_time, list(amount ORDER BY amount DESC) OVER (ORDER BY at_time ROWS 2 PRECEDING) FROM sales
SELECT country, at_time, amount FROM sales QUALIFY ROW_NUMBER() OVER (PARTITION BY country ORDER BY at_time DESC) = 1
SELECT country, sum(amount) AS s, RANK() OVER (ORDER BY sum(amount) DESC) FROM sales GROUP BY country QUALIFY rank() OVER (ORDER BY sum(amount) DESC) <= 2
SELECT *, amount - avg(amount) OVER (PARTITION BY channel) AS off FROM sales WHERE day = DATE '2026-03-29' QUALIFY off > 40
SELECT sum(amount) OVER (w ROWS 3 PRECEDING) FROM sales WINDOW w AS (ORDER BY at_time)
-- pivot
PIVOT sales ON channel USING sum(amount) GROUP BY country
PIVOT sales ON channel IN ('web', 'shop') USING sum(amount) GROUP BY country ORDER BY country
PIVOT sales ON country, channel USING sum(amount) AS s, count(*) AS n GROUP BY day
PIVOT sales ON country || '-' || channel USING avg(price)::INTEGER GROUP BY day ORDER BY day LIMIT 2
PIVOT (SELECT day, country, amount FROM sales WHERE amount > 20) ON country USING max(amount)
PIVOT (SELECT country, channel, amount FROM sales) ON channel USING max(amount) ORDER BY ALL
WITH big AS (SELECT * FROM sales WHERE amount > 50) PIVOT big ON day USING count(*) GROUP BY channel
SELECT * FROM (PIVOT sales ON channel USING sum(amount) GROUP BY country) p WHERE web > 100
WITH p AS (PIVOT sales ON channel USING sum(amount) GROUP BY country), q AS (SELECT * FROM p WHERE country IS NOT NULL) PIVOT q ON country USING sum(web) GROUP BY shop
SELECT (SELECT max(web) FROM (PIVOT sales ON channel USING sum(amount) GROUP BY country)) AS m
PIVOT (PIVOT sales ON channel USING sum(amount) GROUP BY day, country) ON country USING sum(web) GROUP BY day
FROM (PIVOT sales ON channel USING sum(amount) GROUP BY country) SELECT country, shop ORDER BY ALL
SELECT * FROM (SELECT country, channel, amount FROM sales) PIVOT (sum(amount) AS s, count(*) AS n FOR channel IN ('web', 'shop')) ORDER BY ALL
FROM sales PIVOT (sum(amount) FOR channel IN ('web') country IN ('de', 'fr') GROUP BY day)
PIVOT sales ON amount > 50 USING count(*) GROUP BY channel
PIVOT sales ON year(day), channel IN ('web') USING sum(amount) GROUP BY country
PIVOT sales USING sum(amount) GROUP BY country
PIVOT nothing ON a USING sum(b)
PIVOT nothing ON a USING sum(b) AS s, count(*) AS n GROUP BY c ORDER BY c LIMIT 3
SELECT * FROM (PIVOT nothing ON a, b GROUP BY c)
SELECT * FROM (SELECT country, channel, amount FROM sales) PIVOT (sum(amount) FOR channel IN ('web') country IN ('de'))
PIVOT sales ON channel USING sum(amount) GROUP BY country UNION ALL SELECT 'x', 1, 2
UNPIVOT (SELECT country, sum(amount) AS total, max(amount) AS largest FROM sales GROUP BY country) ON total, largest INTO NAME what VALUE v
UNPIVOT (SELECT day, avg(price) AS a, min(price) AS b FROM sales GROUP BY day) ON COLUMNS(* EXCLUDE (day)) INTO NAME n VALUE v
SELECT * FROM (SELECT 1 AS a, NULL::INTEGER AS b) UNPIVOT INCLUDE NULLS (v FOR n IN (a, b))
PIVOT sales ON channel USING sum(amount)
  GROUP BY country
-- lists, structs, maps
SELECT numbers[1], numbers[-1], numbers[1:2], len(numbers), list_sum(numbers), list_contains(numbers, 2) FROM sales
SELECT [x + 1 FOR x IN numbers IF x > 0], list_transform(numbers, lambda x: x * 2), list_filter(numbers, lambda x: x % 2 = 0), list_reduce(numbers, lambda a, b: a + b) FROM sales
SELECT list_transform(numbers, lambda x, i: x * i), list_zip(numbers, [1, 2]), flatten([numbers, numbers]), list_sort(numbers), list_distinct(numbers) FROM sales
SELECT unnest(numbers), user_id FROM sales
SELECT unnest(item), amount FROM sales
SELECT unnest(item, recursive := true) FROM sales
SELECT item.name, item['size'], item.* FROM sales
SELECT struct_pack(a := amount, b := country), {'x': item, 'y': [day]}, row(1, 'a'), struct_insert(item, z := 1) FROM sales
SELECT tags['host'], tags['nothing'], map_keys(tags), map_values(tags), cardinality(tags), map_contains(tags, 'env') FROM sales
SELECT map_from_entries([('a', amount)]), map_concat(tags, MAP {'x': 'y'}), map_entries(tags) FROM sales
SELECT country FROM sales WHERE tags['host'] = 'h1' AND (tags['env'] ~ 'pr.*' OR item.size > 2) AND NOT tags['host'] SIMILAR TO 'x.*'
SELECT list_aggregate(numbers, 'max'), array_to_string(numbers, '-'), list_slice(numbers, 1, 1), range(3), generate_series(1, 3) FROM sales LIMIT 3
SELECT n, count(*) FROM sales, unnest(numbers) u(n) GROUP BY n ORDER BY n
SELECT list(DISTINCT item.name ORDER BY item.name), list(item ORDER BY at_time) FILTER (WHERE item.size = 1)[1] FROM sales
SELECT array_value(1, 2)::INTEGER[2], list_cosine_similarity([1.0, 2.0], [2.0, 1.0]), list_grade_up([3, 1, 2])
-- JSON
SELECT extra->>'n', extra->'tags'->>'host', extra->>'$.list[1]', json_extract(extra, '$.tags'), (extra::JSON).n FROM sales
SELECT json_extract_string(extra, ['$.n', '$.tags.host']), json_keys(extra), json_type(extra, '$.list'), json_array_length(extra, '$.list') FROM sales
SELECT json_group_array(country), json_object('a', count(*)), to_json({'a': 1}), json_merge_patch('{"a": 1}', '{"b": 2}') FROM sales
SELECT (extra->>'n')::INTEGER AS n FROM sales WHERE (extra->>'n')::INTEGER BETWEEN 10 AND 20 ORDER BY n
SELECT json_transform(extra, '{"n": "INTEGER", "list": ["INTEGER"]}'), json_contains(extra, '{"n": 3}'), json_valid('{') FROM sales LIMIT 5
SELECT e.key, e.value, e.type FROM sales, json_each(extra) e WHERE user_id = 1
SELECT t.fullkey, t.atom FROM sales, json_tree(extra) t WHERE user_id = 2
SELECT from_json('{"a": [1, 2]}', '{"a": ["BIGINT"]}'), '[1, 2]'::JSON, json_structure('{"a": 1}')
-- text and regular expressions
SELECT regexp_matches(country, '^d'), regexp_extract(channel, '(w)(e)', 2), regexp_replace(channel, '[aeiou]', '*', 'g'), regexp_extract_all(channel, '.o'), string_split_regex(channel, 'o') FROM sales
SELECT regexp_extract('2026-03-28', '(\d+)-(\d+)', ['y', 'm']), regexp_full_match('abc', 'a.c'), regexp_escape('a.b'), 'abc' ~ 'b', 'abc' !~ 'b', 'abc' SIMILAR TO 'a.c'
SELECT country FROM sales WHERE country ~ '^(de|fr)$' AND channel ILIKE 'W_B' AND country NOT LIKE 'f%' AND country GLOB 'd*'
SELECT upper(country), country[1], channel[2:3], left(channel, 2), lpad(country, 4, '.'), reverse(channel), channel || '!' || amount, concat_ws('-', country, channel), format('{}:{:05.2f}', country, price), printf('%d', amount) FROM sales
SELECT channel.upper(), strpos(channel, 'e'), split_part('a-b-c', '-', 2), levenshtein(channel, 'wob'), jaccard(channel, 'web'), trim('  x '), replace(channel, 'e', '3'), starts_with(channel, 'w'), contains(channel, 'h'), chr(65), ascii('A'), md5(channel), hash(1) IS NOT NULL, strip_accents('é'), translate(channel, 'we', 'xy') FROM sales LIMIT 4
SELECT E'a\nb', $$it's$$, 'it''s'
-- joins
SELECT s.country, r.rate FROM sales s JOIN rates r USING (country)
SELECT s.user_id, r.rate FROM sales s ASOF JOIN rates r ON s.country = r.country AND s.day >= r.since
SELECT s.user_id, r.rate FROM sales s ASOF JOIN (SELECT country, since AS day, rate FROM rates) r USING (country, day)
SELECT s.user_id, r.since FROM sales s ASOF LEFT JOIN rates r ON s.country = r.country AND s.day > r.since
SELECT * FROM rates POSITIONAL JOIN (SELECT DISTINCT channel FROM sales ORDER BY 1)
SELECT r.country, x.m FROM rates r, LATERAL (SELECT max(amount) AS m FROM sales s WHERE s.country = r.country) x
SELECT r.*, x.amount FROM rates r LEFT JOIN LATERAL (SELECT amount FROM sales s WHERE s.country = r.country ORDER BY at_time DESC LIMIT 1) x ON true
SELECT * FROM rates r SEMI JOIN sales s ON r.country = s.country
SELECT * FROM rates r ANTI JOIN sales s USING (country)
SELECT a.country, b.country FROM rates a CROSS JOIN rates b
SELECT count(*) FROM sales a FULL OUTER JOIN rates b ON a.country = b.country AND a.day = b.since
SELECT count(*) FROM sales NATURAL JOIN rates
SELECT count(*) FROM sales a JOIN sales b ON a.user_id = b.user_id + 1 AND a.amount > b.amount
SELECT country FROM rates WHERE EXISTS (FROM sales s WHERE s.country = rates.country) AND rate > ALL (SELECT 1) AND country IN (SELECT country FROM sales)
SELECT country, (SELECT count(*) FROM sales s WHERE s.country = r.country) FROM rates r
SELECT r.country, i FROM rates r, range(2) t(i)
-- common table expressions
WITH RECURSIVE t(n, f) AS (SELECT 1, 1 UNION ALL SELECT n + 1, f * (n + 1) FROM t WHERE n < 10) SELECT * FROM t
WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT (n * 3) % 7 FROM t) SELECT count(*) FROM t
WITH RECURSIVE t(k, n) USING KEY (k) AS (SELECT 1, 1 UNION SELECT k, n + 1 FROM t WHERE n < 5) SELECT * FROM t
WITH a AS MATERIALIZED (SELECT country, sum(amount) AS s FROM sales GROUP BY 1), b AS NOT MATERIALIZED (SELECT max(s) AS m FROM a) SELECT a.* FROM a, b WHERE s = m
WITH a(x, y) AS (VALUES (1, 'a'), (2, 'b')) FROM a
WITH sales AS (SELECT 1 AS only) FROM sales
-- stars
SELECT * EXCLUDE (extra, tags, numbers, item) FROM sales LIMIT 400
SELECT * REPLACE (amount * 2 AS amount) FROM sales
SELECT * RENAME (amount AS money) FROM sales
SELECT * LIKE 'c%' FROM sales
SELECT COLUMNS('^(amount|price)$') FROM sales
SELECT min(COLUMNS(* EXCLUDE (extra, tags, numbers, item))) FROM sales
SELECT COLUMNS(lambda c: c LIKE '%nt%') FROM sales
SELECT sum(COLUMNS(['amount', 'price'])) AS "total_\0" FROM sales
SELECT coalesce(*COLUMNS(['country', 'channel'])) AS c FROM sales
SELECT sales.* EXCLUDE (extra, tags), r.rate FROM sales JOIN rates r USING (country)
SELECT COLUMNS(*)::VARCHAR FROM rates
-- from first, values, sets
FROM sales
FROM sales SELECT country, count(*) GROUP BY ALL
FROM (FROM sales WHERE amount > 90) SELECT country WHERE channel = 'web'
VALUES (1, 'a'), (2, 'b')
SELECT * FROM (VALUES (1, 'a'), (2, NULL)) v(i, t)
TABLE rates
SELECT country FROM sales UNION SELECT country FROM rates
SELECT country FROM sales INTERSECT SELECT country FROM rates
SELECT country FROM rates EXCEPT SELECT country FROM sales
SELECT country FROM rates EXCEPT ALL SELECT 'de'
SELECT country, rate FROM rates UNION BY NAME SELECT amount AS rate, channel FROM sales LIMIT 500
SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS b
(SELECT 1 UNION ALL SELECT 2) UNION ALL (SELECT 3) ORDER BY 1 DESC LIMIT 2
SELECT DISTINCT ON (country) country, amount FROM sales ORDER BY country, at_time
SELECT country, amount FROM sales ORDER BY country NULLS FIRST, amount DESC NULLS LAST, user_id LIMIT 10 OFFSET 5
SELECT amount FROM sales ORDER BY amount LIMIT 10%
SELECT x: amount + 1, y: x * 2 FROM sales WHERE x > 90
SELECT amount + 1 AS x, x * 2 AS y FROM sales WHERE x > 90 GROUP BY ALL HAVING y > 5
SELECT #1 FROM rates
-- sampling
SELECT count(*) BETWEEN 0 AND 400 FROM sales USING SAMPLE 10%
SELECT count(*) FROM sales USING SAMPLE 20 ROWS
SELECT count(*) FROM (FROM sales USING SAMPLE reservoir(30 ROWS) REPEATABLE (42))
SELECT count(*) >= 0 FROM sales TABLESAMPLE bernoulli(50%)
SELECT count(*) >= 0 FROM sales TABLESAMPLE system(50%)
-- time
SELECT date_trunc('hour', at_time), time_bucket(INTERVAL '15 minutes', at_time), count(*) FROM sales GROUP BY ALL ORDER BY ALL
SELECT at_time AT TIME ZONE 'Europe/Berlin', extract('hour' FROM at_time), epoch_ms(at_time), strftime(day, '%d.%m.%Y'), dayname(day), last_day(day), day + INTERVAL 1 MONTH, age(TIMESTAMP '2026-05-01', day::TIMESTAMP), date_diff('day', day, DATE '2026-05-01'), make_date(2026, 1, 2) FROM sales
SELECT count(*) FROM sales WHERE at_time >= TIMESTAMPTZ '2026-03-29 00:00:00Z' AND at_time < TIMESTAMPTZ '2026-03-30 00:00:00+02' AND day IN ('2026-03-29', '2026-03-30')
SELECT generate_series, count(user_id) FROM generate_series(DATE '2026-03-28', DATE '2026-04-03', INTERVAL 1 DAY) g LEFT JOIN sales ON day = generate_series GROUP BY 1 ORDER BY 1
SELECT timezone('America/New_York', at_time), isodow(day), week(day), quarter(day), to_days(2), INTERVAL '1 month 2 days', '12:34'::TIME, date_part(['year', 'month'], day) FROM sales LIMIT 7
-- expressions
SELECT CASE WHEN amount > 50 THEN 'high' WHEN amount IS NULL THEN '?' ELSE 'low' END, coalesce(country, '-'), nullif(channel, 'web'), if(amount > 3, 1, 0), ifnull(country, 'x'), greatest(1, amount), least(1, amount) FROM sales
SELECT amount BETWEEN 10 AND 20, amount NOT IN (1, 2), country IS NULL, NOT (amount > 5), amount % 7, amount // 3, amount / 4, 2 ** 3, -amount, ~amount, amount & 6, amount << 1, @(-5), 5! FROM sales
SELECT TRY_CAST('x' AS INTEGER), CAST('1.50' AS DECIMAL(10, 2)), '5'::TINYINT, 1e3, 0xff, 1_000, true AND NULL, 'NaN'::DOUBLE, 170141183460469231731687303715884105727, TRY(CAST('x' AS INTEGER)), NULL
SELECT round(price, 1), floor(price), sqrt(amount), ln(2), log(100), pi(), sin(1), gcd(12, 18), factorial(5), bit_count(7), sign(-3), trunc(1.9), pow(2, 10), isnan('nan'::DOUBLE), even(3) FROM sales LIMIT 3
SELECT count(*) FROM sales WHERE (country, channel) IN (('de', 'web'), ('fr', 'shop'))
SELECT count(*) FROM sales WHERE (country, amount) = ('de', 0) OR amount = ANY ([1, 2]) OR 5 < ALL (SELECT 6)
SELECT typeof(amount), typeof(item), typeof(tags), typeof(extra) FROM sales LIMIT 1
SELECT alias(amount), 'ünïcode' AS "né", 1 AS "a""b" FROM sales LIMIT 1
-- about tables
DESCRIBE SELECT country, sum(amount) AS s FROM sales GROUP BY 1
DESCRIBE PIVOT sales ON channel USING sum(amount) GROUP BY country
SUMMARIZE rates
SELECT * EXCLUDE (std) FROM (SUMMARIZE SELECT amount, price FROM sales)
SELECT column_name, approx_unique FROM (SUMMARIZE rates)
SELECT column_name FROM (DESCRIBE rates)
