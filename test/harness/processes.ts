/**
 * Real processes for tests: start one, wait until it is ready, read what it printed, stop it politely, kill it with -9,
 * freeze and thaw it. Each leads a process group of its own; when it ends, what is left of the group is killed, and
 * `orphan-guard.ts` does the same when the test run itself ends, in whatever way.
 *
 * What can fail: the command is missing, the process ends before it is ready, or it is not ready in time. The error then
 * carries the end of its output.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { guardProcessGroup, killProcessGroup, releaseProcessGroup } from './orphan-guard.ts'

const OUTPUT_CHARACTERS_MAX = 4 * 1024 * 1024
const OUTPUT_SHOWN_LINES = 60
const READY_POLL_MS = 25
const PAUSED_POLL_MS = 100
const READY_TIMEOUT_MS = 120_000
const STOP_TIMEOUT_MS = 30_000

export type ReadyWhen =
  /** A line of stdout or stderr matches. */
  | { readonly line: RegExp }
  /** Something accepts connections on this port of 127.0.0.1. */
  | { readonly port: number }
  /** GET answers with a status below 400. */
  | { readonly url: string }

export type ProcessOptions = {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  readonly ready?: ReadyWhen
  readonly readyTimeoutMs?: number
  /** Another user, for servers that refuse to run as root. */
  readonly user?: { readonly uid: number; readonly gid: number }
  /** Let descendants live on when the leader ends (until the test process ends). Default false. */
  readonly leaveDescendants?: boolean
}

export type ProcessExit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

export type StartedProcess = {
  readonly name: string
  readonly pid: number
  readonly exited: Promise<ProcessExit>
  /** Undefined while it runs. */
  exit(): ProcessExit | undefined
  /** Everything printed so far on both streams (the last 4 MiB). */
  output(): string
  /** The first match in what it printed already or prints from now on. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  signal(signal: NodeJS.Signals): void
  /** SIGTERM, then SIGKILL when it has not ended within the time. */
  stop(timeoutMs?: number): Promise<ProcessExit>
  /** SIGKILL to the leader; resolves when it is gone. */
  kill(): Promise<ProcessExit>
  /** Resolves when it was stopped by a SIGSTOP, its own or somebody else's. */
  paused(timeoutMs?: number): Promise<void>
  /** SIGSTOP and SIGCONT to the whole group. */
  pause(): void
  resume(): void
  [Symbol.asyncDispose](): Promise<void>
}

export async function startProcess(options: ProcessOptions): Promise<StartedProcess> {
  const child = spawn(options.command, [...options.args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    ...options.user,
  })
  await spawned(child, options)
  const started = wrapChild(child, options)
  if (options.ready === undefined) return started
  try {
    await waitUntilReady(started, options.ready, options.readyTimeoutMs ?? READY_TIMEOUT_MS)
  } catch (error) {
    await started.kill()
    throw error
  }
  return started
}

/** Runs a command to its end and gives its stdout; a status other than 0 is an error with the end of its output. */
export async function runToEnd(options: Omit<ProcessOptions, 'ready' | 'readyTimeoutMs'>): Promise<string> {
  const child = spawn(options.command, [...options.args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    ...options.user,
  })
  const stdout: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer | string) => stdout.push(Buffer.from(chunk)))
  await spawned(child, options)
  const started = wrapChild(child, options)
  const exit = await started.exited
  if (exit.code !== 0)
    throw new Error(`${options.name} ended with ${describeExit(exit)}\n${lastLines(started.output())}`)
  return Buffer.concat(stdout).toString('utf8')
}

function wrapChild(child: ChildProcess, options: ProcessOptions): StartedProcess {
  const pid = child.pid!
  const output = collectOutput(child)
  let exit: ProcessExit | undefined
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', () => {
      if (options.leaveDescendants) return
      killProcessGroup(pid)
    })
    // `close` comes after the last byte of output, so a reader of `exited` sees all that was printed.
    child.once(options.leaveDescendants ? 'exit' : 'close', (code, signal) => {
      exit = { code, signal }
      if (!options.leaveDescendants) releaseProcessGroup(pid)
      resolve(exit)
    })
  })

  function signal(name: NodeJS.Signals): void {
    if (exit === undefined) child.kill(name)
  }
  function signalGroup(name: NodeJS.Signals): void {
    if (child.exitCode !== null || child.signalCode !== null) return
    try {
      process.kill(-pid, name)
    } catch {
      // It ended just now and nobody told us yet.
    }
  }
  async function kill(): Promise<ProcessExit> {
    signal('SIGKILL')
    return exited
  }
  async function stop(timeoutMs = STOP_TIMEOUT_MS): Promise<ProcessExit> {
    signal('SIGTERM')
    const timer = setTimeout(() => signal('SIGKILL'), timeoutMs)
    try {
      return await exited
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    name: options.name,
    pid,
    exited,
    exit: () => exit,
    output: output.text,
    waitForLine: (pattern, timeoutMs = READY_TIMEOUT_MS) =>
      waitForLine({ name: options.name, output, exited }, pattern, timeoutMs),
    signal,
    stop,
    kill,
    paused: (timeoutMs = READY_TIMEOUT_MS) =>
      waitUntilPaused({ name: options.name, pid, output, exit: () => exit }, timeoutMs),
    pause: () => signalGroup('SIGSTOP'),
    resume: () => signalGroup('SIGCONT'),
    [Symbol.asyncDispose]: async () => {
      signalGroup('SIGCONT')
      await stop()
    },
  }
}

