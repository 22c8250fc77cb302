/**
 * Where a lake of a test may lie: its catalog in SQLite or in PostgreSQL, its bytes on local disk or in a bucket. A test
 * file starts the servers that its places need once; every lake then gets a bucket and a database of its own.
 */
import { type PostgresServer, startPostgres } from '../harness/postgres.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { s3Yaml } from './open-lake.ts'

export type Place = 'SQLite on local disk' | 'SQLite and a bucket' | 'PostgreSQL and a bucket'

export type Servers = {
  readonly s3: S3Server | undefined
  readonly postgres: PostgresServer | undefined
  /** Settings of a new lake at this place. The name is for the eyes: lower-case letters, digits and `-`. */
  settingsFor(place: Place, name: string): Promise<string>
  stop(): Promise<void>
}

export async function startServers(places: readonly Place[]): Promise<Servers> {
  const [s3, postgres] = await Promise.all([
    places.some(hasBucket) ? startS3Server() : undefined,
    places.some(isShared) ? startPostgres() : undefined,
  ])
  let lakes = 0
  return {
    s3,
    postgres,
    async settingsFor(place, name) {
      lakes += 1
      const lines: string[] = []
      if (s3 && hasBucket(place)) {
        const bucket = await s3.bucket(`${name}-${process.pid}-${lakes}`)
        lines.push(s3Yaml(s3, { root: `s3://${bucket}/millrace` }))
      }
      if (postgres && isShared(place)) lines.push(`catalog.url: ${await postgres.createDatabase()}`)
      return lines.join('\n')
    },
    async stop() {
      await Promise.all([s3?.stop(), postgres?.stop()])
    },
  }
}

function hasBucket(place: Place): boolean {
  return place.endsWith('a bucket')
}

function isShared(place: Place): boolean {
  return place.startsWith('PostgreSQL')
}
