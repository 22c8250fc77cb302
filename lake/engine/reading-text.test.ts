import { expect, test } from 'vitest'
import { beginsLikeReading } from './reading-text.ts'

test.each([
  'SELECT 1',
  ' \n-- why\n/* a /* nested */ one */ select 1',
  '((SELECT 1) UNION (SELECT 2))',
  'WITH x AS (SELECT 1) FROM x',
  'FROM t',
  'VALUES (1)',
  'TABLE t',
  'DESCRIBE t',
  'SUMMARIZE t',
  'PIVOT t ON a USING count(*)',
  'EXPLAIN SELECT 1',
  'EXPLAIN ANALYZE SELECT 1',
  'EXPLAIN (FORMAT JSON) SELECT 1',
  'EXPLAIN (ANALYZE, FORMAT JSON) (SELECT 1)',
  'explain/**/(format json)--\nfrom t',
])('%s reads', (text) => expect(beginsLikeReading(text)).toBe(true))

test.each([
  '',
  '--',
  '/* SELECT 1',
  "COPY (SELECT 1) TO 'x'",
  '/* /* */ SELECT */ COPY t TO 1',
  "EXPORT DATABASE 'x'",
  "EXPLAIN COPY (SELECT 1) TO 'x'",
  "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x'",
  "EXPLAIN (ANALYZE) COPY (SELECT 1) TO 'x'",
  '/* /* */ EXPLAIN SELECT */ EXPLAIN ANALYZE DELETE FROM t',
  'EXPLAIN EXPLAIN SELECT 1',
  'EXPLAIN (FORMAT JSON',
  'SET x = 1',
  'PRAGMA x',
  'CALL x()',
  'selective 1',
])('%s does not', (text) => expect(beginsLikeReading(text)).toBe(false))
