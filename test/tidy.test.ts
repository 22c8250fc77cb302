/** The rules of STYLE.md that a program can check, over the real tree, and over trees with planted violations. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findViolations, type SourceFile } from './tidy-rules.ts'

const ROOT = join(import.meta.dirname, '..')
const FOLDERS = [
  'schemas',
  'runtime',
  'lake',
  'ingest',
  'compactor',
  'query',
  'bin',
  'clients',
  'test',
  'bench',
  'scripts',
]

function realTree(): SourceFile[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.parentPath.includes('node_modules'))
      .map((entry) => {
        const file = join(entry.parentPath, entry.name)
        return { path: relative(ROOT, file).split(sep).join('/'), text: readFileSync(file, 'utf8') }
      }),
  )
}

const STORY = '/** A story. */\n'
const rulesOf = (path: string, text: string, story = STORY) =>
  findViolations([{ path, text: story + text }]).map(({ rule, line }) => `${line}: ${rule}`)

describe('the real tree', () => {
  it('keeps to every rule', () => {
    const files = realTree()
    expect(files.length).toBeGreaterThan(40)
    expect(findViolations(files).map(({ path, line, rule, found }) => `${path}:${line}: ${rule}: ${found}`)).toEqual([])
  })
})

describe('a planted violation is found', () => {
  it.each([
    ['lake/a.ts', "import { b } from '../ingest/b.ts'"],
    ['schemas/a.ts', "export * from '../runtime/b.ts'"],
    ['query/deep/a.ts', "import type { B } from '../../ingest/b.ts'"],
    ['ingest/a.ts', "const b = await import('../query/b.ts')"],
    ['ingest/a.ts', "import '../compactor/b.ts'"],
    ['query/a.ts', "import {\n  b,\n} from '../ingest/b.ts'"],
    ['runtime/a.ts', "import { b } from '../test/b.ts'"],
    ['bin/a.ts', "import { b } from '../bench/b.ts'"],
    ['query/a.ts', "const child = new URL('../ingest/b.ts', import.meta.url)"],
    ['lake/a.ts', 'const b = await import(`../ingest/b.ts`)'],
  ])('%s going up or sideways: %s', (path, text) => {
    expect(rulesOf(path, text).map((found) => found.slice(3))).toEqual(['imports go down'])
  })

  it.each([
    ['query/a.ts', "import { S3Client } from '@aws-sdk/client-s3'", 'one door to the AWS SDK'],
    ['lake/a.ts', "const s3 = await import('@aws-sdk/lib-storage')", 'one door to the AWS SDK'],
    ['ingest/a.ts', "import type { Consumer } from '@platformatic/kafka'", 'one door to the Kafka client'],
    ['query/a.ts', "import { DuckDBInstance } from '@duckdb/node-api'", 'one door to DuckDB'],
    ['lake/a.ts', 'const at = Date.now()', 'one door to clock and randomness'],
    ['lake/a.ts', 'const at = new Date()', 'one door to clock and randomness'],
    ['lake/a.ts', 'const at = Math.random()', 'one door to clock and randomness'],
    ['lake/a.ts', "import { randomUUID } from 'node:crypto'", 'one door to clock and randomness'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: planted code
    ['lake/a.ts', 'const at = `${performance.now()}`', 'one door to clock and randomness'],
    ['lake/a.ts', 'function f(a: any) {}', 'no any'],
    ['lake/a.test.ts', 'const b = a as any', 'no any'],
    ['lake/a.ts', 'const b: Map<string, any> = c', 'no any'],
    ['lake/a.ts', 'export enum B { c }', 'no enum'],
    ['lake/a.ts', 'export default b', 'named exports'],
    ['lake/a.ts', "import { b } from './b.js'", 'imports name the .ts file'],
  ])('%s: %s', (path, text, rule) => {
    expect(rulesOf(path, text)).toEqual([`2: ${rule}`])
  })

  it('a second file at a door', () => {
    const text = `${STORY}import { S3Client } from '@aws-sdk/client-s3'\n`
    const files = ['lake/object-store/s3.ts', 'lake/object-store/other.ts'].map((path) => ({ path, text }))
    expect(findViolations(files)).toEqual([
      {
        path: 'lake/object-store/other.ts',
        line: 1,
        rule: 'one door to the AWS SDK',
        found: 'also lake/object-store/s3.ts',
      },
    ])
  })

  it('long files, files without a story, names that say nothing', () => {
    expect(rulesOf('lake/a.ts', 'x\n'.repeat(500))).toEqual(
      ['1: at most 500 lines'].map((each) => expect.stringContaining(each.slice(3))),
    )
    expect(rulesOf('lake/a.test.ts', 'x\n'.repeat(500))).toEqual([])
    expect(rulesOf('lake/a.ts', 'export const b = 1', '')).toEqual(['1: a file opens with its story'])
    for (const path of ['lake/utils.ts', 'lake/string-helper.ts', 'lake/manager/a.ts', 'query/cache-manager.test.ts']) {
      expect(rulesOf(path, '')).toEqual(['1: names that say something'])
    }
    expect(rulesOf('lake/camelCase.ts', '')).toEqual(['1: kebab-case file names'])
  })
})

describe('what is allowed is not found', () => {
  it.each([
    ['query/a.ts', "import { b } from '../lake/b.ts'\nimport { c } from './c.ts'\nimport d from 'node:fs'"],
    ['bin/commands/a.ts', "const b = await import('../../query/service.ts')"],
    ['lake/a.test.ts', "import { b } from '../test/b.ts'\nconst at = Date.now()"],
    ['runtime/system-world.ts', 'Date.now()'],
    [
      'lake/a.ts',
      '// Date.now() and any\nconst b = "Math.random(): any"\nconst c = new Date(0)\nconst many: company = any(b)',
    ],
    ['lake/engine/a.ts', "import { DuckDBInstance } from '@duckdb/node-api'"],
    ['bench/a.ts', "import { b } from '../ingest/b.ts'\nconst at = performance.now()"],
    ['lake/a.ts', "/** import { b } from '../ingest/b.ts' */\nexport const b = /any|: any/"],
  ])('%s: %s', (path, text) => {
    expect(rulesOf(path, text)).toEqual([])
  })
})
