/** Formats of a result and what they are called on the wire. */
export const FORMATS = ['json', 'jsonl', 'csv', 'tsv', 'arrow', 'parquet'] as const
export type ResultFormat = (typeof FORMATS)[number]

export const CONTENT_TYPES: Readonly<Record<ResultFormat, string>> = {
  json: 'application/json; charset=utf-8',
  jsonl: 'application/x-ndjson; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
  tsv: 'text/tab-separated-values; charset=utf-8; header=present',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
}

/** Arrow and Parquet compress by themselves, or not at all. */
export function isText(format: ResultFormat): boolean {
  return format !== 'arrow' && format !== 'parquet'
}
