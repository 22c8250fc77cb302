/**
 * `millrace up`: ingest, compactor and query as child processes of one command. Their JSON log lines pass through. A child
 * that dies is started again, later each time it dies soon; SIGTERM or SIGINT stops all of them in order (ingest first, so
 * that its last rows are committed while the others still run), a second one kills them.
 *
 * The three share a machine: with a lake in S3 the query service gets copies of new files from the other two.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import type { ReadyMessage } from '../../runtime/lifecycle.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { World } from '../../runtime/world.ts'
import { SERVICES, type ServiceName } from './service.ts'
import { type SettingsOptions, settingsArguments, settingsOf, withSettings } from './settings-options.ts'

const RESTART_MS_MIN = 500
const RESTART_MS_MAX = 30_000
/** A child that lived this long died of something new: back-off begins again. */
const LIVED_LONG_MS = 60_000
/** Above `shutdown.ms`, the time children have before they are killed. */
const KILL_AFTER_MS = 2000
const COPIES_SETTING = 'storage.copies.bytes'
const COPIES = '1 GiB'

export function addUpCommand(program: Command): void {
  withSettings(program.command('up').description('Run ingest, compactor and query, and restart what dies.'))
    .addHelpText(
      'after',
      '\nExamples:\n  millrace up\n  millrace up --config millrace.yaml --set flush.interval.ms=250',
    )
    .action(run)
}

type Child = { readonly name: ServiceName; process: ChildProcess | undefined; url: string | undefined }

async function run(options: SettingsOptions): Promise<void> {
  const { settings, secrets, given } = settingsOf(options)
  const world = createSystemWorld({ log: createLog({ level: settings.log.level, fields: { service: 'up' }, secrets }) })
  const stopping = new AbortController()
  const children: Child[] = SERVICES.map((name) => ({ name, process: undefined, url: undefined }))
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping.signal.aborted) {
      world.log.warn('second stop signal, killing the services', { signal })
      for (const child of children) child.process?.kill('SIGKILL')
      process.exit(1)
    }
    stopping.abort()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  // Whoever started us and died (the demo under kill -9) must leave no services behind that hold its ports.
  if (process.send) process.on('disconnect', () => stopping.abort())

  let announced = false
  const announce = () => {
    if (announced || children.some((child) => child.url === undefined)) return
    announced = true
    const lines = children.map((child) => `  ${child.name.padEnd(10)} ${child.url}\n`)
    process.stdout.write(`Millrace is up:\n${lines.join('')}`)
  }
  const args = settingsArguments(options)
  if (!given.has(COPIES_SETTING)) args.push('--set', `${COPIES_SETTING}=${COPIES}`)
  const watched = children.map((child) =>
    keepRunning({ child, args, world, stopping: stopping.signal, onReady: announce }),
  )
  await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
  let clean = true
  for (const child of children) {
    clean = (await stopChild(child, world, settings.shutdownMs + KILL_AFTER_MS)) && clean
  }
  await Promise.all(watched)
  process.exit(clean ? 0 : 1)
}

type KeepOptions = {
  readonly child: Child
  readonly args: readonly string[]
  readonly world: World
  readonly stopping: AbortSignal
  readonly onReady: () => void
}

async function keepRunning({ child, args, world, stopping, onReady }: KeepOptions): Promise<void> {
  const entry = fileURLToPath(new URL('../millrace.ts', import.meta.url))
  let waitMs = RESTART_MS_MIN
  while (!stopping.aborted) {
    const startedAt = world.clock.monotonicMs()
    // A process group of its own: Ctrl-C in the terminal reaches only this command, which then stops them in order.
    const started = spawn(process.execPath, [entry, child.name, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      detached: true,
    })
    child.process = started
    started.on('message', (message: ReadyMessage) => {
      if (message?.type !== 'ready') return
      child.url = message.url
      onReady()
    })
    const ended = await new Promise<string>((resolve) => {
      started.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
      started.once('error', (error) => resolve(error.message))
    })
    child.process = undefined
    if (stopping.aborted) return
    waitMs = world.clock.monotonicMs() - startedAt > LIVED_LONG_MS ? RESTART_MS_MIN : waitMs
    world.log.error('service died, starting it again', { child: child.name, ended, waitMs })
    await world.clock.sleep(waitMs, stopping).catch(() => {})
    waitMs = Math.min(waitMs * 2, RESTART_MS_MAX)
  }
}

/** True when it ended by itself with code 0. */
async function stopChild(child: Child, world: World, withinMs: number): Promise<boolean> {
  const running = child.process
  if (!running || running.exitCode !== null || running.signalCode !== null) return true
  const ended = new Promise<boolean>((resolve) => running.once('exit', (code) => resolve(code === 0)))
  running.kill('SIGTERM')
  const timer = new AbortController()
  const late = world.clock.sleep(withinMs, timer.signal).then(
    () => running.kill('SIGKILL'),
    () => {},
  )
  const clean = await ended
  timer.abort()
  await late
  return clean
}
