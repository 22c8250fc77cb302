/** `docs/reference/sql.md` says what every name means, with an example and its answer: all of them are run here. */
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { parseStatement } from '../statement/parse-statement.ts'
import { dialectRules } from './rules.ts'

const page = readFileSync(new URL('../../docs/reference/sql.md', import.meta.url), 'utf8')
const sketches = readFileSync(new URL('../../docs/reference/sketches.md', import.meta.url), 'utf8').toLowerCase()
const readings = /```sql\n(VALUES [\s\S]*?)```/.exec(page)![1]

const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .slice(2, -2)
      .split(/ (?<!\\)\| /)
      .map((cell) => cell.replaceAll('\\|', '|')),
  )

let engine: Engine
beforeAll(() => {
  engine = createEngine({
    settings: {
      name: 'page',
      memoryBytes: 256 * 1024 * 1024,
      threads: 1,
      spillFolder: join(tmpdir(), 'millrace-sql-page-test'),
      spillBytes: 0,
      folders: [],
      mode: 'query',
      prepare: [`CREATE VIEW readings AS FROM (${readings}) r(ts, host, requests, load, ok)`],
    },
    world: createTestWorld(),
  })
})
afterAll(() => engine.close())

async function answerOf(example: string): Promise<string> {
  const sql = /^SELECT\b/i.test(example) ? example : `SELECT ${example}`
  const statement = await parseStatement(sql, async (asked) => String((await engine.run(asked))[0].tree))
  const found = await engine.run(`SELECT COLUMNS(*)::VARCHAR FROM (${statement.sql})`)
  return found
    .map((row) =>
      Object.values(row)
        .map((cell) => (cell === null ? 'NULL' : String(cell)))
        .join(', '),
    )
    .join('; ')
}

test('every name has a row, and no row has a name that is nothing', () => {
  const named = rows.flatMap(([names]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name.toLowerCase()))
  // Taken by syntax alone, or DuckDB's own with another syntax.
  const others = ['any', 'quantile']
  const known = [...dialectRules().keys()]
  expect(named.filter((name) => !others.includes(name) && !known.includes(name))).toEqual([])
  // Names for sketches have a page of their own.
  expect(known.filter((name) => !named.includes(name) && !sketches.includes(`\`${name}`))).toEqual([])
})

test.each(rows.map((cells) => [cells[3].slice(1, -1), cells[4].slice(1, -1)]))('%s', async (example, answer) => {
  expect(await answerOf(example)).toBe(answer)
})
