// What a rebuild does not decide by itself is told by name, with an exit code of its own, and stays where it is.
import { rmSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type LostLake, openLostLake } from './lost-lake.ts'

const EXIT_ATTENTION = 3

let kafka: KafkaBroker
let producer: Producer
let lake: LostLake
beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
  lake = await openLostLake({ kafka, producer, topic: 'left' })
})
afterAll(async () => {
  await lake?.close()
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

async function filesThere(): Promise<string[]> {
  const root = join(lake.millrace.folder, 'data', 'lake')
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries.flatMap((each) => (each.isFile() ? [join(each.parentPath, each.name)] : []))
}

test('rows without a producer that nothing proves acknowledged are listed and kept, and taken on demand', async () => {
  const ingest = await lake.millrace.start('ingest')
  await lake.sendAnonymous(12)
  await ingest.kill()
  await lake.deleteCatalog()
  const before = await filesThere()

  const told = await lake.rebuild()
  expect(told.exit.code, told.output).toBe(EXIT_ATTENTION)
  expect(told.output).toContain('left out, unsequenced: 1 segments with 12 rows; the files stay')
  expect(await filesThere()).toEqual(before)

  const taken = await lake.rebuild('--take-unsequenced', '--json')
  expect(taken.exit.code, taken.output).toBe(0)
  const query = await lake.millrace.start('query')
  expect(Number(await lake.millrace.value('SELECT count(*) FROM events'))).toBe(12)
  await query.stop()
}, 240_000)

test('a snapshot whose files are gone is told by name', async () => {
  const compactor = await lake.millrace.start('compactor')
  const isList = (path: string) => path.includes('/metadata/snap-')
  const deadline = AbortSignal.timeout(60_000)
  let lists: string[] = []
  while (lists.length === 0) {
    deadline.throwIfAborted()
    lists = (await filesThere()).filter(isList)
  }
  await compactor.stop()
  lists = (await filesThere()).filter(isList)
  for (const path of lists) rmSync(path)
  await lake.deleteCatalog()
  const told = await lake.rebuild()
  expect(told.exit.code, told.output).toBe(EXIT_ATTENTION)
  expect(told.output).toContain('newer than what is taken')
  expect(told.output).toContain(lists[0].slice(lists[0].lastIndexOf('/') + 1))
}, 240_000)
