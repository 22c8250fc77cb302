/**
 * The demo's processes: all Millrace services under one `millrace up`, with settings written beside the data so that
 * they can be read, changed and used again. Their log goes to a file; the screen belongs to the demo.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, openSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { request } from 'undici'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'

export type DemoPlaces = {
  readonly folder: string
  readonly configFile: string
  readonly logFile: string
  readonly ingestUrl: string
  readonly compactorUrl: string
  readonly queryUrl: string
}

export type DemoServices = DemoPlaces & {
  /** Rejects when the services end by themselves. */
  readonly ended: Promise<never>
  stop(): Promise<void>
}

const READY_WITHIN_MS = 60_000
const STOP_WITHIN_MS = 20_000

export async function startServices(
  folder: string,
  bootstrap: string | undefined,
  world: World,
): Promise<DemoServices> {
  mkdirSync(folder, { recursive: true })
  const ports = { ingest: await portFrom(8081), compactor: await portFrom(8082), query: await portFrom(8080) }
  const places: DemoPlaces = {
    folder,
    configFile: join(folder, 'millrace.yaml'),
    logFile: join(folder, 'millrace.log'),
    ingestUrl: `http://127.0.0.1:${ports.ingest}`,
    compactorUrl: `http://127.0.0.1:${ports.compactor}`,
    queryUrl: `http://127.0.0.1:${ports.query}`,
  }
  writeFileSync(places.configFile, settingsText(folder, ports, bootstrap))
  const log = openSync(places.logFile, 'a')
  const main = join(import.meta.dirname, '..', 'millrace.ts')
  const child = spawn(process.execPath, [main, 'up', '--config', places.configFile], {
    // The channel carries nothing: it breaks when this process dies, and the services end then.
    stdio: ['ignore', log, log, 'ipc'],
    // Its own group: Ctrl-C reaches the demo only, which then ends the services in order.
    detached: true,
  })
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => {
      reject(new MillraceError('internal', `the services ended with code ${code}; see ${places.logFile}`))
    })
  })
  ended.catch(() => {})
  const services = { ...places, ended, stop: () => stop(child, world) }
  try {
    await Promise.race([ended, waitReady(places, world)])
  } catch (error) {
    await services.stop()
    throw error
  }
  return services
}

async function waitReady(places: DemoPlaces, world: World): Promise<void> {
  const started = world.clock.monotonicMs()
  for (const url of [places.ingestUrl, places.compactorUrl, places.queryUrl]) {
    while (!(await isReady(url))) {
      if (world.clock.monotonicMs() - started > READY_WITHIN_MS) {
        throw new MillraceError('internal', `${url}/readyz does not say ready; see ${places.logFile}`)
      }
      await world.clock.sleep(100)
    }
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${url}/readyz`)
    await body.dump()
    return statusCode === 200
  } catch {
    return false
  }
}

async function stop(child: ChildProcess, world: World): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await Promise.race([exited, world.clock.sleep(STOP_WITHIN_MS)])
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
}

/** The usual port where it is free, so that the printed URL stays the same from run to run; else any free one. */
async function portFrom(usual: number): Promise<number> {
  for (const port of [usual, 0]) {
    const found = await new Promise<number | undefined>((resolve) => {
      const server = createServer()
      server.once('error', () => resolve(undefined))
      server.listen(port, '127.0.0.1', () => {
        const address = server.address()
        server.close(() => resolve(typeof address === 'object' && address ? address.port : undefined))
      })
    })
    if (found !== undefined) return found
  }
  throw new MillraceError('internal', 'no free port on 127.0.0.1')
}

function settingsText(
  folder: string,
  ports: { ingest: number; compactor: number; query: number },
  bootstrap: string | undefined,
): string {
  const kafka = bootstrap === undefined ? '' : `kafka.bootstrap: [${JSON.stringify(bootstrap)}]\n`
  const pipelines =
    bootstrap === undefined
      ? ''
      : `pipelines:
  flights: { topics: [flights], tables: [flights] }
  airports: { topics: [airports], tables: [airports] }
`
  return `# Written by "millrace demo". Use it yourself: ./millrace up --config <this file>
data: ${JSON.stringify(folder)}
listen.ingest: 127.0.0.1:${ports.ingest}
listen.compactor: 127.0.0.1:${ports.compactor}
listen.query: 127.0.0.1:${ports.query}
${kafka}snapshot.age.ms: 10 s
tables:
  flights:
    columns: { date: timestamp required, delay: int, distance: int, origin: string, destination: string }
    event-time: date
    partition: [month(date)]
    sort: [date]
  airports:
    columns: { iata: string required, name: string, city: string, state: string, country: string, latitude: double, longitude: double }
${pipelines}`
}
