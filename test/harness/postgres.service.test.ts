import { describe, expect, test } from 'vitest'
import { runSql, startPostgres } from './postgres.ts'
import { startPostgresProxy } from './postgres-proxy.ts'

describe('PostgreSQL for tests', () => {
  test('keeps what was committed over a kill and a restart, and a pause is only a pause', async () => {
    const server = await startPostgres()
    try {
      const url = await server.createDatabase()
      await runSql(url, 'create table kept (a int); insert into kept values (1)')
      await server.kill()
      await expect(runSql(url, 'select a from kept')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
      await server.restart()
      expect(await runSql(url, 'select a from kept')).toEqual([{ a: 1 }])
      server.pause()
      let isAnswered = false
      const answer = runSql(url, 'select a from kept').finally(() => {
        isAnswered = true
      })
      await new Promise((resolve) => setTimeout(resolve, 200))
      expect(isAnswered).toBe(false)
      server.resume()
      expect(await answer).toEqual([{ a: 1 }])
      expect(server.cpuSeconds()).toBeGreaterThanOrEqual(0)
      expect(new URL(await server.createDatabase()).pathname).not.toBe(new URL(url).pathname)
    } finally {
      await server.stop()
    }
  })

  test('a COMMIT is lost before or after it was done, or kept back', async () => {
    const server = await startPostgres()
    const proxy = await startPostgresProxy(server.port)
    try {
      const direct = await server.createDatabase()
      const url = proxy.url(direct)
      await runSql(url, 'create table t (a int)')
      const insert = async (value: number) => {
        const { Client } = await import('pg')
        const client = new Client({ connectionString: url })
        client.on('error', () => {})
        await client.connect()
        await client.query('begin')
        await client.query(`insert into t values (${value})`)
        await client.query('commit')
        await client.end()
      }
      const values = async () => (await runSql(direct, 'select a from t order by a')).map(({ a }) => a)
      await insert(1)
      proxy.nextCommit('lose-request')
      await expect(insert(2)).rejects.toThrow()
      expect(await values()).toEqual([1])
      proxy.nextCommit('lose-answer')
      await expect(insert(3)).rejects.toThrow()
      await proxy.met()
      expect(await values()).toEqual([1, 3])
      proxy.nextCommit('hold')
      await expect(insert(4)).rejects.toThrow()
      expect(await values()).toEqual([1, 3])
      await proxy.release()
      expect(await values()).toEqual([1, 3, 4])
    } finally {
      await proxy.close()
      await server.stop()
    }
  })
})
