/**
 * Reading parts of remote files gives the answers of reading everything (G-9), for random tables and statements: several files,
 * segments and data files, an older schema, nested columns, NULL, NaN and -0.0. No read goes into bytes that were not fetched.
 * And reading copies without compression gives them too.
 *
 * MILLRACE_READING_TABLES: how many tables instead of a few. A failure prints the seed; MILLRACE_READING_SEED runs it again.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table } from '../../lake/catalog/catalog.ts'
import { checksumOf } from '../../lake/checksum.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { countRequests } from '../../lake/object-store/count.ts'
import { createMemoryObjectStore } from '../../lake/object-store/memory.ts'
import { createRangeCache, type RangeCache } from '../../lake/range-cache/range-cache.ts'
import { createUnpackedFiles, type UnpackedFiles } from '../run/unpacked-files.ts'
import { createSampleLake, type SampleLake } from '../sample-lake.ts'
import { checkStatement, parseSql } from '../statement/statement.ts'
import { createPlanner, type Planner } from './plan-tables.ts'
import {
  anyFile,
  anyStatement,
  fileSelect,
  SAMPLE_COLUMNS,
  type SampleFile,
  type SampleStatement,
} from './sample-statements.ts'
import { createStubs } from './stubs.ts'
import { createTableFileReader } from './table-files.ts'

const TABLES = Number(process.env.MILLRACE_READING_TABLES ?? 3)
const STATEMENTS = 40
const SEED = process.env.MILLRACE_READING_SEED
const root = 's3://random/lake'

let lake: SampleLake
let engine: Engine
let cache: RangeCache
let planner: Planner
let store: ReturnType<typeof createMemoryObjectStore>
let caches = 0
/** Every file of theirs is a data file, and unpacked after its first use. */
let wholeCache: RangeCache
let unpackedPlanner: Planner
let unpacked: UnpackedFiles
let copiesRead = 0

beforeAll(async () => {
  lake = await createSampleLake()
  store = countRequests(createMemoryObjectStore({ root, world: lake.world }))
  engine = createEngine({
    settings: {
      name: 'query',
      memoryBytes: 1024 ** 3,
      threads: 2,
      spillFolder: join(lake.folder, 'query-spill'),
      spillBytes: 1e9,
      folders: [lake.folder],
      mode: 'query',
    },
    world: lake.world,
  })
})
beforeAll(async () => {
  wholeCache = await createRangeCache({
    folder: join(lake.folder, 'cache-whole'),
    bytesMax: 1e10,
    store,
    world: lake.world,
  })
  const { log, clock } = lake.world
  unpacked = createUnpackedFiles({
    folder: join(lake.folder, 'unpacked'),
    bytesMax: 1e9,
    cache: wholeCache,
    world: { log, clock: { ...clock, sleep: async () => {} } },
    usesMin: 1,
  })
  const files = createTableFileReader({ store })
  const checksums = new Map<string, string>()
  const checksumAt = async (path: string) => {
    const known = checksums.get(path) ?? checksumOf((await store.get(path)).bytes)
    checksums.set(path, known)
    return known
  }
  unpackedPlanner = createPlanner({
    engine,
    stubs: createStubs({ engine: lake.engine, folder: join(lake.folder, 'stubs') }),
    cache: wholeCache,
    files: {
      ...files,
      async filesOf(version) {
        const found = await files.filesOf(version)
        const asData = found.files.map(async (file) => ({
          ...file,
          isSegment: false,
          checksum: await checksumAt(file.path),
        }))
        return { ...found, files: await Promise.all(asData) }
      },
    },
    unpacked: {
      use(file) {
        const copy = unpacked.use(file)
        if (copy) copiesRead += 1
        return copy
      },
    },
    parallelMax: 8,
  })
})
afterAll(async () => {
  await engine.close()
  await unpacked?.close()
  await wholeCache?.close()
  await cache?.close()
  await lake.close()
})

/** With an empty cache, so that every table begins with nothing fetched. */
async function freshPlanner(): Promise<void> {
  await cache?.close()
  cache = await createRangeCache({
    folder: join(lake.folder, `cache-${++caches}`),
    bytesMax: 1e10,
    store,
    world: lake.world,
    wholeFileBytesMax: 0,
  })
  planner = createPlanner({
    engine,
    stubs: createStubs({ engine: lake.engine, folder: join(lake.folder, 'stubs') }),
    cache,
    files: createTableFileReader({ store }),
    parallelMax: 8,
    savings: { lookingMin: 1000, restrictMin: 1, bloomMin: 1, wholeSegmentMax: 0 },
  })
}

type Rows = readonly (readonly unknown[])[]

async function rowsOf(setup: readonly string[], sql: string): Promise<Rows> {
  const rows: (readonly unknown[])[] = []
  await engine.query(
    { queryId: 'q', setup, sql, params: [], format: 'rows', rowsMax: 1e6, bytesMax: 1e9, timeoutMs: 60_000 },
    { onChunk: () => {}, onRows: (batch) => void rows.push(...batch) },
  )
  return rows
}

async function ask(sql: string, sessionSetup: readonly string[], planner: Planner): Promise<Rows> {
  const [row] = await lake.engine.run(parseSql(sql))
  const statement = checkStatement(sql, String(row.tree))
  const versions = await lake.catalog.readTables(statement.tables.map(({ name }) => name))
  const plan = await planner.plan(statement, versions, {
    params: [],
    sessionSetup,
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    wholeFiles: false,
  })
  try {
    return await rowsOf(plan.setup, sql)
  } catch (error) {
    throw new Error(`a read into bytes that were not fetched: ${sql}`, { cause: error })
  } finally {
    plan.release()
  }
}

