/**
 * What a benchmark tells, as plain data, as Markdown, and as the figure blocks of docs/benchmarks.md.
 *
 * A block of the page stands between `<!-- bench:name -->` and `<!-- /bench:name -->`; everything outside is written by
 * people and stays. A page without the block is an error: figures are never dropped quietly.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import type { MachineLoad } from './process-cost.ts'

export type Figure = {
  readonly what: string
  readonly value: string
  /** As written in the plan, and whether this run met it. */
  readonly target?: { readonly text: string; readonly met: boolean }
}

export type BenchResult = {
  readonly name: string
  readonly data: string
  readonly settings: string
  readonly figures: readonly Figure[]
  /** Further tables, such as one line a query. */
  readonly tables?: readonly { readonly head: readonly string[]; readonly lines: readonly (readonly string[])[] }[]
  /** What was compared, and was right. */
  readonly checked: string
  readonly limitedBy: string
  /** Numbers for programs. */
  readonly numbers: Readonly<Record<string, number>>
}

export type RunFacts = {
  readonly command: string
  readonly date: string
  readonly seconds: number
}

export type BenchOptions = { readonly rows: number; say(line: string): void }

export function machineText(): string {
  const gibibytes = Math.round(totalmem() / 1024 ** 3)
  const [model] = cpus()
  return `${model?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, ${gibibytes} GiB, Linux ${release()}, Node ${process.version}`
}

/** Versions of the packages that do the work. */
export function versionsText(): string {
  const lock = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')) as {
    packages: Record<string, { version?: string }>
  }
  return ['@duckdb/node-api', '@platformatic/kafka', '@aws-sdk/client-s3', 'lz4-napi']
    .map((name) => `${name} ${lock.packages[`node_modules/${name}`]?.version ?? 'absent'}`)
    .join(', ')
}

export function markdownOf(result: BenchResult, run: RunFacts): string {
  const lines = [
    `Run ${run.date}, ${Math.round(run.seconds)} s in all: \`${run.command}\``,
    '',
    `- Machine: ${machineText()}`,
    `- Versions: ${versionsText()}`,
    `- Data: ${result.data}`,
    `- Settings: ${result.settings}`,
    '',
    ...tableOf(
      ['figure', 'measured', 'target'],
      result.figures.map(({ what, value, target }) => [
        what,
        value,
        target ? `${target.text}: ${target.met ? 'met' : '**missed**'}` : '',
      ]),
    ),
    ...(result.tables ?? []).flatMap(({ head, lines: rows }) => ['', ...tableOf(head, rows)]),
    '',
    `Checked: ${result.checked}`,
    '',
    `Limited by: ${result.limitedBy}`,
  ]
  return lines.join('\n')
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)]
}

export function replaceBlock(page: string, name: string, text: string): string {
  const open = `<!-- bench:${name} -->`
  const close = `<!-- /bench:${name} -->`
  const start = page.indexOf(open)
  const end = page.indexOf(close)
  if (start < 0 || end < start) throw new Error(`the page has no ${open} … ${close}`)
  return `${page.slice(0, start + open.length)}\n${text}\n${page.slice(end)}`
}

/** Who used the cores: the processes that were measured, and everything else (broker, producer, this program, strangers). */
export function loadText(load: MachineLoad, measured: number, who: string): string {
  const cores = (seconds: number) => (seconds / load.seconds).toFixed(2)
  const stolen = load.stolen > 0.02 * load.seconds ? `, ${cores(load.stolen)} taken by the host` : ''
  return `of ${load.cores} cores ${cores(load.busy)} were busy on average: ${who} ${cores(measured)}, everything else ${cores(Math.max(0, load.busy - measured))}${stolen}`
}

export const thousands = (value: number) => Math.round(value).toLocaleString('en-US')
export const mebibytes = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(bytes < 100 * 1024 ** 2 ? 1 : 0)} MiB`
