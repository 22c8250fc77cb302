// What a client reads about a failed query has one spelling, whichever part of the process answers.
import { expect, test } from 'vitest'
import { errorBody as serverErrorBody } from '../runtime/http-server.ts'
import { ERRORS, type ErrorCode, MillraceError } from '../schemas/errors.ts'
import { errorBody } from './sql-reply.ts'

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
