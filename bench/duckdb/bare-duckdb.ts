/**
 * Bare DuckDB in a process of its own, to compare with: takes SQL over the parent's channel, runs it, and answers with the
 * rows as JSON values and the milliseconds from the text to the last row, taken here, so that the channel costs nothing.
 */
import { DuckDBInstance } from '@duckdb/node-api'
import type { BareAnswer, BareRequest } from './start-bare-duckdb.ts'

const [threads, memory] = process.argv.slice(2)
const instance = await DuckDBInstance.create(':memory:', { threads, memory_limit: memory })
const connection = await instance.connect()

process.on('message', (message) => {
  const { id, sql } = message as BareRequest
  void answer(id, sql)
})
process.on('disconnect', () => process.exit(0))

async function answer(id: number, sql: string): Promise<void> {
  let reply: BareAnswer
  try {
    const started = performance.now()
    const reader = await connection.runAndReadAll(sql)
    const ms = performance.now() - started
    reply = { id, ms, rows: reader.getRowsJson() }
  } catch (error) {
    reply = { id, ms: 0, rows: [], error: error instanceof Error ? error.message : String(error) }
  }
  process.send!(reply)
}
