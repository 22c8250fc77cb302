/** `millrace.*`: which table records go to, what it is like when it is made, and how it follows its records. */
import { parse as parseYaml } from 'yaml'
import { formatColumnType } from '../../../schemas/column-type.ts'
import { tableNameProblem } from '../../../schemas/settings-check.ts'
import {
  columnsLeaf,
  type DeclaredColumn,
  PARTITION_TEXT,
  partitionColumn,
  SORT_TEXT,
  sortColumn,
} from '../../../schemas/settings-tables.ts'
import { HIDDEN_COLUMNS } from '../../../schemas/table-schema.ts'
import { listOf } from './config-value.ts'
import { type TableConfig, tableNameOf } from './connector-config.ts'
import { TOPIC_PLACE } from './definitions.ts'
import type { Findings } from './findings.ts'

const COLUMN_NAME = /^[^\p{Cc}]{1,255}$/u
/** A name of these cannot be made wrong by any topic. */
const ANY_TOPIC = 'a'

export function readTable(findings: Findings, topics: readonly string[] | undefined): TableConfig {
  const evolution = findings.read('millrace.evolution')
  const table: TableConfig = {
    templates: readTemplates(findings, topics),
    columns: readColumns(findings),
    partition: readItems(findings, 'millrace.partition', PARTITION_TEXT, '"day(ts)", "bucket(16, id)" or "x"'),
    sort: readItems(findings, 'millrace.sort', SORT_TEXT, '"ts" or "id desc"'),
    eventTime: readName(findings, 'millrace.event-time'),
    evolution: evolution === 'freeze' || evolution === 'fail' ? evolution : 'evolve',
    headersColumn: readName(findings, 'millrace.headers.column'),
    keyPrefix: readName(findings, 'millrace.key.prefix'),
  }
  checkNames(findings, table)
  return table
}

/** What the table would refuse when the task starts, or what would make every record a dead letter, is told here. */
function checkNames(
  findings: Findings,
  { columns, partition, sort, eventTime, headersColumn, keyPrefix }: TableConfig,
) {
  const hidden = new Set(HIDDEN_COLUMNS.map(({ name }) => name))
  if (headersColumn !== undefined && hidden.has(headersColumn.toLowerCase())) {
    findings.invalid('millrace.headers.column', 'expected a name that is not that of a hidden column')
  }
  if (keyPrefix?.startsWith('_')) {
    findings.invalid('millrace.key.prefix', 'expected a prefix that does not begin with _, such as key_')
  }
  if (!columns) return
  const known = new Set([...hidden, ...columns.map(({ name }) => name)])
  for (const { name } of columns) {
    if (hidden.has(name.toLowerCase())) findings.invalid('millrace.columns', `${name} is the name of a hidden column`)
  }
  const declared = columns.find(({ name }) => name === headersColumn)?.type
  if (declared && !(declared.kind === 'map' && /^(?:string|binary)$/.test(declared.value.type.kind))) {
    findings.invalid(
      'millrace.headers.column',
      `column ${headersColumn} of millrace.columns: expected map<string, string> or map<string, binary>, found ${formatColumnType(declared)}`,
    )
  }
  const mustExist = (property: string, name: string) => {
    if (!known.has(name)) findings.invalid(property, `expected a column of millrace.columns, found ${name}`)
  }
  for (const text of partition) mustExist('millrace.partition', partitionColumn(text))
  for (const text of sort) mustExist('millrace.sort', sortColumn(text))
  if (eventTime !== undefined) mustExist('millrace.event-time', eventTime)
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
  const given = /^[[{]/.test(text) ? undefined : splitOutside(text).map((item) => item.split(/\s/, 1)[0])
  const result = columnsLeaf.parse(given ? fromList(text) : fromJson(text))
  if ('value' in result) {
    const names = (given ?? result.value?.map((column) => column.name) ?? []).map((each) => each.toLowerCase())
    const twice = names.find((each, index) => names.indexOf(each) < index)
    if (twice !== undefined) {
      findings.invalid(name, `expected names that differ in more than upper and lower case, found ${twice} twice`)
    }
    return result.value
  }
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
