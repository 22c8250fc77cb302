/**
 * What may stand at the cursor, from the statement typed so far. Pure.
 *
 *   \…              commands; tables behind `\d`, formats behind `\f`
 *   FROM, JOIN, …   tables and schemas, and the statement's own CTEs
 *   name.           the tables of a schema, or the columns of a table or of what an alias stands for
 *   elsewhere       columns of the statement's tables, then functions and keywords
 *
 * Nothing inside of texts and comments. Keywords come in the case that is being typed; a name that needs quotes gets them.
 */
import { skip, splitStatements } from './split-statements.ts'
import { AFTER_TABLES, BEFORE_TABLE, FUNCTIONS, KEYWORDS, RESERVED } from './sql-words.ts'

export type KnownTable = { readonly schema: string; readonly name: string; readonly columns: readonly string[] }

export type Vocabulary = {
  readonly tables: readonly KnownTable[]
  /** With the backslash. */
  readonly commands: readonly string[]
  readonly formats: readonly string[]
}

export type Completion = {
  readonly candidates: readonly string[]
  /** The end of the text before the cursor that each candidate would take the place of. */
  readonly word: string
}

const CANDIDATES_MAX = 500
const HOME_SCHEMA = 'main'
const NONE: Completion = { candidates: [], word: '' }

/** `before`: the statement up to the cursor, with its lines before; `after`: what stands behind the cursor. */
export function complete(before: string, after: string, vocabulary: Vocabulary): Completion {
  const command = /(?:^|\n)\s*(\\\S*)(?:(\s+)(\S*))?$/.exec(before)
  if (command) return completeCommand(command[1], command[2] === undefined ? undefined : command[3], vocabulary)
  const { rest, inside } = splitStatements(before)
  if (inside !== '' && inside !== '"') return NONE
  const tokens = tokensOf(rest)
  const last = tokens.at(-1)
  // Behind a text or a comment that is whole nothing is under way.
  const isTyping = last !== undefined && last.end === rest.length && last.kind === 'name'
  if (!isTyping && /--[^\n]*$/.test(rest) && last?.end !== rest.length) return NONE
  const word = isTyping ? rest.slice(last.start) : ''
  const earlier = isTyping ? tokens.slice(0, -1) : tokens
  // Without the word itself: a quote that it opens would swallow what comes after.
  const whole = tokensOf(`${rest.slice(0, rest.length - word.length)} ${after.split(';', 1)[0]}`)
  const prefix = unquoted(word)
  if (earlier.at(-1)?.text === '.' && earlier.at(-1)?.end === rest.length - word.length) {
    return ranked(word, prefix, afterDot(earlier, whole, vocabulary))
  }
  if (isTablePlace(earlier)) return ranked(word, prefix, tableNames(whole, vocabulary).map(quotedName))
  const columns = [...tablesOf(whole, vocabulary).values()].flat().map(quotedName)
  const names = [...columns, ...[...tablesOf(whole, vocabulary).keys()].map(quotedName)]
  if (word === '' || word.startsWith('"')) return ranked(word, prefix, names)
  const isUpper = prefix === prefix.toUpperCase()
  const words = KEYWORDS.map((each) => (isUpper ? each : each.toLowerCase()))
  return ranked(word, prefix, [...names, ...FUNCTIONS.map((each) => (isUpper ? each.toUpperCase() : each)), ...words])
}

function completeCommand(name: string, argument: string | undefined, vocabulary: Vocabulary): Completion {
  if (argument === undefined) return ranked(name, name, vocabulary.commands)
  if (/^\\d/.test(name)) {
    const names = vocabulary.tables.map((table) => qualified(table))
    return ranked(argument, argument, names)
  }
  return /^\\f/.test(name) ? ranked(argument, argument, vocabulary.formats) : { candidates: [], word: argument }
}

function ranked(word: string, prefix: string, names: readonly string[]): Completion {
  const wanted = prefix.toLowerCase()
  const fitting = [...new Set(names)].filter((name) => unquoted(name).toLowerCase().startsWith(wanted))
  return { candidates: fitting.slice(0, CANDIDATES_MAX), word }
}

type Token = {
  readonly kind: 'name' | 'text' | 'sign'
  /** Of a quoted name without its quotes; of a name as it was typed. */
  readonly text: string
  readonly start: number
  readonly end: number
}

