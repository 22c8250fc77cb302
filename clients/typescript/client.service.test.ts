// The client against a real service, as its README shows it; and built, with its declarations, for whoever does not read TypeScript.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { tableFromIPC } from 'apache-arrow'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSampleLake, querySettings, type SampleLake } from '../../query/sample-lake.ts'
import { startQuery } from '../../query/service.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createClient, type MillraceClient, MillraceError } from './src/index.ts'

/** Not the waiting kind: the service lives in this process. */
const run = promisify(execFile)
const LONG = 'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5'

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>
let millrace: MillraceClient

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  const table = await lake.createTable('visits', { at: 'timestamptz', city: 'string', degrees: 'int' })
  await lake.addRows(
    table,
    "SELECT TIMESTAMPTZ '2026-01-01 00:00:00Z' + INTERVAL (i) MINUTE, ['Bern', 'Rome', 'Oslo'][1 + i % 3], i FROM range(300) r(i)",
  )
  service = await startQuery({ settings: querySettings(lake), world })
  millrace = createClient({ url: `${service.url}/` })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

async function errorOf(asked: Promise<unknown>): Promise<MillraceError> {
  const error = await asked.catch((caught: unknown) => caught)
  if (error instanceof MillraceError) return error
  throw new Error('expected a MillraceError', { cause: error })
}

async function cancelled(queryId: string): Promise<void> {
  while ((await millrace.status(queryId)).state !== 'cancelled') await new Promise((resolve) => setTimeout(resolve, 5))
}

test('a whole result, with what was seen', async () => {
  const result = await millrace.query<{ city: string; n: bigint }>(
    'SELECT city, count(*) AS n FROM visits WHERE degrees >= $least GROUP BY 1 ORDER BY 1',
    { params: { least: 30 }, int64: 'bigint', queryId: 'own' },
  )
  expect(result).toMatchObject({
    queryId: 'own',
    columns: [
      { name: 'city', type: 'VARCHAR' },
      { name: 'n', type: 'BIGINT' },
    ],
    rows: [
      { city: 'Bern', n: 90n },
      { city: 'Oslo', n: 90n },
      { city: 'Rome', n: 90n },
    ],
    truncated: false,
    tables: [{ name: 'visits', version: 1n, freshnessMs: 0 }],
  })
  expect((await millrace.query('SELECT 1 AS a WHERE false')).rows).toEqual([])
  expect((await millrace.query('FROM range(10)', { maxRows: 3 })).truncated).toBe(true)
  expect(await millrace.tables()).toMatchObject([{ name: 'visits', columns: 3 }])
  await millrace.ping()
})

test('parameters and values keep what they are', async () => {
  const blob = Uint8Array.of(0, 255, 10)
  const { rows } = await millrace.query(
    "SELECT $1::BIGINT AS a, $2 AS b, $3 AS c, hex($4) AS d, $5 AS e, $6 AS f, $7 AS g, $8 AS h, $9 AS i, {'rows': [1], 'error': 2} AS j",
    {
      params: [
        9007199254740993n,
        10n ** 30n,
        new Date('2026-01-31T10:00:00.5Z'),
        blob,
        Number.NaN,
        [1n, null, 2n ** 62n],
        { type: 'DECIMAL(18,2)', value: '1.50' },
        null,
        '],"rows":1,"x":"\n',
      ],
      int64: 'bigint',
    },
  )
  expect(rows).toEqual([
    {
      a: 9007199254740993n,
      b: 10n ** 30n,
      c: '2026-01-31T10:00:00.5Z',
      d: '00FF0A',
      e: 'NaN',
      f: [1n, null, 2n ** 62n],
      g: '1.50',
      h: null,
      i: '],"rows":1,"x":"\n',
      j: { rows: [1], error: 2 },
    },
  ])
  expect((await millrace.query('SELECT 5::BIGINT AS a', { int64: 'number' })).rows).toEqual([{ a: 5 }])
  expect((await millrace.query('SELECT 9007199254740993 AS a')).rows).toEqual([{ a: '9007199254740993' }])
})

test('rows as they come, more than are held back; and Arrow', async () => {
  const stream = await millrace.rows<{ i: string; t: string }>("SELECT i, 'text ' || i AS t FROM range(200000) r(i)")
  let sum = 0
  for await (const { i, t } of stream) {
    sum += Number(i)
    if (t !== `text ${i}`) throw new Error(`${i}: ${t}`)
  }
  expect([sum, stream.truncated, stream.columns.length]).toEqual([19_999_900_000, false, 2])
  const arrow = await millrace.arrow('SELECT * FROM visits')
  expect(arrow.tables).toMatchObject([{ name: 'visits', version: 1n }])
  expect((await tableFromIPC(arrow)).numRows).toBe(300)
})

