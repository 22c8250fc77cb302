import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { SYSTEM_TABLES } from './columns.ts'

test('the page of the system tables has every column with its type, and no other', () => {
  const page = readFileSync(new URL('../../docs/reference/system-tables.md', import.meta.url), 'utf8')
  for (const [id, columns] of Object.entries(SYSTEM_TABLES).filter(([each]) => each.startsWith('millrace.'))) {
    const section = page.split(`## \`${id}\``)[1].split('\n## ')[0]
    const listed = [...section.matchAll(/^\| (`[^|]+) \| ([A-Z][^|]+) \|/gm)].flatMap(([, names, types]) => {
      const all = names.split(', ').map((name) => name.replaceAll('`', ''))
      const given = types.includes('(') ? [types] : types.split(', ')
      return all.map((name, index) => [name, given[index] ?? given[0]])
    })
    expect([id, listed]).toEqual([id, columns.map(({ name, type }) => [name, type])])
  }
})
