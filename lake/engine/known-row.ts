/**
 * One row of counts, whole numbers and booleans that is known without asking the engine, in the bytes that the engine would send
 * (`result-lines.ts`). Types of other values, and formats of programs, are the engine's alone.
 */
import type { EngineQuery, ResultColumn, ResultFormat } from './engine.ts'
import { csvCell, tsvCell } from './text-cells.ts'

export type KnownCell = {
  readonly name: string
  readonly type: 'BIGINT' | 'INTEGER' | 'BOOLEAN'
  readonly value: bigint | boolean | null
}
export type KnownRow = readonly KnownCell[]

export function columnsOfRow(row: KnownRow): readonly ResultColumn[] {
  return row.map(({ name, type }) => ({ name, type }))
}

/** undefined: ask the engine. */
export function knownRowBytes(
  row: KnownRow,
  { format, wideNumbers = false }: { readonly format: ResultFormat } & Pick<EngineQuery, 'wideNumbers'>,
): Uint8Array | undefined {
  const names = row.map(({ name }) => name)
  // Of names that come twice the engine makes two.
  if (new Set(names.map((name) => name.toLowerCase())).size < names.length) return undefined
  const text = textOf(row, names, format, wideNumbers)
  return text === undefined ? undefined : Buffer.from(text, 'utf8')
}

function textOf(row: KnownRow, names: readonly string[], format: ResultFormat, wideNumbers: boolean) {
  const json = row.map(({ type, value }) =>
    type === 'BIGINT' && value !== null && !wideNumbers ? `"${value}"` : String(value),
  )
  switch (format) {
    case 'json':
      return `[${json.join(',')}]`
    case 'jsonl':
      return `{${json.map((cell, index) => `${JSON.stringify(names[index])}:${cell}`).join(',')}}\n`
    case 'csv':
      return `${names.map(csvCell).join(',')}\r\n${row.map(({ value }) => value ?? '').join(',')}\r\n`
    case 'tsv':
      return `${names.map(tsvCell).join('\t')}\n${row.map(({ value }) => value ?? '\\N').join('\t')}\n`
    case 'arrow':
    case 'parquet':
      return undefined
  }
}
