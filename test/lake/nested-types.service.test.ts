// Structs, lists and maps, sent as JSON, in segments and in the committed table, before and after their fields changed: the
// same rows for pyarrow, pyiceberg, DuckDB, ClickHouse and Millrace's own SQL (G-8).
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { localFileOf } from '../../lake/object-store/object-path.ts'
import { type ColumnType, type Field, parseColumnType } from '../../schemas/column-type.ts'
import { type Column, userColumns } from '../../schemas/table-schema.ts'
import type { StartedService } from '../harness/millrace.ts'
import { startProcess } from '../harness/processes.ts'
import { duckdbExtensionFile, runPython } from '../harness/python.ts'
import { check, MAIN } from './check-lake.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS } from './open-lake.ts'

const COLUMNS = {
  id: 'long required',
  s: 'struct<city: string, zip: int, geo: struct<lat: double, tags: list<string>>>',
  l: 'list<long>',
  ls: 'list<struct<n: int required, day: date>>',
  m: 'map<string, decimal(10,2)>',
  ml: 'map<string, list<struct<a: int>>>',
  doc: 'json',
}

type Row = Readonly<Record<string, unknown>>

const FIRST: readonly Row[] = [
  {
    id: 0,
    s: { city: 'Åre', zip: 83013, geo: { lat: 63.4, tags: ['ski', null, ''] } },
    l: [1, null, 9007199254740992],
    ls: [{ n: 1, day: '2024-02-29' }, null, { n: 2, day: null }],
    m: { 'a b': '1.50', "it's": null },
    ml: { x: [{ a: 1 }, { a: null }, null], y: [], z: null },
    doc: '{"a":{"b":[1,"two"]},"n":5}',
  },
  { id: 1, s: null, l: null, ls: null, m: null, ml: null, doc: null },
  { id: 2, s: { city: null, zip: null, geo: null }, l: [], ls: [], m: {}, ml: {}, doc: '[]' },
  {
    id: 3,
    s: { city: 'Oslo', zip: -1, geo: { lat: null, tags: [] } },
    l: [7],
    ls: [{ n: 3, day: '1969-12-31' }],
    m: { k: '-99999999.99' },
    ml: { x: [{ a: 2 }] },
    doc: '"text"',
  },
]

/** After `city` became `town`, `zip` a long, `geo` another struct of that name, `country` and `note` came, and `m` grew. */
const SECOND: readonly Row[] = [
  {
    id: 4,
    s: { country: 'NO', town: 'Bergen', zip: 2 ** 40, geo: { lat: 'north' } },
    l: [8],
    ls: [{ day: '2024-01-01', n: 4, note: 'new' }],
    m: { k: '9999999999.25' },
    ml: null,
    doc: '{"n":6}',
  },
  { id: 5, s: { country: null, town: 'x', zip: null, geo: null }, l: null, ls: [null], m: null, ml: null, doc: null },
]

/** The rows of before as they are read with the later schema. */
function asLater(row: Row): Row {
  const s = row.s as { city: string; zip: number } | null
  const ls = row.ls as readonly ({ n: number; day: string } | null)[] | null
  return {
    ...row,
    s: s && { country: null, town: s.city, zip: s.zip, geo: null },
    ls: ls?.map((each) => each && { day: each.day, n: each.n, note: null }) ?? null,
  }
}

/** ClickHouse has no NULL for a list, a map or a struct: it shows an empty one, or one of NULLs. */
function forClickHouse(value: unknown, type: ColumnType): unknown {
  switch (type.kind) {
    case 'struct':
      return Object.fromEntries(
        type.fields.map(({ name, type }) => [name, forClickHouse((value as Row | null)?.[name] ?? null, type)]),
      )
    case 'list':
      return ((value ?? []) as readonly unknown[]).map((each) => forClickHouse(each, type.element.type))
    case 'map':
      return Object.fromEntries(
        Object.entries((value ?? {}) as Row).map(([key, each]) => [key, forClickHouse(each, type.value.type)]),
      )
    default:
      return value
  }
}

function rowsForClickHouse(rows: readonly Row[], columns: readonly Column[]): readonly Row[] {
  return rows.map((row) => Object.fromEntries(columns.map(({ name, type }) => [name, forClickHouse(row[name], type)])))
}

