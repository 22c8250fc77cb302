// Which statements ask for the latest row of each key, and when finding those rows first is worth it: whatever is not surely one runs as ever.
import { describe, expect, test } from 'vitest'
import type { ParquetFooter } from '../../lake/parquet/parquet.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { isWorthIt, latestRows, latestSql } from './latest-rows.ts'

const column = (name: string, fieldId: number, kind: 'long' | 'string' | 'timestamptz' | 'double'): Column => ({
  name,
  fieldId,
  type: { kind },
  required: false,
})
const COLUMNS = [
  column('device', 16, 'string'),
  column('country', 17, 'string'),
  column('ts', 18, 'timestamptz'),
  column('id', 19, 'long'),
  column('Latency', 20, 'double'),
]
const RANK = 'row_number() OVER (PARTITION BY device, country ORDER BY ts DESC, id DESC)'
const read = (sql: string, given: readonly string[] = []) => latestRows(sql, 'events', COLUMNS, new Set(given))

describe('statements that are read so', () => {
  test.each([
    [`SELECT * FROM events QUALIFY ${RANK} = 1`, undefined, 'events'],
    [
      `select id, latency from Events e where true qualify Rank() over (partition by e.device, E.country order by e.ts desc) <= 1 order by 1 limit 5;`,
      'true',
      'e',
    ],
    [
      `SELECT id, ${RANK} AS n FROM events AS "X" WHERE ts >= TIMESTAMPTZ '2026-01-01' AND 5 < id QUALIFY n = 1`,
      `ts >= TIMESTAMPTZ '2026-01-01' AND 5 < id`,
      'X',
    ],
    [`SELECT id FROM (SELECT *, ${RANK} rn FROM events) WHERE rn = 1`, undefined, 'events'],
    [
      `SELECT country, count(*) FROM (SELECT device, country, ${RANK} rn FROM events WHERE id BETWEEN -3 AND 9 AND ts IS NOT NULL) x WHERE x.rn = 1 GROUP BY country HAVING count(*) > 1 ORDER BY 2`,
      'id BETWEEN -3 AND 9 AND ts IS NOT NULL',
      'events',
    ],
    [
      `WITH ranked AS (SELECT *, ${RANK} AS rn FROM events) SELECT * FROM ranked r WHERE r.rn = 1 ORDER BY id`,
      undefined,
      'events',
    ],
  ])('%s', (sql, where, alias) => {
    expect(read(sql)).toEqual({ keys: COLUMNS.slice(0, 2), first: COLUMNS[2], isDescending: true, alias, where })
  })

  test('without keys, and from the least one on', () => {
    const found = read('SELECT * FROM events QUALIFY dense_rank() OVER (ORDER BY id NULLS LAST) = 1')
    expect(found).toEqual({ keys: [], first: COLUMNS[3], isDescending: false, alias: 'events', where: undefined })
    expect(found && latestSql('SELECT 1', found)).toBe(
      'SELECT __rows.* FROM (SELECT 1) AS __rows SEMI JOIN (SELECT min("id") AS __first FROM (SELECT 1) AS "events") AS __latest ON __rows."id" = __latest.__first',
    )
  })
})

