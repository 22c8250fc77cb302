import { expect, test } from 'vitest'
import { passwordsOf, withoutPassword } from './url-password.ts'

test('a password is masked wherever an address stands in a text', () => {
  expect(withoutPassword('postgres://me:s%2Fcret@host:5432/db?sslmode=require')).toBe(
    'postgres://me:******@host:5432/db?sslmode=require',
  )
  expect(withoutPassword('cannot reach "postgres://me:a@b:c@host/db" now')).toBe(
    'cannot reach "postgres://me:******@host/db" now',
  )
  expect(withoutPassword('postgres:/me:secret@host')).toBe('postgres:/me:******@host')
  for (const plain of ['sqlite:/a/b.db', 'postgres://me@host/db', 's3://bucket/a:b', 'http://host:80/a']) {
    expect(withoutPassword(plain)).toBe(plain)
  }
})

test('the password is known as it was written and as it is', () => {
  expect(passwordsOf('postgres://me:s%2Fcret@host/db')).toEqual(['s%2Fcret', 's/cret'])
  expect(passwordsOf('postgres://me@host/db')).toEqual([])
  expect(passwordsOf('sqlite:/a.db')).toEqual([])
})