function changed(columns: readonly Column[], lastFieldId: number): readonly Column[] {
  let next = lastFieldId
  const added = (name: string, text: string): Field => {
    const field = { fieldId: ++next, name, type: parseColumnType(text) as ColumnType, required: false }
    if (field.type.kind !== 'struct') return field
    const fields = field.type.fields.map((each) => ({ ...each, fieldId: ++next }))
    return { ...field, type: { kind: 'struct', fields } }
  }
  return columns.map((column): Column => {
    const { type } = column
    if (column.name === 's' && type.kind === 'struct') {
      const [city, zip] = type.fields
      const fields = [
        added('country', 'string'),
        { ...city, name: 'town' },
        { ...zip, type: { kind: 'long' } as const },
        added('geo', 'struct<lat: string>'),
      ]
      return { ...column, type: { kind: 'struct', fields } }
    }
    if (column.name === 'ls' && type.kind === 'list' && type.element.type.kind === 'struct') {
      const [n, day] = type.element.type.fields
      const fields = [day, n, added('note', 'string')]
      return { ...column, type: { kind: 'list', element: { ...type.element, type: { kind: 'struct', fields } } } }
    }
    if (column.name === 'm' && type.kind === 'map') {
      const value = { ...type.value, type: { kind: 'decimal', precision: 12, scale: 2 } as const }
      return { ...column, type: { ...type, value } }
    }
    return column
  })
}

type Seen = { readonly segments: readonly Record<'pyarrow' | 'duckdb' | 'chdb', readonly Row[]>[] } & Record<
  'pyiceberg' | 'duckdb' | 'chdb',
  readonly Row[]
> & { readonly schema: Record<string, string> }

let lake: Lake
let query: StartedService
let extensions: Record<string, string>
beforeAll(async () => {
  const columns = Object.entries(COLUMNS).map(([name, type]) => `${name}: "${type}"`)
  lake = await openLake(
    `${SMALL_STEPS.replace('compaction.files.min: 2', 'compaction.files.min: 8')}
tables:
  nested:
    columns: { ${columns.join(', ')} }
    sort: [id desc]
`,
    { grace: true },
  )
  extensions = { avro: await duckdbExtensionFile('avro'), iceberg: await duckdbExtensionFile('iceberg') }
})
afterAll(async () => {
  await lake?.close()
})

function linesOf(rows: readonly Row[]): readonly string[] {
  return rows.map(({ doc, ...row }) => {
    const text = JSON.stringify(row)
    return `${text.slice(0, -1)},"doc":${doc === null ? 'null' : doc}}`
  })
}

async function send(rows: readonly Row[]): Promise<void> {
  const { status, body } = await lake.millrace.ingest('nested', linesOf(rows).join('\n'))
  expect({ status, body }).toMatchObject({ status: 200, body: { rows: rows.length } })
}

async function look(withTable: boolean): Promise<Seen> {
  const { segments } = await lake.live('nested')
  const { metadataLocation, location } = await lake.table('nested')
  const request = {
    segments: segments.map(localFileOf),
    extensions,
    ...(withTable ? { metadata: metadataLocation, location } : {}),
  }
  return (await runPython({ file: join(import.meta.dirname, 'nested-types.py') }, [JSON.stringify(request)])) as Seen
}

async function columnsOf(): Promise<readonly Column[]> {
  return userColumns((await lake.table('nested')).schemas.at(-1)!)
}

