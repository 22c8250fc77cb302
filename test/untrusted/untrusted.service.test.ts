// Whoever may ask questions tries to get at files, environment, network, settings and other people's tables, to write, and to
// take the machine. After every attempt the service answers an ordinary question, nothing was made on disk, and the
// reply holds no path, no value of the environment and no setting.

import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { querySettings } from '../../query/sample-lake.ts'
import { startQuery } from '../../query/service.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { GREEDY, HARMLESS, REFUSED } from './attempts.ts'
import { createSecretPlaces, OUTSIDE_SECRET, type SecretPlaces, TABLE_SECRET } from './secret-places.ts'

const CALLER = 'the-token-of-the-caller'
const ENVIRONMENT = 'environment-4713'
const GREEDY_MS = 300

let secrets: SecretPlaces
let service: Awaited<ReturnType<typeof startQuery>>
let filesBefore: readonly string[]

beforeAll(async () => {
  process.env.MILLRACE_UNTRUSTED_TEST = ENVIRONMENT
  const world = createSystemWorld({ log: createTestWorld().log })
  secrets = await createSecretPlaces(world)
  const tokens = [{ name: 'caller', token: CALLER, rights: ['read'], tables: ['open_table'] }] as const
  service = await startQuery({ settings: { ...querySettings(secrets.lake), tokens }, world })
  filesBefore = await secrets.files()
})
afterAll(async () => {
  delete process.env.MILLRACE_UNTRUSTED_TEST
  await service?.stop()
  await secrets?.lake.close()
})

async function ask(body: unknown): Promise<{ status: number; text: string }> {
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${CALLER}` },
    body: JSON.stringify(body),
  })
  return { status: reply.statusCode, text: await reply.body.text() }
}

/** What the caller wrote himself may come back to him; nothing else of where and how the service runs may. */
function expectNothingTold(body: Record<string, unknown>, text: string): void {
  const asked = JSON.stringify(body)
  let told = text
  for (const own of [JSON.stringify(body.sql).slice(1, -1), ...Object.values(secrets.places)]) {
    if (asked.includes(own)) told = told.replaceAll(own, '')
  }
  if (!asked.toLowerCase().includes('private')) expect(told).not.toContain('private_table')
  for (const secret of [OUTSIDE_SECRET, TABLE_SECRET, ENVIRONMENT, secrets.lake.folder, process.cwd()]) {
    expect(told).not.toContain(secret)
  }
  const words = [
    'temp_directory',
    'allowed_director',
    'memory_limit',
    'MiB',
    'GiB',
    '/proc/',
    'node_modules',
    'root:x:',
  ]
  expect(words.filter((word) => told.includes(word) && !asked.includes(word))).toEqual([])
}

async function expectServing(): Promise<void> {
  const { status, text } = await ask({ sql: 'SELECT count(*), sum(a) FROM open_table' })
  expect([status, (JSON.parse(text) as { data: unknown }).data]).toEqual([200, [['10', '45']]])
}

describe.each(Object.entries(REFUSED))('%s', (_, attempts) => {
  test.each(attempts.map((attempt) => [attempt]))('%j', async (attempt) => {
    const body = secrets.filledIn(attempt)
    const { status, text } = await ask(body)
    expect([400, 403, 404], text).toContain(status)
    expectNothingTold(body, text)
    await expectServing()
  })
})

describe('what may run tells nothing', () => {
  test.each(HARMLESS.map((attempt) => [attempt]))('%j', async (attempt) => {
    const body = secrets.filledIn(attempt)
    const { text } = await ask(body)
    expectNothingTold(body, text)
    await expectServing()
  })
})

test("what Millrace tells about tables and files is about the caller's own", async () => {
  for (const table of ['tables', 'files', 'columns', 'snapshots', 'partitions', 'pipelines']) {
    const { status, text } = await ask({ sql: `SELECT * FROM millrace.${table}` })
    expect([200, 403]).toContain(status)
    expect(text).not.toContain('private')
    expect(text).not.toContain(secrets.places.private)
  }
})

describe('nothing runs for ever or takes the machine', () => {
  const named = GREEDY.map((attempt, index) => [index, JSON.stringify(attempt).slice(0, 80)] as const)
  test.each(named)('%i: %s', async (index) => {
    const body = { ...secrets.filledIn(GREEDY[index]), timeout_ms: GREEDY_MS }
    const { status, text } = await ask(body)
    expect([400, 408, 413, 503, 507], text.slice(0, 300)).toContain(status)
    expectNothingTold(body, text)
    await expectServing()
  })
})

test('nothing was made on disk', async () => {
  expect(await secrets.files()).toEqual(filesBefore)
})