test.each([
  // More than the first, or other rows as well.
  `SELECT * FROM events QUALIFY ${RANK} <= 2`,
  `SELECT * FROM events QUALIFY ${RANK} = 1 OR id = 3`,
  `SELECT * FROM events QUALIFY ${RANK} = 1 AND true`,
  `SELECT * FROM events QUALIFY ${RANK} < 1`,
  `SELECT * FROM events QUALIFY NOT ${RANK} = 1`,
  `SELECT * FROM events QUALIFY ${RANK} = 1.0`,
  `SELECT * FROM (SELECT *, ${RANK} rn FROM events) WHERE rn = 1 OR id = 3`,
  `SELECT * FROM (SELECT *, ${RANK} rn FROM events) WHERE rn = 1 AND id = 3 OR true`,
  `SELECT * FROM (SELECT *, ${RANK} rn FROM events LIMIT 10) WHERE rn = 1`,
  `SELECT * FROM (SELECT *, ${RANK} rn FROM events ORDER BY 1 LIMIT 10) WHERE rn = 1`,
  `SELECT * FROM (SELECT *, ${RANK} + 1 AS rn FROM events) WHERE rn = 1`,
  `SELECT * FROM (SELECT *, 0 * ${RANK} AS rn FROM events) WHERE rn = 1`,
  `SELECT * FROM (SELECT *, id AS rn, ${RANK} AS rn FROM events) WHERE rn = 1`,
  `SELECT * FROM (SELECT *, ${RANK} AS id FROM events) WHERE id = 1`,
  `SELECT ${RANK} AS id FROM events QUALIFY id = 1`,
  // A second window sees every row, so do a join and a second look.
  `SELECT *, count(*) OVER () FROM events QUALIFY ${RANK} = 1`,
  `SELECT * FROM events, events e QUALIFY ${RANK} = 1`,
  `SELECT * FROM events JOIN events e USING (id) QUALIFY ${RANK} = 1`,
  `SELECT *, (SELECT count(*) FROM events) FROM events QUALIFY ${RANK} = 1`,
  `SELECT unnest([1, 2]), ${RANK} AS n FROM events QUALIFY n = 1`,
  `SELECT * FROM events USING SAMPLE 10% QUALIFY ${RANK} = 1`,
  `SELECT * FROM events TABLESAMPLE 10% QUALIFY ${RANK} = 1`,
  `SELECT * FROM events GROUP BY ALL QUALIFY ${RANK} = 1`,
  `WITH r AS (SELECT *, ${RANK} AS rn FROM events) SELECT * FROM r a, r b WHERE rn = 1`,
  `WITH r AS (SELECT *, ${RANK} AS rn FROM events) SELECT * FROM events WHERE rn = 1`,
  `WITH events AS (SELECT *, ${RANK} AS rn FROM events) SELECT * FROM events WHERE rn = 1`,
  `SELECT * FROM events QUALIFY ${RANK} = 1 UNION ALL SELECT 1`,
  `SELECT * FROM other QUALIFY ${RANK} = 1`,
  `SELECT * FROM main.events QUALIFY ${RANK} = 1`,
  // Other ranks.
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY upper(device) ORDER BY ts) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY ts + 1) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY -id) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY 1) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY latency) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY latency ORDER BY ts) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY country) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY ts ROWS 3 PRECEDING) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY device ORDER BY ALL) = 1',
  'SELECT * FROM events QUALIFY row_number() OVER w = 1',
  'SELECT * FROM events QUALIFY ntile(4) OVER (PARTITION BY device ORDER BY ts) = 1',
  'SELECT * FROM events QUALIFY row_number(ORDER BY id) OVER (PARTITION BY device ORDER BY ts) = 1',
  'SELECT * FROM events QUALIFY row_number() FILTER (WHERE id > 1) OVER (PARTITION BY device ORDER BY ts) = 1',
  // Conditions that may not be repeated, or leave few rows.
  `SELECT * FROM events WHERE random() < 0.5 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > ? QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > $1 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE ts > now() QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE ts > current_date QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > 3 OR true QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > 3 + 1 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE country = 'DE' QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE country IN ('DE') QUALIFY ${RANK} = 1`,
  `SELECT * FROM events e WHERE events.id > 3 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE nosuch > 3 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE country > 5 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE 5 < country QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > '5' QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > 1e9 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id > 12345678901234567890.5 QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE id BETWEEN 1 AND ts QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE country < DATE '2026-01-01' QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE ts > INTERVAL '1 day' QUALIFY ${RANK} = 1`,
  `SELECT * FROM events WHERE QUALIFY ${RANK} = 1`,
  `SELECT * FROM events QUALIFY ${RANK} = 1 'open`,
  '',
  'SELECT',
  'over from select',
  `WITH r AS (`,
])('not: %s', (sql) => {
  expect(read(sql)).toBeUndefined()
})

