/**
 * Columns of a table as people declare them, in one of two forms:
 *
 *   columns: [{ name: id, type: long, required: true }, { name: price, type: "decimal(10,2)" }]
 *   columns: { id: long required, price: "decimal(10,2)", address: "struct<city: string, zip: int>" }
 *
 * and the texts that name partitions and sort columns.
 */
import { z } from 'zod'
import { type ColumnType, parseColumnType, SIMPLE_KINDS } from './column-type.ts'
import { type Leaf, type LeafIssue, parseWith, zodLeaf } from './settings-leaf.ts'

export type DeclaredColumn = { readonly name: string; readonly type: ColumnType; readonly required: boolean }

const COLUMNS_MAX = 2000
const NAME = z
  .string('a column name')
  .min(1, 'a column name')
  .max(255, 'a column name of at most 255 characters')
  // A name is a JSON key, so nearly everything is allowed; control characters only make unreadable errors.
  .regex(/^[^\p{Cc}]+$/u, 'a column name without control characters')
const TYPE_EXPECTED = `a type: ${SIMPLE_KINDS.join(', ')}, decimal(p,s), struct<name: type, …>, list<type> or map<type, type>`
const TYPE = z.string(TYPE_EXPECTED).refine((text) => parseColumnType(text) !== undefined, TYPE_EXPECTED)
const TYPE_REQUIRED = z
  .string(`${TYPE_EXPECTED}, optionally followed by "required"`)
  .refine((text) => splitType(text) !== undefined, `${TYPE_EXPECTED}, optionally followed by "required"`)

const listed = z
  .array(
    z.strictObject(
      { name: NAME, type: TYPE, required: z.boolean('true or false').optional() },
      '{name, type, required?}',
    ),
  )
  .min(1)
  .max(COLUMNS_MAX)
const mapped = z.record(NAME, TYPE_REQUIRED)

const EXPECTED = 'columns: a list of {name, type, required?}, or a mapping from name to "type" or "type required"'

const base = zodLeaf<readonly DeclaredColumn[] | undefined>({
  description:
    'Columns: a list of `{name, type, required?}`, or a mapping from name to `type` or `type required`. Within `{…}` quotes keep a comma together: `{price: "decimal(10,2)", address: "struct<city: string, zip: int>"}`. Types nest: `list<struct<id: long required, tags: map<string, string>>>`. Without it they are inferred from the first records.',
  expected: EXPECTED,
  fallback: undefined,
  fallbackText: undefined,
  schema: z.union([listed, mapped]),
  reads: 'yaml',
})

export const columnsLeaf: Leaf<readonly DeclaredColumn[] | undefined> = {
  ...base,
  parse(value) {
    if (Array.isArray(value)) {
      const result = parseWith(listed, value, EXPECTED)
      if ('issues' in result) return result
      return { value: result.value.map(({ name, type, required }) => column(name, type, required ?? false)) }
    }
    if (value === null || typeof value !== 'object') return { issues: [{ path: [], expected: EXPECTED }] }
    const issues: LeafIssue[] = []
    const columns: DeclaredColumn[] = []
    for (const [name, text] of Object.entries(value)) {
      const nameResult = parseWith(NAME, name, 'a column name')
      const result = parseWith(TYPE_REQUIRED, text, `${TYPE_EXPECTED}, optionally followed by "required"`)
      if ('issues' in nameResult) issues.push({ path: [name], expected: nameResult.issues[0].expected })
      else if ('issues' in result) issues.push({ path: [name], expected: result.issues[0].expected })
      else {
        const split = splitType(result.value)
        if (split) columns.push({ name, ...split })
      }
    }
    if (issues.length === 0 && (columns.length === 0 || columns.length > COLUMNS_MAX)) {
      issues.push({ path: [], expected: `between 1 and ${COLUMNS_MAX} columns` })
    }
    return issues.length > 0 ? { issues } : { value: columns }
  },
}

function column(name: string, typeText: string, required: boolean): DeclaredColumn {
  const type = parseColumnType(typeText)
  if (!type) throw new TypeError(`"${typeText}" passed the check but is no type`)
  return { name, type, required }
}

/** `long required` → type and whether a value must be there. */
function splitType(text: string): { type: ColumnType; required: boolean } | undefined {
  const match = /^\s*(.*?)(\s+required)?\s*$/i.exec(text)
  const type = match ? parseColumnType(match[1]) : undefined
  return type && match ? { type, required: match[2] !== undefined } : undefined
}

export const PARTITION_TEXT =
  /^\s*(?:(?:identity|hour|day|month)\(\s*[^\s,()]+\s*\)|(?:bucket|truncate)\(\s*[1-9]\d{0,8}\s*,\s*[^\s,()]+\s*\)|[^\s,()]+)\s*$/i
export const DATE_TEXT = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/
export const SORT_TEXT = /^\s*[^\s,()]+(?:\s+(?:asc|desc))?(?:\s+nulls\s+(?:first|last))?\s*$/i

/** The column that a partition text is about: `bucket(16, id)` → `id`. */
export function partitionColumn(text: string): string {
  const inner = /\((?:[^,()]*,)?\s*([^\s,()]+)\s*\)\s*$/.exec(text)
  return inner ? inner[1] : text.trim()
}

/** `id desc nulls last` → `id`. */
export function sortColumn(text: string): string {
  return text.trim().split(/\s+/)[0]
}
