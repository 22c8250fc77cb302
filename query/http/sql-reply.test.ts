// What a client reads about a failed query has one spelling, whichever part of the process answers.
import { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { errorBody as serverErrorBody } from '../../runtime/http-server.ts'
import { ERRORS, type ErrorCode, MillraceError } from '../../schemas/errors.ts'
import { createSqlReply, errorBody } from './sql-reply.ts'

type Shown = { error: { code: string; class: string } }

test.each(Object.keys(ERRORS) as ErrorCode[])(
  '%s: code and class are the same in a query reply and elsewhere',
  (code) => {
    const error = new MillraceError(code, 'what happened')
    const { error: ofQuery } = errorBody(error, 'q') as Shown
    const { error: ofServer } = JSON.parse(serverErrorBody(error)) as Shown
    expect([ofQuery.code, ofQuery.class]).toEqual([ofServer.code, ofServer.class])
    expect(ofQuery.class).toMatch(/^[a-z]+(_[a-z]+)*$/)
  },
)

test('a query that runs again after its columns were told has one head in its reply', async () => {
  let body = ''
  const raw = new ServerResponse({ method: 'POST', httpVersionMajor: 1, httpVersionMinor: 1 } as never)
  raw.end = ((text: Buffer) => {
    body = text.toString()
    setImmediate(() => raw.emit('finish'))
    return raw
  }) as typeof raw.end
  const reply = createSqlReply({
    raw,
    format: 'json',
    queryId: 'q',
    withSources: false,
    gzip: false,
    drainMs: 60_000,
    takeOver: () => {},
  })
  const stats = {
    files: 1,
    filesPruned: 0,
    rowGroups: 1,
    rowGroupsPruned: 0,
    rows: 0,
    bytesNeeded: 1,
    bytesFetched: 1,
    requests: 1,
    cacheHits: 0,
    byTable: new Map(),
  }
  const facts = { tables: [], stats }
  const columns = [{ name: 'a', type: 'BIGINT' }]
  reply.onColumns(columns, facts)
  reply.onColumns(columns, facts)
  await reply.onChunk(Buffer.from('["7"]'))
  await reply.finish({ ...facts, result: { columns, rowCount: 1, truncated: false } }, 1)
  expect(JSON.parse(body)).toMatchObject({ columns, data: [['7']], rows: 1 })
})
