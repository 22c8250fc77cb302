/** bench/decoder.ts as part of a run: a process of its own, so that other benchmarks do not shape its compiled code. */
import { join } from 'node:path'
import { runToEnd } from '../test/harness/processes.ts'
import type { BenchResult } from './report.ts'

export async function benchDecoder(): Promise<BenchResult> {
  const output = await runToEnd({
    name: 'decoder benchmark',
    command: process.execPath,
    args: [join(import.meta.dirname, 'decoder.ts')],
  })
  const [data, ...lines] = output.trim().split('\n')
  const figures = lines.map((line) => {
    const [what, value] = line.split(': ')
    return { what, value }
  })
  return {
    name: 'decoder',
    data,
    settings: 'none; one thread, records in memory',
    figures,
    checked: 'row count, sum of user ids and of amounts are the same both ways.',
    limitedBy: 'one core: nothing is read or written.',
    numbers: Object.fromEntries(figures.map(({ what, value }) => [what, Number.parseFloat(value)])),
  }
}
