/**
 * What happens to a lake before it is saved as a fixture: tables, schemas, records and questions, as plain data.
 *
 *   stage 0   every column type; records from Kafka and HTTP, bad ones among them; all of it goes into a snapshot
 *   stage 1   a column renamed, one widened, one dropped, one added; more records; a second snapshot, a merge
 *   stage 2   the added column dropped and another one added under its name; what comes now stays in live segments
 *
 * It must not change once a release was saved with it, but for what a later release can do more.
 */
export const TOPIC = 'samples'
export const PARTITIONS = 2
export const PRODUCER = 'meter-7'
export const KEY = 'order-4711'
export const ROOT = 's3://saved-lake/millrace'

type Kind = readonly [name: string, type: string]

const REST: readonly Kind[] = [
  ['flag', 'boolean'],
  ['wide', 'long'],
  ['ratio', 'float'],
  ['price', '"decimal(12,2)"'],
  ['day', 'date'],
  ['at', 'time'],
  ['local', 'timestamp'],
  ['ts', 'timestamptz'],
  ['doc', 'json'],
  ['key', 'uuid'],
  ['raw', 'binary'],
]

/** Columns of `samples` in each stage, in declared order. */
export const STAGES: readonly (readonly Kind[])[] = [
  [['id', 'long required'], ['whole', 'int'], ['name', 'string'], ['score', 'double'], ...REST],
  [['id', 'long required'], ['whole', 'long'], ['title', 'string'], ...REST, ['extra', 'string']],
  [['id', 'long required'], ['whole', 'long'], ['title', 'string'], ...REST, ['extra', 'long']],
]

export function tablesYaml(stage: number): string {
  const columns = STAGES[stage].map(([name, type]) => `${name}: ${type}`).join(', ')
  return `tables:
  samples:
    columns: { ${columns} }
    partition: ["day(ts)", "bucket(2, id)"]
    sort: [ts desc, id]
    event-time: ts
  notes:
    columns: { id: long required, text: string }
`
}

/** One line of JSON; every seventh is bad, every ninth has nothing but its id, every sixteenth is far from today. */
export function recordOf(id: number, stage: number): string {
  if (id % 7 === 3) return `{"id": ${id}, "day": "the 30th of February"}`
  if (id % 9 === 5) return JSON.stringify({ id })
  const ts = timeOf(id)
  const hex = id.toString(16).padStart(12, '0')
  return JSON.stringify({
    id,
    whole: stage === 0 ? id * 1000 : id * 10_000_000_000,
    [stage === 0 ? 'name' : 'title']: `näme ${id}`,
    ...(stage === 0 ? { score: id / 3 } : {}),
    ...(stage === 1 ? { extra: `old ${id}` } : {}),
    ...(stage === 2 ? { extra: -id } : {}),
    flag: id % 2 === 0,
    wide: String(9_007_199_254_740_993n + BigInt(id)),
    ratio: id / 4,
    price: `${id - 20}.25`,
    day: ts.slice(0, 10),
    at: ts.slice(11, 23),
    local: ts.slice(0, 23),
    ts,
    doc: { id, tags: ['a', 'ü'] },
    key: `00000000-0000-4000-8000-${hex}`,
    raw: Buffer.from([0, 255, id]).toString('base64'),
  })
}

function timeOf(id: number): string {
  if (id % 32 === 12) return '9999-12-31T23:00:00.000Z'
  if (id % 32 === 28) return '1900-01-01T00:00:00.000Z'
  return new Date(Date.UTC(2024, 1, 28, 20) + id * 3_600_000).toISOString()
}

/** Asked over the whole lake. */
export const QUESTIONS: readonly string[] = [
  'SHOW TABLES',
  'DESCRIBE samples',
  'SELECT * FROM samples ORDER BY id, _source',
  'SELECT _source, _partition, count(*), min(_offset), max(_offset) FROM samples GROUP BY ALL ORDER BY ALL',
  'SELECT count(*), count(extra), sum(extra), sum(whole), sum(price) FROM samples',
  "SELECT id, title FROM samples WHERE ts >= TIMESTAMPTZ '2024-03-01 00:00:00Z' AND flag ORDER BY id, _source",
  "SELECT day, count(*) FROM samples WHERE day < DATE '2024-03-02' GROUP BY day ORDER BY day",
  "SELECT id FROM samples WHERE key = '00000000-0000-4000-8000-00000000000c'",
  'SELECT _source, _partition, "offset", reason, "column", decode(raw) AS raw FROM samples__dead_letters ORDER BY ALL',
  'SELECT id, text, _source, _offset FROM notes ORDER BY id',
  'SELECT count(*) FROM notes__dead_letters',
]

/** Asked when all rows so far lie in the snapshot: what an Iceberg reader finds there. One row. */
export const ICEBERG_QUESTION =
  'SELECT count(*) AS rows, sum(id) AS ids, sum(price) AS price, count(title) AS titles, sum(whole) AS whole, count(DISTINCT ts) AS times FROM samples'

export type SavedAnswer = { readonly sql: string; readonly columns: unknown; readonly data: unknown }

export type SavedCoverage = {
  readonly pipeline: string
  readonly source: string
  readonly partition: number
  readonly ranges: readonly (readonly [start: string, end: string])[]
  readonly recordsIn: string
  readonly recordsDead: string
  readonly recordsFiltered: string
}

/** `expected.json` of a fixture. */
export type Expected = {
  readonly release: string
  readonly answers: readonly SavedAnswer[]
  readonly iceberg: { readonly metadataLocation: string; readonly row: readonly unknown[] }
  readonly coverage: readonly SavedCoverage[]
  readonly versions: Readonly<Record<string, string>>
  readonly liveSegments: Readonly<Record<string, number>>
  readonly producerNext: number
  /** The request that was sent with `KEY`, and what was answered. */
  readonly keyed: { readonly body: string; readonly rows: number; readonly version: string }
}