test('a name that the statement gives as well is no column', () => {
  const sql = `SELECT id AS ts FROM events QUALIFY ${RANK} = 1`
  expect([read(sql, ['ts']), read(sql)?.first.name]).toEqual([undefined, 'ts'])
})

type Chunk = { nulls?: number; distinct?: number; bounds?: readonly [bigint, bigint] }

function footerOf(rowCount: number, chunks: readonly Chunk[]): ParquetFooter {
  const eight = (value: bigint | undefined) =>
    value === undefined ? undefined : new Uint8Array(BigInt64Array.of(value).buffer)
  return {
    rowCount,
    fields: [],
    columns: chunks.map((_, index) => ({
      path: COLUMNS[index].name,
      fieldId: COLUMNS[index].fieldId,
      physical: index < 2 ? 'BYTE_ARRAY' : 'INT64',
      typeLength: undefined,
      logical: index < 2 ? 'STRING' : index === 2 ? 'TIMESTAMP(MICROS,true)' : undefined,
      repetition: 'OPTIONAL',
    })),
    rowGroups: [
      {
        rowCount,
        chunks: chunks.map(({ nulls, distinct, bounds }, columnIndex) => ({
          columnIndex,
          start: 4,
          end: 5,
          codec: 'ZSTD',
          encodings: [],
          valueCount: rowCount,
          uncompressedBytes: 1,
          statistics: {
            min: eight(bounds?.[0]),
            max: eight(bounds?.[1]),
            minExact: true,
            maxExact: true,
            nullCount: nulls,
            ...(distinct === undefined ? {} : { distinctCount: distinct }),
          },
          bloomFilter: undefined,
        })),
      },
    ],
    keyValues: new Map(),
    createdBy: undefined,
    footerBytes: 0,
  }
}

const [DEVICE, COUNTRY, TS, ID] = COLUMNS

test('worth it where keys repeat five times, and the first sort key is never NULL', () => {
  const worth = (keys: readonly Column[], chunks: readonly Chunk[], kept = [0]) =>
    isWorthIt({ keys, first: TS }, [{ footer: footerOf(1000, chunks), needs: { kept } }])
  const few = { distinct: 9, nulls: 0 }
  expect(worth([DEVICE, COUNTRY], [few, few, { nulls: 0 }])).toBe(true)
  expect(worth([DEVICE, COUNTRY], [few, { distinct: 20 }, { nulls: 0 }])).toBe(false)
  expect(worth([DEVICE], [{}, few, { nulls: 0 }])).toBe(false)
  expect(worth([DEVICE], [few, few, { nulls: 1 }])).toBe(false)
  expect(worth([DEVICE], [few, few, {}])).toBe(false)
  expect(worth([DEVICE], [few, few])).toBe(false)
  expect(worth([ID], [few, few, { nulls: 0 }, { bounds: [-50n, 140n] }])).toBe(true)
  expect(worth([ID], [few, few, { nulls: 0 }, { bounds: [0n, 200n] }])).toBe(false)
  expect(worth([], [few, few, { nulls: 0 }])).toBe(true)
  expect(worth([], [few, few, { nulls: 0 }], [])).toBe(false)
})

test('whole numbers that come again in other files are counted once', () => {
  const file = { footer: footerOf(100, [{}, {}, { nulls: 0 }, { bounds: [1n, 90n] }]), needs: { kept: [0] } }
  expect(isWorthIt({ keys: [ID], first: TS }, [file])).toBe(false)
  expect(
    isWorthIt(
      { keys: [ID], first: TS },
      Array.from({ length: 5 }, () => file),
    ),
  ).toBe(true)
})
