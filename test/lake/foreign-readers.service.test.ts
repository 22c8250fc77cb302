// Committed tables opened by pyiceberg, DuckDB and ClickHouse (chdb): the same counts, sums and filtered counts, whatever the
// partitioning, after several snapshots and merges, on local disk and in a bucket (G-8).
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readMetadata } from '../../lake/iceberg/read.ts'
import { duckdbExtensionFile, runPython } from '../harness/python.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { type Lake, openLake, SMALL_STEPS, s3Yaml } from './open-lake.ts'

const READERS = join(import.meta.dirname, 'foreign-readers.py')
const MANY_SNAPSHOTS = SMALL_STEPS.replace('snapshot.keep.max: 3', 'snapshot.keep.max: 100')
const LARGE_ID = '9223372036854775783'

/** ClickHouse takes a table partition's uuid for its text, though the specification says 16 bytes; others read it. */
const CHDB_REFUSES_UUID = 'Cannot parse uuid'

/** Table → partition and sort as settings have them, and what pyiceberg then says of its partitions and sort order. */
const TABLES = {
  plain: { partition: [], sort: [], partitions: 1 },
  by_day: { partition: ['day(ts)'], sort: ['ts desc', 'id'], partitions: 4 },
  by_month: { partition: ['month(day)'], sort: ['name'], partitions: 3 },
  by_hour: { partition: ['hour(tz)'], sort: ['id desc nulls last'], partitions: 4 },
  by_name: { partition: ['name'], sort: ['amount', 'id'], partitions: 5 },
  by_truncate: { partition: ['truncate(50, whole)', 'bucket(2, name)'], sort: [], partitions: undefined },
  by_amount: { partition: ['identity(amount)', 'truncate(100, amount)'], sort: ['id'], partitions: 4 },
  by_flag: { partition: ['flag', 'day'], sort: ['id'], partitions: 5 },
  by_key: { partition: ['identity(key)', 'truncate(2, name)'], sort: [], partitions: undefined },
} as const

/** Times before 1970 make table partitions where a table says so; elsewhere their rows lie beside the partitioning. */
const EARLIEST: Readonly<Record<string, string>> = {
  by_hour: ', time.earliest: "1960-01-01"',
  by_flag: ', time.earliest: "1960-01-01"',
}

/** A bucket takes longer than a disk, and partition values do not depend on it. */
const IN_BUCKET: readonly string[] = ['plain', 'by_day', 'by_name', 'by_flag']

const COLUMNS =
  '{ id: long required, name: string, amount: "decimal(12,2)", whole: int, flag: boolean, day: date, ts: timestamp, tz: timestamptz, key: uuid }'

const NAMES = [null, 'a/b c=%&', 'ü🚀x', '', "it's"] as const
const AMOUNTS = [null, '-1.25', '0.00', '7000000000.75'] as const
const FLAGS = [null, true, false] as const
const DAYS = [null, '1969-12-31', '2024-02-29'] as const
const KEYS = [null, '00000000-0000-4000-8000-000000000001', 'ffffffff-ffff-4fff-bfff-ffffffffffff'] as const

function rowOf(id: number) {
  const seconds = id * 1800 - 40_000
  return {
    id,
    name: NAMES[id % NAMES.length],
    amount: AMOUNTS[id % AMOUNTS.length],
    whole: id % 7 === 0 ? null : id - 60,
    flag: FLAGS[id % 3],
    day: DAYS[id % 3 === 0 ? 0 : 1 + (Math.trunc(id / 3) % 2)],
    ts: id % 10 === 0 ? null : new Date(seconds * 1000).toISOString().slice(0, 23),
    tz: new Date((id % 4) * 3_600_000 - 7_200_001).toISOString(),
    key: KEYS[id % KEYS.length],
  }
}

const ROUNDS = 2
const ROWS_A_ROUND = 48
const ALL = Array.from({ length: ROUNDS * ROWS_A_ROUND }, (_, id) => rowOf(id))

