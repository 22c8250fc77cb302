/** What the shell says beside answers: times, how fresh, how far. Pure. */
import type { Answer, Progress } from './query-client.ts'

export function durationText(ms: number): string {
  if (ms < 1_000) return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(2)} s`
  const seconds = Math.round(ms / 1_000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

export function freshnessText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  const units = [
    ['day', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
  ] as const
  const [unit, size] = units.find(([, each]) => ms >= each) ?? ['s', 1_000]
  const count = ms / size
  return `${count.toFixed(count < 10 ? 1 : 0)} ${unit}${unit === 'day' && count >= 1.95 ? 's' : ''}`
}

/** `3 rows`; that there are more; for people how fresh the stalest table is. */
export function rowsText({ data, truncated, tables }: Answer, isForPeople: boolean): string {
  const rows = `${data.length} ${data.length === 1 ? 'row' : 'rows'}`
  const more = truncated ? ', and there are more: \\limit shows them' : ''
  const ages = tables.map(({ freshness_ms }) => freshness_ms).filter((each) => each !== null)
  const fresh = isForPeople && ages.length > 0 ? `, fresh to ${freshnessText(Math.max(...ages))}` : ''
  return rows + (isForPeople ? more : truncated ? ', cut off: there are more' : '') + fresh
}

export function progressText(progress: Progress | undefined, elapsedMs: number): string {
  const parts = [`${progress?.state ?? 'running'} ${durationText(elapsedMs)}`]
  const { percent, rowsScanned } = progress ?? {}
  if (percent !== undefined && percent >= 0) parts.push(`${Math.min(100, Math.floor(percent))} %`)
  if (rowsScanned !== undefined && rowsScanned > 0) parts.push(`${rowsScanned.toLocaleString('en-US')} rows`)
  return `${parts.join(', ')} (Ctrl-C stops it)`
}
