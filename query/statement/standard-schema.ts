/**
 * `information_schema` is a name that DuckDB keeps for its own views, which would tell about its own objects. Ours are in a
 * schema with a name of the same length, and a checked statement names that one in its place: all positions stay as they are.
 */
export const STANDARD_SCHEMA = 'information_schema'
export const OWN_STANDARD_SCHEMA = 'millrace_catalogue'

/** A qualified name in the text: where it stands, in bytes of UTF-8, and what of it the engine calls otherwise. */
export type ForeignName = { readonly offset: number; readonly hasCatalog: boolean; readonly isStandard: boolean }

/** Undefined when a name does not stand there as it should: something odd between its parts. */
export function withEngineNames(text: string, names: readonly ForeignName[]): string | undefined {
  if (names.length === 0) return text
  const bytes = Buffer.from(text, 'utf8')
  for (const { offset, hasCatalog, isStandard } of names) {
    let at = offset
    if (hasCatalog) {
      // The engine knows no catalog of ours: blanks in its place.
      const length = /^(?:"[^"]*"|\w+)\s*\.\s*/.exec(bytes.subarray(at, at + NAME_BYTES_MAX).toString('latin1'))?.[0]
        .length
      if (length === undefined) return undefined
      for (let i = at; i < at + length; i++) if (bytes[i] !== LINE_FEED) bytes[i] = SPACE
      at += length
    }
    if (!isStandard) continue
    const start = bytes[at] === QUOTE ? at + 1 : at
    const end = start + STANDARD_SCHEMA.length
    if (bytes.subarray(start, end).toString('latin1').toLowerCase() !== STANDARD_SCHEMA) return undefined
    bytes.write(OWN_STANDARD_SCHEMA, start, 'latin1')
  }
  return bytes.toString('utf8')
}

const NAME_BYTES_MAX = 1000
const [LINE_FEED, SPACE, QUOTE] = [0x0a, 0x20, 0x22]

/** In what DuckDB says of such a statement. */
export function withStandardSchema(message: string): string {
  return message.replaceAll(OWN_STANDARD_SCHEMA, STANDARD_SCHEMA)
}

const LEADING = String.raw`^((?:\s|--[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*)`
const SHOW_COLUMNS = new RegExp(String.raw`${LEADING}(show\s+(?:full\s+)?columns\s+(?:from|in))(?=[\s"])`, 'i')
const BLANK = String.raw`(?:\s|--[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)`
const EXPLAIN_OPTION = String.raw`(?:analyze|format\s+\w+)`
const EXPLAIN_OPTIONS = String.raw`\(\s*${EXPLAIN_OPTION}(?:\s*,\s*${EXPLAIN_OPTION})*\s*\)`
const EXPLAIN = new RegExp(
  String.raw`${LEADING}(explain(?:${BLANK}+analyze(?=[\s(/-])|${BLANK}*${EXPLAIN_OPTIONS})?)(?=[\s(/-])`,
  'i',
)

/** `SHOW COLUMNS FROM t` as the `DESCRIBE t` that DuckDB knows; blanks keep all positions. */
export function withoutShowColumns(text: string): string {
  return replaced(text, SHOW_COLUMNS, 'DESCRIBE')
}

/** The statement that an EXPLAIN explains, at its place; the text itself when it is none. */
export function withoutExplain(text: string): string {
  return replaced(text, EXPLAIN, '')
}

/** Whether an EXPLAIN runs what it explains. */
export function isAnalyzed(text: string): boolean {
  return /\banalyze\b/i.test(EXPLAIN.exec(text)?.[2] ?? '')
}

function replaced(text: string, pattern: RegExp, by: string): string {
  const found = pattern.exec(text)
  if (!found) return text
  const start = found[1].length
  const end = start + found[2].length
  // A line feed inside stays one: positions count lines.
  const blanks = found[2].slice(by.length).replaceAll(/\S/g, ' ')
  return text.slice(0, start) + by + blanks + text.slice(end)
}
