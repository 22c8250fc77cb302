// Metadata as SQL against real services: what it says is compared with the tables themselves, and with who asks (G-11).
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMillrace, type Millrace } from '../../test/harness/millrace.ts'

const SETTINGS = `
tokens:
  - { name: root, token: root-token-0123456789, rights: [admin] }
  - { name: kept, token: kept-token-0123456789, rights: [read], tables: [trips, trips__dead_letters] }
snapshot.age.ms: 1 s
compaction.interval.ms: 200
tables:
  trips:
    columns:
      - { name: id, type: long, required: true }
      - { name: day, type: date }
      - { name: at_time, type: timestamptz }
      - { name: price, type: "decimal(10, 2)" }
      - { name: note, type: string }
    partition: [day]
    sort: [id desc]
    event-time: at_time
  stops:
    columns:
      - { name: name, type: string }
pipelines: {}
`

let millrace: Millrace

beforeAll(async () => {
  millrace = await createMillrace({ settings: SETTINGS })
  await Promise.all([millrace.start('ingest'), millrace.start('compactor'), millrace.start('query')])
  const lines = Array.from({ length: 300 }, (_, id) =>
    JSON.stringify({
      id,
      day: id < 100 ? '2026-01-01' : '2026-01-02',
      at_time: '2026-01-02T03:04:05.5Z',
      price: '-12.50',
      note: id === 7 ? "o'zero\u0000 \ud83d\ude95" : null,
    }),
  )
  const headers = { authorization: 'Bearer root-token-0123456789' }
  await millrace.ingest('trips', lines.join('\n'), { headers })
  await millrace.ingest('stops', '{"name": "a"}\n{"name": "b"}', { headers })
  await until('SELECT count(*) = 2 FROM millrace.tables WHERE snapshot_id IS NOT NULL AND rows > 0', 'true')
  await millrace.ingest('stops', '{"name": "c"}', { headers })
})
afterAll(() => millrace?.close())

