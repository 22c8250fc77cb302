/** `millrace.*`: which table records go to, what it is like when it is made, and how it follows its records. */
import { parse as parseYaml } from 'yaml'
import { tableNameProblem } from '../../../schemas/settings-check.ts'
import { columnsLeaf, type DeclaredColumn, PARTITION_TEXT, SORT_TEXT } from '../../../schemas/settings-tables.ts'
import { listOf } from './config-value.ts'
import { type TableConfig, tableNameOf } from './connector-config.ts'
import { TOPIC_PLACE } from './definitions.ts'
import type { Findings } from './findings.ts'

const COLUMN_NAME = /^[^\p{Cc}]{1,255}$/u
/** A name of these cannot be made wrong by any topic. */
const ANY_TOPIC = 'a'

export function readTable(findings: Findings, topics: readonly string[] | undefined): TableConfig {
  const evolution = findings.read('millrace.evolution')
  return {
    templates: readTemplates(findings, topics),
    columns: readColumns(findings),
    partition: readItems(findings, 'millrace.partition', PARTITION_TEXT, '"day(ts)", "bucket(16, id)" or "x"'),
    sort: readItems(findings, 'millrace.sort', SORT_TEXT, '"ts" or "id desc"'),
    eventTime: readName(findings, 'millrace.event-time'),
    evolution: evolution === 'freeze' || evolution === 'fail' ? evolution : 'evolve',
    headersColumn: readName(findings, 'millrace.headers.column'),
    keyPrefix: readName(findings, 'millrace.key.prefix'),
  }
}

function readTemplates(findings: Findings, topics: readonly string[] | undefined): readonly string[] {
  const name = 'millrace.table'
  const templates = listOf(findings.read(name) ?? TOPIC_PLACE)
  if (templates.length === 0) findings.invalid(name, 'expected a table name')
  if (new Set(templates).size < templates.length) findings.invalid(name, 'expected each table once')
  for (const template of templates) {
    for (const topic of topics ?? [ANY_TOPIC]) {
      const problem = tableNameProblem(tableNameOf(template, topic))
      if (problem === undefined) continue
      findings.invalid(name, `expected ${problem}`)
      break
    }
  }
  return templates
}

/** `id long required, price decimal(10,2)`, or as in millrace.yaml, in JSON. */
function readColumns(findings: Findings): readonly DeclaredColumn[] | undefined {
  const name = 'millrace.columns'
  const text = findings.read(name)?.trim()
  if (text === undefined || text === '') return undefined
  const result = columnsLeaf.parse(/^[[{]/.test(text) ? fromJson(text) : fromList(text))
  if ('value' in result) return result.value
  for (const { path, expected } of result.issues) {
    findings.invalid(name, `expected ${path.length === 0 ? expected : `${expected} at ${path.join('.')}`}`)
  }
  return undefined
}

function fromJson(text: string): unknown {
  try {
    return parseYaml(text) as unknown
  } catch {
    return undefined
  }
}

/** Commas within parentheses and brackets belong to a type. */
function fromList(text: string): unknown {
  const items = splitOutside(text)
  const pairs = items.map((item) => /^(\S+)\s+(.+)$/s.exec(item))
  if (pairs.some((pair) => pair === null)) return undefined
  return Object.fromEntries(pairs.map((pair) => [pair![1], pair![2].trim()]))
}

export function splitOutside(text: string): string[] {
  const items: string[] = []
  let depth = 0
  let item = ''
  for (const character of text) {
    if ('(<[{'.includes(character)) depth += 1
    if (')>]}'.includes(character)) depth -= 1
    if (character === ',' && depth === 0) {
      items.push(item)
      item = ''
    } else item += character
  }
  return [...items, item].map((each) => each.trim()).filter((each) => each !== '')
}

function readItems(findings: Findings, name: string, pattern: RegExp, expected: string): readonly string[] {
  const items = splitOutside(findings.read(name) ?? '')
  const wrong = items.find((item) => !pattern.test(item))
  if (wrong !== undefined) findings.invalid(name, `expected ${expected}, found ${JSON.stringify(wrong)}`)
  return items
}

function readName(findings: Findings, name: string): string | undefined {
  const text = findings.read(name)?.trim()
  if (text === undefined || text === '') return undefined
  if (!COLUMN_NAME.test(text)) findings.invalid(name, 'expected a column name without control characters')
  return text
}
