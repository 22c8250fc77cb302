// `millrace sql` against a real service: at a real terminal (python's pty), and with statements from arguments, files, pipes.
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSampleLake, querySettings, type SampleLake } from '../../query/sample-lake.ts'
import { startQuery } from '../../query/service.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'

const MAIN = join(import.meta.dirname, '..', 'millrace.ts')
const DRIVER = join(import.meta.dirname, 'drive-terminal.py')
const LONG = 'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5;'
const [TAB, UP, CTRL_C, CTRL_D] = ['\t', '\u001b[A', '\u0003', '\u0004']

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>
let home: string

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  home = await mkdtemp(join(tmpdir(), 'millrace-home-'))
  lake = await createSampleLake(world)
  const table = await lake.createTable('flights', { id: 'long', origin: 'string', note: 'string' })
  await lake.addRows(
    table,
    `SELECT i, ['SFO', '東京'][1 + i % 2], CASE WHEN i = 0 THEN repeat('long ', 100) END FROM range(3000) r(i)`,
  )
  service = await startQuery({ settings: querySettings(lake), world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
  await rm(home, { recursive: true, force: true })
})

type Ended = { readonly code: number | null; readonly out: string; readonly err: string }

function run(command: string, args: readonly string[], input = ''): Promise<Ended> {
  const child = spawn(command, args, { env: { ...process.env, XDG_STATE_HOME: home, NO_COLOR: '1' } })
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (part) => out.push(part))
  child.stderr.on('data', (part) => err.push(part))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) =>
      resolve({ code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }),
    )
  })
}

const sql = (args: readonly string[], input?: string) =>
  run(process.execPath, [MAIN, 'sql', '--url', service.url, ...args], input)

type Step = { readonly send?: string; readonly expect?: string }

async function atTerminal(steps: readonly Step[]): Promise<{ output: string; code: number | null }> {
  const command = [process.execPath, MAIN, 'sql', '--url', service.url]
  const given = { command, env: { XDG_STATE_HOME: home, TERM: 'xterm' }, steps }
  const { out, err } = await run('python3', [DRIVER], JSON.stringify(given))
  const told = JSON.parse(out || 'null') as { output: string; code: number | null; failed: Step | null } | null
  if (!told || told.failed) throw new Error(`${JSON.stringify(told?.failed)}\n${told?.output ?? ''}${err}`)
  return told
}

const PROMPT = 'millrace> '

describe('at a terminal', () => {
  test('statements over lines, completion, commands, Ctrl-C, and out by Ctrl-D', async () => {
    const { output, code } = await atTerminal([
      { expect: `asking .*${PROMPT}` },
      { send: 'select count(*) as n\r', expect: '-> ' },
      { send: 'from fli', expect: 'fli' },
      { send: TAB, expect: 'ghts' },
      { send: ' f where f.ori', expect: 'ori' },
      { send: TAB, expect: 'gin' },
      { send: " = '東京';\r", expect: `1500.*\\(1 row, fresh to .*${PROMPT}` },
      { send: '\\d\r', expect: `flights.*3000.*${PROMPT}` },
      { send: '\\d flights\r', expect: `origin.*VARCHAR.*hidden.*rows 3000.*file://.*${PROMPT}` },
      { send: '\\timing\r', expect: `timing is on.*${PROMPT}` },
      { send: 'select 7 as seven;\r', expect: `seven.*7.*Time: [0-9.]+ ms.*${PROMPT}` },
      { send: `${LONG}\r`, expect: 'running .*Ctrl-C' },
      { send: CTRL_C, expect: `cancelled.*${PROMPT}` },
      { send: 'select id\rfrom', expect: '-> from' },
      { send: CTRL_C, expect: `\\^C.*${PROMPT}` },
      {
        send: 'select nope from flights;\r',
        expect: `error: .*nope.*42703.*select nope from flights\r\n {9}\\^.*${PROMPT}`,
      },
      { send: '\\x\r', expect: `expanded display is on.*${PROMPT}` },
      { send: 'select id, note from flights limit 1;\r', expect: `-\\[ 1 \\].*id.*\\| 0.*${PROMPT}` },
      { send: '\\x\r', expect: PROMPT },
      { send: 'select * from flights limit 2;\r', expect: `long long.*….*NULL.*${PROMPT}` },
      { send: '\\watch 0.2\r', expect: 'id.*id.*id' },
      { send: CTRL_C, expect: PROMPT },
      { send: 'from flights;\r', expect: `1000 rows, and there are more.*${PROMPT}` },
      { send: '\\nope\r', expect: `there is no command .nope.*${PROMPT}` },
      { send: CTRL_D },
    ])
    expect(code).toBe(0)
    for (const line of output.split('\r\n')) if (line.includes('…')) expect(line.length).toBeLessThanOrEqual(100)
    expect((await fetch(`${service.url}/v1/queries`).then((reply) => reply.json())) as unknown).toMatchObject({
      queries: [],
    })
  })

  test('Up brings back a whole statement, also in the next shell', async () => {
    await atTerminal([
      { expect: PROMPT },
      { send: 'select 40\r', expect: '-> ' },
      { send: '+ 2 as answer;\r', expect: `42.*${PROMPT}` },
      { send: UP, expect: 'select 40 \\+ 2 as answer;' },
      { send: '\r', expect: `42.*${PROMPT}` },
      { send: '\\q\r' },
    ])
    const { code } = await atTerminal([
      { expect: PROMPT },
      { send: UP, expect: '\\\\q' },
      { send: UP, expect: 'select 40 \\+ 2 as answer;' },
      { send: '\r', expect: `42.*${PROMPT}` },
      { send: '\\q\r' },
    ])
    expect(code).toBe(0)
    expect((await readFile(join(home, 'millrace', 'sql_history'), 'utf8')).split('\n')).toContain(
      'select 40 + 2 as answer;',
    )
  })
})

