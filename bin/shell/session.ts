/**
 * What statements and commands do, whoever they come from: a terminal, a file, a pipe. It holds what commands set (format,
 * timing, parameters, where answers go) and the one statement that runs.
 *
 *   statement   ask, tell how far it is, print the answer in the format that is set
 *   command     `shell-commands.ts`
 *   script      statements and commands of a text, to the first that fails
 *
 * A statement that fails is told and answered with false: what follows is decided by whoever gave it.
 */
import { createWriteStream, type WriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { World } from '../../runtime/world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { type Answer, type QueryClient, type RunningStatement, StatementError } from './query-client.ts'
import { durationText, freshnessText, progressText, rowsText } from './session-texts.ts'
import {
  COLUMNS_OF,
  FACTS_OF,
  FORMATS,
  HELP,
  LIST_SYSTEM_TABLES,
  LIST_TABLES,
  type ParsedCommand,
  parseCommand,
  parseTableName,
  switched,
} from './shell-commands.ts'
import { type Piece, splitStatements } from './split-statements.ts'
import { formatBlocks, formatTable, markPosition, plainText } from './table-text.ts'

export type ShellTerminal = {
  write(text: string | Uint8Array): Promise<void>
  /** Problems, and what is not an answer. */
  tell(text: string): void
  /** A line that the next replaces; undefined takes it away. */
  progress(text: string | undefined): void
  /** Columns; undefined: answers go to a file or a pipe. */
  width(): number | undefined
  /** Somebody sits there. */
  readonly isInteractive: boolean
}

export type SessionOptions = {
  readonly world: Pick<World, 'clock'>
  readonly client: QueryClient
  readonly terminal: ShellTerminal
  readonly format: string
  /** Texts as somebody gave them; see `paramValue`. */
  readonly params: ReadonlyMap<string, string>
  readonly expanded?: boolean
  readonly timing?: boolean
}

export type Session = {
  /** False when it failed. */
  statement(sql: string, source?: Source): Promise<boolean>
  /** `pending`: the statement before the command, or the last one. */
  command(text: string, statement: string): Promise<'ok' | 'failed' | 'quit' | 'forget'>
  /** False when something failed. */
  script(text: string, options: ScriptOptions): Promise<boolean | 'quit'>
  /** Stops what runs; false: nothing does. */
  cancel(): boolean
  close(): Promise<void>
}

export type Source = { readonly name: string; readonly line: number }
export type ScriptOptions = {
  readonly name?: string | undefined
  readonly keepGoing?: boolean
  readonly depth?: number
}

const PROGRESS_AFTER_MS = 400
const PROGRESS_EVERY_MS = 300
const INCLUDE_DEPTH_MAX = 16
/** Rows of a table for people: more are asked for. */
const SHOWN_ROWS = 1_000
const WATCH_SECONDS = 2

export function createSession(options: SessionOptions): Session {
  const { client, terminal } = options
  const { clock } = options.world
  const params = new Map(options.params)
  let { format, expanded = false, timing = false } = options
  let shownRows = terminal.isInteractive ? SHOWN_ROWS : 0
  let file: WriteStream | undefined
  let last = ''
  let running: Pick<RunningStatement<unknown>, 'cancel'> | undefined
  let stopWaiting: (() => void) | undefined
  let isCancelled = false

  async function write(text: string | Uint8Array): Promise<void> {
    if (!file) return terminal.write(text)
    const target = file
    await new Promise<void>((resolve, reject) => target.write(text, (error) => (error ? reject(error) : resolve())))
  }

  const width = () => (file ? undefined : terminal.width())

  /** Runs it, and tells how far it is meanwhile. */
  async function awaited<Result>(statement: RunningStatement<Result>): Promise<Result> {
    running = statement
    isCancelled = false
    const startedMs = clock.monotonicMs()
    const over = new AbortController()
    const telling = terminal.isInteractive ? tellProgress(statement, startedMs, over.signal) : undefined
    try {
      return await statement.result
    } finally {
      over.abort()
      running = undefined
      await telling
    }
  }

  async function tellProgress(
    statement: RunningStatement<unknown>,
    startedMs: number,
    over: AbortSignal,
  ): Promise<void> {
    await pause(clock, PROGRESS_AFTER_MS, over)
    while (!over.aborted) {
      const progress = await statement.progress()
      if (over.aborted) break
      terminal.progress(progressText(progress, clock.monotonicMs() - startedMs))
      await pause(clock, PROGRESS_EVERY_MS, over)
    }
    terminal.progress(undefined)
  }

  function paramsOf(): readonly string[] | Readonly<Record<string, unknown>> {
    const entries = [...params].map(([name, text]) => [name, paramValue(text)] as const)
    const isPositional = entries.length > 0 && entries.every(([name]) => /^[1-9]\d*$/.test(name))
    if (!isPositional) return Object.fromEntries(entries)
    return entries.toSorted(([a], [b]) => Number(a) - Number(b)).map(([, value]) => value) as string[]
  }

  /** Only those that it names: others would be too many. */
  function usedParams(sql: string) {
    const all = paramsOf()
    if (Array.isArray(all)) {
      const named = [...sql.matchAll(/\$(\d+)/g)].map(([, place]) => Number(place))
      return all.slice(0, Math.max(0, ...named)) as readonly unknown[]
    }
    const names = new Set([...sql.matchAll(/\$(\w+)/g)].map(([, name]) => name))
    return Object.fromEntries(Object.entries(all).filter(([name]) => names.has(name)))
  }

  async function show(sql: string, block: boolean): Promise<void> {
    const startedMs = clock.monotonicMs()
    const statement = {
      sql,
      params: usedParams(sql),
      rowsMax: format === 'table' && shownRows > 0 ? shownRows : undefined,
    }
    if (format === 'table') {
      const answer = await awaited(client.ask(statement))
      const footer = rowsText(answer, terminal.isInteractive)
      const plan = planText(answer)
      const shown = block ? formatBlocks : formatTable
      const { columns, data } = answer
      await write(plan ?? shown(columns, data, { width: block ? undefined : width(), footer: `(${footer})` }))
      tellTime(startedMs, answer)
      return
    }
    if ((format === 'arrow' || format === 'parquet') && width() !== undefined) {
      throw new StatementError(`${format} is nothing for a terminal: \\o file sends it to a file`)
    }
    const { truncated } = await awaited(client.stream(statement, format, write))
    if (format === 'json') await write('\n')
    if (truncated) terminal.tell('the answer was cut off at the most rows that the service gives\n')
    tellTime(startedMs, undefined)
  }

  function tellTime(startedMs: number, answer: Answer | undefined): void {
    if (!timing) return
    const server = answer?.stats.elapsed_ms
    const inside = server === undefined ? '' : ` (in the service ${durationText(server)})`
    terminal.tell(`Time: ${durationText(clock.monotonicMs() - startedMs)}${inside}\n`)
  }

  function tellError(error: unknown, sql: string, source: Source | undefined): void {
    if (!isMillraceError(error)) throw error
    const line = (source?.line ?? 1) + (placeOf(error)?.line ?? 1) - 1
    const where = source === undefined ? '' : `${source.name}:${line}: `
    const place = placeOf(error)
    const lines = [
      `${terminal.isInteractive ? 'error' : 'millrace'}: ${where}${error.message}`,
      ...(place ? [markPosition(sql, place)] : []),
      ...(error instanceof StatementError && error.hint ? [`hint: ${error.hint}`] : []),
    ]
    terminal.tell(`${lines.join('\n')}\n`)
  }

  async function statement(sql: string, source?: Source, block = expanded): Promise<boolean> {
    last = sql
    isCancelled = false
    try {
      await show(sql, block)
      return true
    } catch (error) {
      if (isCancelled) terminal.tell('cancelled\n')
      else tellError(error, sql, source)
      return false
    }
  }

  /** A statement of ours, for a command; its columns as a table. */
  async function list(sql: string, given: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    return awaited(client.ask({ sql, params: given }))
  }

  async function showList(sql: string): Promise<void> {
    const { columns, data } = await list(sql)
    await write(formatTable(columns, data, { width: width() }))
  }

  async function describe(argument: string): Promise<void> {
    if (argument === '') return showList(LIST_TABLES)
    const name = parseTableName(argument)
    if (!name) throw new StatementError(`expected the name of a table, found ${plainText(argument)}`)
    if (name.schema !== 'main') return showList(`DESCRIBE ${quoted(name.schema)}.${quoted(name.name)}`)
    const { columns, data } = await list(COLUMNS_OF, { name: name.name })
    if (data.length === 0) throw new StatementError(`there is no table "${plainText(name.name)}"; \\d lists them`)
    await write(formatTable(columns, data, { width: width(), footer: '' }))
    const [facts = []] = (await list(FACTS_OF, { name: name.name })).data
    const [rows, bytes, files, segments, version, freshness, partitioning, sort, location] = facts.map((each) =>
      each === null ? '' : plainText(String(each)),
    )
    const lines = [
      `rows ${rows}, bytes ${bytes}, files ${files} (${segments} not compacted yet), version ${version}`,
      ...(freshness === '' ? [] : [`fresh to ${freshnessText(Number(freshness))}`]),
      ...(partitioning === '' ? [] : [`partitioned by ${partitioning}`]),
      ...(sort === '' ? [] : [`sorted by ${sort}`]),
      location,
    ]
    await write(`${lines.join('\n')}\n`)
  }

  async function watch(sql: string, argument: string): Promise<boolean> {
    const seconds = argument === '' ? WATCH_SECONDS : Number(argument)
    if (!(seconds > 0 && seconds <= 86_400)) throw new StatementError(`expected seconds, found ${plainText(argument)}`)
    if (sql === '') throw new StatementError('there is no statement to watch')
    for (;;) {
      if (!(await statement(sql))) return isCancelled
      const waiting = new AbortController()
      isCancelled = false
      stopWaiting = () => waiting.abort()
      await pause(clock, seconds * 1000, waiting.signal)
      stopWaiting = undefined
      if (waiting.signal.aborted) return true
    }
  }

  async function setOutput(path: string): Promise<void> {
    await closeFile()
    if (path !== '') file = await openFile(path)
  }

  async function closeFile(): Promise<void> {
    const open = file
    file = undefined
    if (open) await new Promise<void>((resolve) => open.end(() => resolve()))
  }

  async function goInto(sql: string, path: string): Promise<boolean> {
    if (sql === '') throw new StatementError('there is no statement to run')
    if (path === '') return statement(sql)
    const before = file
    file = await openFile(path)
    try {
      return await statement(sql)
    } finally {
      await closeFile()
      file = before
    }
  }

  async function act({ name, argument }: ParsedCommand, before: string, depth: number): Promise<CommandOutcome> {
    const sql = before === '' ? last : before
    const outcome = (ok: boolean): CommandOutcome => (ok ? 'ok' : 'failed')
    switch (name) {
      case 'describe':
        await describe(argument)
        return 'ok'
      case 'system':
        await showList(LIST_SYSTEM_TABLES)
        return 'ok'
      case 'schemas':
        await showList('SHOW SCHEMAS')
        return 'ok'
      case 'catalogs':
        await showList('SHOW DATABASES')
        return 'ok'
      case 'timing':
        timing = switchOf('timing', timing, argument)
        return 'ok'
      case 'expanded':
        expanded = switchOf('expanded display', expanded, argument)
        return 'ok'
      case 'format':
        if (argument !== '' && !FORMATS.includes(argument)) {
          throw new StatementError(`expected ${FORMATS.join(', ')}, found ${plainText(argument)}`)
        }
        format = argument === '' ? format : argument
        terminal.tell(`format is ${format}\n`)
        return 'ok'
      case 'limit':
        if (!/^\d{0,9}$/.test(argument)) throw new StatementError(`expected a number, found ${plainText(argument)}`)
        shownRows = argument === '' ? shownRows : Number(argument)
        terminal.tell(shownRows === 0 ? 'all rows are shown\n' : `${shownRows} rows are shown at most\n`)
        return 'ok'
      case 'output':
        await setOutput(argument)
        return 'ok'
      case 'include':
        return include(argument, depth)
      case 'watch':
        return outcome(await watch(sql, argument))
      case 'go':
        return outcome(await goInto(sql, argument))
      case 'go-expanded':
        return outcome(await statement(sql, undefined, true))
      case 'set':
        return setParam(argument)
      case 'unset':
        params.delete(argument)
        return 'ok'
      case 'print':
        await terminal.write(sql === '' ? '' : `${plainLines(sql)}\n`)
        return 'ok'
      case 'reset':
        return 'forget'
      case 'echo':
        await write(`${argument}\n`)
        return 'ok'
      case 'connection':
        terminal.tell(`asking ${client.url}\n`)
        return 'ok'
      case 'help':
        await terminal.write(HELP)
        return 'ok'
      case 'quit':
        return 'quit'
    }
  }

  function switchOf(what: string, before: boolean, argument: string): boolean {
    const now = switched(before, argument)
    if (now === undefined) throw new StatementError(`expected on or off, found ${plainText(argument)}`)
    terminal.tell(`${what} is ${now ? 'on' : 'off'}\n`)
    return now
  }

  function setParam(argument: string): CommandOutcome {
    const [, name, value] = /^(\S+)\s+([\s\S]+)$/.exec(argument) ?? []
    if (name !== undefined) params.set(name, value)
    else if (argument !== '') throw new StatementError('expected a name and a value')
    else for (const [each, text] of params) terminal.tell(`${plainText(each)} = ${plainText(text)}\n`)
    return 'ok'
  }

  async function include(path: string, depth: number): Promise<CommandOutcome> {
    if (depth >= INCLUDE_DEPTH_MAX)
      throw new StatementError(`files include each other more than ${INCLUDE_DEPTH_MAX} deep`)
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new StatementError(`${path} cannot be read: ${error.code ?? error.message}`)
    })
    const done = await script(text, { name: path, depth: depth + 1 })
    return done === 'quit' ? 'quit' : done ? 'ok' : 'failed'
  }

  async function command(text: string, before: string, depth = 0): Promise<CommandOutcome> {
    const parsed = parseCommand(text)
    isCancelled = false
    try {
      if (!parsed) throw new StatementError(`there is no command ${plainText(text.split(/\s/, 1)[0])}; \\? lists them`)
      return await act(parsed, before, depth)
    } catch (error) {
      if (isCancelled) terminal.tell('cancelled\n')
      else tellError(error, '', undefined)
      return 'failed'
    }
  }

  async function script(
    given: string,
    { name, keepGoing = false, depth = 0 }: ScriptOptions,
  ): Promise<boolean | 'quit'> {
    const text = given.replace(/^\ufeff/, '')
    const { pieces, rest, restStart } = splitStatements(text)
    const all: readonly Piece[] =
      rest.trim() === '' ? pieces : [...pieces, { kind: 'statement', text: rest.trimEnd(), start: restStart }]
    let isGood = true
    for (const piece of all) {
      const source = name === undefined ? undefined : { name, line: text.slice(0, piece.start).split('\n').length }
      const done =
        piece.kind === 'command'
          ? await command(piece.text, piece.statement, depth)
          : (await statement(piece.text, source))
            ? 'ok'
            : 'failed'
      if (done === 'quit') return isGood ? 'quit' : false
      if (done === 'failed') {
        isGood = false
        if (!keepGoing || isCancelled) return false
      }
    }
    return isGood
  }

  return {
    statement: (sql, source) => statement(sql, source),
    command: (text, before) => command(text, before),
    script,
    cancel() {
      isCancelled = true
      stopWaiting?.()
      void running?.cancel()
      return running !== undefined || stopWaiting !== undefined
    },
    close: closeFile,
  }
}

