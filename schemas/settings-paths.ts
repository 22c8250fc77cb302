/**
 * From a path to its setting and back: `flush.interval.ms`, `tables.flights.sort`, `pipelines.clicks.topics`; the name
 * of the environment variable of each, and the nearest path when one does not exist.
 */
import type { Leaf } from './settings-leaf.ts'
import { LEAVES, TABLE_LEAVES } from './settings-leaves.ts'
import { PIPELINE_LEAVES } from './settings-pipelines.ts'
import { nearestKey } from './settings-problem.ts'

type LeafTable = Readonly<Record<string, Leaf<unknown>>>

export const TOP_LEAVES: LeafTable = LEAVES
/** Settings that exist once for every name below a section. */
export const NAMED_SECTIONS: Readonly<Record<string, LeafTable>> = { tables: TABLE_LEAVES, pipelines: PIPELINE_LEAVES }

export type FoundPath =
  | { readonly kind: 'leaf'; readonly path: string; readonly leaf: Leaf<unknown> }
  /** Something lies below it. `name` when it is a table or pipeline itself. */
  | { readonly kind: 'section'; readonly path: string; readonly named: boolean }
  | { readonly kind: 'unknown'; readonly path: string; readonly suggestion: string | undefined }

export function findPath(segments: readonly string[]): FoundPath {
  const path = segments.join('.')
  const named = Object.hasOwn(NAMED_SECTIONS, segments[0]) ? NAMED_SECTIONS[segments[0]] : undefined
  if (named) {
    if (segments.length <= 2) return { kind: 'section', path, named: segments.length === 2 }
    const prefix = `${segments[0]}.${segments[1]}.`
    return findIn(named, segments.slice(2).join('.'), prefix)
  }
  return findIn(TOP_LEAVES, path, '')
}

function findIn(leaves: LeafTable, rest: string, prefix: string): FoundPath {
  const path = prefix + rest
  if (Object.hasOwn(leaves, rest)) return { kind: 'leaf', path, leaf: leaves[rest] }
  const keys = Object.keys(leaves)
  if (keys.some((key) => key.startsWith(`${rest}.`))) return { kind: 'section', path, named: false }
  const sections = prefix === '' ? Object.keys(NAMED_SECTIONS) : []
  const nearest = nearestKey(rest, [...keys, ...sections])
  return { kind: 'unknown', path, suggestion: nearest === undefined ? undefined : prefix + nearest }
}

const VARIABLE_PREFIX = 'MILLRACE_'

export function variableName(path: string): string {
  return VARIABLE_PREFIX + path.replaceAll(/[.-]/g, '_').toUpperCase()
}

/** Variables that are no settings: for tests, the wrapper, and what a client of the services takes. */
const OTHER_VARIABLES = /^MILLRACE_(?:CRASH_AT|PAUSE_AT|CONFIG|URL|(?:TOKEN|TEST|BENCH|DEMO|DEV|HARNESS)(?:_.*)?)$/
/** What an orchestrator sets by itself for a service called millrace-something. */
const SERVICE_LINKS =
  /^MILLRACE_(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_\d+_(?:TCP|UDP)(?:_(?:ADDR|PORT|PROTO))?)?)$/

export type FoundVariable =
  | { readonly kind: 'leaf'; readonly path: string; readonly leaf: Leaf<unknown> }
  | { readonly kind: 'other' }
  | { readonly kind: 'unknown'; readonly suggestion: string | undefined }

/** `names` are the tables and pipelines known from the file: a variable may mean a name with other letters' case or dashes. */
export function findVariable(variable: string, names: ReadonlyMap<string, readonly string[]>): FoundVariable {
  for (const [path, leaf] of Object.entries(TOP_LEAVES)) {
    if (variableName(path) === variable) return { kind: 'leaf', path, leaf }
  }
  for (const [section, leaves] of Object.entries(NAMED_SECTIONS)) {
    const found = findNamedVariable(variable, section, leaves, names.get(section) ?? [])
    if (found) return found
  }
  if (OTHER_VARIABLES.test(variable) || SERVICE_LINKS.test(variable)) return { kind: 'other' }
  return { kind: 'unknown', suggestion: nearestKey(variable, Object.keys(TOP_LEAVES).map(variableName)) }
}

function findNamedVariable(
  variable: string,
  section: string,
  leaves: LeafTable,
  names: readonly string[],
): FoundVariable | undefined {
  const prefix = variableName(`${section}.`)
  if (!variable.startsWith(prefix)) return undefined
  for (const [key, leaf] of Object.entries(leaves)) {
    const suffix = `_${key.replaceAll(/[.-]/g, '_').toUpperCase()}`
    if (!variable.endsWith(suffix) || variable.length <= prefix.length + suffix.length) continue
    const middle = variable.slice(prefix.length, variable.length - suffix.length)
    const name = names.find((each) => each.replaceAll(/[.-]/g, '_').toUpperCase() === middle) ?? middle.toLowerCase()
    return { kind: 'leaf', path: `${section}.${name}.${key}`, leaf }
  }
  return undefined
}