type Output = { text(): string; onData(listener: () => void): () => void }

function collectOutput(child: ChildProcess): Output {
  let text = ''
  const listeners = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (chunk: string) => {
      text += chunk
      if (text.length > OUTPUT_CHARACTERS_MAX) text = text.slice(-OUTPUT_CHARACTERS_MAX)
      for (const listener of listeners) listener()
    })
  }
  return {
    text: () => text,
    onData(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

async function waitForLine(
  of: { name: string; output: Output; exited: Promise<ProcessExit> },
  pattern: RegExp,
  timeoutMs: number,
): Promise<RegExpExecArray> {
  const perLine = new RegExp(pattern.source, [...new Set(`${pattern.flags.replace(/[gy]/g, '')}m`)].join(''))
  const found = perLine.exec(of.output.text())
  if (found) return found
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => finish(() => reject(failure(`printed no ${pattern} within ${timeoutMs} ms`))),
      timeoutMs,
    )
    const stopListening = of.output.onData(() => {
      const match = perLine.exec(of.output.text())
      if (match) finish(() => resolve(match))
    })
    void of.exited.then((exit) => finish(() => reject(failure(`ended with ${describeExit(exit)} before ${pattern}`))))
    function finish(settle: () => void): void {
      clearTimeout(timer)
      stopListening()
      settle()
    }
    function failure(what: string): Error {
      return new Error(`${of.name} ${what}\n${lastLines(of.output.text())}`)
    }
  })
}

async function waitUntilPaused(
  of: { name: string; pid: number; output: Output; exit(): ProcessExit | undefined },
  timeoutMs: number,
): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs)
  while (!(await stateOf(of.pid)).startsWith('T')) {
    const exit = of.exit()
    if (exit !== undefined || deadline.aborted) {
      const how = exit === undefined ? `did not pause within ${timeoutMs} ms` : `ended with ${describeExit(exit)}`
      throw new Error(`${of.name} ${how}\n${lastLines(of.output.text())}`)
    }
    await sleep(PAUSED_POLL_MS)
  }
}

/** The letter that `ps` shows for the process, or nothing when there is none. */
async function stateOf(pid: number): Promise<string> {
  return new Promise((resolve) => {
    execFile('ps', ['-o', 'stat=', '-p', String(pid)], (_error, stdout) => resolve(stdout.trim()))
  })
}

async function waitUntilReady(started: StartedProcess, ready: ReadyWhen, timeoutMs: number): Promise<void> {
  if ('line' in ready) {
    await started.waitForLine(ready.line, timeoutMs)
    return
  }
  const answers = 'port' in ready ? () => portAnswers(ready.port) : () => urlAnswers(ready.url)
  const what = 'port' in ready ? `127.0.0.1:${ready.port}` : ready.url
  const deadline = AbortSignal.timeout(timeoutMs)
  while (!(await answers())) {
    const exit = started.exit()
    if (exit !== undefined) {
      throw new Error(`${started.name} ended with ${describeExit(exit)} before ready\n${lastLines(started.output())}`)
    }
    if (deadline.aborted) {
      throw new Error(`${started.name}: ${what} did not answer within ${timeoutMs} ms\n${lastLines(started.output())}`)
    }
    await sleep(READY_POLL_MS)
  }
}

export function portAnswers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function urlAnswers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) })
    await response.arrayBuffer()
    return response.status < 400
  } catch {
    return false
  }
}

async function spawned(child: ChildProcess, options: { name: string; command: string }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', () => resolve())
    child.once('error', (cause) => reject(new Error(`${options.name}: cannot start ${options.command}`, { cause })))
    if (child.pid !== undefined) guardProcessGroup(child.pid)
  })
}

function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `status ${exit.code}` : `signal ${exit.signal}`
}

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-OUTPUT_SHOWN_LINES).join('\n')
}
