/** Starts bare-duckdb.ts and asks it. One statement at a time. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export type BareRequest = { readonly id: number; readonly sql: string }
export type BareAnswer = {
  readonly id: number
  readonly ms: number
  readonly rows: readonly (readonly unknown[])[]
  readonly error?: string
}

export type BareDuckdb = {
  readonly pid: number
  run(sql: string): Promise<BareAnswer>
  close(): Promise<void>
}

export async function startBareDuckdb(options: { threads: number; memory?: string }): Promise<BareDuckdb> {
  const child = fork(join(import.meta.dirname, 'bare-duckdb.ts'), [String(options.threads), options.memory ?? '2GiB'])
  const exited = once(child, 'exit')
  let id = 0
  return {
    pid: child.pid!,
    async run(sql) {
      id += 1
      child.send({ id, sql } satisfies BareRequest)
      const ended = exited.then(() => {
        throw new Error('bare DuckDB ended')
      })
      const [answer] = (await Promise.race([once(child, 'message'), ended])) as [BareAnswer]
      if (answer.id !== id) throw new Error(`answer ${answer.id} to question ${id}`)
      if (answer.error !== undefined) throw new Error(`${answer.error}: ${sql}`)
      return answer
    },
    async close() {
      if (child.exitCode === null && child.connected) child.disconnect()
      await exited
    },
  }
}
