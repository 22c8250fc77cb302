import { describe, expect, it } from 'vitest'
import { cpuSeconds, peakMemory } from './process-cost.ts'
import { checkRow, expectedOf, recordOf } from './records.ts'
import { markdownOf, replaceBlock } from './report.ts'
import { median, percentile } from './statistics.ts'

describe('the page', () => {
  it('changes one block and nothing else', () => {
    const page = 'a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n<!-- bench:y -->\n<!-- /bench:y -->\n'
    const once = replaceBlock(page, 'x', 'new')
    expect(once).toBe('a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n<!-- bench:y -->\n<!-- /bench:y -->\n')
    expect(replaceBlock(once, 'x', 'new')).toBe(once)
  })

  it('refuses a page without the block', () => {
    expect(() => replaceBlock('text', 'x', 'new')).toThrow('the page has no <!-- bench:x -->')
  })

  it('says which target was met', () => {
    const text = markdownOf(
      {
        name: 'x',
        data: 'd',
        settings: 's',
        figures: [{ what: 'a|b', value: '2.0', target: { text: '≤ 1', met: false } }],
        checked: 'c',
        limitedBy: 'l',
        numbers: {},
      },
      { command: 'node bench/run.ts x', date: '2026-01-01', seconds: 1.4 },
    )
    expect(text).toContain('| a\\|b | 2.0 | ≤ 1: **missed** |')
    expect(text).toContain('Run 2026-01-01, 1 s in all: `node bench/run.ts x`')
  })
})

describe('figures', () => {
  it('takes percentiles as values that occurred', () => {
    const values = [5, 1, 4, 2, 3]
    expect(median(values)).toBe(3)
    expect(median([1, 2])).toBe(1.5)
    expect(percentile(values, 0.5)).toBe(3)
    expect(percentile(values, 0.99)).toBe(5)
    expect(percentile(values, 0)).toBe(1)
  })

  it('reads the cost of this process from the kernel', () => {
    const own = process.cpuUsage()
    const used = cpuSeconds([process.pid])
    expect(used).toBeGreaterThanOrEqual((own.user + own.system) / 1e6 - 0.1)
    expect(peakMemory(process.pid)).toBeGreaterThan(10 * 1024 ** 2)
  })
})

describe('records', () => {
  it('are JSON of twelve columns that add up to what is expected', () => {
    const rows = 1000
    let cents = 0
    let bytes = 0
    for (let index = 0; index < rows; index += 1) {
      const { value } = recordOf(index)
      const row = JSON.parse(String(value)) as Record<string, unknown>
      expect(Object.keys(row)).toHaveLength(12)
      expect(row.id).toBe(index)
      cents += Math.round(Number(row.amount) * 100)
      bytes += String(value).length
    }
    expect(bytes / rows).toBeGreaterThan(190)
    expect(bytes / rows).toBeLessThan(230)
    const expected = expectedOf(rows)
    expect(expected).toEqual({ rows, idSum: 499_500n, amountCents: BigInt(cents) })
    expect(() => checkRow([1000, '499500', cents, 999], expected)).toThrow('expected 1000')
  })
})
