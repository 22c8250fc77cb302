// Whose files a rebuild may call garbage: those that our processes name.
import { expect, test } from 'vitest'
import { plainWriterId } from '../writer-files.ts'
import { writerIdOf } from './writer-names.ts'

const WRITER = '0b54fd4c-9c2e-4a80-9b4c-ffb8a1ad0b3f'
const OTHER = '5f0c1f0e-1111-4222-8333-444455556666'
const TABLE = 's3://bucket/lake/events-0382bf2d'

test.each([
  `segments/${WRITER}-00000012.parquet`,
  `segments/${WRITER}-merged-00000001.parquet`,
  `data/ts_day=2026-11-25/${WRITER}-00000001.parquet`,
  `data/${WRITER}-cold-00000001.parquet`,
  `metadata/00017-${WRITER}-${OTHER}.metadata.json`,
  `metadata/snap-4263408811920688004-${WRITER}-${OTHER}.avro`,
  `metadata/${WRITER}-${OTHER}-m3.avro`,
  `metadata/${plainWriterId(WRITER)}-${OTHER}.checkpoint.json.zst`,
  `metadata/${WRITER}-${OTHER}.checkpoint.json.gz`,
])('%s', (name) => {
  expect(writerIdOf(`${TABLE}/${name}`)).toBe(WRITER)
})

test.each([
  `data/00000-0-${OTHER}.parquet`,
  `metadata/00001-${OTHER}.metadata.json`,
  `metadata/snap-4263408811920688004-1-${OTHER}.avro`,
  `metadata/${OTHER}-m0.avro`,
  `metadata/4263408811920688004-${OTHER}.stats`,
  'metadata/version-hint.text',
  `notes/${WRITER}-00000012.parquet`,
])("another tool's %s", (name) => {
  expect(writerIdOf(`${TABLE}/${name}`)).toBeUndefined()
})
