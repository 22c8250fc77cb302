// A lake in a bucket, all services on one machine: what ingest and the compactor put into the bucket is not fetched from it again
// by the query service beside them (PROTOCOL 1). Requests are counted, not only rows.
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { type StartedProcess, startProcess } from '../harness/processes.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { s3Yaml } from '../lake/open-lake.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const ROWS = 5000

let server: S3Server
let millrace: Millrace
let up: StartedProcess

beforeAll(async () => {
  server = await startS3Server()
  const root = `s3://${await server.bucket('copies')}/lake`
  millrace = await createMillrace({
    settings: `
${s3Yaml(server, { root })}
flush.interval.ms: 50
snapshot.age.ms: 1 h
compaction.memory: 256 MiB
query.memory: 256 MiB
tables:
  events:
    columns: { id: long required, text: string }
`,
  })
  up = await startProcess({
    name: 'up',
    command: process.execPath,
    args: [MAIN, 'up', '--config', millrace.configFile],
    ready: { line: /^Millrace is up:$/ },
  })
})
afterAll(async () => {
  await up?.stop()
  await millrace?.close()
  await server?.stop()
})

const incoming = () => join(millrace.folder, 'data', 'cache', 'incoming')
let sent = 0

async function send(): Promise<void> {
  const lines = Array.from({ length: ROWS }, (_, i) => JSON.stringify({ id: sent + i, text: `row ${sent + i}` }))
  expect((await millrace.ingest('events', lines.join('\n'))).status).toBe(200)
  sent += ROWS
}

async function metric(name: string): Promise<number> {
  const page = await (await fetch(`${millrace.url('query')}/metrics`)).text()
  return Number(new RegExp(`^millrace_${name}(?:\\{[^}]*\\})? (\\d+)$`, 'm').exec(page)?.[1])
}

async function askAll(): Promise<{ requests: number; bytes: number }> {
  const { data, stats } = await millrace.sql('SELECT count(*), sum(id), count(text) FROM events')
  expect(data).toEqual([[String(sent), String((sent * (sent - 1)) / 2), String(sent)]])
  return { requests: stats.requests, bytes: stats.bytes_fetched }
}

test('a query right after a flush makes no GET for the new segment', async () => {
  for (let round = 0; round < 3; round += 1) {
    await send()
    expect(await askAll()).toEqual({ requests: 0, bytes: 0 })
  }
  expect(readdirSync(incoming())).toEqual([])
  expect(await metric('cache_copied_files')).toBe(3)
  expect(await metric('cache_requests')).toBe(0)
})

test('a segment without a copy is fetched, and the answer is the same', async () => {
  rmSync(incoming(), { recursive: true })
  writeFileSync(incoming(), 'a file where the folder should be')
  await send()
  await askAll()
  expect(await metric('cache_requests')).toBe(1)
  rmSync(incoming())
  await send()
  await askAll()
  expect(await metric('cache_requests')).toBe(1)
})
