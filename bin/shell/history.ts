/**
 * What was typed, for Up and Ctrl-R, also in the next shell: one entry a line in `millrace/sql_history` of the user's state
 * folder, newest last, readable by its owner only, bounded. As in other shells an entry that begins with a blank, and one that
 * repeats the one before, is not kept; nor is one that seems to hold a secret. Without a folder to write to it lives as long
 * as the shell.
 */
import { appendFileSync, chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { skip } from './split-statements.ts'

export const ENTRIES_MAX = 1_000
const ENTRY_LENGTH_MAX = 10_000
/** The file is made smaller when it has so many more lines than are read. */
const EXCESS_MAX = 1_000

const SECRET_NAME = String.raw`\b\w*(?:pass(?:word|wd|phrase)|secret|token|credentials?|api_?key|access_?key)\b`
const SECRET = new RegExp(String.raw`${SECRET_NAME}["\s]*(?::=|=>?|:)\s*\S|^\\set\s+${SECRET_NAME}|\bbearer\s+\S`, 'i')

export function historyFile(env: Readonly<Record<string, string | undefined>>): string {
  const state = env.XDG_STATE_HOME
  return join(state?.startsWith('/') ? state : join(homedir(), '.local', 'state'), 'millrace', 'sql_history')
}

/** One line that means the same, or undefined: a text with line breaks stays what it is. */
export function asOneLine(statement: string): string | undefined {
  let line = ''
  for (let at = 0; at < statement.length; ) {
    const skipped = skip(statement, at)
    if (!skipped) {
      line += /[\r\n]/.test(statement[at]) ? ' ' : statement[at]
      at++
      continue
    }
    const part = statement.slice(at, skipped.end)
    if (part.startsWith('--')) {
      // Within a block comment these would begin or end another.
      if (/\*\/|\/\*/.test(part)) return undefined
      line += skipped.end === statement.length ? part : `/*${part.slice(2).trimEnd()} */`
    } else if (/[\r\n]/.test(part)) {
      if (skipped.kind === 'quoted') return undefined
      line += part.replaceAll(/[\r\n]+/g, ' ')
    } else line += part
    at = skipped.end
  }
  return line
}

export function isKept(entry: string, before: string | undefined): boolean {
  return (
    entry.trim() !== '' &&
    !/^\s/.test(entry) &&
    entry !== before &&
    entry.length <= ENTRY_LENGTH_MAX &&
    !SECRET.test(entry)
  )
}

export type History = {
  /** Newest first. */
  readonly entries: readonly string[]
  add(entry: string): void
}

export function openHistory(file: string): History {
  const lines = readLines(file)
  const entries = lines.slice(-ENTRIES_MAX).toReversed()
  if (lines.length > ENTRIES_MAX + EXCESS_MAX) rewrite(file, entries)
  return {
    entries,
    add(entry) {
      if (/[\r\n]/.test(entry) || !isKept(entry, entries[0])) return
      entries.unshift(entry)
      entries.length = Math.min(entries.length, ENTRIES_MAX)
      try {
        mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
        appendFileSync(file, `${entry}\n`, { mode: 0o600 })
      } catch {
        // A home that cannot be written to: what was typed is kept in memory.
      }
    },
  }
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
  } catch {
    return []
  }
}

function rewrite(file: string, newestFirst: readonly string[]): void {
  try {
    const beside = `${file}.${process.pid}`
    writeFileSync(beside, `${newestFirst.toReversed().join('\n')}\n`, { mode: 0o600 })
    chmodSync(beside, 0o600)
    renameSync(beside, file)
  } catch {
    // The next shell tries again.
  }
}
