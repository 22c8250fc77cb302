// `millrace up`: three services as children of one command; one that dies is started again; a signal ends all of them, and
// so does the death of the command itself.
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createMillrace, type Millrace, type ServiceName } from '../harness/millrace.ts'
import { portAnswers, type StartedProcess, startProcess } from '../harness/processes.ts'
import { until } from './observe.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const SERVICES: readonly ServiceName[] = ['ingest', 'compactor', 'query']

let millrace: Millrace
let up: StartedProcess

beforeEach(async () => {
  millrace = await createMillrace({
    settings: `
flush.interval.ms: 50
compaction.memory: 256 MiB
query.memory: 256 MiB
tables:
  events:
    columns: { id: long required }
`,
  })
  up = await startProcess({
    name: 'up',
    command: process.execPath,
    args: [MAIN, 'up', '--config', millrace.configFile],
    ready: { line: /^Millrace is up:$/ },
  })
})

afterEach(async () => {
  await up?.stop()
  await millrace?.close()
})

/** Process ids that said they were ready, the latest last. */
function readyPids(service: ServiceName): number[] {
  return up
    .output()
    .split('\n')
    .filter((line) => line.includes('"message":"ready"') && line.includes(`"service":"${service}"`))
    .map((line) => Number((JSON.parse(line) as { pid: number }).pid))
}

async function nobodyListens(): Promise<boolean> {
  const ports = SERVICES.map((service) => Number(new URL(millrace.url(service)).port))
  return !(await Promise.all(ports.map(portAnswers))).includes(true)
}

test('starts all three, starts again what was killed, ends all with SIGTERM', async () => {
  for (const service of SERVICES) {
    expect(up.output()).toContain(`${service.padEnd(10)} ${millrace.url(service)}`)
    expect((await fetch(`${millrace.url(service)}/readyz`)).status).toBe(200)
  }
  expect((await millrace.ingest('events', '{"id": 1}\n')).status).toBe(200)
  for (const service of SERVICES) {
    const [pid] = readyPids(service)
    process.kill(pid, 'SIGKILL')
    await until(
      `${service} is back`,
      async () => readyPids(service).length,
      (times) => times === 2,
    )
  }
  expect((await millrace.ingest('events', '{"id": 2}\n')).status).toBe(200)
  await millrace.eventually('SELECT sum(id) FROM events', (sum) => Number(sum) === 3)
  expect((await millrace.ingest('events', '{"id": 4}\n', { query: '?ack=buffered' })).status).toBe(202)

  up.signal('SIGTERM')
  expect(await up.exited).toEqual({ code: 0, signal: null })
  expect(await nobodyListens()).toBe(true)
  const printed = up.output().split('\n')
  const plain = printed.filter((line) => line !== '' && !line.startsWith('{'))
  expect(plain).toEqual(['Millrace is up:', ...SERVICES.map((each) => `  ${each.padEnd(10)} ${millrace.url(each)}`)])
  for (const line of printed.filter((each) => each.startsWith('{'))) expect(JSON.parse(line)).toHaveProperty('message')

  await millrace.start('query')
  expect(Number(await millrace.value('SELECT sum(id) FROM events'))).toBe(7)
})

test('its services end in order when the command itself is killed', async () => {
  expect((await millrace.ingest('events', '{"id": 1}\n', { query: '?ack=buffered' })).status).toBe(202)
  await up.kill()
  await until('nobody listens', nobodyListens, (nobody) => nobody)
  await millrace.start('query')
  expect(Number(await millrace.value('SELECT sum(id) FROM events'))).toBe(1)
})