const FILTERS: readonly (readonly [string, 'name' | 'day' | 'key', string | null])[] = [
  ...NAMES.map((name) => ['name', 'name', name] as const),
  ...DAYS.map((day) => ['day', 'day', day] as const),
  ...KEYS.map((key) => ['key', 'key', key] as const),
]

function expectedAnswer(rows: readonly ReturnType<typeof rowOf>[]): string[] {
  const cents = rows.reduce((sum, { amount }) => sum + (amount === null ? 0n : BigInt(amount.replace('.', ''))), 0n)
  const magnitude = cents < 0n ? -cents : cents
  return [
    String(rows.length),
    String(rows.reduce((sum, { id }) => sum + id, 0)),
    `${cents < 0n ? '-' : ''}${magnitude / 100n}.${String(magnitude % 100n).padStart(2, '0')}`,
    ...FILTERS.map(([, column, value]) => String(rows.filter((row) => row[column] === value).length)),
  ]
}

/** The last filters name a uuid. */
const UUID_FILTERS = KEYS.filter((key) => key !== null).length

type Seen = Readonly<
  Record<
    string,
    Readonly<Record<'pyiceberg' | 'duckdb' | 'chdb' | 'operations' | 'sort', string[]>> &
      Readonly<Record<'partitions' | 'snapshot' | 'parent', string>>
  >
>

let server: S3Server
let extensions: Record<string, string>
beforeAll(async () => {
  server = await startS3Server()
  const names = ['avro', 'iceberg', 'httpfs'] as const
  extensions = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await duckdbExtensionFile(name)] as const)),
  )
})
afterAll(async () => {
  await server?.stop()
})

describe.each(['on local disk', 'in a bucket'])('tables %s', (place) => {
  let lake: Lake
  let names: (keyof typeof TABLES)[]
  beforeAll(async () => {
    const bucket = await server.bucket(`foreign-${process.pid}`)
    const where = place === 'in a bucket' ? s3Yaml(server, { root: `s3://${bucket}/millrace` }) : ''
    names = Object.keys(TABLES).filter((name) => place !== 'in a bucket' || IN_BUCKET.includes(name)) as typeof names
    const tables = Object.entries(TABLES).map(
      ([name, { partition, sort }]) =>
        `  ${name}: { columns: ${COLUMNS}, partition: ${JSON.stringify(partition)}, sort: ${JSON.stringify(sort)}${EARLIEST[name] ?? ''} }`,
    )
    lake = await openLake(`${MANY_SNAPSHOTS}\n${where}\ntables:\n${tables.join('\n')}\n`, { grace: true })
    await lake.millrace.start('ingest')
  })
  afterAll(async () => {
    await lake?.close()
  })

  async function send(names: readonly string[], rows: readonly ReturnType<typeof rowOf>[]): Promise<void> {
    const body = rows.map((row) => JSON.stringify(row)).join('\n')
    const answers = await Promise.all(names.map((name) => lake.millrace.ingest(name, body)))
    expect(answers.map(({ status, body: answer }) => [status, answer.rows])).toEqual(
      names.map(() => [200, rows.length]),
    )
  }

  async function ask(names: readonly string[]): Promise<Seen> {
    const tables = await Promise.all(
      names.map(async (name) => {
        const { metadataLocation, location } = await lake.table(name)
        return { name, metadata: metadataLocation, location }
      }),
    )
    const s3 = place === 'in a bucket' ? server : undefined
    const request = { tables, filters: FILTERS, extensions, ...(s3 && { s3: { ...s3 } }) }
    return (await runPython({ file: READERS }, [JSON.stringify(request)])) as Seen
  }

  test('give every engine the same answer', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await send(names, ALL.slice(round * ROWS_A_ROUND, (round + 1) * ROWS_A_ROUND))
      const compactor = await lake.startCompactor()
      await lake.merged(names)
      await compactor.stop()
    }
    const seen = await ask(names)
    const expected = expectedAnswer(ALL)
    for (const name of names) {
      const { pyiceberg, duckdb, chdb, partitions, operations } = seen[name]
      // Asked for one uuid, pyiceberg skips every file of a table partitioned by it; the same rows read whole are right.
      const asked = name === 'by_key' ? expected.length - UUID_FILTERS : expected.length
      expect({ name, pyiceberg: pyiceberg.slice(0, asked), duckdb, chdb }).toEqual({
        name,
        pyiceberg: expected.slice(0, asked),
        duckdb: expected,
        chdb: name === 'by_key' ? [CHDB_REFUSES_UUID] : expected,
      })
      const wanted = TABLES[name].partitions
      if (wanted !== undefined) expect({ name, partitions }).toEqual({ name, partitions: String(wanted) })
      expect({ name, operations }).toEqual({ name, operations: ['append', 'replace'] })
    }
    expect(seen.by_day.sort).toEqual(['22 DESC NULLS_LAST', '16 ASC NULLS_FIRST'])
    if (seen.by_hour) expect(seen.by_hour.sort).toEqual(['16 DESC NULLS_LAST'])
  })
})

