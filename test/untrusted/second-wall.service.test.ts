// The same attempts sent to an engine past the statement check: what DuckDB's settings, the read-only transaction and the type
// of the statement stop by themselves. Not stopped here, and so up to the first wall: reading files of the folders that the
// engine needs, and DuckDB's own views.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { REFUSED } from './attempts.ts'
import { createSecretPlaces, OUTSIDE_SECRET, type SecretPlaces } from './secret-places.ts'

let secrets: SecretPlaces
let engine: Engine
let filesBefore: readonly string[]
let settingsBefore: unknown

beforeAll(async () => {
  process.env.MILLRACE_UNTRUSTED_TEST = 'environment-4713'
  const world = createSystemWorld({ log: createTestWorld().log })
  secrets = await createSecretPlaces(world)
  engine = createEngine({
    world,
    settings: {
      name: 'second-wall',
      mode: 'query',
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
      spillFolder: join(secrets.lake.folder, 'second-spill'),
      spillBytes: 1e9,
      folders: [secrets.places.lake],
    },
  })
  settingsBefore = await settings()
  filesBefore = await secrets.files()
})
afterAll(async () => {
  delete process.env.MILLRACE_UNTRUSTED_TEST
  await engine?.close()
  await secrets?.lake.close()
})

function settings() {
  return engine.run('SELECT name, value FROM duckdb_settings() ORDER BY name')
}

/** All rows as text, or the code of the error. */
async function send(sql: string, params: unknown): Promise<string> {
  const rows: unknown[] = []
  const query = {
    queryId: 'q',
    setup: ['CREATE TEMP VIEW open_table AS SELECT 1 AS a, 2 AS b'],
    sql,
    timeoutMs: 10_000,
  }
  const limits = { format: 'rows', rowsMax: 1000, bytesMax: 1e7, params: (params ?? []) as readonly unknown[] } as const
  try {
    await engine.query({ ...query, ...limits }, { onChunk: () => {}, onRows: (some) => void rows.push(...some) })
  } catch (error) {
    if (!isMillraceError(error)) throw error
    expect(['engine-lost', 'query-timeout']).not.toContain(error.code)
    return error.code
  }
  return JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
}

/** They run, and change nothing in a database without a file, without a log and without profiles. */
const NOTHING_DONE = /checkpoint\(\)|write_log|disable_logging|truncate_duckdb_logs/
const OF_STATEMENTS = Object.entries(REFUSED).filter(([group]) => group !== 'around the statement')

describe.each(OF_STATEMENTS)('%s', (group, attempts) => {
  test.each(attempts.map((attempt) => [attempt]))('%j', async (attempt) => {
    const { sql, params } = secrets.filledIn(attempt)
    const text = await send(String(sql), params)
    expect(text).not.toContain(OUTSIDE_SECRET)
    expect(text).not.toContain('environment-4713')
    if (group === 'writing' && !NOTHING_DONE.test(String(sql))) expect(text).toMatch(/^[a-z-]+$/)
    if (group === 'network and extensions') expect(text).toMatch(/^[a-z-]+$/)
    expect(await engine.run('SELECT 42 AS a')).toEqual([{ a: 42 }])
  })
})

test('no setting was changed, and nothing was made on disk', async () => {
  expect(await settings()).toEqual(settingsBefore)
  expect(await secrets.files()).toEqual(filesBefore)
})

test('the engine process is started with no more of the environment than it needs: no secret is in it', async () => {
  const known = ['PATH', 'HOME', 'TZ', 'UV_THREADPOOL_SIZE', 'NODE_COMPILE_CACHE', 'NODE_CHANNEL_FD']
  const { pid } = process
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ')
  const engines: string[] = []
  for (const child of children) {
    if ((await readFile(`/proc/${child}/cmdline`, 'utf8')).startsWith('millrace engine ')) engines.push(child)
  }
  expect(engines.length).toBeGreaterThan(0)
  for (const child of engines) {
    const names = (await readFile(`/proc/${child}/environ`, 'utf8')).split('\0').map((line) => line.split('=')[0])
    const more = names.filter((name) => name !== '' && !known.includes(name))
    expect(more).toEqual(['NODE_CHANNEL_SERIALIZATION_MODE'])
  }
})