describe('without one', () => {
  test('a statement, several, a pipe', async () => {
    expect(await sql(['select 1 as one'])).toEqual({ code: 0, out: 'one\n---\n  1\n(1 row)\n', err: '' })
    expect((await sql(['--format', 'csv', '-c', 'select 1 as a;', '-c', "select ';' as b"])).out).toBe(
      'a\r\n1\r\nb\r\n;\r\n'.replaceAll(
        '\r\n',
        (await sql(['--format', 'csv', 'select 1'])).out.includes('\r') ? '\r\n' : '\n',
      ),
    )
    expect((await sql([], 'select 2 as two;\n\\x\nselect 3 as three')).out).toBe(
      'two\n---\n  2\n(1 row)\n-[ 1 ]--\nthree | 3\n(1 row)\n',
    )
    expect((await sql(['-'], 'select 4 as four')).out).toContain('4')
    expect((await sql(['explain select id from flights'])).out).toMatch(/^┌─+┐\n│ .*\n/)
  })

  test('a file, to the first that fails, with the place in it', async () => {
    const file = join(home, 'report.sql')
    const output = join(home, 'out.json')
    await writeFile(
      file,
      `\ufeff\\set day '2026-01-31'\nselect $day as day, $n + 1 as n;\n\nselect\n  nope from flights;\nselect 'after' as later;\n`,
    )
    const stopped = await sql(['-f', file, '-p', 'n=41', '--format', 'jsonl'])
    expect([stopped.code, stopped.out]).toEqual([1, '{"day":"2026-01-31","n":"42"}\n'])
    expect(stopped.err).toMatch(
      new RegExp(`^millrace: ${file}:5: .*nope.*\\(42703\\)\n    nope from flights\n    \\^\n`),
    )
    const going = await sql(['-f', file, '--param', 'n=41', '--keep-going', '-o', output, '-F', 'jsonl'])
    expect([going.code, going.out, await readFile(output, 'utf8')]).toEqual([
      1,
      '',
      '{"day":"2026-01-31","n":"42"}\n{"later":"after"}\n',
    ])
    expect((await sql(['-p', '1=5', '-F', 'jsonl', 'select $1 * 2 as n'])).out).toBe('{"n":"10"}\n')
    expect((await sql(['-c', `\\i ${file}`])).code).toBe(1)
    expect((await sql(['-f', join(home, 'none.sql')])).err).toContain('none.sql cannot be read: ENOENT')
  })

  test('formats, and what is wrong with the command line', async () => {
    expect((await sql(['-F', 'tsv', "select 'a' as x, NULL as y"])).out.split(/\r?\n/)[0]).toBe('x\ty')
    expect((await sql(['--format', 'arrow', 'select 1'])).out.length).toBeGreaterThan(100)
    const wrong = await sql(['--format', 'xml', 'select 1'])
    expect([wrong.code, wrong.err]).toEqual([
      2,
      expect.stringContaining('table, csv, tsv, json, jsonl, arrow or parquet'),
    ])
    expect((await sql(['-p', 'novalue', 'select 1'])).code).toBe(2)
    const nobody = await run(process.execPath, [MAIN, 'sql', '--url', 'http://127.0.0.1:1', 'select 1; select 2'])
    expect([nobody.code, nobody.err.match(/no query service answers/g)?.length]).toEqual([1, 1])
  })
})