test('errors with their facts, also those that come late', async () => {
  expect(await errorOf(millrace.query('SELECT citi\nFROM visits'))).toMatchObject({
    sqlstate: '42703',
    errorClass: 'undefined_column',
    status: 400,
    position: { line: 1, column: 8 },
    hint: 'did you mean "city"?',
  })
  const late = (failing: number) =>
    `SELECT CASE WHEN i = ${failing} THEN error('late')::VARCHAR ELSE 'text ' || i END AS t FROM range(400000) r(i)`
  const read = async () => {
    for await (const _ of await millrace.rows(late(399_000)));
  }
  expect(await errorOf(read())).toMatchObject({ status: 200, sqlstate: '42000', message: 'late' })
  const readArrow = async () => {
    for await (const _ of await millrace.arrow(late(399_000)));
  }
  expect(await errorOf(readArrow())).toMatchObject({ errorClass: 'result_incomplete', sqlstate: '08006' })
  expect((await errorOf(millrace.status('never'))).status).toBe(404)
})

test('an abort, and a loop that is left, cancel the query', async () => {
  const abort = new AbortController()
  const long = millrace.query(LONG, { signal: abort.signal, queryId: 'aborted' })
  while ((await millrace.status('aborted').catch(() => undefined))?.state !== 'running') await new Promise(setImmediate)
  abort.abort()
  await expect(long).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }))
  await cancelled('aborted')
  for await (const _ of await millrace.rows("SELECT repeat('x', 1000) AS t FROM range(900000)", { queryId: 'left' }))
    break
  await cancelled('left')
  const other = errorOf(millrace.query(LONG, { queryId: 'by-id' }))
  while ((await millrace.status('by-id').catch(() => undefined))?.state !== 'running') await new Promise(setImmediate)
  await millrace.cancel('by-id')
  expect(await other).toMatchObject({ status: 499, errorClass: 'query_cancelled' })
  await millrace.cancel('by-id')
})

test('read your own writes, and earlier versions', async () => {
  const table = await lake.createTable('written', { n: 'int' })
  await lake.addRows(table, 'SELECT i FROM range(3) r(i)')
  const later = millrace.query('SELECT count(*) AS n FROM written', { waitFor: { written: 2n }, int64: 'bigint' })
  await lake.addRows(table, 'SELECT i FROM range(4) r(i)')
  expect((await later).rows).toEqual([{ n: 7n }])
  const before = await millrace.query('SELECT count(*) AS n FROM written', { atVersion: { written: 1 } })
  expect([before.rows, before.tables[0].version]).toEqual([[{ n: '3' }], 1n])
  const wrong = millrace.query('FROM written', { waitFor: { written: { offsets: { nowhere: { 0: 5n } } } } })
  expect(await errorOf(wrong)).toMatchObject({
    status: 400,
    message: expect.stringContaining('no pipeline reads topic'),
  })
})

test('built with declarations, the example of the README is checked and runs', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-client-'))
  const tsc = join(import.meta.dirname, '../../node_modules/.bin/tsc')
  try {
    await run(tsc, ['-p', join(import.meta.dirname, 'tsconfig.json'), '--outDir', join(folder, 'dist')])
    const readme = await readFile(join(import.meta.dirname, 'README.md'), 'utf8')
    const example = /```ts\n([\s\S]*?)```/
      .exec(readme)![1]
      .replace('@millrace/client', './dist/index.js')
      .replace('http://127.0.0.1:8080', service.url)
    await writeFile(join(folder, 'package.json'), '{"type": "module"}')
    await writeFile(join(folder, 'example.ts'), example)
    const strict = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom,dom.asynciterable']
    await run(tsc, [...strict, '--types', '', '--outDir', folder, join(folder, 'example.ts')], { cwd: folder })
    const { stdout } = await run(process.execPath, [join(folder, 'example.js')])
    expect(stdout.split('\n')).toEqual([
      'Bern 96n',
      'Oslo 97n',
      'Rome 96n',
      'version 1, 0 ms old',
      '2026-01-01T00:00:00Z Bern',
      '2026-01-01T00:01:00Z Rome',
      '42703 undefined_column { line: 1, column: 8 } did you mean "city"?',
      '',
    ])
    const built = (await import(pathToFileURL(join(folder, 'dist/index.js')).href)) as { createClient: unknown }
    expect(typeof built.createClient).toBe('function')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
