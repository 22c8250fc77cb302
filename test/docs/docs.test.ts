/**
 * What the documents say against what is there: links and anchors lead somewhere, and crash points, commands, metrics,
 * settings, error codes and types in the text are those of the code, each way.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { SIMPLE_KINDS } from '../../schemas/column-type.ts'
import { ERRORS } from '../../schemas/errors.ts'
import { settingsReference } from '../../schemas/settings-export.ts'
import { crashPointsInSource } from '../lake/crash-points.ts'

const ROOT = join(import.meta.dirname, '..', '..')
/** Written when benchmarks run, from measured figures. */
const MEASURED = 'docs/benchmarks.md'

const pages = [
  'README.md',
  'CHANGELOG.md',
  ...filesUnder('docs')
    .filter((file) => file.endsWith('.md'))
    .map((file) => relative(ROOT, file)),
]
const text = (file: string) => readFileSync(join(ROOT, file), 'utf8')

describe('documents', () => {
  test.each(pages)('%s links to files and headings that are there', (page) => {
    const broken: string[] = []
    for (const [, target] of withoutCode(text(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path, anchor] = target.split('#')
      const file = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path))
      if (file === MEASURED && !existsSync(join(ROOT, file))) continue
      if (!existsSync(join(ROOT, file))) broken.push(target)
      else if (anchor !== undefined && !anchorsOf(text(file)).includes(anchor)) broken.push(target)
    }
    expect(broken).toEqual([])
  })

  test('the protocol names every crash point, and no other', () => {
    const named = [...text('docs/protocol.md').matchAll(/`([a-z]+\/[a-z-]+)`/g)].map(([, name]) => name)
    const inCode = crashPointsInSource()
    expect(inCode.length).toBeGreaterThan(20)
    expect([...new Set(named)].sort()).toEqual(inCode)
  })

  test('the command line page has every command', () => {
    const { stdout } = spawnSync(process.execPath, [join(ROOT, 'bin', 'millrace.ts'), '--help'], { encoding: 'utf8' })
    const listed = stdout.slice(stdout.indexOf('Commands:'), stdout.indexOf('Examples:'))
    const commands = [...listed.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name).filter((name) => name !== 'help')
    expect(commands.length).toBeGreaterThan(8)
    const page = text('docs/reference/cli.md')
    expect(commands.filter((name) => !page.includes(`\`${name}\``) && !page.includes(`\`${name} `))).toEqual([])
  })

  test('operations names metrics that exist, and all of ours', () => {
    const named = new Set([...text('docs/operations.md').matchAll(/millrace_([a-z_]+)/g)].map(([, name]) => name))
    const made = new Set<string>()
    for (const folder of ['ingest', 'compactor', 'query', 'runtime']) {
      for (const file of filesUnder(folder)) {
        if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
        for (const [, name] of readFileSync(file, 'utf8').matchAll(
          /\.(?:counter|gauge|gaugeOf|histogram)\(\s*\{\s*name: '([a-z_]+)'/g,
        ))
          made.add(name)
      }
    }
    expect([...named].sort()).toEqual([...made].sort())
  })

  test('every setting that a page names in code is one', () => {
    const known = new Set([...settingsReference().matchAll(/^\| `([^`]+)`/gm)].map(([, path]) => path))
    const sections = new Set([...known].map((path) => path.split('.')[0]))
    const wrong: string[] = []
    for (const page of pages.filter((each) => !each.startsWith('docs/adr/'))) {
      for (const [, word] of text(page).matchAll(/`([a-z0-9]+(?:[.-][a-z0-9-]+)+)`/g)) {
        if (!sections.has(word.split('.')[0]) || !word.includes('.')) continue
        if (known.has(word) || [...known].some((path) => path.startsWith(`${word}.`) || path.endsWith(`.${word}`)))
          continue
        wrong.push(`${page}: ${word}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('the HTTP page explains every error that a client can get', () => {
    const page = text('docs/reference/http.md')
    const table = page.slice(page.indexOf('## Errors'))
    const missing = Object.entries(ERRORS)
      // Of processes among themselves, or before one listens.
      .filter(([code]) => !['settings-invalid', 'format-too-new', 'record-damaged'].includes(code))
      .filter(([, { sqlstate }]) => !table.includes(sqlstate))
    expect(missing.map(([code]) => code)).toEqual([])
  })

  test('the types page has every type', () => {
    const rows = [...text('docs/reference/types.md').matchAll(/^\| `([a-z]+)/gm)].map(([, name]) => name)
    expect(rows).toEqual(expect.arrayContaining([...SIMPLE_KINDS, 'decimal']))
  })

  test('the settings page is what the command prints', () => {
    expect(text('docs/reference/settings.md')).toBe(settingsReference())
  })
})

/** Headings as they are linked to: lower case, without punctuation, spaces as dashes. */
function anchorsOf(markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

function withoutCode(markdown: string): string {
  return markdown.replaceAll(/^```[\s\S]*?^```/gm, '')
}

function filesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}
