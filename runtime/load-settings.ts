/**
 * Settings from their three places, the later ones winning: `millrace.yaml` (may be absent), variables
 * `MILLRACE_FLUSH_INTERVAL_MS`, flags `--set flush.interval.ms=250`.
 *
 *   1. each place becomes entries (path, value, where it stands)
 *   2. `${env:NAME}` and `${file:path}` in texts are replaced by what they name
 *   3. each entry is parsed by its leaf, then everything is checked together (`checkSettings`)
 *
 * Every problem of every place is told at once, in one `settings-invalid` error. Relative paths start at the folder of the
 * settings file when they (or nobody) say so, and at the working folder when they come from a variable or flag.
 */
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { MillraceError } from '../schemas/errors.ts'
import {
  type PipelineValues,
  type Settings,
  type SettingsValues,
  type TableValues,
  toSettings,
} from '../schemas/settings.ts'
import { checkSettings } from '../schemas/settings-check.ts'
import type { Leaf } from '../schemas/settings-leaf.ts'
import { findPath, findVariable, NAMED_SECTIONS, TOP_LEAVES } from '../schemas/settings-paths.ts'
import { type SettingsProblem, settingsError, showFound, tornAtComma } from '../schemas/settings-problem.ts'
import { passwordsOf } from '../schemas/url-password.ts'
import { readSettingsDocument, type SettingsEntry } from './settings-document.ts'

export const SETTINGS_FILE = 'millrace.yaml'

export type LoadOptions = {
  /** Must exist when given; otherwise `millrace.yaml` of the working folder is read if it is there. */
  readonly file?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `path=value`, in order. */
  readonly set?: readonly string[]
  /** Default: the working folder of the process. */
  readonly folder?: string
}

export type LoadedSettings = {
  readonly settings: Settings
  /** Undefined when there is no file. */
  readonly file: string | undefined
  /** Settings that somebody gave, with where; everything else is a default. */
  readonly given: ReadonlyMap<string, string>
  /** Texts that must not be printed. */
  readonly secrets: readonly string[]
  /** Every setting, those of tables and pipelines too, in the order of the reference. */
  readonly taken: readonly TakenSetting[]
}

export type TakenSetting = {
  readonly path: string
  readonly leaf: Leaf<unknown>
  readonly value: unknown
  /** As somebody wrote it; undefined: it is the default. */
  readonly written: unknown
}

export function loadSettings(options: LoadOptions = {}): Settings {
  return loadSettingsWithOrigin(options).settings
}

export function loadSettingsWithOrigin(options: LoadOptions = {}): LoadedSettings {
  const folder = resolve(options.folder ?? process.cwd())
  const env = options.env ?? process.env
  const file = findFile(options.file, folder)
  const fileFolder = file === undefined ? folder : dirname(file)
  const problems: SettingsProblem[] = []
  const entries = new Map<string, SettingsEntry>()
  const names = new Map(Object.keys(NAMED_SECTIONS).map((section) => [section, new Map<string, string>()]))

  if (file !== undefined) {
    const name = options.file ?? basename(file)
    const document = readSettingsDocument({ name, text: readText(file), folder: fileFolder })
    problems.push(...document.problems)
    for (const [section, known] of document.names) for (const [key, where] of known) names.get(section)?.set(key, where)
    for (const entry of document.entries) entries.set(entry.path, entry)
  }
  for (const entry of [
    ...variableEntries(env, names, folder, problems),
    ...flagEntries(options.set ?? [], folder, problems),
  ]) {
    entries.set(entry.path, entry)
    const [section, name] = entry.path.split('.')
    const known = names.get(section)
    if (known && !known.has(name)) known.set(name, entry.where)
  }

  const reader = createReader(entries, env, problems)
  const values = reader.readAll(TOP_LEAVES, '') as SettingsValues
  const pipelines = readNamed<PipelineValues>('pipelines')
  // A table that only a pipeline names exists too: its columns are inferred.
  for (const [name, pipeline] of pipelines) {
    for (const table of pipeline.tables) {
      const known = names.get('tables')
      if (known && !known.has(table)) known.set(table, entries.get(`pipelines.${name}.tables`)?.where ?? 'default')
    }
  }
  const tables = readNamed<TableValues>('tables')
  function readNamed<V>(section: string): Map<string, V> {
    const known = [...(names.get(section)?.keys() ?? [])]
    return new Map(known.map((name) => [name, reader.readAll(NAMED_SECTIONS[section], `${section}.${name}.`) as V]))
  }

  const data = resolve(entries.has('data') ? '/' : fileFolder, values.data)
  const settings = toSettings(
    values,
    {
      data,
      catalogUrl: catalogUrl(values['catalog.url'], data, entries.get('catalog.url')?.folder ?? fileFolder),
      lakeRoot: lakeRoot(values['lake.root'], data, entries.get('lake.root')?.folder ?? fileFolder),
      cacheFolder: values['query.cache.folder'] ?? join(data, 'cache'),
    },
    tables,
    pipelines,
  )
  const where = (path: string): string => {
    const entry = entries.get(path)
    const [section, name] = path.split('.')
    return entry?.where ?? names.get(section)?.get(name) ?? 'default'
  }
  // Cross checks only when every single value is sound: a wrong value would be told twice.
  if (problems.length === 0) {
    for (const finding of checkSettings(settings)) {
      const { path, expected, found } = finding
      const inside = finding.inside ? entries.get(path)?.whereInside(finding.inside) : undefined
      problems.push({ where: inside ?? where(path), path, expected, found })
    }
  }
  if (problems.length > 0) throw settingsError(problems)
  const given = new Map([...entries.values()].map((entry) => [entry.path, entry.where]))
  const secrets = [...reader.secrets, ...passwordsOf(settings.catalog.url)]
  return { settings, file, given, secrets, taken: reader.taken }
}

