import { expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import { parsePostgresUrl } from './postgres-url.ts'

test('an address is taken apart', () => {
  expect(parsePostgresUrl('postgres://me:s%2Fcret%40@db.example:6543/the%20lake')).toEqual({
    host: 'db.example',
    port: 6543,
    user: 'me',
    password: 's/cret@',
    database: 'the lake',
    ssl: false,
    applicationName: 'millrace',
  })
  expect(parsePostgresUrl('postgresql://me@[::1]/db?application_name=ingest-1')).toMatchObject({
    host: '::1',
    port: 5432,
    password: undefined,
    applicationName: 'ingest-1',
  })
  expect(parsePostgresUrl('postgres://me@localhost/db?host=/var/run/postgresql')).toMatchObject({
    host: '/var/run/postgresql',
  })
})

test('TLS is what sslmode says', () => {
  const sslOf = (mode: string) => parsePostgresUrl(`postgres://me@host/db?sslmode=${mode}`).ssl
  expect(sslOf('disable')).toBe(false)
  expect(sslOf('require')).toEqual({ rejectUnauthorized: false })
  expect(sslOf('verify-ca')).toMatchObject({ checkServerIdentity: expect.any(Function) })
  expect(sslOf('verify-full')).toEqual({})
})

test('what is no address is refused without repeating it', () => {
  for (const url of [
    'postgres://me:geheim@host',
    'postgres://:geheim@host/db',
    'postgres://me:geheim@host/a/b',
    'postgres://me:geheim%zz@host/db',
    'postgres://me:geheim@host:port/db',
    'postgres://me:geheim@host/db?sslmode=prefer',
    'postgres://me:geheim@host/db?sslrootcert=/nowhere/ca.pem&sslmode=verify-full',
    'postgres://me:geheim@host/db?connect_timeout=3',
    'mysql://me:geheim@host/db',
  ]) {
    try {
      parsePostgresUrl(url)
      expect.unreachable(url)
    } catch (error) {
      if (!isMillraceError(error, 'settings-invalid')) throw error
      expect(error.message).not.toContain('geheim')
    }
  }
})