async function ask(sql: string, extra: Record<string, unknown> = {}, token = 'root-token-0123456789') {
  const reply = await fetch(`${millrace.url('query')}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ sql, ...extra }),
  })
  const body = (await reply.json()) as { data: unknown[][]; columns: { name: string; type: string }[]; error: unknown }
  return { status: reply.status, ...body }
}

const rows = async (sql: string, token?: string) => {
  const answer = await ask(sql, {}, token)
  if (answer.status !== 200) throw new Error(`${JSON.stringify(answer.error)}: ${sql}`)
  return answer.data
}

async function until(sql: string, value: string): Promise<void> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const found = await rows(sql).catch((error: unknown) => [[error]])
    if (String(found[0]?.[0]) === value) return
    if (performance.now() > deadline) throw new Error(`${sql}: ${String(found)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

describe('tables, columns, snapshots and files', () => {
  test('count what the tables have', async () => {
    expect(
      await rows(`SELECT t.rows, sum(f.rows)::BIGINT, t.bytes = sum(f.bytes), t.files = count(*)
                  FROM millrace.tables t JOIN millrace.files f USING (table_name)
                  WHERE table_name = 'trips' GROUP BY t.rows, t.bytes, t.files`),
    ).toEqual([['300', '300', true, true]])
    expect(await rows('SELECT count(*) FROM trips')).toEqual([['300']])
    expect(
      await rows(`SELECT rows, columns, partitioning, sort_order, event_time, location IS NOT NULL FROM millrace.tables
                  WHERE table_name = 'trips'`),
    ).toEqual([['300', 5, ['day'], ['id desc'], 'at_time', true]])
    await until("SELECT rows FROM millrace.tables WHERE table_name = 'stops'", '3')
  })

  test('rows that were taken away count no more, as long as they are in files too', async () => {
    const headers = { authorization: 'Bearer root-token-0123456789' }
    await millrace.ingest('trips', '{"note": "no id"}\n{"id": "none"}\n{"id": 7.5}', {
      headers,
      query: '?errors=dead-letter',
    })
    const count = 'SELECT count(*) FROM trips__dead_letters'
    await until(count, '3')
    const [[offset]] = await rows('SELECT min("offset") FROM trips__dead_letters')
    const reply = await fetch(`${millrace.url('ingest')}/v1/dead-letters/trips`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ action: 'discard', to_offset: String(BigInt(offset as string) + 1n), why: 'a test' }),
    })
    expect([reply.status, await reply.json()]).toMatchObject([200, { discarded: 1 }])
    await until(count, '2')
    const left = `SELECT rows, rows + rows_masked = (SELECT sum(rows) FROM millrace.files WHERE table_name = 'trips__dead_letters')
                  FROM millrace.tables WHERE table_name = 'trips__dead_letters'`
    expect(await rows(left)).toEqual([['2', true]])
  })

  test('columns with what is hidden', async () => {
    expect(
      await rows(`SELECT column_name, ordinal, type, sql_type, required, sort_position, key, partitioning FROM millrace.columns
                  WHERE table_name = 'trips' AND NOT hidden ORDER BY ordinal`),
    ).toEqual([
      ['id', 1, 'long', 'BIGINT', true, 1, true, []],
      ['day', 2, 'date', 'DATE', false, null, true, ['day']],
      ['at_time', 3, 'timestamptz', 'TIMESTAMP WITH TIME ZONE', false, null, false, []],
      ['price', 4, 'decimal(10,2)', 'DECIMAL(10,2)', false, null, false, []],
      ['note', 5, 'string', 'VARCHAR', false, null, false, []],
    ])
    expect(await rows("SELECT count(*) FROM millrace.columns WHERE table_name = 'trips' AND hidden")).toEqual([['5']])
  })

  test('bounds and partitions can be read back as values', async () => {
    expect(
      await rows(`SELECT partition['day'], sum(rows)::INT, min(bounds['id'].lower::BIGINT)::INT, max(bounds['id'].upper::BIGINT)::INT,
                         bool_and(bounds['at_time'].lower::TIMESTAMPTZ = TIMESTAMPTZ '2026-01-02 03:04:05.5+00'),
                         bool_and(bounds['price'].lower::DECIMAL(10,2) = -12.50), sum(bounds['note'].null_count)::INT
                  FROM millrace.files WHERE table_name = 'trips' AND kind = 'data' GROUP BY ALL ORDER BY 1`),
    ).toEqual([
      ['2026-01-01', 100, 0, 99, true, true, 99],
      ['2026-01-02', 200, 100, 299, true, true, 200],
    ])
    expect(
      await rows(
        "SELECT partition['day'], rows, files >= 1 FROM millrace.table_partitions WHERE table_name = 'trips' ORDER BY 1",
      ),
    ).toEqual([
      ['2026-01-01', '100', true],
      ['2026-01-02', '200', true],
    ])
  })

  test('snapshots with what each brought', async () => {
    expect(
      await rows(`SELECT s.rows, s.summary['total-records'], s.operation, s.committed_at <= now(), t.snapshot_id = s.snapshot_id
                  FROM millrace.snapshots s JOIN millrace.tables t USING (table_name) WHERE table_name = 'trips' AND is_current`),
    ).toEqual([['300', '300', expect.stringMatching(/append|replace/), true, true]])
    expect(
      await rows(
        "SELECT sum(rows_added - rows_deleted)::INT FROM millrace.snapshots WHERE table_name IN ('trips', 'none')",
      ),
    ).toEqual([[300]])
  })

  test('a parameter, a CTE, a self-join and a count without columns', async () => {
    const answer = await ask(
      'WITH f AS (SELECT * FROM millrace.files WHERE table_name = $1) SELECT sum(a.rows)::INT FROM f a JOIN f b USING (path)',
      { params: ['trips'] },
    )
    expect(answer.data).toEqual([[300]])
    expect(
      await rows('SELECT (SELECT count(*) FROM millrace.files) = (SELECT sum(files) FROM millrace.tables)'),
    ).toEqual([[true]])
    expect(
      await rows("SELECT DISTINCT table_name FROM millrace.files WHERE table_name = 'stops' OR rows > 99 ORDER BY 1"),
    ).toEqual([['stops'], ['trips']])
    expect(
      await rows(`SELECT table_name FROM millrace.tables WHERE table_name = 'stops' UNION ALL
                  SELECT f.table_name FROM millrace.files f JOIN trips ON trips.note IS NOT NULL WHERE f.rows = 100`),
    ).toEqual([['stops'], ['trips']])
    expect((await rows("EXPLAIN SELECT * FROM millrace.files WHERE table_name = 'trips'")).length).toBeGreaterThan(0)
  })

  test('a statement that is wrong says where', async () => {
    const { status, error } = await ask('SELECT nope FROM millrace.files')
    expect([status, error]).toMatchObject([400, { code: '42703', position: { line: 1, column: 8 } }])
    expect((await ask('SELECT * FROM millrace.tablez')).error).toMatchObject({
      message: expect.stringContaining('there is no millrace.tablez; there are tables, columns'),
    })
  })
})

