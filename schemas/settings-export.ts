/**
 * The list of settings for others: a JSON Schema (draft 2020-12) that editors use for completion and checks, and the
 * reference page in Markdown. In both forms of writing: the schema knows every key nested and with dots.
 */
import { z } from 'zod'
import type { Leaf } from './settings-leaf.ts'
import { TABLE_LEAVES } from './settings-leaves.ts'
import { TOP_LEAVES } from './settings-paths.ts'
import { PIPELINE_LEAVES } from './settings-pipelines.ts'

type JsonSchema = { [key: string]: unknown }
type Leaves = Readonly<Record<string, Leaf<unknown>>>

export function settingsJsonSchema(): JsonSchema {
  const root = objectSchema(TOP_LEAVES)
  const properties = root.properties as JsonSchema
  properties.tables = namedSchema(TABLE_LEAVES, 'Tables by name.')
  properties.pipelines = namedSchema(PIPELINE_LEAVES, 'Pipelines by name.')
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Millrace settings',
    ...root,
  }
}

function namedSchema(leaves: Leaves, description: string): JsonSchema {
  return {
    description,
    type: ['object', 'null'],
    additionalProperties: { ...objectSchema(leaves), type: ['object', 'null'] },
  }
}

/** Every way to cut a path at its dots is a way to write it: `a.b.c`, `a: {b.c}`, `a.b: {c}`, `a: {b: {c}}`. */
function objectSchema(leaves: Leaves): JsonSchema {
  const properties: JsonSchema = {}
  const sections = new Map<string, Record<string, Leaf<unknown>>>()
  for (const [path, leaf] of Object.entries(leaves)) {
    properties[path] = leafSchema(leaf)
    for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
      const head = path.slice(0, dot)
      const section = sections.get(head) ?? {}
      section[path.slice(dot + 1)] = leaf
      sections.set(head, section)
    }
  }
  for (const [head, section] of sections) properties[head] = { ...objectSchema(section), type: ['object', 'null'] }
  return { type: 'object', additionalProperties: false, properties }
}

function leafSchema(leaf: Leaf<unknown>): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(leaf.schema, { io: 'input', unrepresentable: 'any' })
  const isPlain =
    leaf.fallbackText !== undefined && !String(leaf.fallbackText).includes('<') && leaf.fallback !== undefined
  return { ...schema, description: leaf.description, ...(isPlain ? { default: leaf.fallbackText } : {}) }
}

export function settingsReference(): string {
  return `# Settings

One file, \`millrace.yaml\` in the working folder (or \`--config <file>\`); every setting has a default, so the file may be
absent. Dotted and nested keys are the same: \`flush.interval.ms: 500\` is \`flush: { interval: { ms: 500 } }\`.

- A variable wins over the file: \`MILLRACE_FLUSH_INTERVAL_MS=250\` (dots and dashes become \`_\`). A flag wins over both:
  \`--set flush.interval.ms=250\`. Lists in variables are separated by commas.
- Durations take \`500 ms\`, \`60 s\`, \`10 min\`, \`1 h\`, \`7 days\` or a number of milliseconds; sizes take \`128 MiB\`, \`2 GiB\`
  (or \`MB\`, \`GB\`) or a number of bytes.
- \`\${env:NAME}\` and \`\${file:path}\` inside a text stand for a variable and for what a file holds: the place for secrets.
- Relative paths start at the folder of the settings file; those of variables and flags at the working folder.
- \`millrace check\` tells every problem with file, line and column. \`millrace.schema.json\` beside this page is for editors.

This page is printed by \`millrace settings reference\`.

${rows(TOP_LEAVES, '')}
## Tables: \`tables.<name>\`

A name has a-z, 0-9 and \`_\`, begins with a letter and does not end in \`__dead_letters\`. \`tables: { clicks: }\` is enough.

${rows(TABLE_LEAVES, 'tables.<name>.')}
## Pipelines: \`pipelines.<name>\`

${rows(PIPELINE_LEAVES, 'pipelines.<name>.')}`
}

function rows(leaves: Leaves, prefix: string): string {
  const lines = ['| setting | default | meaning | takes |', '|---|---|---|---|']
  for (const [path, leaf] of Object.entries(leaves)) {
    lines.push(`| \`${prefix}${path}\` | ${defaultText(leaf)} | ${cell(leaf.description)} | ${cell(leaf.expected)} |`)
  }
  return `${lines.join('\n')}\n`
}

function defaultText({ fallbackText }: Leaf<unknown>): string {
  if (fallbackText === undefined) return 'none'
  if (Array.isArray(fallbackText)) return fallbackText.length === 0 ? 'none' : cell(fallbackText.join(', '))
  return `\`${cell(String(fallbackText))}\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
