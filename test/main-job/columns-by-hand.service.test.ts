// Columns changed by hand while rows come in, with old rows in live segments and in data files: every row keeps its values
// under the column that they came for, and what was dropped never comes back (by field id, never by name).
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { duckdbExtensionFile, runPython } from '../harness/python.ts'
import { checkCommand } from '../lake/check-lake.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const COMPACTING = ['snapshot.age.ms=200', 'compaction.interval.ms=100', 'compaction.files.min=2']

let millrace: Millrace

afterEach(() => millrace?.close())

async function started(set: readonly string[] = []): Promise<void> {
  millrace = await createMillrace({
    settings: `
flush.interval.ms: 50
query.memory: 256 MiB
tables:
  flights:
    columns: { id: long required, seats: int, carrier: string required, price: "decimal(6,2)", home: "struct<city: string, zip: int>" }
    partition: ["bucket(2, id)"]
    sort: [id]
`,
  })
  await Promise.all([millrace.start('query'), millrace.start('ingest', { set })])
}

async function columns(...args: readonly string[]): Promise<string> {
  const command = [MAIN, 'columns', 'flights', ...args, '--url', millrace.url('ingest')]
  const { stdout } = await promisify(execFile)(process.execPath, command)
  return stdout.trimEnd()
}

async function refusal(...args: readonly string[]): Promise<string> {
  const outcome = await columns(...args).then(
    (text) => `done: ${text}`,
    (error: { stderr: string }) => error.stderr,
  )
  return outcome
}

async function send(...rows: readonly Record<string, unknown>[]): Promise<void> {
  const body = rows.map((row) => JSON.stringify(row)).join('\n')
  expect(await millrace.ingest('flights', body)).toMatchObject({ status: 200, body: { rows: rows.length } })
}

async function rows(select: string): Promise<unknown[][]> {
  return (await millrace.sql(`SELECT ${select} FROM flights ORDER BY id`)).data.map((row) => [...row])
}