describe('information_schema', () => {
  test('has the standard columns in their order, and what the lake has', async () => {
    const { columns } = await ask('SELECT * FROM information_schema.tables LIMIT 0')
    expect(columns.slice(0, 4)).toEqual(
      ['table_catalog', 'table_schema', 'table_name', 'table_type'].map((name) => ({ name, type: 'VARCHAR' })),
    )
    expect(
      await rows(`select table_catalog = current_database(), table_schema, table_name, table_type
                  from "INFORMATION_SCHEMA".Tables where table_type = 'BASE TABLE' order by 3`),
    ).toEqual([
      [true, 'main', 'stops', 'BASE TABLE'],
      [true, 'main', 'stops__dead_letters', 'BASE TABLE'],
      [true, 'main', 'trips', 'BASE TABLE'],
      [true, 'main', 'trips__dead_letters', 'BASE TABLE'],
    ])
    expect(
      await rows(`SELECT information_schema.columns.column_name, ordinal_position, is_nullable, data_type, numeric_precision,
                         numeric_precision_radix, numeric_scale, datetime_precision
                  FROM information_schema.columns WHERE table_name = 'trips' ORDER BY 2`),
    ).toEqual([
      ['id', 1, 'NO', 'BIGINT', 64, 2, 0, null],
      ['day', 2, 'YES', 'DATE', null, null, null, 0],
      ['at_time', 3, 'YES', 'TIMESTAMP WITH TIME ZONE', null, null, null, 6],
      ['price', 4, 'YES', 'DECIMAL(10,2)', 10, 10, 2, null],
      ['note', 5, 'YES', 'VARCHAR', null, null, null, null],
    ])
    expect(await rows('SELECT schema_name FROM information_schema.schemata ORDER BY 1')).toEqual([
      ['information_schema'],
      ['main'],
      ['millrace'],
    ])
    expect(
      await rows(`SELECT count(*) > 15 FROM millrace.information_schema.views v
                  JOIN information_schema.tables t USING (table_schema, table_name) WHERE t.table_type = 'VIEW'`),
    ).toEqual([[true]])
    expect(await rows('SELECT count(*) FROM information_schema.table_constraints')).toEqual([['0']])
  })

  test('lists every system table with the columns that it has', async () => {
    const listed =
      await rows(`SELECT table_schema || '.' || table_name, list(column_name ORDER BY ordinal_position), list(data_type ORDER BY ordinal_position)
                               FROM information_schema.columns WHERE table_schema <> 'main' GROUP BY ALL`)
    for (const [table, names, types] of listed) {
      const described = await rows(`DESCRIBE ${table}`)
      expect([table, described.map((row) => row[0]), described.map((row) => row[1])]).toEqual([table, names, types])
    }
  })

  test('errors speak of it by its name', async () => {
    const { error } = await ask('SELECT\n  information_schema.tables.nope FROM information_schema.tables')
    expect(JSON.stringify(error)).not.toContain('millrace_catalogue')
    expect(error).toMatchObject({ position: { line: 2, column: 3 } })
    expect((await ask('SELECT * FROM information_schema.routines')).error).toMatchObject({ code: '0A000' })
  })
})

describe('SHOW and DESCRIBE', () => {
  test('what there is', async () => {
    expect((await rows('SHOW TABLES')).flat()).toEqual(['stops', 'stops__dead_letters', 'trips', 'trips__dead_letters'])
    expect(await rows('SHOW ALL TABLES')).toContainEqual(['millrace', 'main', 'stops', ['name'], ['VARCHAR'], false])
    expect((await rows('SHOW SCHEMAS')).map(([, name]) => name)).toEqual(['main', 'millrace', 'information_schema'])
    expect(await rows('SHOW DATABASES')).toEqual([['millrace']])
  })

  test('columns, in all their spellings', async () => {
    const described = await rows('DESCRIBE trips')
    expect(described.map((row) => row[0])).toEqual(['id', 'day', 'at_time', 'price', 'note'])
    for (const sql of [
      'SHOW trips',
      'SHOW COLUMNS FROM trips',
      'show\ncolumns in "trips";',
      'DESCRIBE millrace.main.trips',
    ])
      expect(await rows(sql)).toEqual(described)
    expect(await rows('DESCRIBE SELECT 1 AS a')).toMatchObject([['a', 'INTEGER', 'YES', null, null, null]])
    expect((await rows('SUMMARIZE trips')).map((row) => [row[0], row[2], row[10]])[0]).toEqual(['id', '0', '300'])
    expect((await ask('SHOW COLUMNS FROM nope')).error).toMatchObject({
      code: '42P01',
      position: { line: 1, column: 19 },
    })
  })

  test('a DESCRIBE inside of a statement leaves the rest as it is', async () => {
    expect(await rows('SELECT (SELECT count(*) FROM trips), (SELECT count(*) FROM (DESCRIBE trips))')).toEqual([
      ['300', '5'],
    ])
    expect((await ask('SELECT count(*) FROM (SHOW TABLES)')).error).toMatchObject({
      message: expect.stringContaining('information_schema.tables'),
    })
  })

  test('names with schema and catalog', async () => {
    expect(await rows('SELECT main.trips.id FROM main.trips WHERE id = 3')).toEqual([['3']])
    expect(await rows('SELECT "millrace".main.trips.id FROM "millrace" . "main"."trips" WHERE id = 3')).toEqual([['3']])
    expect(await rows('WITH trips AS (SELECT 1 AS one) SELECT count(*) FROM main.trips')).toEqual([['300']])
    expect((await ask('SELECT * FROM other.trips')).error).toMatchObject({ code: '0A000' })
    expect((await ask('SELECT * FROM millrace/* */.main.trips')).status).toBe(400)
  })
})