type CommandOutcome = 'ok' | 'failed' | 'quit' | 'forget'

function placeOf(error: unknown) {
  return error instanceof StatementError ? error.place : undefined
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** What EXPLAIN answers is drawn over many lines. */
function planText({ columns, data }: Answer): string | undefined {
  if (columns.map(({ name }) => name).join() !== 'explain_key,explain_value') return undefined
  return data.map((row) => `${plainLines(String(row[1])).trimEnd()}\n`).join('')
}

/** Several lines stay such. */
function plainLines(text: string): string {
  return text.split('\n').map(plainText).join('\n')
}

/**
 * JSON where it is that: numbers, true, false, null, lists, a quoted text; a text in SQL's quotes. Anything else is a text as it
 * stands.
 */
export function paramValue(text: string): unknown {
  const quotedText = /^'((?:[^']|'')*)'$/.exec(text)
  if (quotedText) return quotedText[1].replaceAll("''", "'")
  if (/^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text))) return text
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

function openFile(path: string): Promise<WriteStream> {
  const stream = createWriteStream(path)
  return new Promise((resolve, reject) => {
    stream.once('open', () => resolve(stream))
    stream.once('error', (error: NodeJS.ErrnoException) =>
      reject(new StatementError(`${path} cannot be written: ${error.code ?? error.message}`)),
    )
  })
}

/** Also over when the signal says so. */
async function pause(clock: World['clock'], ms: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch(() => {})
}