/** All rows of before are in data files, under the newest schema. */
async function compacted(): Promise<void> {
  const compactor = await millrace.start('compactor', { set: COMPACTING })
  const deadline = Date.now() + 30_000
  for (;;) {
    const reply = await fetch(`${millrace.url('query')}/v1/tables/flights`)
    const { segments_live: live } = (await reply.json()) as { segments_live: number }
    if (live === 0) break
    if (Date.now() > deadline) throw new Error(`${live} segments are still live`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect((await compactor.stop()).code).toBe(0)
}

/** The newest snapshot as pyiceberg and DuckDB read it, by its metadata alone. */
const FOREIGN = `
import json, sys, duckdb
from pyiceberg.table import StaticTable
metadata, avro, iceberg = sys.argv[1:]
def plain(row):
    home = row['home']
    keys = ['id', 'places', 'carrier', 'price', 'gate']
    return [None if row[key] is None else str(row[key]) for key in keys] + [home and home.get(key) for key in ['city', 'street', 'zip']]
rows = sorted(StaticTable.from_metadata(metadata).scan().to_arrow().to_pylist(), key=lambda row: row['id'])
connection = duckdb.connect()
for extension in [avro, iceberg]: connection.execute(f"LOAD '{extension}'")
found = connection.execute(f"SELECT id, places, carrier, price, gate, home FROM iceberg_scan('{metadata}') ORDER BY id").fetchall()
other = [dict(zip(['id', 'places', 'carrier', 'price', 'gate', 'home'], row)) for row in found]
print(json.dumps({'pyiceberg': [plain(row) for row in rows], 'duckdb': [plain(row) for row in other]}))
`

async function foreignRows(): Promise<unknown> {
  const database = new DatabaseSync(join(millrace.folder, 'data', 'catalog.sqlite'), { readOnly: true })
  const row = database.prepare("SELECT metadata_location FROM tables WHERE name = 'flights'").get()
  database.close()
  const extensions = [await duckdbExtensionFile('avro'), await duckdbExtensionFile('iceberg')]
  return runPython({ text: FOREIGN }, [String(row?.metadata_location), ...extensions])
}

test.each(['live segments', 'data files', 'data files of each schema'])(
  'rows in %s keep their values',
  async (where) => {
    await started()
    const settle = async (isLast: boolean) => {
      if (where === 'data files of each schema' || (isLast && where === 'data files')) await compacted()
    }
    await send(
      { id: 1, seats: 100, carrier: 'A', price: 1.5, home: { city: 'Oslo', zip: 1 } },
      { id: 2, seats: 200, carrier: 'B', price: 2.5, home: { city: 'Bonn', zip: 2 } },
    )
    await settle(false)
    expect(await columns('rename', 'seats', 'places')).toBe('renamed seats to places')
    expect(await columns('widen', 'places', 'long')).toBe('widened places from int to long')
    expect(await columns('type', 'price', 'decimal(12,2)')).toBe('widened price from decimal(6,2) to decimal(12,2)')
    expect(await columns('optional', 'carrier')).toBe('made carrier optional')
    expect(await columns('add', 'gate', 'string')).toBe('added gate string')
    expect(await columns('add', 'home.street', 'string')).toBe('added home.street string')
    await send({
      id: 3,
      places: 5_000_000_000,
      gate: 'G3',
      price: 123456.75,
      home: { city: 'Rome', zip: 3, street: 'S' },
    })
    await settle(false)
    expect(await columns('drop', 'gate')).toBe('dropped gate')
    expect(await columns('drop', 'home.zip')).toBe('dropped home.zip')
    await send({ id: 4, places: 4, carrier: 'D', gate: 'skipped', home: { city: 'Kyiv', zip: 4 } })
    await settle(false)
    expect(await columns('add', 'gate', 'long')).toBe('added gate long')
    expect(await columns('add', 'home.zip', 'string')).toBe('added home.zip string')
    await send({ id: 5, places: 5, carrier: 'E', gate: 55, home: { zip: 'Z5' } })
    await settle(true)

    const home = 'home.city, home.street, home.zip'
    const expected = [
      ['1', '100', 'A', '1.50', null, 'Oslo', null, null],
      ['2', '200', 'B', '2.50', null, 'Bonn', null, null],
      ['3', '5000000000', null, '123456.75', null, 'Rome', 'S', null],
      ['4', '4', 'D', null, null, 'Kyiv', null, null],
      ['5', '5', 'E', null, '55', null, null, 'Z5'],
    ]
    expect(await rows(`id, places, carrier, price::VARCHAR, gate, ${home}`)).toEqual(expected)
    if (where !== 'live segments') expect(await foreignRows()).toEqual({ pyiceberg: expected, duckdb: expected })
    expect(await columns('list')).toBe(
      [
        'id       long required',
        'places   long  (also seats)',
        'carrier  string',
        'price    decimal(12,2)',
        'home     struct<city: string, street: string, zip: string>',
        'gate     long',
      ].join('\n'),
    )
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  },
)

test('what would make old rows unreadable is refused with the reason, and nothing changes', async () => {
  await started()
  await send({ id: 1, carrier: 'A' })
  const before = await columns()
  expect(await refusal('drop', 'id')).toContain('the table is partitioned by it, so column "id" cannot be dropped')
  expect(await refusal('type', 'seats', 'string')).toContain('column "seats" is int and cannot become string')
  expect(await refusal('add', 'gate', 'string', 'required')).toContain('a new column cannot be required')
  expect(await refusal('add', 'id_bucket', 'int')).toContain('is the name of a hidden column or of a partition field')
  expect(await refusal('rename', 'home.zip', 'CITY')).toContain('there is a column "city" already')
  expect(await refusal('drop', 'nothing')).toContain('there is no column "nothing"')
  expect(await refusal('shrink', 'id')).toContain('"shrink" is no action')
  expect(await refusal('rename', 'id')).toContain('expected millrace columns flights rename <column> <new name>')
  expect(await columns()).toBe(before)
})

test('of two processes one changes a table, the other follows within seconds', async () => {
  await started()
  const other = await millrace.start('ingest', { extra: true })
  const toOther = async (row: Record<string, unknown>) => {
    const reply = await fetch(`${other.url}/v1/ingest/flights`, { method: 'POST', body: JSON.stringify(row) })
    return (await reply.json()) as { rows?: number }
  }
  expect(await toOther({ id: 1, carrier: 'A', gate: 'early' })).toMatchObject({ rows: 1 })
  await columns('add', 'gate', 'string')
  let id = 1
  const deadline = Date.now() + 20_000
  while (Number(await millrace.value('SELECT count(gate) FROM flights')) === 0 && Date.now() < deadline) {
    id += 1
    expect(await toOther({ id, carrier: 'A', gate: 'late' })).toMatchObject({ rows: 1 })
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  expect(await millrace.value(`SELECT gate FROM flights WHERE id = ${id}`)).toBe('late')
  expect(Number(await millrace.value('SELECT count(*) FROM flights'))).toBe(id)
})

test('only a token with the right admin changes columns', async () => {
  millrace = await createMillrace({
    settings: `
tables:
  flights: { columns: { id: long } }
tokens:
  - { name: reader, token: reader-token-0123456789abcdef, rights: [read] }
  - { name: admin, token: admin-token-0123456789abcdef, rights: [admin] }
`,
  })
  await millrace.start('ingest')
  expect(await refusal('add', 'gate', 'string')).toContain('expected a bearer token, found none')
  const reader = ['--token', 'reader-token-0123456789abcdef']
  expect(await refusal('add', 'gate', 'string', ...reader)).toContain('token "reader" lacks the right "admin"')
  expect(await columns('list', ...reader)).toBe('id  long')
  expect(await columns('add', 'gate', 'string', '--token', 'admin-token-0123456789abcdef')).toBe('added gate string')
})
