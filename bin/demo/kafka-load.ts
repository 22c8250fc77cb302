/**
 * The demo's Kafka side: a real broker and a producer, both as processes of the checkout's test harness (they are not
 * part of Millrace itself). Topics keep their data in the demo's folder, so that a second run goes on from there.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Engine } from '../../lake/engine/engine.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { type Dataset, streamLines } from './flights.ts'

export type KafkaFeed = {
  readonly bootstrap: string
  /** Resolves when all rows are in the topic named like the table. */
  produce(job: { engine: Engine; dataset: Dataset; rows: number; signal: AbortSignal }): Promise<void>
  stop(): Promise<void>
}

const PARTITIONS = { flights: 4, airports: 1 } as const
const LINES_PER_WRITE = 20_000
const HARNESS = join(import.meta.dirname, '..', '..', 'test', 'harness')

export async function startKafkaFeed(folder: string, world: World): Promise<KafkaFeed> {
  const serve = join(HARNESS, 'serve-kafka.ts')
  if (!existsSync(serve)) {
    throw new MillraceError(
      'not-found',
      'the demo starts its broker from the test harness; run it in a checkout, or without --kafka',
    )
  }
  const topics = Object.entries(PARTITIONS)
    .map(([topic, partitions]) => `${topic}:${partitions}`)
    .join(',')
  const broker = spawn(process.execPath, [serve, '--data', join(folder, 'kafka'), '--topics', topics], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const { bootstrap } = await firstLine<{ bootstrap: string }>(broker)

  return {
    bootstrap,
    async produce({ engine, dataset, rows, signal }) {
      const producer = spawn(
        process.execPath,
        [
          join(HARNESS, 'produce-lines.ts'),
          '--bootstrap',
          bootstrap,
          '--topic',
          dataset.table,
          '--partitions',
          String(PARTITIONS[dataset.table]),
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      )
      const exited = once(producer, 'exit') as Promise<[number | null]>
      // What is in the topic from an earlier run is skipped by the producer, partition by partition.
      const { there } = await firstLine<{ there: number }>(producer)
      const input = producer.stdin
      input.on('error', () => {})
      if (there < rows) {
        await streamLines(
          engine,
          dataset,
          { from: 0, to: rows, linesPerSend: LINES_PER_WRITE },
          async (chunk) => {
            if (!input.write(chunk)) await Promise.race([once(input, 'drain'), exited])
          },
          signal,
        )
      }
      input.end()
      const [code] = await exited
      if (code !== 0)
        throw new MillraceError('broker-unavailable', `the producer of ${dataset.table} ended with code ${code}`)
    },
    async stop() {
      if (broker.exitCode !== null) return
      const ended = once(broker, 'exit')
      broker.stdin.end()
      await Promise.race([ended, world.clock.sleep(20_000)])
      if (broker.exitCode === null) broker.kill('SIGKILL')
    },
  }
}

/** The first line a child prints, as JSON; an error when it ends without one. */
async function firstLine<T>(child: ChildProcess): Promise<T> {
  const lines = createInterface({ input: child.stdout! })
  const ended = once(child, 'exit').then(([code]) => {
    throw new MillraceError('broker-unavailable', `a process of the demo's broker ended with code ${code}`)
  })
  const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
  lines.on('line', () => {})
  ended.catch(() => {})
  return JSON.parse(line) as T
}
