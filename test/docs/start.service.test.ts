/**
 * docs/start.md, done as it says: its settings, its commands in its order in a folder of the test, with a real broker
 * where it wants one; what it shows as a reply is compared. Replaced are only ports and addresses. Not run: the demo
 * (has tests of its own), the Python of another engine.
 */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { kafkaJars } from '../harness/kafka-jars.ts'
import { runToEnd, type StartedProcess, startProcess } from '../harness/processes.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const SHOWN_WITHIN_MS = 60_000
const KAFKA_TOOLS = {
  'kafka-topics.sh': 'org.apache.kafka.tools.TopicCommand',
  'kafka-console-producer.sh': 'org.apache.kafka.tools.ConsoleProducer',
}

type Block = { readonly language: string; readonly text: string }

let folder: string
let kafka: KafkaBroker
let ports: { ingest: number; compactor: number; query: number }
let up: StartedProcess | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-start-'))
  ports = { ingest: await freePort(), compactor: await freePort(), query: await freePort() }
  kafka = await startKafka()
  const jars = await kafkaJars()
  for (const [script, mainClass] of Object.entries(KAFKA_TOOLS)) {
    const java = `exec java -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile='${jars.logging}' -cp '${jars.classPath}'`
    await writeScript(script, `${java} ${mainClass}`)
  }
  // Not the wrapper itself: it may install packages, and other tests are using those that are there.
  await writeScript('millrace', `exec '${process.execPath}' '${join(ROOT, 'bin', 'millrace.ts')}'`)
})

afterAll(async () => {
  await up?.kill()
  await kafka?.[Symbol.asyncDispose]()
  if (folder) await rm(folder, { recursive: true, force: true })
})

test('what the start page says is what happens', async () => {
  const blocks = blocksOf(await readFile(join(ROOT, 'docs', 'start.md'), 'utf8'))
  let settings = ''
  let compared = 0
  for (const [index, { language, text }] of blocks.entries()) {
    if (language === 'yaml') {
      settings += `${text}\n`
      await writeFile(join(folder, 'millrace.yaml'), here(settings))
      // The second time the page says to start it again with more settings.
      if (up) await startUp()
    } else if (language === 'sh' && text.trim() === './millrace up') await startUp()
    else if (language === 'sh' && !text.startsWith('./millrace demo')) {
      const next = blocks[index + 1]
      const reply = next && (next.language === 'json' || next.language === '') ? next.text : undefined
      await runBlock(text, reply)
      if (reply !== undefined) compared += 1
    }
  }
  expect(compared).toBe(5)
  expect(await up?.stop()).toEqual({ code: 0, signal: null })
})

async function writeScript(name: string, command: string): Promise<void> {
  await writeFile(join(folder, name), `#!/bin/sh\n${command} "$@"\n`)
  await chmod(join(folder, name), 0o755)
}

function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({ language, text }))
}

function here(text: string): string {
  return text
    .replaceAll('127.0.0.1:8081', `127.0.0.1:${ports.ingest}`)
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${ports.query}`)
    .replaceAll('localhost:9092', kafka.bootstrap)
}

function environment(): Record<string, string> {
  return {
    PATH: `${folder}${delimiter}${process.env.PATH}`,
    MILLRACE_LISTEN_INGEST: `127.0.0.1:${ports.ingest}`,
    MILLRACE_LISTEN_COMPACTOR: `127.0.0.1:${ports.compactor}`,
    MILLRACE_LISTEN_QUERY: `127.0.0.1:${ports.query}`,
  }
}

async function startUp(): Promise<void> {
  if (up) expect(await up.stop()).toEqual({ code: 0, signal: null })
  up = await startProcess({
    name: 'millrace up',
    command: './millrace',
    args: ['up'],
    cwd: folder,
    env: environment(),
    ready: { line: /Millrace is up:/ },
  })
}

/** A command without a shown reply must succeed; with one, it must come to print it (rows of a topic take a moment). */
async function runBlock(text: string, reply: string | undefined): Promise<void> {
  const run = () =>
    runToEnd({ name: text, command: '/bin/sh', args: ['-ec', here(text)], cwd: folder, env: environment() })
  let printed = await run()
  if (reply === undefined) return
  for (const deadline = performance.now() + SHOWN_WITHIN_MS; printed.trim() !== reply.trim(); ) {
    // Only reading is done again.
    if (!text.includes('millrace sql') || performance.now() > deadline) break
    printed = await run()
  }
  expect(printed.trim(), text).toBe(reply.trim())
}
