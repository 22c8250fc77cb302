/** `millrace <command>` as an operator runs it: what it printed, what it said on standard error, how it ended. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Millrace } from '../harness/millrace.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const WITHIN_MS = 60_000

export type CommandEnd = { readonly code: number; readonly out: string; readonly err: string }

export async function runMillrace(
  millrace: Pick<Millrace, 'configFile'>,
  ...args: readonly string[]
): Promise<CommandEnd> {
  const child = spawn(process.execPath, [MAIN, ...args, '--config', millrace.configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: WITHIN_MS,
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => out.push(part))
  child.stderr.on('data', (part: Buffer) => err.push(part))
  const code = await new Promise<number>((resolve) => child.on('close', (ended) => resolve(ended ?? -1)))
  return { code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }
}

/** Its standard output as JSON, whatever the exit code. */
export async function runJson<T>(millrace: Pick<Millrace, 'configFile'>, ...args: readonly string[]): Promise<T> {
  const { code, out, err } = await runMillrace(millrace, ...args, '--json')
  try {
    return JSON.parse(out) as T
  } catch (cause) {
    throw new Error(`millrace ${args.join(' ')} ended with ${code}: ${out} ${err}`, { cause })
  }
}
