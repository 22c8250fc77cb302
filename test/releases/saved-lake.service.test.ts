// Lakes that releases saved (`scripts/save-lake.ts`) open in this one: the same answers, the same coverage, an Iceberg table that
// pyiceberg reads; ingest goes on where it stopped, the compactor takes the old segments over, the sweep leaves what is live.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { openObjectStore } from '../../lake/object-store/open.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { runToEnd, startProcess } from '../harness/processes.ts'
import { runPython } from '../harness/python.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { type Lake, openLake, SMALL_STEPS, s3Yaml } from '../lake/open-lake.ts'
import { unpackFiles } from './archive.ts'
import { type Expected, KEY, PRODUCER, ROOT, recordOf, STAGES, tablesYaml } from './lake-story.ts'

const LAKES = join(import.meta.dirname, '..', 'fixtures', 'lakes')
const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const LAST_STAGE = STAGES.length - 1
const NEW_ROWS = 10
const FIRST_NEW_ID = 1000
const SUMS = 'SELECT count(*), count(extra), sum(extra), sum(whole), sum(price) FROM samples'
const EVERYTHING = 'SELECT * FROM samples ORDER BY id, _source'

const COUNT_BY_PYICEBERG = `
import json, sys
from pyiceberg.table import StaticTable
metadata, s3 = json.loads(sys.argv[1])
rows = StaticTable.from_metadata(metadata, s3).scan().to_arrow()
values = lambda name: [value for value in rows.column(name).to_pylist() if value is not None]
print(json.dumps([str(each) for each in [
    rows.num_rows, sum(values("id")), sum(values("price")), len(values("title")), sum(values("whole")), len(set(values("ts")))]]))
`

/** Their segments do not say what table they belong to. */
const SILENT_RELEASES = ['0.1']

/** All that decides about answers and positions. */
function whatItHolds({ table, metadataLocation, segments, coverage }: TableVersion) {
  return {
    table: { ...table, version: undefined, metadataChecksum: undefined },
    metadataLocation,
    segments: segments.map(({ path, rowCount, schemaId, sources }) => ({ path, rowCount, schemaId, sources })),
    coverage: coverage.map(({ source, partition, ranges, recordsDead }) => ({
      source,
      partition,
      ranges,
      recordsDead,
    })),
  }
}

/** A schema that no file has yet (new columns of dead letters, given at the start) is in the catalog alone. */
function asFilesTell(version: TableVersion, rebuilt: TableVersion): TableVersion {
  const schemas = version.table.schemas.slice(0, rebuilt.table.schemas.length)
  expect(version.segments.every(({ schemaId }) => schemaId < schemas.length)).toBe(true)
  const ids = schemas.flatMap(({ columns }) => columns.map(({ fieldId }) => fieldId))
  return { ...version, table: { ...version.table, schemas, lastFieldId: Math.max(...ids) } }
}

const releases = readdirSync(LAKES)

test('two releases have saved a lake at least: the one before and this one', () => {
  expect(releases.length).toBeGreaterThanOrEqual(2)
})

