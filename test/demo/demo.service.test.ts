// The demo as people run it: cut off by Ctrl-C it goes on where its rows ended, over HTTP and over Kafka, and its
// answers are those of bare DuckDB over the source.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runToEnd, startProcess } from '../harness/processes.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-demo-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const demo = (...args: readonly string[]) =>
  runToEnd({ name: 'demo', command: process.execPath, args: [MAIN, 'demo', '--check', ...args] })

test('Ctrl-C ends it cleanly; a second run goes on, and answers are those of the source', async () => {
  const data = join(folder, 'http')
  const cut = await startProcess({
    name: 'demo',
    command: process.execPath,
    args: [MAIN, 'demo', '--data', data],
    ready: { line: /[1-9]\d*,000 of 3,000,000 rows/ },
    readyTimeoutMs: 90_000,
  })
  cut.signal('SIGINT')
  expect(await cut.exited).toEqual({ code: 0, signal: null })
  expect(cut.output()).toContain('a second run goes on from what is there')

  const first = await demo('--data', data, '--rows', '3000000')
  expect(first).toMatch(/flights: 3,000,000 rows as JSON over HTTP\n {2}[1-9][\d,]* of 3,000,000 rows/)
  expect(first).toMatch(/5 passed, 0 failed\n$/)
  expect(await demo('--data', data)).toContain('flights: 3,000,000 rows are there already')
})

test('the same through a real broker, which keeps what it has between runs', async () => {
  const data = join(folder, 'kafka')
  expect(await demo('--kafka', '--data', data, '--rows', '61000')).toMatch(/5 passed, 0 failed\n$/)
  const second = await demo('--kafka', '--data', data, '--rows', '100001')
  expect(second).toMatch(/flights: 100,001 rows as JSON over Kafka\n {2}61,000 of 100,001 rows/)
  expect(second).toMatch(/5 passed, 0 failed\n$/)
})
