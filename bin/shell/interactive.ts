/**
 * The shell at a terminal: lines by node's readline, which has the editing, Up and Ctrl-R; ours are statements over several
 * lines, completion, and what Ctrl-C means.
 *
 *   Ctrl-C   stops the statement that runs; when none does, forgets the one being typed
 *   Ctrl-D   leaves
 *   lines that are typed while a statement runs wait for their turn
 */
import { createInterface, type Interface } from 'node:readline'
import { complete, type KnownTable, type Vocabulary } from './complete.ts'
import { asOneLine, type History } from './history.ts'
import { type QueryClient, StatementError } from './query-client.ts'
import type { Session } from './session.ts'
import { FORMATS, LIST_COLUMNS, SPELLINGS } from './shell-commands.ts'
import { type Inside, splitStatements } from './split-statements.ts'

const PROMPT = 'millrace> '
/** How long what can be completed is taken for true. */
const VOCABULARY_MS = 30_000

export async function runInteractive(parts: {
  readonly session: Session
  readonly client: QueryClient
  readonly history: History
  readonly clock: { monotonicMs(): number }
}): Promise<void> {
  const { session, history } = parts
  const vocabulary = createVocabulary(parts.client, parts.clock)
  // A service that does not answer is told now, not at the first statement.
  await vocabulary.load().catch((error: unknown) => {
    // A busy one may have time later; then only completion is without names.
    if (!(error instanceof StatementError) || error.isRefused) throw error
    process.stderr.write(`error: ${error.message}\n`)
  })

  const lines: string[] = []
  let pending = ''
  let inside: Inside = ''
  let isBusy = false
  let isLeaving = false
  /** Readline's own list, newest first: filled anew with each entry of ours. */
  let shown: string[] = []

  const reader = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: true,
    prompt: PROMPT,
    history: [...history.entries],
    historySize: Math.max(1, history.entries.length) + 10_000,
    completer: (line: string, done: (error: null, found: [string[], string]) => void) => {
      const after = reader.line.slice(reader.cursor)
      const before = pending === '' ? line : `${pending}\n${line}`
      vocabulary.current().then(
        (known) => {
          const { candidates, word } = complete(before, after, known)
          done(null, [[...candidates], word])
        },
        () => done(null, [[], line]),
      )
    },
  })
  reader.on('history', (entries) => {
    shown = entries
  })

  function remember(entry: string): void {
    const line = asOneLine(entry)
    if (line !== undefined) history.add(line)
  }

  function showHistory(): void {
    const typed = pending === '' ? [] : pending.split('\n').toReversed()
    shown.splice(0, shown.length, ...typed, ...history.entries)
  }

  function prompt(): void {
    if (isLeaving) return
    const mark = pending === '' ? PROMPT : `${`${inside === '' ? '-' : inside}> `.padStart(PROMPT.length)}`
    reader.setPrompt(mark)
    reader.prompt()
  }

  async function take(line: string): Promise<void> {
    const text = pending === '' ? line : `${pending}\n${line}`
    const split = splitStatements(`${text}\n`)
    pending = split.rest.replace(/\n$/, '')
    inside = split.inside
    for (const piece of split.pieces) {
      remember(piece.kind === 'statement' ? `${piece.text};` : `${piece.statement} ${piece.text}`.replace(/^ /, ''))
      if (piece.kind === 'statement') {
        await session.statement(piece.text)
        continue
      }
      const done = await session.command(piece.text, piece.statement)
      if (done === 'quit') {
        isLeaving = true
        reader.close()
        return
      }
    }
    showHistory()
  }

  async function work(): Promise<void> {
    if (lines.length === 0) return
    isBusy = true
    while (lines.length > 0 && !isLeaving) await take(lines.shift() as string)
    isBusy = false
    prompt()
  }

  const left = Promise.withResolvers<void>()
  let working: Promise<void> = Promise.resolve()
  reader.on('line', (line) => {
    lines.push(line)
    working = working.then(work)
    working.catch((error: unknown) => {
      left.reject(error)
      reader.close()
    })
  })
  reader.on('SIGINT', () => {
    if (isBusy) {
      lines.length = 0
      session.cancel()
      return
    }
    pending = ''
    inside = ''
    clearLine(reader)
    process.stdout.write('^C\n')
    prompt()
  })
  reader.on('close', () => {
    if (!isLeaving) process.stdout.write('\n')
    isLeaving = true
    session.cancel()
    left.resolve()
  })
  prompt()
  await left.promise
  await working
}

function clearLine(reader: Interface): void {
  reader.write(null, { ctrl: true, name: 'e' })
  reader.write(null, { ctrl: true, name: 'u' })
}

function createVocabulary(client: QueryClient, clock: { monotonicMs(): number }) {
  let tables: readonly KnownTable[] = []
  let loadedMs = Number.NEGATIVE_INFINITY
  let loading: Promise<void> | undefined

  async function load(): Promise<void> {
    const { data } = await client.ask({ sql: LIST_COLUMNS, params: [] }).result
    tables = (data as readonly (readonly [string, string, readonly string[]])[]).map(([schema, name, columns]) => ({
      schema,
      name,
      columns,
    }))
    loadedMs = clock.monotonicMs()
  }

  return {
    load,
    async current(): Promise<Vocabulary> {
      if (clock.monotonicMs() - loadedMs > VOCABULARY_MS) {
        loading ??= load()
          .catch(() => {})
          .finally(() => {
            loading = undefined
          })
        await loading
      }
      return { tables, commands: SPELLINGS, formats: FORMATS }
    },
  }
}
