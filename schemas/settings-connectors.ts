/**
 * Connectors in `millrace.yaml`: name → the properties of a Kafka Connect sink, dotted or nested, any scalar:
 *
 *   connectors:
 *     orders: { topics: orders, tasks.max: 2, errors.tolerance: all }
 *
 * What they mean is checked where they run. References (`${env:…}`, `${file:…}`) stay as they are.
 */
import { z } from 'zod'
import { type Leaf, type LeafIssue, zodLeaf } from './settings-leaf.ts'

export type DeclaredConnector = { readonly name: string; readonly properties: Readonly<Record<string, string>> }

const CONNECTORS_MAX = 1000
const DEPTH_MAX = 10
const EXPECTED = 'connectors by name, each with the properties of a Kafka Connect sink'

const base = zodLeaf<readonly DeclaredConnector[]>({
  description:
    'Connectors by name, each with the properties of a Kafka Connect sink (`topics`, `value.converter`, `millrace.table`, …; `connector.class` may be left out). They are put into the catalog when an ingest process starts, and then are what the file says; a connector that is not in the file stays as it is. Secrets only as references to variables and files, which are kept unread.',
  expected: EXPECTED,
  fallback: [],
  fallbackText: [],
  schema: z.record(z.string(), z.record(z.string(), z.unknown())),
  reads: 'yaml',
})

export const connectorsLeaf: Leaf<readonly DeclaredConnector[]> = {
  ...base,
  keepsReferences: true,
  parse(value) {
    if (value === null || (Array.isArray(value) && value.length === 0)) return { value: [] }
    if (!isMapping(value)) return { issues: [{ path: [], expected: EXPECTED }] }
    const issues: LeafIssue[] = []
    const connectors = Object.entries(value).map(([name, given]) => {
      const properties = new Map<string, string>()
      if (isMapping(given)) flatten(given, [], [name], properties, issues)
      else issues.push({ path: [name], expected: 'properties of a Kafka Connect sink' })
      return { name, properties: Object.fromEntries(properties) }
    })
    if (connectors.length > CONNECTORS_MAX) issues.push({ path: [], expected: `at most ${CONNECTORS_MAX} connectors` })
    return issues.length > 0 ? { issues } : { value: connectors }
  },
}

function flatten(
  mapping: Readonly<Record<string, unknown>>,
  prefix: readonly string[],
  place: readonly string[],
  properties: Map<string, string>,
  issues: LeafIssue[],
): void {
  for (const [key, value] of Object.entries(mapping)) {
    const name = [...prefix, key].join('.')
    const inside = [...place, key]
    if (isMapping(value) && prefix.length < DEPTH_MAX) {
      flatten(value, [...prefix, key], inside, properties, issues)
      continue
    }
    const text = textOf(value)
    if (text === undefined) issues.push({ path: inside, expected: 'a text, a number, true, false or a list of them' })
    else if (properties.has(name)) issues.push({ path: inside, expected: 'a property given once' })
    else properties.set(name, text)
  }
}

function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) {
    const items = value.map(textOf)
    return items.includes(undefined) ? undefined : items.join(',')
  }
  return typeof value === 'object' ? undefined : String(value)
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
