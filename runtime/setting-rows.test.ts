// The settings in force for people's eyes: no secret in any of them, whatever way it came.
import { expect, test } from 'vitest'
import { loadSettingsWithOrigin } from './load-settings.ts'
import { settingRowsOf } from './setting-rows.ts'

test('what was given with where, defaults, and no secret', () => {
  const env = {
    MILLRACE_CATALOG_URL: 'postgres://ada:hunter-two@db/catalog',
    MILLRACE_STORAGE_S3_ACCESS_KEY_ID: 'AKIA-secret-id',
    MILLRACE_STORAGE_S3_SECRET_ACCESS_KEY: 'very-secret-key',
    MILLRACE_KAFKA_SECURITY_PASSWORD: 'pw',
    THE_TOKEN: 'token-of-sixteen-characters',
  }
  const set = [
    'flush.interval.ms=250 ms',
    'lake.root=s3://bucket/lake',
    `tokens=[{name: a, token: "$\{env:THE_TOKEN}", rights: [read]}]`,
  ]
  const rows = settingRowsOf(loadSettingsWithOrigin({ env, set, folder: '/nowhere' }))
  const row = (name: string) => rows.find((each) => each.name === name)
  expect(row('flush.interval.ms')).toMatchObject({ value: '250 ms', source: '--set flush.interval.ms' })
  expect(row('catalog.url')).toMatchObject({
    value: 'postgres://ada:******@db/catalog',
    source: 'variable MILLRACE_CATALOG_URL',
  })
  expect(row('storage.s3.secret-access-key')).toMatchObject({ value: '******', default_value: undefined })
  expect(row('query.timeout.ms')).toMatchObject({ source: undefined })
  expect(row('query.timeout.ms')?.value).toBe(row('query.timeout.ms')?.default_value)
  for (const secret of ['hunter-two', 'AKIA-secret-id', 'very-secret-key', 'token-of-sixteen']) {
    expect(JSON.stringify(rows)).not.toContain(secret)
  }
  expect(row('kafka.security.password')?.value).toBe('******')
})
