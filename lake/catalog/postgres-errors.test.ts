import { expect, test } from 'vitest'
import { MillraceError } from '../../schemas/errors.ts'
import { judgePostgresError, postgresError } from './postgres-errors.ts'

const withCode = (code: string, more: object = {}) => Object.assign(new Error('it said so'), { code, ...more })

test('errors are told apart by what they mean for a transaction', () => {
  for (const code of ['40001', '40P01', '55P03', '57014', '26000']) {
    expect(judgePostgresError(withCode(code))).toBe('again')
  }
  expect(judgePostgresError(withCode('0A000', { routine: 'RevalidateCachedQuery' }))).toBe('again')
  expect(judgePostgresError(withCode('23505'))).toBe('collision')
  for (const code of [
    '08006',
    '57P01',
    '57P03',
    '25P03',
    '53300',
    '25006',
    'ECONNREFUSED',
    'ECONNRESET',
    'ETIMEDOUT',
  ]) {
    expect(judgePostgresError(withCode(code))).toBe('lost')
  }
  // What a standby answers to the BEGIN of a write.
  expect(judgePostgresError(withCode('0A000', { routine: 'call_bool_check_hook' }))).toBe('lost')
  expect(judgePostgresError(withCode('0A000', { routine: 'transformStmt' }))).toBe('final')
  for (const message of ['Connection terminated unexpectedly', 'timeout expired', 'Query read timeout']) {
    expect(judgePostgresError(new Error(message))).toBe('lost')
  }
  for (const error of [withCode('42601'), withCode('28P01'), new Error('something else'), 'a text']) {
    expect(judgePostgresError(error)).toBe('final')
  }
})

test('callers are told what they can act on', () => {
  expect(postgresError(withCode('28P01', { severity: 'FATAL' }))).toMatchObject({ code: 'settings-invalid' })
  expect(postgresError(withCode('42601', { severity: 'ERROR' }))).toMatchObject({ code: 'internal' })
  const ours = new MillraceError('writer-fenced', 'gone')
  expect(postgresError(ours)).toBe(ours)
})
