// The commands that people type: `millrace sql` with its formats and errors, `millrace check` with good and bad files.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { startProcess } from '../harness/processes.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')

let millrace: Millrace
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-command-'))
  millrace = await createMillrace({
    settings: `
flush.interval.ms: 50
query.memory: 256 MiB
tables:
  cities:
    columns: { name: string required, people: long, note: string }
`,
  })
  await Promise.all([millrace.start('ingest'), millrace.start('query')])
  const rows = [
    { name: 'Wien', people: 2_005_760, note: 'on the "Donau", old' },
    { name: '東京', people: 14_187_176, note: null },
    { name: 'Ulm', people: 129_942 },
  ]
  const { status } = await millrace.ingest('cities', rows.map((row) => JSON.stringify(row)).join('\n'))
  expect(status).toBe(200)
})

afterAll(async () => {
  await millrace?.close()
  if (folder) await rm(folder, { recursive: true, force: true })
})

async function run(args: readonly string[], options: { cwd?: string; env?: Record<string, string | undefined> } = {}) {
  // One pipe each, so that what goes where can be told apart.
  const command = await startProcess({
    name: args[0],
    command: '/bin/sh',
    args: [
      '-c',
      `"$0" "$@" 2>"${folder}/stderr"; code=$?; printf '\\036'; cat "${folder}/stderr"; exit $code`,
      process.execPath,
      MAIN,
      ...args,
    ],
    cwd: options.cwd ?? folder,
    env: { MILLRACE_CONFIG: undefined, MILLRACE_URL: undefined, ...options.env },
  })
  const { code } = await command.exited
  const [out, err] = command.output().split('\u001e')
  return { code, out, err }
}

const sql = (...args: string[]) => run(['sql', '--config', millrace.configFile, ...args])

describe('millrace sql', () => {
  const statement = 'SELECT name, people, note FROM cities ORDER BY people DESC'

  test('prints a table', async () => {
    expect(await sql(statement)).toEqual({
      code: 0,
      out: `name |   people | note
-----+----------+--------------------
東京 | 14187176 | NULL
Wien |  2005760 | on the "Donau", old
Ulm  |   129942 | NULL
(3 rows)
`,
      err: '',
    })
  })

  test('prints CSV and JSON', async () => {
    const csv = await sql('--format', 'csv', statement)
    expect([csv.code, csv.out.replaceAll('\r\n', '\n'), csv.err]).toEqual([
      0,
      'name,people,note\n東京,14187176,\nWien,2005760,"on the ""Donau"", old"\nUlm,129942,\n',
      '',
    ])
    const json = await sql('--format', 'json', statement)
    expect([json.code, json.err]).toEqual([0, ''])
    const answer = JSON.parse(json.out) as { columns: { name: string }[]; data: unknown[][] }
    expect(answer.columns.map(({ name }) => name)).toEqual(['name', 'people', 'note'])
    expect(answer.data.map((row) => [row[0], Number(row[1]), row[2]])).toEqual([
      ['東京', 14_187_176, null],
      ['Wien', 2_005_760, 'on the "Donau", old'],
      ['Ulm', 129_942, null],
    ])
  })

  test('an error goes to stderr with a caret under its place', async () => {
    const answer = await sql("SELECT name,\n  '東京' AS t, peeple FROM cities")
    expect([answer.code, answer.out]).toEqual([1, ''])
    const lines = answer.err.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^millrace: .*peeple.*/)
    expect(answer.err).toContain('(42703)')
    expect(lines.slice(1, 3)).toEqual(["    '東京' AS t, peeple FROM cities", `${' '.repeat(17)}^`])
    expect(lines[3]).toBe('hint: did you mean "people"?')
  })

  test('says when no service answers, and what is wrong with the command line', async () => {
    const nobody = await run(['sql', '--url', 'http://127.0.0.1:1', 'SELECT 1'])
    expect([nobody.code, nobody.err]).toEqual([
      1,
      'millrace: no query service answers at http://127.0.0.1:1 (ECONNREFUSED); is "millrace up" running?\n',
    ])
    const format = await sql('--format', 'xml', 'SELECT 1')
    expect([format.code, format.out]).toEqual([2, ''])
    expect(format.err).toContain('--format takes table, csv, tsv, json, jsonl, arrow or parquet, found "xml"')
  })
})

describe('millrace check', () => {
  async function check(yaml: string) {
    const file = join(folder, 'millrace.yaml')
    await writeFile(file, yaml)
    return { ...(await run(['check'])), file }
  }

  test('a good file: what it comes to', async () => {
    const { code, out, err } = await check(`
data: ./here
flush.interval.ms: 250 ms
kafka.bootstrap: ["127.0.0.1:9092"]
tables:
  flights:
    columns: { id: long required, price: "decimal(10,2)" }
pipelines:
  flights: { topics: [flights, more], tables: [flights] }
`)
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^settings are sound \(.*millrace\.yaml; \d+ given\)\n/)
    expect(out).toContain('flights (id long, price decimal(10,2))')
    expect(out).toContain('flights: flights, more → flights')
  })

  test('a bad file: every problem with file, line, path and what was expected', async () => {
    const { code, out, err } = await check(`flush.intervall.ms: 250
flush:
  bytes: 3 parsecs
query.threads: many
tables:
  flights:
    columns: { id: lung }
`)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^millrace: settings have 4 problems:$/m)
    expect(err).toMatch(/millrace\.yaml:1:1: flush\.intervall\.ms: expected .*did you mean "flush\.interval\.ms"\?/)
    expect(err).toMatch(/millrace\.yaml:3:10: flush\.bytes: expected .*, found "3 parsecs"/)
    expect(err).toMatch(/millrace\.yaml:4:16: query\.threads: expected .*, found "many"/)
    expect(err).toMatch(/millrace\.yaml:7:\d+: tables\.flights\.columns\.id: expected a type: .*, found "lung"/)
  })

  test('a file that is not YAML, and one that is not there', async () => {
    const broken = await check('tables: [unclosed\n')
    expect([broken.code, broken.out]).toEqual([1, ''])
    expect(broken.err).toMatch(/millrace\.yaml:\d+:\d+/)
    const missing = await run(['check', '--config', 'nowhere.yaml'])
    expect(missing.code).toBe(1)
    expect(missing.err).toContain('nowhere.yaml')
  })
})
