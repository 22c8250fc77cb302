/** One value's text as a cell of CSV or TSV. */

/** RFC 4180: in quotes what has a quote, comma or line break, or blanks at its ends; an empty text is `""`, as NULL is nothing. */
export function csvCell(text: string): string {
  if (text === '') return '""'
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }

export function tsvCell(text: string): string {
  return /[\\\t\n\r]/.test(text) ? text.replace(/[\\\t\n\r]/g, (found) => ESCAPES[found]) : text
}