test('snapshot ids beyond 2^53 stay as they are, digit by digit', async () => {
  const lake = await openLake(`${MANY_SNAPSHOTS}\ntables:\n  plain: { columns: ${COLUMNS} }\n`, { grace: true })
  try {
    await lake.millrace.start('ingest')
    const rows = Array.from({ length: 3 }, (_, id) => rowOf(id))
    const commitRow = async (row: ReturnType<typeof rowOf>) => {
      const { status } = await lake.millrace.ingest('plain', JSON.stringify(row))
      expect(status).toBe(200)
      const compactor = await lake.startCompactor()
      await lake.merged(['plain'])
      await compactor.stop()
    }
    await commitRow(rows[0])

    // The same snapshot under an id as other engines give them.
    const before = await lake.table('plain')
    const text = Buffer.from((await lake.store.get(before.metadataLocation as string)).bytes).toString()
    const own = /"current-snapshot-id":\s*(\d+)/.exec(text)?.[1] as string
    const location = `${before.location}/metadata/00001-${lake.world.random.uuid()}.metadata.json`
    const renamed = text.replaceAll(new RegExp(`\\b${own}\\b(?!-)`, 'g'), LARGE_ID)
    await lake.store.put(location, Buffer.from(renamed))
    const database = new DatabaseSync(lake.settings.catalog.url.replace(/^sqlite:/, ''), { timeout: 10_000 })
    database.prepare('UPDATE tables SET metadata_location = ? WHERE name = ?').run(location, 'plain')
    database.close()

    await commitRow(rows[1])
    const after = await lake.table('plain')
    const metadata = await readMetadata(lake.store, after.metadataLocation as string)
    expect(metadata.snapshots.map(({ parentSnapshotId }) => String(parentSnapshotId))).toContain(LARGE_ID)
    const written = Buffer.from((await lake.store.get(after.metadataLocation as string)).bytes).toString()
    expect(written).toContain(`"parent-snapshot-id":${LARGE_ID}`)
    expect(written).not.toContain('9223372036854776')
    const request = {
      tables: [{ name: 'plain', metadata: after.metadataLocation, location: after.location }],
      filters: FILTERS,
      extensions,
    }
    const { plain } = (await runPython({ file: READERS }, [JSON.stringify(request)])) as Seen
    const expected = expectedAnswer(rows.slice(0, 2))
    expect({ pyiceberg: plain.pyiceberg, duckdb: plain.duckdb, chdb: plain.chdb }).toEqual({
      pyiceberg: expected,
      duckdb: expected,
      chdb: expected,
    })
  } finally {
    await lake.close()
  }
})