const textOf = (row: readonly unknown[]) =>
  JSON.stringify(row, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : typeof value === 'number' ? String(value) : value,
  )

type Names = { readonly t: string; readonly o: string }

async function check({ sql, anyOf }: SampleStatement, names: Names, zone: string): Promise<void> {
  const named = (text: string) => text.replaceAll('$t', names.t).replaceAll('$o', names.o)
  const session = [`SET TimeZone = '${zone}'`]
  const views = [names.t, names.o].map(
    (name) => `CREATE TEMP VIEW ${name} AS SELECT * FROM read_parquet('${lake.folder}/${name}.parquet')`,
  )
  const expected = (await rowsOf([...session, ...views], named(anyOf?.all ?? sql))).map(textOf)
  for (const by of [planner, unpackedPlanner]) {
    const found = (await ask(named(sql), session, by)).map(textOf)
    expectSame(found, expected, named(sql), anyOf)
  }
}

function expectSame(found: string[], expected: string[], sql: string, anyOf: SampleStatement['anyOf']): void {
  if (anyOf === undefined) {
    expect(found.sort(), sql).toEqual(expected.sort())
    return
  }
  expect(found.length, sql).toBe(Math.min(anyOf.rowsMax, expected.length))
  const all = new Set(expected)
  for (const row of found) expect(all.delete(row), `${sql}: ${row}`).toBe(true)
}

async function makeTable(name: string, files: readonly SampleFile[]) {
  let table: Table = await lake.createTable(name, SAMPLE_COLUMNS, root)
  const selects: string[] = []
  let firstId = 0
  for (const [index, file] of files.entries()) {
    if (index === 2) table = await widened(table)
    const select = fileSelect(file, firstId)
    firstId += file.rows
    selects.push(select)
    const added = index >= 2 ? ', r * 2' : ''
    // As the compactor writes values with -0.0: without bloom filters.
    const localFile = await lake.writeFile(table, select.replace(' FROM range', `${added} FROM range`), {
      rowGroupRows: 2048,
      bloomFilters: !file.hasOddNumbers,
    })
    const path = `${root}/${name}/data/${index}.parquet`
    await store.put(path, await readFile(localFile))
    await lake.commitFile(table, localFile, { path, withBounds: index % 3 !== 1 })
  }
  const columns = Object.keys(SAMPLE_COLUMNS)
  const added = files.length > 2
  const parts = selects.map((select, index) => {
    const more = index >= 2 ? 'x::BIGINT' : 'NULL::BIGINT'
    const list = [...columns, ...(index >= 2 ? ['x'] : [])].join(', ')
    const text = index >= 2 ? select.replace(' FROM range', ', r * 2 FROM range') : select
    return `SELECT ${columns.map((column) => (column === 'i' && added ? 'i::BIGINT AS i' : column)).join(', ')}${added ? `, ${more} AS x` : ''} FROM (${text}) v(${list})`
  })
  await lake.engine.run(`COPY (${parts.join(' UNION ALL ')}) TO '${lake.folder}/${name}.parquet' (FORMAT parquet)`)
}

/** A long in place of an int, and a column more. */
async function widened(table: Table): Promise<Table> {
  const columns = table.schemas[0].columns
    .filter(({ fieldId }) => fieldId >= 16)
    .map((column) => (column.name === 'i' ? { ...column, type: { kind: 'long' as const } } : column))
  const next = await lake.catalog.addSchema(table.tableId, 1, [
    ...columns,
    { fieldId: 900, name: 'x', type: { kind: 'long' }, required: false },
  ])
  expect(next).toBeDefined()
  return lake.catalog.getTable(table.tableId)
}

test('parts of files give the answers of whole ones, whatever the table and the statement (G-9)', async () => {
  let made = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyFile, { minLength: 1, maxLength: 4 }),
      fc.array(anyStatement, { minLength: STATEMENTS, maxLength: STATEMENTS }),
      fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York'),
      async (files, statements, zone) => {
        const names = { t: `t_${++made}`, o: `o_${made}` }
        await freshPlanner()
        await makeTable(names.t, files)
        const other = await lake.createTable(names.o, { k: 'int', name: 'string' }, root)
        const select = "SELECT (r * 700)::INTEGER, 'name ' || (r % 3) FROM range(12) q(r)"
        const localFile = await lake.writeFile(other, select)
        await store.put(`${root}/${names.o}/0.parquet`, await readFile(localFile))
        await lake.commitFile(other, localFile, { path: `${root}/${names.o}/0.parquet` })
        await lake.engine.run(
          `COPY (SELECT * FROM (${select}) v(k, name)) TO '${lake.folder}/${names.o}.parquet' (FORMAT parquet)`,
        )
        for (const [index, statement] of statements.entries()) {
          // What was fetched for one statement would hide what another one lacks.
          if (index % 4 === 0) await freshPlanner()
          await check(statement, names, zone)
          await unpacked.settled()
        }
      },
    ),
    { numRuns: TABLES, ...(SEED === undefined ? {} : { seed: Number(SEED) }), endOnFailure: true },
  )
  expect(copiesRead).toBeGreaterThan(TABLES)
}, 3_600_000)
