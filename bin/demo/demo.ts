/**
 * `millrace demo`: three million real flights streamed in, then asked about.
 *
 *   services up ─▶ airports, then flights as JSON (HTTP, or Kafka with --kafka) ─▶ answers as tables ─▶ stays up
 *
 * Ctrl-C ends it cleanly at any moment. What is committed stays: a second run goes on from there.
 */
import { join, resolve } from 'node:path'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { formatTable } from '../shell/table-text.ts'
import { ask, askSource, differences } from './answers.ts'
import { type Dataset, datasetFolder, datasets } from './flights.ts'
import { loadOverHttp } from './http-load.ts'
import { type KafkaFeed, startKafkaFeed } from './kafka-load.ts'
import { createProgress } from './progress.ts'
import { QUESTIONS } from './questions.ts'
import { type DemoServices, startServices } from './services.ts'

export type DemoOptions = {
  readonly folder: string
  readonly rows: number
  readonly kafka: boolean
  /** Compare the answers with bare DuckDB over the source, print `N passed, N failed`, end. */
  readonly check: boolean
}

const ENGINE_MEMORY_BYTES = 1024 ** 3
const VISIBLE_WITHIN_MS = 60_000

/** The exit code. */
export async function runDemo(options: DemoOptions, world: World): Promise<number> {
  const out = process.stdout
  const folder = resolve(options.folder)
  const source = datasetFolder()
  const { flights, airports } = datasets(source)
  const rows = Math.min(options.rows, flights.rows)
  const interrupt = new AbortController()
  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(1)
    interrupt.abort(new MillraceError('shutting-down', 'stopped by Ctrl-C; a second run goes on from here'))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)

  const engine = createEngine({
    world,
    settings: {
      name: 'demo',
      mode: 'query',
      memoryBytes: ENGINE_MEMORY_BYTES,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: ENGINE_MEMORY_BYTES,
      folders: [source],
    },
  })
  let feed: KafkaFeed | undefined
  let services: DemoServices | undefined
  try {
    if (options.kafka) {
      out.write('Starting a Kafka broker …\n')
      feed = await startKafkaFeed(folder, world)
    }
    out.write('Starting Millrace …\n')
    services = await startServices(folder, feed?.bootstrap, world)
    const load = { engine, world, services, feed, signal: interrupt.signal }
    await Promise.race([services.ended, loadTable(load, airports, airports.rows)])
    await Promise.race([services.ended, loadTable(load, flights, rows)])
    if (options.check) return await checkAnswers(services, engine, source, rows)
    await printAnswers(services, interrupt.signal)
    printInvitation(services)
    await Promise.race([services.ended, untilAborted(interrupt.signal)])
    return 0
  } catch (error) {
    if (!interrupt.signal.aborted) throw error
    return 0
  } finally {
    if (interrupt.signal.aborted) out.write('\nStopping; a second run goes on from what is there.\n')
    await engine.close()
    await services?.stop()
    await feed?.stop()
  }
}

type Load = {
  engine: Engine
  world: World
  services: DemoServices
  feed: KafkaFeed | undefined
  signal: AbortSignal
}

async function loadTable(
  { engine, world, services, feed, signal }: Load,
  dataset: Dataset,
  rows: number,
): Promise<void> {
  const out = process.stdout
  const count = async () => {
    const answer = await ask(services.queryUrl, `SELECT count(*) FROM ${dataset.table}`, signal).catch(() => undefined)
    return { rows: Number(answer?.data[0]?.[0] ?? 0), freshnessMs: answer?.freshnessMs }
  }
  const there = await count()
  if (there.rows >= rows) {
    out.write(`${dataset.table}: ${there.rows.toLocaleString('en-US')} rows are there already\n`)
    return
  }
  out.write(`${dataset.table}: ${rows.toLocaleString('en-US')} rows as JSON over ${feed ? 'Kafka' : 'HTTP'}\n`)
  const progress = createProgress(out, world.clock.monotonicMs, there.rows)
  if (feed) {
    const sent = feed.produce({ engine, dataset, rows, signal })
    for (let seen = there; seen.rows < rows; seen = await count()) {
      signal.throwIfAborted()
      progress.update(seen.rows, rows, seen.freshnessMs)
      await Promise.race([world.clock.sleep(200), sent.then(() => world.clock.sleep(200))])
    }
    await sent
    progress.update(rows, rows, (await count()).freshnessMs)
  } else {
    await loadOverHttp({ engine, world, ingestUrl: services.ingestUrl, signal }, dataset, rows, (committed, ackMs) =>
      progress.update(committed, rows, ackMs),
    )
    await untilVisible(world, count, rows)
  }
  progress.end()
}

async function untilVisible(world: World, count: () => Promise<{ rows: number }>, rows: number): Promise<void> {
  const started = world.clock.monotonicMs()
  for (;;) {
    const seen = await count()
    if (seen.rows >= rows) return
    if (world.clock.monotonicMs() - started > VISIBLE_WITHIN_MS) {
      throw new MillraceError('internal', `only ${seen.rows} of ${rows} rows are visible`)
    }
    await world.clock.sleep(100)
  }
}

async function printAnswers(services: DemoServices, signal: AbortSignal): Promise<void> {
  for (const { title, sql } of QUESTIONS) {
    const answer = await ask(services.queryUrl, sql, signal)
    const took = answer.elapsedMs === undefined ? '' : `   (${Math.round(answer.elapsedMs)} ms)`
    process.stdout.write(`\n${title}${took}\n${formatTable(answer.columns, answer.data)}`)
  }
}

async function checkAnswers(services: DemoServices, engine: Engine, source: string, rows: number): Promise<number> {
  let failed = 0
  for (const question of QUESTIONS) {
    const different = differences(
      question,
      await ask(services.queryUrl, question.sql),
      await askSource(engine, source, rows, question),
    )
    for (const line of different) process.stdout.write(`  ${line}\n`)
    process.stdout.write(`${different.length === 0 ? 'ok    ' : 'FAILED'} ${question.title}\n`)
    if (different.length > 0) failed += 1
  }
  process.stdout.write(`${QUESTIONS.length - failed} passed, ${failed} failed\n`)
  return failed === 0 ? 0 : 1
}

function printInvitation(services: DemoServices): void {
  process.stdout.write(`
Millrace stays up; Ctrl-C ends it. Ask for yourself:

  curl -s ${services.queryUrl}/v1/sql -H 'content-type: text/plain' -d 'SELECT origin, avg(delay) FROM flights GROUP BY 1 ORDER BY 2 DESC LIMIT 3'
  ./millrace sql --url ${services.queryUrl} "SELECT * FROM flights LIMIT 5"

  SQL ${services.queryUrl}   ingest ${services.ingestUrl}   settings ${services.configFile}   log ${services.logFile}
`)
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
