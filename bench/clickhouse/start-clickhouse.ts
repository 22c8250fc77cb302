/** Starts clickhouse.py and asks it. One statement at a time. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pythonBinary } from '../../test/harness/python.ts'

export type ClickhouseAnswer = { readonly ms: number; readonly rows: readonly (readonly unknown[])[] }

export type Clickhouse = {
  readonly pid: number
  run(sql: string): Promise<ClickhouseAnswer>
  close(): Promise<void>
}

export async function startClickhouse(options: { threads: number; parquet: string }): Promise<Clickhouse> {
  const python = await pythonBinary(join(import.meta.dirname, 'requirements.txt'))
  const folder = await mkdtemp(join(tmpdir(), 'millrace-clickhouse-'))
  const program = join(import.meta.dirname, 'clickhouse.py')
  const child = spawn(python, [program, join(folder, 'data'), String(options.threads), options.parquet], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let id = 0

  async function next(): Promise<Record<string, unknown>> {
    const { done, value } = await lines.next()
    if (done) throw new Error('ClickHouse ended')
    return JSON.parse(value) as Record<string, unknown>
  }

  await next()
  return {
    pid: child.pid!,
    async run(sql) {
      id += 1
      child.stdin.write(`${JSON.stringify({ id, sql })}\n`)
      const answer = await next()
      if (answer.id !== id) throw new Error(`answer ${String(answer.id)} to question ${id}`)
      if (answer.error !== undefined) throw new Error(`${String(answer.error)}: ${sql}`)
      return answer as unknown as ClickhouseAnswer
    },
    async close() {
      child.stdin.end()
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}
