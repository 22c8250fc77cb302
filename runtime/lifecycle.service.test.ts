/** Processes that start and stop: order, time, second signals, bugs and crash points. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startProcess } from '../test/harness/processes.ts'

const PROGRAM = join(import.meta.dirname, '..', 'test', 'harness', 'lifecycle-program.ts')

type StartOptions = { shutdownMs?: number; crashAt?: string; pauseAt?: string; ready?: boolean }

function start(behaviour: string, options: StartOptions = {}) {
  const args = [PROGRAM, behaviour, String(options.shutdownMs ?? 60_000)]
  return startProcess({
    name: 'tiny',
    command: process.execPath,
    args,
    env: { MILLRACE_CRASH_AT: options.crashAt, MILLRACE_PAUSE_AT: options.pauseAt },
    ready: options.ready === false ? undefined : { line: /"message":"ready"/ },
  })
}

describe('a service process', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: stops in the opposite order of starting, exit code 0',
    async (signal) => {
      await using service = await start('clean')
      service.signal(signal)
      expect(await service.exited).toEqual({ code: 0, signal: null })
      // The program's own lines and the log come by two pipes: only the order within each is known.
      expect(service.output()).toMatch(/stopping second[\s\S]*stopped first/)
      expect(service.output()).toMatch(/"message":"stopping"[\s\S]*"message":"stopped"/)
    },
  )

  it('a second signal ends it at once', async () => {
    await using service = await start('slow')
    service.signal('SIGTERM')
    await service.waitForLine(/stopping second/)
    service.signal('SIGTERM')
    expect(await service.exited).toEqual({ code: 1, signal: null })
    expect(service.output()).not.toContain('stopped first')
  })

  it('a stop that takes too long is ended and said', async () => {
    await using service = await start('slow', { shutdownMs: 100 })
    service.signal('SIGTERM')
    expect(await service.exited).toEqual({ code: 1, signal: null })
    expect(service.output()).toContain('stop took too long')
  })

  it('an error that nobody handles ends it with code 70', async () => {
    await using service = await start('throws', { ready: false })
    expect(await service.exited).toEqual({ code: 70, signal: null })
    expect(service.output()).toContain('nobody waits')
  })

  it('a start that fails stops what was started, exit code 1', async () => {
    await using service = await start('fails', { ready: false })
    expect(await service.exited).toEqual({ code: 1, signal: null })
    expect(service.output()).toMatch(/cannot start[\s\S]*stopped first/)
  })

  it('dies of SIGKILL at the n-th pass of the named spot, and nothing after it runs', async () => {
    await using service = await start('crash', { crashAt: 'other/spot,tiny/spot:2', ready: false })
    expect(await service.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(service.output()).toContain('pass 2')
    expect(service.output()).not.toContain('pass 3')
  })

  it('freezes at the n-th pass of the named spot, and goes on from there when it is told to', async () => {
    await using service = await start('crash', { pauseAt: 'other/spot,tiny/spot:2', ready: false })
    await service.paused()
    expect(service.output()).toContain('pass 2')
    expect(service.output()).not.toContain('pass 3')
    service.resume()
    await service.waitForLine(/pass 3/)
    expect(await service.stop()).toEqual({ code: 0, signal: null })
  })

  it('passes all spots when none is named', async () => {
    await using service = await start('crash')
    expect(service.output()).toContain('pass 3')
  })
})