describe.each(releases)('the lake of release %s', (release) => {
  const expected = JSON.parse(readFileSync(join(LAKES, release, 'expected.json'), 'utf8')) as Expected
  const answerOf = (sql: string) => expected.answers.find((each) => each.sql === sql)!.data as unknown[][]
  const names = Object.keys(expected.versions)
  let server: S3Server
  let folder: string
  let lake: Lake

  beforeAll(async () => {
    server = await startS3Server()
    await server.bucket(ROOT.split('/')[2])
    folder = mkdtempSync(join(tmpdir(), 'millrace-saved-lake-'))
    const world = createTestWorld({ sleepAdvances: true })
    const store = openObjectStore({ root: ROOT, world, s3: { ...server, pathStyle: true } })
    for (const [name, bytes] of unpackFiles(readFileSync(join(LAKES, release, 'lake.zst')))) {
      if (name.startsWith(`${ROOT}/`)) await store.put(name, bytes)
      else writeFileSync(join(folder, name), bytes)
    }
    await store.close()
    const where = `${s3Yaml(server, { root: ROOT })}\ncatalog.url: sqlite:${join(folder, 'catalog.sqlite')}`
    lake = await openLake(`${SMALL_STEPS}\n${where}\n${tablesYaml(LAST_STAGE)}`)
    await Promise.all([lake.millrace.start('ingest'), lake.millrace.start('query')])
  })
  afterAll(async () => {
    await lake?.close()
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('gives the answers it gave', async () => {
    for (const { sql, columns, data } of expected.answers) {
      const answer = await lake.millrace.sql(sql)
      expect({ sql, columns: answer.columns, data: answer.data }).toEqual({ sql, columns, data })
    }
    const versions = await lake.catalog.readTables(names)
    expect(Object.fromEntries(versions.map((each) => [each.table.name, String(each.version)]))).toEqual(
      expected.versions,
    )
    expect(Object.fromEntries(versions.map((each) => [each.table.name, each.segments.length]))).toEqual(
      expected.liveSegments,
    )
  })

  test('stands where it stood in every source', async () => {
    const found = []
    for (const pipeline of new Set(expected.coverage.map((each) => each.pipeline))) {
      for (const each of await lake.catalog.coverage(pipeline)) {
        found.push({
          pipeline,
          source: each.source,
          partition: each.partition,
          ranges: each.ranges.map(({ start, end }) => [String(start), String(end)]),
          recordsIn: String(each.recordsIn),
          recordsDead: String(each.recordsDead),
          recordsFiltered: String(each.recordsFiltered),
        })
      }
    }
    expect(found).toEqual(expected.coverage)
  })

  test('is sound in every byte, reference and count', async () => {
    const check = ['check', '--deep', '--config', lake.millrace.configFile]
    const printed = await runToEnd({ name: 'check', command: process.execPath, args: [MAIN, ...check] })
    expect(printed).toMatch(/^the lake is sound$/m)
  })

  test('is a table that pyiceberg reads', async () => {
    const s3 = {
      's3.endpoint': server.endpoint,
      's3.access-key-id': server.accessKeyId,
      's3.secret-access-key': server.secretAccessKey,
      's3.region': server.region,
    }
    const argument = JSON.stringify([expected.iceberg.metadataLocation, s3])
    expect(await runPython({ text: COUNT_BY_PYICEBERG }, [argument])).toEqual(expected.iceberg.row)
  })

  test('can be made again from its bucket alone, once its files say what they are (G-4)', async () => {
    const rebuilt = `sqlite:${join(folder, 'rebuilt.sqlite')}`
    const rebuild = await startProcess({
      name: 'rebuild',
      command: process.execPath,
      args: [MAIN, 'catalog', 'rebuild', '--config', lake.millrace.configFile, '--into', rebuilt, '--take-unsequenced'],
    })
    const { code } = await rebuild.exited
    if (SILENT_RELEASES.includes(release)) {
      expect([code, rebuild.output()]).toEqual([3, expect.stringContaining('no file of it says what table it is')])
      return
    }
    expect([code, rebuild.output()]).toEqual([0, expect.stringContaining('The catalog is rebuilt.')])
    const catalog = await openCatalog({ url: rebuilt, world: lake.world })
    try {
      // A table without a file is made again by the ingest process that is told to.
      const withFiles = (await lake.catalog.readTables(names)).filter((each) => each.version > 0n)
      const found = await catalog.readTables(withFiles.map((each) => each.table.name))
      expect(found.map(whatItHolds)).toEqual(
        withFiles.map((each, index) => whatItHolds(asFilesTell(each, found[index]))),
      )
    } finally {
      await catalog.close()
    }
  })

  const newRows = Array.from({ length: NEW_ROWS }, (_, index) => recordOf(FIRST_NEW_ID + index, LAST_STAGE))

  test('knows what its clients sent, and takes what they send next (G-2, G-4)', async () => {
    const { ingest } = lake.millrace
    const asProducer = (sequence: number) => ({ 'millrace-producer': PRODUCER, 'millrace-sequence': String(sequence) })
    const query = '?errors=dead-letter'
    const last = expected.producerNext - 1
    expect(await ingest('samples', recordOf(1, LAST_STAGE), { query, headers: asProducer(last) })).toMatchObject({
      status: 200,
      body: { repeated: true, next_sequence: String(expected.producerNext) },
    })
    const { body, rows, version } = expected.keyed
    expect(await ingest('notes', body, { query, headers: { 'idempotency-key': KEY } })).toMatchObject({
      status: 200,
      body: { repeated: true, rows, version },
    })
    const taken = await ingest('samples', newRows.join('\n'), { query, headers: asProducer(expected.producerNext) })
    const dead = newRows.filter((line) => line.includes('30th')).length
    expect(taken).toMatchObject({
      status: 200,
      body: {
        rows: NEW_ROWS - dead,
        dead_letters: dead,
        version: String(Number(expected.versions.samples) + 1),
        next_sequence: String(expected.producerNext + NEW_ROWS),
      },
    })
    expect((await lake.millrace.sql(SUMS)).data).toEqual(sumsWithNewRows())
  })

  test('is compacted with what came after; then the bucket holds what is live and nothing else', async () => {
    const { stop } = await lake.startCompactor()
    const { there, referredTo } = await lake.settled(names)
    expect(there).toEqual(referredTo)
    await stop()
    expect(await lake.catalog.deadFiles(0, 10)).toEqual([])
    expect((await lake.millrace.sql(SUMS)).data).toEqual(sumsWithNewRows())
    const old = await lake.millrace.sql(EVERYTHING.replace(' ORDER', ` WHERE id < ${FIRST_NEW_ID} ORDER`))
    expect(old.data).toEqual(answerOf(EVERYTHING))
  })

  function sumsWithNewRows(): unknown[][] {
    const [count, extras, extra, whole, price] = answerOf(SUMS)[0].map(String)
    const rows = newRows
      .filter((line) => !line.includes('30th'))
      .map((line) => JSON.parse(line) as { extra?: number; whole?: number; price?: string })
    const cents = (text: string | undefined) => (text === undefined ? 0 : Math.round(Number(text) * 100))
    const sum = (of: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + of(row), 0)
    return [
      [
        String(Number(count) + rows.length),
        String(Number(extras) + sum((row) => (row.extra === undefined ? 0 : 1))),
        String(Number(extra) + sum((row) => row.extra ?? 0)),
        String(Number(whole) + sum((row) => row.whole ?? 0)),
        ((cents(price) + sum((row) => cents(row.price))) / 100).toFixed(2),
      ],
    ]
  }
})
