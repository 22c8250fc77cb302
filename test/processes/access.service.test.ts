// Who may come in: no address beyond this machine without TLS and a token, and tokens that carry read, write or admin and
// the tables they are kept to, at every door of the processes.
import { join } from 'node:path'
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMillrace, type Millrace, type ServiceName } from '../harness/millrace.ts'
import { type StartedProcess, startProcess } from '../harness/processes.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')
const SERVICES: readonly ServiceName[] = ['ingest', 'compactor', 'query']
const TOKENS = {
  reader: 'reader-token-0123456789',
  writer: 'writer-token-0123456789',
  admin: 'admin-token-00123456789',
  only: 'only-flights-0123456789',
}
const TABLES = `
tables:
  flights:
    columns: { id: long required }
  secrets:
    columns: { id: long required }
`

let millrace: Millrace
let processes: StartedProcess[]

beforeAll(async () => {
  millrace = await createMillrace({
    settings: `
flush.interval.ms: 50
compaction.memory: 256 MiB
query.memory: 256 MiB
tokens:
  - { name: reader, token: ${TOKENS.reader}, rights: [read] }
  - { name: writer, token: ${TOKENS.writer}, rights: [write] }
  - { name: admin, token: ${TOKENS.admin}, rights: [admin] }
  - { name: only, token: ${TOKENS.only}, rights: [read, write], tables: [flights] }
${TABLES}`,
  })
  processes = await Promise.all(SERVICES.map((name) => millrace.start(name)))
})

afterAll(async () => {
  await millrace?.close()
})

async function call(
  service: ServiceName,
  method: 'GET' | 'POST',
  path: string,
  token: string | undefined,
  body?: string,
): Promise<{ status: number; text: string; asks: string | undefined }> {
  const {
    statusCode,
    headers,
    body: answer,
  } = await request(`${millrace.url(service)}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'text/plain' }),
    },
    body,
  })
  return { status: statusCode, text: await answer.text(), asks: headers['www-authenticate'] as string | undefined }
}

const sql = (statement: string, token: string | undefined) => call('query', 'POST', '/v1/sql', token, statement)

describe.each(SERVICES)('%s beyond loopback', (service) => {
  async function refused(set: readonly string[]): Promise<string> {
    const refusing = await startProcess({
      name: service,
      command: process.execPath,
      args: [MAIN, service, '--set', `data=${millrace.folder}/never`, ...set.flatMap((each) => ['--set', each])],
    })
    expect(await refusing.exited).toEqual({ code: 1, signal: null })
    return refusing.output()
  }

  test('is refused without TLS and a token, naming the commands that make them', async () => {
    const text = await refused([`listen.${service}=0.0.0.0:0`])
    expect(text).toContain(`listen.${service}`)
    expect(text).toContain('millrace tls create')
    expect(text).toContain('millrace token create')
    expect(await refused([`listen.${service}=[::]:0`, 'tls.cert=/x/cert.pem', 'tls.key=/x/key.pem'])).toMatch(
      /without tokens/,
    )
  })
})

describe('tokens', () => {
  test.each(SERVICES)('%s: health is open, all else asks for a known token', async (service) => {
    expect((await call(service, 'GET', '/healthz', undefined)).status).toBe(200)
    expect((await call(service, 'GET', '/readyz', undefined)).status).toBe(200)
    for (const token of [undefined, 'not-a-known-token-at-all', `${TOKENS.reader}x`]) {
      const answer = await call(service, 'GET', '/metrics', token)
      expect([answer.status, answer.asks]).toEqual([401, 'Bearer'])
    }
    for (const token of Object.values(TOKENS)) expect((await call(service, 'GET', '/metrics', token)).status).toBe(200)
  })

  test('rows come in with write, for the tables of the token', async () => {
    const ingest = async (table: string, token: string | undefined) =>
      (await call('ingest', 'POST', `/v1/ingest/${table}`, token, '{"id": 1}\n')).status
    expect(await ingest('flights', undefined)).toBe(401)
    expect(await ingest('flights', TOKENS.reader)).toBe(403)
    expect(await ingest('flights', TOKENS.writer)).toBe(200)
    expect(await ingest('secrets', TOKENS.writer)).toBe(200)
    expect(await ingest('secrets', TOKENS.admin)).toBe(200)
    expect(await ingest('flights', TOKENS.only)).toBe(200)
    expect(await ingest('secrets', TOKENS.only)).toBe(403)
    expect(await ingest('SECRETS', TOKENS.only)).toBe(403)
    expect((await call('ingest', 'GET', '/v1/ingest/secrets/producers/p', TOKENS.only)).status).toBe(403)
    const decide = (token: string) =>
      call('ingest', 'POST', '/v1/pipelines/none/decide', token, '{"topic":"t","partition":0,"from":"earliest"}')
    expect((await decide(TOKENS.writer)).status).toBe(403)
    expect((await decide(TOKENS.admin)).status).toBe(404)
  })

  test('SQL answers with read, about the tables of the token, however they are named', async () => {
    expect((await sql('SELECT count(*) FROM flights', undefined)).status).toBe(401)
    for (const token of [TOKENS.reader, TOKENS.writer, TOKENS.admin]) {
      const answer = await sql('SELECT (SELECT count(*) FROM flights) + (SELECT count(*) FROM secrets)', token)
      expect([answer.status, JSON.parse(answer.text).data.flat().map(Number)]).toEqual([200, [4]])
    }
    expect((await sql('SELECT count(*) FROM flights', TOKENS.only)).status).toBe(200)
    for (const statement of [
      'SELECT * FROM secrets',
      'SELECT * FROM SECRETS',
      'SELECT * FROM "secrets"',
      'SELECT (SELECT max(id) FROM secrets) FROM flights',
      'WITH flights AS (SELECT * FROM secrets) SELECT * FROM flights',
      'SELECT 1 FROM flights JOIN secrets USING (id)',
      'SELECT id FROM flights UNION ALL SELECT id FROM secrets',
      'SELECT * FROM secrets__dead_letters',
      'EXPLAIN SELECT * FROM secrets',
    ]) {
      expect([statement, (await sql(statement, TOKENS.only)).status]).toEqual([statement, 403])
    }
    expect((await call('query', 'GET', '/v1/tables/secrets', TOKENS.only)).status).toBe(403)
    const listed = JSON.parse((await call('query', 'GET', '/v1/tables', TOKENS.only)).text) as {
      tables: { name: string }[]
    }
    expect(listed.tables.map(({ name }) => name)).toEqual(['flights'])
  })

  test('no token is ever printed or answered', async () => {
    const answer = await call('ingest', 'POST', `/v1/ingest/${TOKENS.admin}`, TOKENS.reader, '{}')
    expect(answer.text).not.toContain(TOKENS.reader)
    for (const process of processes) {
      for (const token of Object.values(TOKENS)) expect(process.output()).not.toContain(token)
    }
  })
})

test('a web page or a foreign host name cannot reach an open loopback address', async () => {
  const open = await createMillrace({ settings: `query.memory: 256 MiB\n${TABLES}` })
  try {
    await open.start('query')
    const ask = async (headers: Record<string, string>) => {
      const reply = await request(`${open.url('query')}/v1/sql`, {
        method: 'POST',
        headers: { 'content-type': 'text/plain', ...headers },
        body: 'SELECT 1',
      })
      await reply.body.dump()
      return reply.statusCode
    }
    expect(await ask({})).toBe(200)
    expect(await ask({ origin: 'https://elsewhere.example' })).toBe(403)
    expect(await ask({ host: 'rebound.example' })).toBe(403)
  } finally {
    await open.close()
  }
})
