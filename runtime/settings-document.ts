/**
 * `millrace.yaml` → a flat list of settings, each with the line and column where it stands. Dotted keys and nested keys
 * are the same thing, in any mixture; the same setting twice is a problem, and so is a key that no setting has.
 */
import { type Document, isAlias, isMap, isScalar, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import { type FoundPath, findPath } from '../schemas/settings-paths.ts'
import { type SettingsProblem, showFound } from '../schemas/settings-problem.ts'

export type SettingsEntry = {
  readonly path: string
  readonly value: unknown
  readonly where: string
  /** Where a part of the value stands. */
  whereInside(inside: readonly (string | number)[]): string
  /** Relative paths in the value start here. */
  readonly folder: string
}

export type SettingsDocument = {
  readonly entries: readonly SettingsEntry[]
  /** Tables and pipelines that are named, by section, with or without settings below them. */
  readonly names: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly problems: readonly SettingsProblem[]
}

export type SettingsSource = { readonly name: string; readonly text: string; readonly folder: string }

const DEPTH_MAX = 20
const NESTED_TYPE = /\b(?:struct|list|map)</i

export function readSettingsDocument(source: SettingsSource): SettingsDocument {
  const lines = new LineCounter()
  const document = parseDocument(source.text, { lineCounter: lines, prettyErrors: false, merge: true })
  const entries = new Map<string, SettingsEntry>()
  const names = new Map<string, Map<string, string>>()
  const problems: SettingsProblem[] = []
  const at = (offset: number | undefined): string => {
    const { line, col } = lines.linePos(offset ?? 0)
    return `${source.name}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
  for (const error of [...document.errors, ...document.warnings]) {
    const { line } = lines.linePos(error.pos[0])
    // A colon and a blank inside `struct<city: string>` begin another mapping.
    const hint = NESTED_TYPE.test(source.text.split('\n')[line - 1] ?? '') ? 'put the type in quotes' : undefined
    const found = firstLine(error.message)
    problems.push({ where: at(error.pos[0]), path: '', expected: 'YAML', found, ...(hint ? { hint } : {}) })
  }
  if (document.errors.length > 0) return { entries: [], names, problems }

  const root = document.contents as Node | null
  if (root === null) return { entries: [], names, problems }
  if (isMap(root)) visit(root, [], 0)
  else if (!(isScalar(root) && root.value === null)) {
    problems.push({
      where: at(root.range?.[0]),
      path: '',
      expected: 'settings as "key: value" lines',
      found: showFound(root.toJS(document), false),
    })
  }
  return { entries: [...entries.values()], names, problems }

  function visit(map: Node, prefix: readonly string[], depth: number): void {
    if (!isMap(map) || depth > DEPTH_MAX) return
    for (const pair of map.items as Pair<Node, Node | null>[]) {
      const where = at(pair.key?.range?.[0])
      const key = isScalar(pair.key) ? String(pair.key.value) : undefined
      if (key === undefined || key === '') {
        problems.push({ where, path: prefix.join('.'), expected: 'the name of a setting', found: String(pair.key) })
        continue
      }
      // Alias and merge keys are read as what they stand for.
      const value = isAlias(pair.value) ? (pair.value.resolve(document) as Node | undefined) : (pair.value ?? undefined)
      if (key === '<<' && value) {
        visit(value, prefix, depth + 1)
        continue
      }
      take(findPath([...prefix, ...key.split('.')]), where, value, depth)
    }
  }

  function take(found: FoundPath, where: string, value: Node | undefined, depth: number): void {
    if (found.kind === 'unknown') {
      const { path, suggestion } = found
      problems.push({ where, path, expected: 'the name of a setting', found: `"${path}"`, suggestion })
      return
    }
    const segments = found.path.split('.')
    if (segments[0] === 'tables' || segments[0] === 'pipelines') remember(segments, where)
    if (found.kind === 'leaf') {
      const earlier = entries.get(found.path)
      if (earlier) {
        problems.push({
          where,
          path: found.path,
          expected: 'a setting given once',
          found: `it also at ${earlier.where}`,
        })
        return
      }
      entries.set(found.path, entryOf(found.path, value, where))
      return
    }
    if (value && isMap(value)) {
      visit(value, segments, depth + 1)
      return
    }
    const isEmpty = value === undefined || (isScalar(value) && value.value === null)
    if (!isEmpty) {
      problems.push({
        where: at(value?.range?.[0]),
        path: found.path,
        expected: 'settings below this key',
        found: showFound(value?.toJS(document), false),
      })
    }
  }

  function remember(segments: readonly string[], where: string): void {
    if (segments.length < 2) return
    const section = names.get(segments[0]) ?? new Map<string, string>()
    names.set(segments[0], section)
    if (!section.has(segments[1])) section.set(segments[1], where)
  }

  function entryOf(path: string, node: Node | undefined, where: string): SettingsEntry {
    const valueWhere = node?.range ? at(node.range[0]) : where
    return {
      path,
      value: node?.toJS(document),
      where: valueWhere,
      whereInside: (inside) => placeInside(document, node, inside, at) ?? valueWhere,
      folder: source.folder,
    }
  }
}

/** The deepest part of the value that exists on the way: a wrong key itself, or the value of a known one. */
function placeInside(
  document: Document,
  node: Node | undefined,
  inside: readonly (string | number)[],
  at: (offset: number | undefined) => string,
): string | undefined {
  let current: Node | undefined = node
  let place = node?.range ? at(node.range[0]) : undefined
  for (const step of inside) {
    if (isAlias(current)) current = current.resolve(document) as Node | undefined
    if (isMap(current)) {
      const pair = (current.items as Pair<Node, Node | null>[]).find(
        (each) => isScalar(each.key) && String(each.key.value) === String(step),
      )
      if (!pair) break
      current = pair.value ?? undefined
      const range = pair.value?.range ?? pair.key.range
      place = at(range?.[0])
    } else {
      const item: unknown =
        current && 'get' in current
          ? (current as { get(key: unknown, keep: true): unknown }).get(step, true)
          : undefined
      if (!item) break
      current = item as Node
      place = at(current.range?.[0])
    }
  }
  return place
}

function firstLine(text: string): string {
  return text.split('\n')[0]
}