async function commit(): Promise<void> {
  const compactor = await lake.startCompactor()
  for (let turn = 0; (await lake.live('nested')).segments.length > 0; turn += 1) {
    if (turn > 300) throw new Error('the segments were not committed')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await compactor.stop()
}

/** As `POST /v1/sql` gives a row: 64-bit integers and decimals as text, at every level. */
const answer = async (sql: string) => (await lake.millrace.sql(sql)).data

describe('nested columns', () => {
  test('are the same rows in every engine, through two schemas, in segments and in the table', async () => {
    const ingest = await lake.millrace.start('ingest')
    query = await lake.millrace.start('query')
    await send(FIRST)
    const columns = await columnsOf()
    const [segment] = (await look(false)).segments
    expect(segment.pyarrow).toEqual(FIRST)
    expect(segment.duckdb).toEqual(FIRST)
    expect(segment.chdb).toEqual(rowsForClickHouse(FIRST, columns))
    expect(await answer('SELECT s, l, ls, m, ml FROM nested WHERE id = 0')).toEqual([
      [FIRST[0].s, ['1', null, '9007199254740992'], FIRST[0].ls, FIRST[0].m, FIRST[0].ml],
    ])
    await commit()

    await ingest.stop()
    const text = await readFile(lake.millrace.configFile, 'utf8')
    await writeFile(lake.millrace.configFile, text.replace(/columns: \{.*\}\n/, ''))
    const table = await lake.table('nested')
    await lake.catalog.addSchema(table.tableId, 1, changed(columns, table.lastFieldId))
    const later = await lake.millrace.start('ingest')
    await send(SECOND)
    const [second] = (await look(false)).segments
    expect(second.pyarrow).toEqual(SECOND)
    expect(second.duckdb).toEqual(SECOND)
    const now = await columnsOf()
    expect(second.chdb).toEqual(rowsForClickHouse(SECOND, now))

    const all = [...FIRST.map(asLater), ...SECOND]
    await expectAnswers(all)
    await commit()
    await expectAnswers(all)
    await later.stop()

    const seen = await look(true)
    // Reading a file with an older schema pyiceberg makes an empty list of one of structs that is null.
    expect(seen.pyiceberg).toEqual(all.map((row) => ({ ...row, ls: row.ls ?? [] })))
    expect(seen.duckdb).toEqual(all)
    expect(seen.chdb).toEqual(rowsForClickHouse(all, now))
    expect(seen.schema.m).toBe('20 map<string, decimal(12, 2)>')
  })

  test('merged segments are sound, and a catalog made again from the bucket has the columns and rows it had', async () => {
    const { millrace } = lake
    const before = await lake.table('nested')
    const ingest = await millrace.start('ingest', { set: ['segments.live.max=6'] })
    const producer = createProducer(millrace, 'nested', 'p')
    const rows = Array.from({ length: 60 }, (_, i) => ({ ...SECOND[i % 2], id: 100 + i }))
    for (let at = 0; at < rows.length; at += 3) await producer.send(linesOf(rows.slice(at, at + 3)))
    expect((await lake.live('nested')).segments.some((path) => path.includes('-merged-'))).toBe(true)
    await ingest.stop()
    const report = await check(lake, true)
    expect(report.findings).toEqual([])
    expect(report.files).toBeGreaterThan(2)
    const question = 'SELECT id, s, l, ls, m, ml, doc FROM nested ORDER BY id'
    const answered = await answer(question)
    expect(answered).toHaveLength(FIRST.length + SECOND.length + rows.length)

    await query.stop()
    const catalogFile = lake.settings.catalog.url.replace(/^sqlite:/, '')
    for (const ending of ['', '-wal', '-shm']) await rm(catalogFile + ending, { force: true })
    const rebuild = await startProcess({
      name: 'rebuild',
      command: process.execPath,
      args: [MAIN, 'catalog', 'rebuild', '--config', millrace.configFile],
    })
    expect([(await rebuild.exited).code, rebuild.output()]).toEqual([0, expect.stringContaining('nested')])
    query = await millrace.start('query')
    expect(await answer(question)).toEqual(answered)
    const again = await openCatalog({ url: lake.settings.catalog.url, world: lake.world })
    const made = await again.findTable('nested')
    await again.close()
    expect(made?.schemas).toEqual(before.schemas)
    expect(made?.lastFieldId).toBe(before.lastFieldId)
  })
})

async function expectAnswers(all: readonly Row[]): Promise<void> {
  const wide = (row: Row) => {
    const s = row.s as { zip: number | null } | null
    const l = row.l as readonly (number | null)[] | null
    return [
      s && { ...s, zip: s.zip === null ? null : String(s.zip) },
      l?.map((each) => (each === null ? null : String(each))) ?? null,
      row.ls,
      row.m,
      row.ml,
    ]
  }
  expect(await answer('SELECT s, l, ls, m, ml FROM nested ORDER BY id')).toEqual(all.map(wide))
  // Fields, elements and entries; a filter on one of them leaves no file out that has such rows.
  expect(await answer("SELECT s.town, l[1], m['k'], s.geo.lat FROM nested WHERE s.zip = 1099511627776")).toEqual([
    ['Bergen', '8', '9999999999.25', 'north'],
  ])
  expect(await answer("SELECT id FROM nested WHERE s.town = 'Oslo' AND id < 100")).toEqual([['3']])
  expect(await answer('SELECT id FROM nested WHERE s IS NULL')).toEqual([['1']])
  expect(await answer('SELECT id FROM nested WHERE s IS NOT NULL AND s.town IS NULL')).toEqual([['2']])
  expect(await answer("SELECT id FROM nested WHERE ml['x'][1].a = 2")).toEqual([['3']])
  expect(await answer('SELECT id, e.n, e.note FROM (SELECT id, unnest(ls) AS e FROM nested) ORDER BY id, e.n')).toEqual(
    [
      ['0', 1, null],
      ['0', 2, null],
      ['0', null, null],
      ['3', 3, null],
      ['4', 4, 'new'],
      ['5', null, null],
    ],
  )
  expect(await answer('SELECT sum(len(l)), count(s), count(s.geo) FROM nested')).toEqual([['5', '5', '1']])
  // JSON is text with its own access.
  expect(await answer("SELECT doc ->> '$.a.b[1]', doc->>'n', doc -> 'a' FROM nested WHERE id = 0")).toEqual([
    ['two', '5', '{"b":[1,"two"]}'],
  ])
  expect(await answer("SELECT id FROM nested WHERE CAST(doc->>'n' AS INT) = 6")).toEqual([['4']])
}
