/** What an operator sees of a service process: health, metrics, log lines. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { StartedProcess } from '../harness/processes.ts'

export type Readiness = {
  readonly status: 'healthy' | 'degraded' | 'unhealthy'
  readonly reasons: readonly { readonly component: string; readonly status: string; readonly reason: string }[]
}

export async function readiness(url: string): Promise<Readiness & { readonly code: number }> {
  const reply = await fetch(`${url}/readyz`)
  return { code: reply.status, ...((await reply.json()) as Readiness) }
}

/** Asks until it holds; fails with the last answer. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  holds: (value: T) => boolean,
  withinMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const value = await ask()
    if (holds(value)) return value
    if (performance.now() > deadline) throw new Error(`never came: ${what}; last: ${JSON.stringify(value)}`)
    await sleep(50)
  }
}

/** It ends by itself, in this way and in time. */
export async function expectEnd(process: StartedProcess, code: number, withinMs = 60_000): Promise<void> {
  const exit = await Promise.race([process.exited, sleep(withinMs, undefined, { ref: false })])
  if (exit?.code === code) return
  const found = exit === undefined ? `nothing within ${withinMs} ms` : `code ${exit.code}, signal ${exit.signal}`
  throw new Error(`${process.name}: expected an end with ${code}, found ${found}; it said:\n${process.output()}`)
}

/** Every line of the output as the object it is. */
export function logLines(process: StartedProcess): Record<string, unknown>[] {
  return process
    .output()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      try {
        return JSON.parse(line) as Record<string, unknown>
      } catch {
        throw new Error(`${process.name} printed a line that is not JSON: ${line}`)
      }
    })
}

export function expectLogLines(process: StartedProcess, service: string): void {
  const lines = logLines(process)
  expect(lines.length).toBeGreaterThan(0)
  for (const line of lines) {
    expect(line).toMatchObject({
      service,
      message: expect.any(String),
      level: expect.stringMatching(/^(info|warn|error)$/),
    })
    expect(Number.isNaN(Date.parse(String(line.time)))).toBe(false)
  }
}

const HELP = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .*$/
const TYPE = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$/
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"'
const SAMPLE = new RegExp(
  `^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\\{(${LABEL}(?:,${LABEL})*)?,?\\})? (NaN|[+-]Inf|[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)(?: -?[0-9]+)?$`,
)

/** The text format of Prometheus: `name{labels}` → value. Throws at the first line that is none of it. */
export function parseMetrics(text: string): Map<string, number> {
  const samples = new Map<string, number>()
  const types = new Map<string, string>()
  expect(text.endsWith('\n')).toBe(true)
  for (const line of text.split('\n')) {
    if (line === '' || HELP.test(line)) continue
    const type = TYPE.exec(line)
    if (type) {
      expect([line, types.has(type[1])]).toEqual([line, false])
      types.set(type[1], type[2])
      continue
    }
    const sample = SAMPLE.exec(line)
    if (!sample) throw new Error(`not a line of the Prometheus text format: ${line}`)
    const [, name, labels, value] = sample
    const family = types.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '')
    expect([line, types.has(family)]).toEqual([line, true])
    const key = `${name}{${labels ?? ''}}`
    expect([line, samples.has(key)]).toEqual([line, false])
    samples.set(key, value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value))
  }
  return samples
}
