/**
 * DuckDB's errors in our words: a code of the table in `schemas/errors.ts`, and where in the statement it happened.
 *
 * The engine runs with `errors_as_json`, so a message is `{"exception_type": "Binder", "exception_message": …,
 * "position": "7", "error_subtype": "COLUMN_NOT_FOUND", …}`, sometimes with `Parser Error: ` in front. `position` counts
 * UTF-8 bytes from the start of the statement. Anything else is taken as plain text (`Binder Error: …`).
 */
import { type ErrorCode, MillraceError } from '../../schemas/errors.ts'

/** Both from 1; columns count characters (code points). */
export type StatementPosition = { readonly line: number; readonly column: number }

type RawError = { readonly type: string; readonly message: string; readonly fields: Readonly<Record<string, unknown>> }

export function duckdbError(error: unknown, sql: string): MillraceError {
  if (error instanceof MillraceError) return error
  const raw = rawError(error instanceof Error ? error.message : String(error))
  const code = errorCode(raw)
  const position = positionOf(raw.fields.position, sql)
  const candidates = candidatesIn(raw.message)
  const message = ownMessage(code, raw)
  return new MillraceError(code, message, {
    facts: {
      exception: raw.type,
      ...(position ? { position } : {}),
      ...(candidates.length > 0 ? { candidates } : {}),
    },
  })
}

function rawError(text: string): RawError {
  const brace = text.indexOf('{"exception_type"')
  if (brace >= 0) {
    try {
      const fields = JSON.parse(text.slice(brace)) as Record<string, unknown>
      return { type: String(fields.exception_type), message: String(fields.exception_message), fields }
    } catch {
      // Cut or wrapped in other text: read it as plain text below.
    }
  }
  const plain = /^([A-Za-z ]+?) Error: ([\s\S]*)$/.exec(text)
  return plain
    ? { type: plain[1], message: plain[2].replace(/\n\nLINE \d+:[\s\S]*$/, ''), fields: {} }
    : { type: '', message: text, fields: {} }
}

function errorCode({ type, message, fields }: RawError): ErrorCode {
  switch (type) {
    case 'Parser':
    case 'Syntax':
      return 'syntax-error'
    case 'Binder':
      if (
        fields.error_subtype === 'COLUMN_NOT_FOUND' ||
        /^(Referenced (column|table)|(Table|Values list) ".*" does not have a column)/.test(message)
      ) {
        return 'undefined-column'
      }
      if (/^No function matches|^Could not choose a best candidate/.test(message)) return 'undefined-function'
      if (/^Cannot (compare|mix|combine)|type mismatch|Unimplemented type/i.test(message)) return 'type-mismatch'
      return 'query-invalid'
    case 'Catalog':
      if (fields.type === 'Table' || fields.type === 'View' || /^Table /.test(message)) return 'undefined-table'
      if (/function/i.test(String(fields.type ?? message))) return 'undefined-function'
      return 'query-invalid'
    case 'Conversion':
      return 'conversion-failed'
    case 'Mismatch Type':
      return 'type-mismatch'
    case 'Out of Range':
      return 'value-out-of-range'
    case 'Divide by Zero':
      return 'division-by-zero'
    case 'Out of Memory':
      return 'out-of-memory'
    case 'INTERRUPT':
    case 'Interrupted':
      return 'query-cancelled'
    case 'Permission':
      return 'statement-refused'
    case 'Invalid Input':
      if (DAMAGED_INPUT.test(message)) return 'file-damaged'
      return /^Expected \d+ parameters|^Values were not provided/.test(message) ? 'parameter-missing' : 'query-invalid'
    case 'Not implemented':
    case 'Constraint':
    case 'Invalid type':
    case 'Parameter Not Resolved':
    case 'Parameter Not Allowed':
    case 'Sequence':
    case 'Transaction':
    case 'TransactionContext':
    case 'Dependency':
    case 'Expression Binder':
      return 'query-invalid'
    case 'IO':
      return /No such file|does not exist|No files found|Cannot open file/i.test(message)
        ? 'file-missing'
        : 'file-damaged'
    case 'Serialization':
    case 'Corrupt':
      return 'file-damaged'
    case '':
      // Parquet pages that are not pages come up as Thrift's own exception.
      return /TProtocolException|Invalid data/.test(message) ? 'file-damaged' : 'internal'
    default:
      return DAMAGED_PAGES.test(message) ? 'file-damaged' : 'internal'
  }
}

/** What the Parquet reader says of bytes that are not what their writer wrote: seen with every codec and encoding, damaged at random. */
const DAMAGED_INPUT =
  /^Failed to read file|\bParquet (file|reader)\b|bitpacked data exceeds|DELTA_BINARY_PACKED|file might be corrupt/i
const DAMAGED_PAGES =
  /TProtocolException|thrift|ZSTD|Snappy|GZIP|Brotli|LZ4|Out of buffer|don't know what type|invalid TType|corrupt|(DBP|RLE|bitpack\w*) decode|Payload value bigger|dictionary offset|varint|Variable-length int|Page size|decoded length|bit width|encoding is only supported/i

const SUGGESTIONS = /\n+\s*(?:Did you mean|Candidate [a-z]+(?: [a-z]+)?|Candidates)\b[:\s]*([\s\S]*)$/

/** Names, or signatures of functions, that DuckDB proposes in its message. */
function candidatesIn(message: string): readonly string[] {
  const list = SUGGESTIONS.exec(message)?.[1]
  if (list === undefined) return []
  const quoted = [...list.matchAll(/"([^"]+)"/g)].map((match) => match[1])
  return quoted.length > 0 ? quoted : list.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]))
}

/** DuckDB's hints name settings and their values, which nobody can change here, and its guesses at table names are system views. */
function ownMessage(code: ErrorCode, raw: RawError): string {
  const message = raw.message.trim()
  if (code === 'out-of-memory') {
    return 'the statement needs more memory, and disk to spill to, than one query may have; ask for less at a time (fewer columns, a filter, fewer groups)'
  }
  if (code === 'query-cancelled') return 'the statement was cancelled'
  // Values that do not fit a format come with the value again and a caret below it.
  const [, what, why] = CARET.exec(message) ?? []
  return why === undefined ? message.replace(SUGGESTIONS, '') : `${what}: ${why[0].toLowerCase()}${why.slice(1)}`
}

const CARET = /^([^\n]*)\n[^\n]*\n\s*\^\s*\nError: (.+)$/

/** Byte offset into the statement's UTF-8 text → line and column; undefined when there is none. */
export function positionOf(offset: unknown, sql: string): StatementPosition | undefined {
  const bytes = typeof offset === 'string' || typeof offset === 'number' ? Number(offset) : Number.NaN
  if (!Number.isInteger(bytes) || bytes < 0) return undefined
  const before = Buffer.from(sql, 'utf8').subarray(0, bytes).toString('utf8')
  const lineStart = before.lastIndexOf('\n') + 1
  let line = 1
  for (let i = 0; i < lineStart; i++) if (before.charCodeAt(i) === 10) line++
  return { line, column: [...before.slice(lineStart)].length + 1 }
}

/** The same error for a text that had `prefix` put in front of what the user wrote, on the same line. */
export function withoutPrefix(error: MillraceError, prefix: string): MillraceError {
  const position = error.facts.position as StatementPosition | undefined
  if (position?.line !== 1) return error
  const facts = { ...error.facts, position: { line: 1, column: Math.max(1, position.column - prefix.length) } }
  return new MillraceError(error.code, error.message, { facts, cause: error })
}
