// `millrace check` with the catalog in PostgreSQL and the lake in a bucket: sound, damaged, not there yet, and away.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../harness/postgres.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { bytesOf, check, checkCommand, inspect, lakeToCheck, overwrite } from './check-lake.ts'
import { s3Yaml } from './open-lake.ts'

let server: S3Server
let postgres: PostgresServer
beforeAll(async () => {
  ;[server, postgres] = await Promise.all([startS3Server(), startPostgres()])
})
afterAll(async () => {
  await postgres?.stop()
  await server?.stop()
})

test('the whole check over PostgreSQL and S3', async () => {
  const url = await postgres.createDatabase()
  const root = `s3://${await server.bucket(`check-pg-${process.pid}`)}/lake`
  const lake = await lakeToCheck(`\ncatalog.url: ${url}\n${s3Yaml(server, { root })}`)
  try {
    const sound = await checkCommand(lake, '--deep')
    expect(sound).toMatchObject({ code: 0 })
    expect(sound.output).toContain('the lake is sound\n')
    expect(sound.output).not.toContain(postgres.password)
    const [segment] = (await lake.live('trips')).segments
    const bytes = await bytesOf(lake, segment)
    await overwrite(lake, segment, bytes.subarray(1))
    expect((await check(lake, false)).findings).toMatchObject([{ kind: 'altered', path: segment }])
    await lake.store.delete([segment])
    const damaged = await checkCommand(lake, '--json')
    expect(damaged.code).toBe(1)
    expect(JSON.parse(damaged.output).lake.findings).toMatchObject([{ kind: 'missing', path: segment, table: 'trips' }])
    expect((await inspect(lake)).readers).toEqual([])

    const empty = await postgres.createDatabase()
    const none = await checkCommand(lake, '--set', `catalog.url=${empty}`)
    expect(none).toMatchObject({ code: 1 })
    expect(none.output).toMatch(/^missing .*found no catalog, but s3:/m)
    const fresh = await checkCommand(lake, '--set', `catalog.url=${empty}`, '--set', `lake.root=${root}/nothing`)
    expect(fresh).toMatchObject({ code: 0 })
    expect(fresh.output).toContain('there is no catalog yet')
    postgres.pause()
    const away = await checkCommand(lake)
    postgres.resume()
    expect(away).toMatchObject({ code: 2 })
    expect(away.output).toContain('the lake could not be looked at')
    expect(away.output).not.toContain(postgres.password)
    expect(await checkCommand(lake, '--settings-only')).toMatchObject({ code: 0 })
  } finally {
    postgres.resume()
    await lake.close()
  }
})
