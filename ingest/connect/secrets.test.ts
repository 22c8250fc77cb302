// Secrets are read where they are, and nowhere else; and what was read is never shown.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSecrets, maskedLog, propertiesOf } from './secrets.ts'

let folder: string
let allowed: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-secrets-'))
  allowed = join(folder, 'allowed')
  mkdirSync(allowed)
  mkdirSync(join(folder, 'allowed-not'))
  writeFileSync(join(allowed, 'kafka.properties'), '# a comment\nuser=me\npassword = p\\u00e4ss=word:x\nempty=\n')
  writeFileSync(join(allowed, 'token'), 'a-long-token\n')
  writeFileSync(join(folder, 'outside'), 'key=far-away')
  writeFileSync(join(folder, 'allowed-not', 'file'), 'key=far-away')
  symlinkSync(join(folder, 'outside'), join(allowed, 'link'))
  symlinkSync(join(allowed, 'token'), join(allowed, 'inner'))
  execFileSync('mkfifo', [join(allowed, 'pipe')])
  mkdirSync(join(allowed, 'folder'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const secretsOf = (env: Record<string, string> = {}) => createSecrets({ env, folders: [allowed] })

test('variables, keys of properties files, and whole files', () => {
  const secrets = secretsOf({ PASSWORD: 'hunter2' })
  expect(secrets.reveal(`me:\${env:PASSWORD}`)).toBe('me:hunter2')
  expect(secrets.reveal(`\${file:${allowed}/kafka.properties:password}`)).toBe('päss=word:x')
  expect(secrets.reveal(`\${file:${allowed}/token}`)).toBe('a-long-token')
  expect(secrets.reveal(`\${file:${allowed}/inner}`)).toBe('a-long-token')
  expect(secrets.reveal('nothing')).toBe('nothing')
})

test('dollars in a secret stay dollars', () => {
  expect(secretsOf({ A: `$&$1\${env:B}` }).reveal(`x\${env:A}`)).toBe(`x$&$1\${env:B}`)
  expect(secretsOf({ A: `a\${env:B}`, B: 'bbb' }).reveal(`\${env:A}:\${env:B}:\${env:B}`)).toBe(`a\${env:B}:bbb:bbb`)
})

test.each([
  [() => `\${env:NOTHING}`, 'that variable is not set'],
  [() => `\${file:${allowed}/kafka.properties:nothing}`, 'there is no such key'],
  [() => `\${file:${allowed}/kafka.properties:empty}`, 'there is no such key'],
  [() => `\${file:${allowed}/nothing:key}`, 'it cannot be read (ENOENT)'],
  [() => `\${file:${allowed}/pipe}`, 'it is no file'],
  [() => `\${file:${allowed}/folder}`, 'it is no file'],
  [() => `\${file:${folder}/outside:key}`, 'it is outside connect.secrets.folders'],
  [() => `\${file:${allowed}/link:key}`, 'it is outside connect.secrets.folders'],
  [() => `\${file:${allowed}/../outside:key}`, 'it is outside connect.secrets.folders'],
  [() => `\${file:${folder}/allowed-not/file:key}`, 'it is outside connect.secrets.folders'],
])('%s is refused', (text, why) => {
  expect(() => secretsOf().reveal(text())).toThrow(`${text()}: ${why}`)
})

test('without allowed folders no file is read', () => {
  const secrets = createSecrets({ env: {}, folders: [] })
  expect(() => secrets.reveal(`\${file:${allowed}/token}`)).toThrow('name one in connect.secrets.folders')
})

test('what was read is shown as its reference: in texts, errors and log lines, however deep', () => {
  const password = fc.stringMatching(/^[A-Za-z0-9 "'\\/+=&%äöü€]{6,30}$/)
  fc.assert(
    fc.property(password, fc.string(), fc.string(), (secret, before, after) => {
      const secrets = secretsOf({ PASSWORD: secret })
      secrets.reveal(`\${env:PASSWORD}`)
      const world = createTestWorld()
      const log = maskedLog(world.log, secrets)
      const text = `${before}${secret}${after}`
      const error = new Error(text, { cause: new Error(`${encodeURIComponent(secret)}`) })
      log.child({ url: text }).warn(text, { error, deep: [{ text }], bytes: Buffer.from(secret).toString('base64') })
      const lines = JSON.stringify(world.lines, (_, value: unknown) =>
        value instanceof Error ? [value.message, value.stack, value.cause] : value,
      )
      expect(lines).not.toContain(JSON.stringify(secret).slice(1, -1))
      expect(secrets.mask(text)).not.toContain(secret)
    }),
  )
})

test('properties files as Java reads them', () => {
  const text = 'a=1\n b : 2\nc\\ d=3\n!x=4\n#y=5\ne=one\\\n   two\nf\nu=\\u0041\\n'
  expect([...propertiesOf(text)]).toEqual([
    ['a', '1'],
    ['b', '2'],
    ['c d', '3'],
    ['e', 'onetwo'],
    ['f', ''],
    ['u', 'A\n'],
  ])
})
