/** Settings from file, variables and flags: what they give, and what is said about wrong ones. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { formatColumnType } from '../schemas/column-type.ts'
import { isMillraceError } from '../schemas/errors.ts'
import type { SettingsProblem } from '../schemas/settings-problem.ts'
import { type LoadOptions, loadSettings, loadSettingsWithOrigin } from './load-settings.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-settings-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function load(yaml: string, more: LoadOptions = {}) {
  writeFileSync(join(folder, 'millrace.yaml'), yaml)
  return loadSettings({ folder, env: {}, ...more })
}

function problemsOf(run: () => unknown): { lines: string[]; problems: readonly SettingsProblem[] } {
  try {
    run()
  } catch (error) {
    if (!isMillraceError(error, 'settings-invalid')) throw error
    return { lines: error.message.split('\n').slice(1), problems: error.facts.problems as SettingsProblem[] }
  }
  return expect.unreachable('settings were accepted')
}

describe('good settings', () => {
  it('are complete without a file', () => {
    const settings = loadSettings({ folder, env: {} })
    expect(settings.flush).toEqual({ intervalMs: 500, bytes: 64 * 1024 ** 2, rows: 1_000_000 })
    expect(settings.data).toBe(join(folder, '.millrace'))
    expect(settings.catalog.url).toBe(`sqlite:${join(folder, '.millrace', 'catalog.sqlite')}`)
    expect(settings.lake.root).toBe(`file://${join(folder, '.millrace', 'lake')}`)
    expect(settings.listen.query).toEqual({ host: '127.0.0.1', port: 8080 })
    expect(settings.tiering.afterMs).toBe(7 * 86_400_000)
  })

  it('name the lake as its folder is named: nothing is encoded or decoded', () => {
    expect(load('data: "my ä lake%20/d"').lake.root).toBe(`file://${join(folder, 'my ä lake%20', 'd', 'lake')}`)
    expect(load('lake.root: "file:///a b/100%25/"').lake.root).toBe('file:///a b/100%25')
    expect(load('lake.root: "sub/./x/"').lake.root).toBe(`file://${join(folder, 'sub', 'x')}`)
  })

  it('may keep the catalog in PostgreSQL, beside a shared lake or on a single machine; its password is a secret', () => {
    const url = 'postgres://me:s%2Fcret@db.example:5432/lake?sslmode=verify-full'
    const loaded = () => loadSettingsWithOrigin({ folder, env: {} })
    load(`catalog.url: ${url}\nlake.root: s3://bucket/x`)
    expect(loaded().settings.catalog).toEqual({ url, connectionsMax: 8 })
    expect(loaded().secrets).toEqual(expect.arrayContaining(['s%2Fcret', 's/cret']))
    expect(load(`catalog.url: ${url}\nsingle-machine: true`).lake.root).toMatch(/^file:/)
    const { lines } = problemsOf(() => load(`catalog.url: ${url}`))
    expect(lines).toEqual([
      `default: lake.root: expected "s3://bucket/prefix" beside a PostgreSQL catalog, or "single-machine: true", found file://${join(folder, '.millrace', 'lake')}`,
    ])
  })

  it('are the same dotted, nested and mixed', () => {
    const dotted = load('flush.interval.ms: 250\nflush.bytes: 1 MiB\n')
    expect(load('flush:\n  interval:\n    ms: 250\n  bytes: 1 MiB\n')).toEqual(dotted)
    expect(load('flush:\n  interval.ms: 250 ms\nflush.bytes: 1048576\n')).toEqual(dotted)
    expect(dotted.flush.intervalMs).toBe(250)
  })

  it('take variables over the file and flags over variables', () => {
    const env = {
      MILLRACE_FLUSH_INTERVAL_MS: '2 s',
      MILLRACE_SNAPSHOT_MIN_AGE: '2 h',
      MILLRACE_KAFKA_BOOTSTRAP: 'a:1,b:2',
    }
    const settings = load('flush.interval.ms: 250', { env, set: ['snapshot.min-age=3 h'] })
    expect(settings.flush.intervalMs).toBe(2000)
    expect(settings.snapshot.minAgeMs).toBe(3 * 3_600_000)
    expect(settings.kafka.bootstrap).toEqual(['a:1', 'b:2'])
  })

  it('read tables in both forms of columns, and tables that only a pipeline names', () => {
    const settings = load(`
kafka.bootstrap: localhost:9092
tables:
  flights: { columns: { id: long required, price: "decimal(10,2)" }, partition: ["bucket(16, id)"], sort: id desc }
  airports: { columns: [{ name: iata, type: string, required: true }], infer.records: 5 }
  empty:
pipelines:
  clicks: { topics: [clicks.v1], tables: [clicks] }
`)
    expect(settings.tables.map(({ name }) => name)).toEqual(['flights', 'airports', 'empty', 'clicks'])
    expect(settings.tables[0]).toEqual({
      name: 'flights',
      columns: [
        { name: 'id', type: { kind: 'long' }, required: true },
        { name: 'price', type: { kind: 'decimal', precision: 10, scale: 2 }, required: false },
      ],
      partition: ['bucket(16, id)'],
      sort: ['id desc'],
      eventTime: undefined,
      evolution: 'freeze',
      columnsMax: 1000,
      infer: { records: 1000, timestamps: true, nested: 'json' },
    })
    expect(settings.tables[1].infer.records).toBe(5)
    expect(settings.pipelines[0]).toMatchObject({
      topics: ['clicks.v1'],
      tables: ['clicks'],
      autoOffsetReset: 'earliest',
    })
  })

  it('read nested types of columns, and tell where quotes are missing', () => {
    const typesOf = (yaml: string) =>
      load(yaml).tables[0].columns?.map(({ type, required }) => [formatColumnType(type), required])
    const columns = `
      address: "struct<city: string, zip: int required> required"
      tags: map<string, list<decimal(4,2)>>
      pairs: list<int required>`
    expect(typesOf(`tables:\n  t:\n    columns:${columns}`)).toEqual([
      ['struct<city: string, zip: int required>', true],
      ['map<string, list<decimal(4,2)>>', false],
      ['list<int required>', false],
    ])
    const [quoted] = problemsOf(() => load('tables: {t: {columns: {a: map<string, int>}}}')).problems
    expect(quoted.hint).toBe('put it in quotes: "map<string, int>"')
    const [colon] = problemsOf(() => load('tables:\n  t:\n    columns:\n      a: struct<x: int>')).problems
    expect([colon.where, colon.hint]).toEqual(['millrace.yaml:4:10', 'put the type in quotes'])
    const twice = problemsOf(() => load('tables: {t: {columns: {a: "struct<x: int, X: int>"}}}')).problems
    expect(twice[0].expected).toContain('struct<name: type, …>')
  })

  it('take variables for tables and pipelines by name', () => {
    const env = { MILLRACE_TABLES_FLIGHTS_SORT: 'ts, id desc', MILLRACE_PIPELINES_MY_CLICKS_TOPICS: 'other' }
    const settings = load(
      'kafka.bootstrap: [a:1]\ntables: {flights: }\npipelines: {my-clicks: {topics: [x], tables: [flights]}}',
      { env },
    )
    expect(settings.tables[0].sort).toEqual(['ts', 'id desc'])
    expect(settings.pipelines[0]).toMatchObject({ name: 'my-clicks', topics: ['other'] })
  })

  it('replace references to variables and files, and know the secrets', () => {
    writeFileSync(join(folder, 'secret.txt'), 'from-a-file\n')
    writeFileSync(
      join(folder, 'millrace.yaml'),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: this is the settings' own notation
      'storage.s3: { access-key-id: "${env:KEY}", secret-access-key: "${file:secret.txt}" }',
    )
    const { settings, secrets } = loadSettingsWithOrigin({ folder, env: { KEY: 'the-key' } })
    expect(settings.storage.s3).toMatchObject({ accessKeyId: 'the-key', secretAccessKey: 'from-a-file' })
    expect(secrets).toEqual(['the-key', 'from-a-file'])
  })

  it('start relative paths at the folder of their file, and at the working folder for flags', () => {
    mkdirSync(join(folder, 'deep'))
    writeFileSync(join(folder, 'deep', 'my.yaml'), 'data: here\ntls: {cert: c.pem, key: /k.pem}')
    const settings = loadSettings({ folder, file: 'deep/my.yaml', env: {} })
    expect(settings.data).toBe(join(folder, 'deep', 'here'))
    expect(settings.tls).toEqual({ cert: join(folder, 'deep', 'c.pem'), key: '/k.pem' })
    expect(loadSettings({ folder, file: 'deep/my.yaml', env: {}, set: ['data=there'] }).data).toBe(
      join(folder, 'there'),
    )
  })

  it('leave variables alone that belong to others', () => {
    const env = {
      MILLRACE_CRASH_AT: 'x',
      MILLRACE_PAUSE_AT: 'x',
      MILLRACE_TEST_KAFKA: 'y',
      MILLRACE_QUERY_SERVICE_HOST: 'z',
      MILLRACE_PORT: 'tcp://',
    }
    expect(load('', { env })).toEqual(load(''))
  })
})

describe('wrong settings', () => {
  it('never show the password of an address, not even of one that is none', () => {
    for (const url of ['postgres:/me:geheim@host/db', 'postgress://me:geheim@host/db', 'mysql://me:geheim@host/db']) {
      const { lines } = problemsOf(() => load(`catalog.url: ${url}`))
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain('me:******@host/db')
    }
  })

  it('are all told at once, with file, line, column, what was expected and found', () => {
    const { lines } = problemsOf(() =>
      load(
        'flush:\n  interval.ms: 5 parsecs\n  byte: 3\nquery.threads: many\nsingle-machine: yes\nnonsense-at-all: 1\n',
      ),
    )
    expect(lines).toEqual([
      'millrace.yaml:3:3: flush.byte: expected the name of a setting, found "flush.byte"; did you mean "flush.bytes"?',
      'millrace.yaml:6:1: nonsense-at-all: expected the name of a setting, found "nonsense-at-all"',
      'millrace.yaml:5:17: single-machine: expected true or false, found "yes"',
      'millrace.yaml:2:16: flush.interval.ms: expected a duration between 10 ms and 1 h: "500 ms", "60 s", "7 days" or a number of milliseconds, found "5 parsecs"',
      'millrace.yaml:4:16: query.threads: expected a whole number between 1 and 1024, found "many"',
    ])
  })

  it('name the variable or flag', () => {
    const env = { MILLRACE_FLUSH_BYTES: 'x', MILLRACE_FLUSH_BYTE: '1' }
    const { lines } = problemsOf(() => load('', { env, set: ['query.thread=2', 'flush.rows'] }))
    expect(lines).toEqual([
      'variable MILLRACE_FLUSH_BYTE: expected a variable that names a setting, found "MILLRACE_FLUSH_BYTE"; did you mean "MILLRACE_FLUSH_BYTES"?',
      '--set query.thread: query.thread: expected the name of a setting, found "query.thread"; did you mean "query.threads"?',
      '--set flush.rows: flush.rows: expected "path=value", found "flush.rows"',
      'variable MILLRACE_FLUSH_BYTES: flush.bytes: expected a size between 64 KiB and 4 GiB: "128 MiB", "2 GiB" or a number of bytes, found "x"',
    ])
  })

  it.each([
    ['flush: {bytes: 1 MiB}\nflush.bytes: 2 MiB', 'millrace.yaml:2:1'],
    ['flush: 3', 'millrace.yaml:1:8'],
    ['flush: {bytes: ', 'millrace.yaml:1:16'],
    ['- a', 'millrace.yaml:1:1'],
    ['tables:\n  t:\n    columns:\n      - {name: a, type: longg}', 'millrace.yaml:4:25'],
    ['tables:\n  t:\n    columns:\n      - {name: a, type: long, requird: true}', 'millrace.yaml:4:40'],
    ['tables:\n  t:\n    columns: {a: long maybe}', 'millrace.yaml:3:18'],
    ['tables:\n  t: {partition: ["week(ts)"]}', 'millrace.yaml:2:19'],
    ['tokens:\n  - {name: x, token: short, rights: [read]}', 'millrace.yaml:2:22'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is the settings' own notation
    ['kafka.client-id: ${env:NOT_THERE}', 'millrace.yaml:1:18'],
  ])('%j is a problem at %s', (yaml, where) => {
    expect(problemsOf(() => load(yaml)).problems.map((problem) => problem.where)).toContain(where)
  })

  it('never show a secret', () => {
    const { lines } = problemsOf(() => load('tokens: [{name: x, token: sesame, rights: [read]}]'))
    expect(lines.join()).not.toContain('sesame')
  })

  it.each([
    ['query.timeout.ms: 1 h\nsweep.reader-silent.ms: 2 h', 'snapshot.min-age'],
    ['tables: {t: {columns: {A: long, a: long}}}', 'tables.t.columns'],
    ['tables: {t: {columns: {_Offset: long}}}', 'tables.t.columns'],
    ['tables: {t: {columns: {a: long}, partition: day(b)}}', 'tables.t.partition'],
    ['tables: {t: {columns: {a: long}, sort: b desc}}', 'tables.t.sort'],
    ['tables: {T: }', 'tables.T'],
    ['tables: {t__dead_letters: }', 'tables.t__dead_letters'],
    [
      'kafka.bootstrap: a:1\npipelines: {p: {topics: x, tables: t}, q: {topics: [y, x], tables: t}}',
      'pipelines.q.topics',
    ],
    ['pipelines: {p: {topics: x, tables: t}}', 'kafka.bootstrap'],
    ['kafka.security.protocol: sasl_ssl', 'kafka.security.protocol'],
    ['listen.query: 127.0.0.1:99999', 'listen.query'],
    ['tls.cert: a.pem', 'tls.cert'],
  ])('%j together are refused at %s', (yaml, path) => {
    expect(problemsOf(() => load(yaml)).problems.map((problem) => problem.path)).toEqual([path])
  })

  it.each([
    ['tables: {t: {columns: {id: long}, partition: [day(ts), bucket(16, id), x]}}', 'bucket(16', 'bucket(16, id)'],
    ['tables: {t: {columns: {price: decimal(10,2), id: long}}}', 'decimal(10', 'decimal(10, 2)'],
    ['tables: {t: {columns: {price: decimal(10,2) required}}}', 'decimal(10', 'decimal(10, 2) required'],
    ['tables: {t: {columns: [{name: p, type: decimal(10, 2), required: true}]}}', 'decimal(10', 'decimal(10, 2)'],
  ])('of a text that a comma tore apart are one, with the text in quotes: %j', (yaml, found, whole) => {
    const { lines } = problemsOf(() => load(yaml))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(`found "${found}"; put it in quotes: "${whole}"`)
    const type = whole.startsWith('bucket') ? '{id: long, ts: timestamp, x: int}' : '{id: long}'
    const mended = whole.startsWith('bucket')
      ? `tables: {t: {columns: ${type}, partition: [day(ts), "${whole}", x]}}`
      : `tables: {t: {columns: {price: "${whole}"}}}`
    expect(load(mended).tables).toHaveLength(1)
  })

  it('of a torn text outside a list ask for quotes too', () => {
    const { lines } = problemsOf(() => load('tables: {t: {columns: {id: long}, partition: bucket(16, id)}}'))
    expect(lines.join()).toContain('found "bucket(16"; put the whole text in quotes: a comma ended it here')
  })

  it('refuse an open listener and name the commands that make TLS and a token', () => {
    const { lines } = problemsOf(() => load('listen.query: 0.0.0.0:8080'))
    expect(lines).toHaveLength(2)
    expect(lines[0]).toContain('millrace tls create')
    expect(lines[1]).toContain('millrace token create')
  })
})
