// docs/connect.md, done as it says: its commands in their order against real services; what it shows as a reply is compared.
// Its list of properties is complete.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DEFINITIONS } from '../../ingest/connect/config/definitions.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { runToEnd } from '../harness/processes.ts'
import { createProducer } from '../harness/produce.ts'

let page: string
let kafka: KafkaBroker
let millrace: Millrace

beforeAll(async () => {
  page = await readFile(join(import.meta.dirname, '..', '..', 'docs', 'connect.md'), 'utf8')
  kafka = await startKafka()
  await kafka.createTopic('orders', 1)
  millrace = await createMillrace({
    settings: `kafka.bootstrap: ["${kafka.bootstrap}"]\nflush.interval.ms: 100\nquery.memory: 256 MiB`,
  })
  await millrace.start('ingest')
  await millrace.start('query')
  const producer = await createProducer(kafka.bootstrap)
  await producer.send('orders', 0, [{ value: '{"id": 1}' }, { value: '{"id": 2}' }])
  producer.close()
})

afterAll(async () => {
  await millrace?.close()
  await kafka?.[Symbol.asyncDispose]()
})

const here = (text: string) =>
  text
    .replaceAll('http://127.0.0.1:8081', millrace.url('ingest'))
    .replaceAll('http://127.0.0.1:8080', millrace.url('query'))

async function run(text: string): Promise<string> {
  return runToEnd({ name: 'sh', command: 'sh', args: ['-ec', here(text)] })
}

test('what the page says is what happens', async () => {
  const blocks = [...page.matchAll(/^```(sh|json)\n([\s\S]*?)^```/gm)].map(([, language, text]) => ({ language, text }))
  let compared = 0
  for (const [index, { language, text }] of blocks.entries()) {
    if (language !== 'sh') continue
    const next = blocks[index + 1]
    if (next?.language !== 'json') {
      const reply = await run(text)
      expect(reply).not.toContain('error_code')
      continue
    }
    compared += 1
    await expect
      .poll(async () => JSON.parse(await run(text)), { timeout: 30_000, interval: 200 })
      .toMatchObject(JSON.parse(next.text))
  }
  expect(compared).toBe(2)
  expect(await (await fetch(`${millrace.url('ingest')}/connectors`)).json()).toEqual([])
})

test('every property is on the page', () => {
  expect(DEFINITIONS.map(({ name }) => name).filter((name) => !page.includes(`\`${name}\``))).toEqual([])
})