describe('who may see what (G-11)', () => {
  const KEPT = 'kept-token-0123456789'

  test('a token that is kept to a table sees nothing of the others', async () => {
    for (const table of [
      'millrace.tables',
      'millrace.columns',
      'millrace.snapshots',
      'millrace.files',
      'millrace.table_partitions',
    ])
      expect(
        await rows(
          `SELECT DISTINCT table_name FROM ${table} WHERE table_name NOT LIKE '%\\_\\_dead%' ESCAPE '\\'`,
          KEPT,
        ),
      ).toEqual([['trips']])
    for (const table of ['tables', 'columns'])
      expect(
        await rows(
          `SELECT DISTINCT table_name FROM information_schema.${table} WHERE table_schema = 'main' ORDER BY 1`,
          KEPT,
        ),
      ).toEqual([['trips'], ['trips__dead_letters']])
    expect(await rows('SHOW TABLES', KEPT)).toEqual([['trips'], ['trips__dead_letters']])
    expect((await rows('SHOW ALL TABLES', KEPT)).filter((row) => row[1] === 'main').map((row) => row[2])).toEqual([
      'trips',
      'trips__dead_letters',
    ])
    expect(await rows('SELECT pipeline FROM millrace.pipelines', KEPT)).toEqual([['http:trips']])
    expect((await ask('DESCRIBE stops', {}, KEPT)).error).toMatchObject({ code: '42501' })
  })

  test("queries of one's own, settings for administrators only, secrets for nobody", async () => {
    await ask('SELECT 17 AS mine', { query_id: 'mine-1' }, KEPT)
    await ask('SELECT nope', { query_id: 'wrong-1' })
    expect(
      await rows("SELECT owner, statement, state, door, rows, error FROM millrace.queries WHERE query_id = 'mine-1'"),
    ).toEqual([['kept', 'SELECT 17 AS mine', 'finished', 'http', '1', null]])
    expect(
      await rows(
        "SELECT state, error_code, elapsed_ms >= 0, ended_at >= started_at FROM millrace.queries WHERE query_id = 'wrong-1'",
      ),
    ).toEqual([['failed', '42703', true, true]])
    expect(await rows('SELECT DISTINCT owner FROM millrace.queries', KEPT)).toEqual([['kept']])
    expect(await rows("SELECT state FROM millrace.queries WHERE statement LIKE '%itself%'")).toEqual([['running']])
    expect(await rows('SELECT count(*) FROM millrace.settings', KEPT)).toEqual([['0']])
    expect(
      await rows(
        "SELECT name, value, default_value, source LIKE 'millrace.yaml%' OR source LIKE '%yaml%', description <> '' FROM millrace.settings WHERE name IN ('snapshot.age.ms', 'tokens', 'flush.interval.ms', 'tables.trips.sort') ORDER BY name",
      ),
    ).toEqual([
      ['flush.interval.ms', expect.any(String), expect.any(String), false, true],
      ['snapshot.age.ms', '1 s', expect.any(String), true, true],
      ['tables.trips.sort', '["id desc"]', expect.anything(), true, true],
      ['tokens', '******', expect.anything(), true, true],
    ])
    const all = JSON.stringify(await rows('SELECT * FROM millrace.settings'))
    expect(all).not.toContain('token-0123456789')
  })
})