function findFile(wanted: string | undefined, folder: string): string | undefined {
  if (wanted !== undefined) return resolve(folder, wanted)
  const usual = join(folder, SETTINGS_FILE)
  return existsSync(usual) ? usual : undefined
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new MillraceError('settings-invalid', `settings file ${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

function variableEntries(
  env: Readonly<Record<string, string | undefined>>,
  names: ReadonlyMap<string, ReadonlyMap<string, string>>,
  folder: string,
  problems: SettingsProblem[],
): SettingsEntry[] {
  const known = new Map([...names].map(([section, each]) => [section, [...each.keys()]]))
  const entries: SettingsEntry[] = []
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith('MILLRACE_') || text === undefined) continue
    const where = `variable ${variable}`
    const found = findVariable(variable, known)
    if (found.kind === 'other') continue
    if (found.kind === 'unknown') {
      const { suggestion } = found
      problems.push({
        where,
        path: '',
        expected: 'a variable that names a setting',
        found: `"${variable}"`,
        suggestion,
      })
      continue
    }
    entries.push(textEntry(found.path, text, found.leaf, where, folder))
  }
  return entries
}

function flagEntries(flags: readonly string[], folder: string, problems: SettingsProblem[]): SettingsEntry[] {
  const entries: SettingsEntry[] = []
  for (const flag of flags) {
    const equals = flag.indexOf('=')
    const path = (equals < 0 ? flag : flag.slice(0, equals)).trim()
    const where = `--set ${path}`
    if (equals < 0) {
      problems.push({ where, path, expected: '"path=value"', found: `"${flag}"` })
      continue
    }
    const found = findPath(path.split('.'))
    if (found.kind === 'leaf') {
      entries.push(textEntry(found.path, flag.slice(equals + 1), found.leaf, where, folder))
    } else {
      const suggestion = found.kind === 'unknown' ? found.suggestion : undefined
      problems.push({ where, path, expected: 'the name of a setting', found: `"${path}"`, suggestion })
    }
  }
  return entries
}

function textEntry(path: string, text: string, leaf: Leaf<unknown>, where: string, folder: string): SettingsEntry {
  return { path, value: readTextValue(text, leaf), where, whereInside: () => where, folder }
}

function readTextValue(text: string, leaf: Leaf<unknown>): unknown {
  if (leaf.reads === 'text') return text
  if (leaf.reads === 'list' && !text.trimStart().startsWith('[')) return splitList(text)
  try {
    return parseYaml(text) as unknown
  } catch {
    return text
  }
}

/** Commas within parentheses belong to the item: `day(ts), bucket(16, id)`. */
function splitList(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** Parses entries by their leaves, keeps what is secret, and collects problems. */
function createReader(
  entries: ReadonlyMap<string, SettingsEntry>,
  env: Readonly<Record<string, string | undefined>>,
  problems: SettingsProblem[],
) {
  const secrets: string[] = []
  const taken: TakenSetting[] = []

  function readAll(leaves: Readonly<Record<string, Leaf<unknown>>>, prefix: string): Record<string, unknown> {
    return Object.fromEntries(Object.entries(leaves).map(([key, leaf]) => [key, readOne(leaf, prefix + key)]))
  }

  function readOne(leaf: Leaf<unknown>, path: string): unknown {
    const entry = entries.get(path)
    if (!entry) {
      taken.push({ path, leaf, value: leaf.fallback, written: undefined })
      return leaf.fallback
    }
    const replaced = leaf.keepsReferences ? entry.value : replaceReferences(entry.value, entry, [])
    if (replaced === FAILED) return leaf.fallback
    const result = leaf.parse(replaced)
    if ('issues' in result) {
      const torn = result.issues.map(({ path: inside }) => tornText(replaced, inside))
      const told = new Set(torn.flatMap((each) => each?.rest ?? []))
      for (const [index, { path: inside, expected }] of result.issues.entries()) {
        if (told.has([...inside].join('\0'))) continue
        problems.push({
          hint: leaf.secret ? undefined : torn[index]?.hint,
          where: inside.length === 0 ? entry.where : entry.whereInside(inside),
          path: [path, ...inside].join('.'),
          expected,
          found:
            expected === 'no such key' ? `"${inside.at(-1)}"` : showFound(valueInside(replaced, inside), leaf.secret),
        })
      }
      return leaf.fallback
    }
    if (leaf.secret) collectSecrets(result.value)
    taken.push({ path, leaf, value: result.value, written: replaced })
    return leaf.isPath && typeof result.value === 'string' ? resolve(entry.folder, result.value) : result.value
  }

  function collectSecrets(value: unknown): void {
    if (typeof value === 'string') secrets.push(value)
    else if (Array.isArray(value)) value.forEach(collectSecrets)
    else if (value !== null && typeof value === 'object' && 'token' in value) collectSecrets(value.token)
  }

  function replaceReferences(value: unknown, entry: SettingsEntry, inside: readonly (string | number)[]): unknown {
    if (typeof value === 'string') return replaceInText(value, entry, inside)
    if (Array.isArray(value)) {
      const items = value.map((each, index) => replaceReferences(each, entry, [...inside, index]))
      return items.includes(FAILED) ? FAILED : items
    }
    if (value === null || typeof value !== 'object') return value
    const pairs = Object.entries(value).map(([key, each]) => [key, replaceReferences(each, entry, [...inside, key])])
    return pairs.some(([, each]) => each === FAILED) ? FAILED : Object.fromEntries(pairs)
  }

  function replaceInText(text: string, entry: SettingsEntry, inside: readonly (string | number)[]): unknown {
    let failed = false
    const complain = (expected: string, found: string): string => {
      failed = true
      const path = [entry.path, ...inside].join('.')
      problems.push({ where: inside.length === 0 ? entry.where : entry.whereInside(inside), path, expected, found })
      return ''
    }
    const replaced = text.replaceAll(/\$\{(env|file):([^}]*)\}/g, (_, kind: string, name: string) => {
      if (kind === 'env') return env[name] ?? complain(`variable ${name} to be set`, 'it unset')
      try {
        return readFileSync(resolve(entry.folder, name), 'utf8').trimEnd()
      } catch (error) {
        return complain(`file ${name} to be readable`, (error as NodeJS.ErrnoException).code ?? String(error))
      }
    })
    return failed ? FAILED : replaced
  }

  return { readAll, secrets, taken }
}

/** Where the text at `inside` was cut by a comma: what to do, and the paths of its other parts. */
function tornText(value: unknown, inside: readonly (string | number)[]): { hint: string; rest: string[] } | undefined {
  const folder = inside.slice(0, -1)
  const torn = tornAtComma(valueInside(value, folder), inside.at(-1), valueInside(value, inside))
  return torn && { hint: torn.hint, rest: torn.rest.map((place) => [...folder, place].join('\0')) }
}

const FAILED = Symbol('failed')

function valueInside(value: unknown, inside: readonly (string | number)[]): unknown {
  let current = value
  for (const step of inside) {
    if (current === null || typeof current !== 'object') return undefined
    current = (current as Record<string | number, unknown>)[step]
  }
  return current
}

function catalogUrl(url: string | undefined, data: string, folder: string): string {
  if (url === undefined) return `sqlite:${join(data, 'catalog.sqlite')}`
  if (!url.startsWith('sqlite:')) return url
  return `sqlite:${resolve(folder, url.slice('sqlite:'.length))}`
}

/** A folder, `file:` or `s3:` → a root without a slash at the end. Nothing in it is encoded (lake/object-store/object-path.ts). */
function lakeRoot(root: string | undefined, data: string, folder: string): string {
  if (root?.startsWith('s3://')) return root.replace(/\/+$/, '')
  const path = root === undefined ? join(data, 'lake') : root.startsWith('file://') ? root.slice(7) : root
  return `file://${resolve(folder, path)}`
}
