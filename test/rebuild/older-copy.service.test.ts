// An older copy of the catalog is put back: it is noticed, nothing is committed or swept by it, and a rebuild mends it without loss
// or repetition (G-1, G-2, G-4).
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import type { StartedProcess } from '../harness/processes.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type LostLake, openLostLake } from './lost-lake.ts'

const EXIT_FENCED = 75
const NOTICED_MS = 30_000

let kafka: KafkaBroker
let producer: Producer
let lake: LostLake
let running: StartedProcess[] = []
beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
  lake = await openLostLake({ kafka, producer, topic: 'older' })
})
afterAll(async () => {
  await lake?.close()
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

function filesThere(): string[] {
  const root = join(lake.millrace.folder, 'data', 'lake')
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name))
    .sort()
}

async function standingBy(service: 'ingest' | 'compactor'): Promise<string> {
  const deadline = AbortSignal.timeout(NOTICED_MS)
  for (;;) {
    const { status, text } = await lake.health(service)
    if (status === 503 && text.includes('millrace catalog rebuild')) return text
    if (deadline.aborted) throw new Error(`${service} does not stand by: ${status} ${text}`)
    await sleep(100)
  }
}

/** Both start, stand by with the catalog that is there, and go on by themselves when it is mended. */
async function mended(): Promise<void> {
  const before = filesThere()
  const starting = Promise.all([lake.millrace.start('ingest'), lake.millrace.start('compactor')])
  const reasons = await Promise.all([standingBy('ingest'), standingBy('compactor')])
  for (const reason of reasons) expect(reason).toContain('the bucket is ahead of this catalog')
  const refused = await fetch(`${lake.millrace.url('ingest')}/v1/ingest/clicks`, { method: 'POST', body: '{}' })
  expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining('stands by')])
  expect(filesThere()).toEqual(before)

  const hash = async () =>
    createHash('sha256')
      .update(await readFile(lake.catalogFile))
      .digest('hex')
  const asItWas = await hash()
  const dry = await lake.rebuild('--dry-run')
  expect(dry.exit.code, dry.output).toBe(0)
  expect(dry.output).toContain('nothing was changed')
  expect(await hash()).toBe(asItWas)

  const { exit, output } = await lake.rebuild()
  expect(exit.code, output).toBe(0)
  running = await starting
  running.push(await lake.millrace.start('query'))
  await lake.send(25)
  await lake.produce(30)
  await lake.arrived()
  await lake.expectEverythingOnce()
}

async function fed(): Promise<string> {
  await lake.produce(150)
  await lake.send(60)
  await lake.arrived()
  const copy = await lake.copyCatalog()
  await lake.produce(150)
  await lake.sendAnonymous(20)
  await lake.send(80)
  await lake.arrived()
  return copy
}

test('while all processes are stopped', { timeout: 240_000 }, async () => {
  running = await Promise.all([
    lake.millrace.start('query'),
    lake.millrace.start('ingest'),
    lake.millrace.start('compactor'),
  ])
  const copy = await fed()
  await Promise.all(running.map((each) => each.stop()))
  await lake.putBack(copy)
  await mended()
})

test('while they run', { timeout: 240_000 }, async () => {
  const copy = await fed()
  const [ingest, compactor, query] = running
  await lake.putBack(copy)
  for (const writer of [ingest, compactor]) {
    expect(await writer.exited).toEqual({ code: EXIT_FENCED, signal: null })
    expect(writer.output()).toContain('millrace catalog rebuild')
  }
  await query.stop()
  await mended()
})