const NAME = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  for (let at = 0; at < text.length; ) {
    const skipped = skip(text, at)
    if (skipped) {
      if (skipped.kind === 'quoted') {
        const part = text.slice(at, skipped.end)
        const kind = part.startsWith('"') ? 'name' : 'text'
        tokens.push({ kind, text: kind === 'name' ? unquoted(part) : part, start: at, end: skipped.end })
      }
      at = skipped.end
      continue
    }
    NAME.lastIndex = at
    const name = NAME.exec(text)?.[0]
    if (name !== undefined) tokens.push({ kind: 'name', text: name, start: at, end: at + name.length })
    else if (!/\s/.test(text[at])) tokens.push({ kind: 'sign', text: text[at], start: at, end: at + 1 })
    at += name?.length ?? 1
  }
  return tokens
}

function isWord(token: Token | undefined, words: ReadonlySet<string>): boolean {
  return token?.kind === 'name' && words.has(token.text.toLowerCase())
}

/** Behind FROM or JOIN, and behind a comma in the list that FROM began. */
function isTablePlace(tokens: readonly Token[]): boolean {
  const last = tokens.at(-1)
  if (isWord(last, BEFORE_TABLE)) return !isWord(last, new Set(['in'])) || isWord(tokens.at(-2), new Set(['columns']))
  if (last?.text !== ',') return false
  let depth = 0
  for (let i = tokens.length - 1; i >= 0; i--) {
    const { text } = tokens[i]
    if (text === ')') depth++
    else if (text === '(' && --depth < 0) return false
    else if (depth === 0 && isWord(tokens[i], AFTER_TABLES)) return false
    else if (depth === 0 && isWord(tokens[i], new Set(['from']))) return true
  }
  return false
}

/** Columns by every name that the statement's tables have in it: alias or own. */
function tablesOf(tokens: readonly Token[], { tables }: Vocabulary): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i].kind !== 'name' || !isTablePlace(tokens.slice(0, i))) continue
    const parts = [tokens[i].text]
    let next = i + 1
    while (tokens[next]?.text === '.' && tokens[next + 1]?.kind === 'name') {
      parts.push(tokens[next + 1].text)
      next += 2
    }
    const table = findTable(parts, tables)
    if (isWord(tokens[next], new Set(['as']))) next++
    const alias = tokens[next]
    const isAlias = alias?.kind === 'name' && !KEYWORDS.includes(alias.text.toUpperCase())
    if (table) found.set(isAlias ? alias.text : table.name, table.columns)
  }
  return found
}

function findTable(parts: readonly string[], tables: readonly KnownTable[]): KnownTable | undefined {
  const [name, schema = HOME_SCHEMA] = parts.toReversed().map((part) => part.toLowerCase())
  return tables.find((table) => table.name.toLowerCase() === name && table.schema === schema)
}

function tableNames(tokens: readonly Token[], { tables }: Vocabulary): string[] {
  const own = tables.filter(({ schema }) => schema === HOME_SCHEMA).map(({ name }) => name)
  const ctes = tokens.flatMap(({ kind, text }, i) =>
    kind === 'name' && isWord(tokens[i + 1], new Set(['as'])) && tokens[i + 2]?.text === '(' ? [text] : [],
  )
  return [...own, ...ctes, ...new Set(tables.map(({ schema }) => schema).filter((schema) => schema !== HOME_SCHEMA))]
}

function afterDot(earlier: readonly Token[], whole: readonly Token[], vocabulary: Vocabulary): string[] {
  const name = earlier.at(-2)
  if (name?.kind !== 'name') return []
  const asked = name.text.toLowerCase()
  const inSchema = vocabulary.tables.filter(({ schema }) => schema === asked).map((table) => table.name)
  if (isTablePlace(earlier.slice(0, -2))) return inSchema.map(quotedName)
  const known = [...tablesOf(whole, vocabulary)].find(([each]) => each.toLowerCase() === asked)
  const columns = known?.[1] ?? findTable([name.text], vocabulary.tables)?.columns ?? []
  return [...columns, ...(columns.length > 0 ? [] : inSchema)].map(quotedName)
}

function qualified({ schema, name }: KnownTable): string {
  return schema === HOME_SCHEMA ? quotedName(name) : `${schema}.${quotedName(name)}`
}

function quotedName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/i.test(name) && !RESERVED.has(name.toLowerCase())
    ? name
    : `"${name.replaceAll('"', '""')}"`
}

function unquoted(word: string): string {
  return word.startsWith('"') ? word.slice(1).replace(/"$/, '').replaceAll('""', '"') : word
}
