import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort, freePorts } from './free-port.ts'
import { portAnswers, runToEnd, startProcess } from './processes.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-processes-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function untilDead(pid: number): Promise<void> {
  while (isAlive(pid)) await sleep(10)
}

const node = process.execPath
const listenOn = (port: number) =>
  `require('net').createServer((s) => s.on('error', () => {})).listen(${port}, '127.0.0.1', () => console.log('ready on ' + ${port}))`

describe('processes', () => {
  test('waits for a line, collects the output and stops by SIGTERM', async () => {
    const script = `console.log('one'); console.error('two'); process.on('SIGTERM', () => { console.log('bye'); process.exit(7) }); setInterval(() => {}, 1000); console.log('ready')`
    const started = await startProcess({
      name: 'polite',
      command: node,
      args: ['-e', script],
      ready: { line: /^ready$/ },
    })
    expect(isAlive(started.pid)).toBe(true)
    expect(await started.stop()).toEqual({ code: 7, signal: null })
    expect(started.output().split('\n').filter(Boolean).sort()).toEqual(['bye', 'one', 'ready', 'two'])
  })

  test('waits for a port, kills with -9, and the port is free again', async () => {
    const port = await freePort()
    const started = await startProcess({ name: 'server', command: node, args: ['-e', listenOn(port)], ready: { port } })
    expect(await portAnswers(port)).toBe(true)
    expect(await started.kill()).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await portAnswers(port)).toBe(false)
  })

  test('a process that ignores SIGTERM is killed after the time given', async () => {
    const script = `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('ready')`
    const started = await startProcess({
      name: 'stubborn',
      command: node,
      args: ['-e', script],
      ready: { line: /ready/ },
    })
    expect(await started.stop(50)).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('pause freezes it and resume lets it go on', async () => {
    const started = await startProcess({
      name: 'ticker',
      command: node,
      args: ['-e', `setInterval(() => console.log('tick'), 5)`],
      ready: { line: /tick/ },
    })
    started.pause()
    const state = async () => (await readFile(`/proc/${started.pid}/stat`, 'utf8')).split(') ')[1][0]
    while ((await state()) !== 'T') await sleep(5)
    started.resume()
    while ((await state()) === 'T') await sleep(5)
    expect(started.exit()).toBeUndefined()
    await started.kill()
  })

  test('a process that ends early is an error with its output', async () => {
    const failing = startProcess({
      name: 'failing',
      command: node,
      args: ['-e', `console.log('the reason'); process.exit(3)`],
      ready: { line: /never/ },
    })
    await expect(failing).rejects.toThrow(/failing ended with status 3 before .*\n.*the reason/s)
    await expect(startProcess({ name: 'absent', command: join(folder, 'no-such-command'), args: [] })).rejects.toThrow(
      /absent: cannot start/,
    )
  })

  test('descendants die with their leader', async () => {
    const script = `const c = require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' }); console.log('child ' + c.pid); setInterval(() => {}, 1000)`
    const started = await startProcess({
      name: 'parent',
      command: node,
      args: ['-e', script],
      ready: { line: /child \d+/ },
    })
    const [, pid] = await started.waitForLine(/child (\d+)/)
    await started.kill()
    await untilDead(Number(pid))
    expect(isAlive(Number(pid))).toBe(false)
  })

  test('what a test run started dies with it, even when the run is killed with -9', async () => {
    const runner = join(folder, 'runner.ts')
    const processes = JSON.stringify(join(import.meta.dirname, 'processes.ts'))
    await writeFile(
      runner,
      `import { startProcess } from ${processes}
       const started = await startProcess({ name: 'orphan', command: process.execPath, args: ['-e', 'console.log(1); setInterval(() => {}, 1000)'], ready: { line: /1/ } })
       console.log('orphan ' + started.pid)
       setInterval(() => {}, 1000)`,
    )
    const run = spawn(node, [runner], { stdio: ['ignore', 'pipe', 'inherit'] })
    const pid = await new Promise<number>((resolve) => {
      run.stdout.setEncoding('utf8').on('data', (text: string) => {
        const match = /orphan (\d+)/.exec(text)
        if (match) resolve(Number(match[1]))
      })
    })
    expect(isAlive(pid)).toBe(true)
    run.kill('SIGKILL')
    await untilDead(pid)
    expect(isAlive(pid)).toBe(false)
  })

  test('runToEnd gives stdout and refuses a failing status', async () => {
    const print = { name: 'print', command: node, args: ['-e', `console.error('noise'); console.log('héllo')`] }
    expect(await runToEnd(print)).toBe('héllo\n')
    const fail = { name: 'fail', command: node, args: ['-e', `console.error('why'); process.exit(2)`] }
    await expect(runToEnd(fail)).rejects.toThrow(/fail ended with status 2\nwhy/)
  })

  test('free ports are different from each other', async () => {
    const ports = await freePorts(20)
    expect(new Set(ports).size).toBe(20)
  })
})
