/** The page of formats against the code: every example comes to the row, or the reason, that stands there. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ConverterPlan } from '../../ingest/decoder/decode-plan.ts'
import { decodeRecords, planOf, tablePlan } from '../harness/decode-block.ts'

const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'reference', 'formats.md'), 'utf8')

type Example = {
  readonly value: ConverterPlan
  readonly key?: ConverterPlan
  readonly prefix?: string
  readonly headers?: string
  readonly columns: Record<string, string>
  readonly record: string
  readonly recordKey?: string
  readonly recordHeaders?: readonly (readonly [string, string])[]
  readonly row?: unknown
  readonly reason?: string
}

describe('the page of formats', () => {
  const examples = [...page.matchAll(/```json example\n(.*?)```/gs)].map(([, text]) => text)

  it('has examples', () => {
    expect(examples.length).toBeGreaterThan(7)
  })

  it.each(examples)('is right about\n%s', (text) => {
    const { value, key, prefix, headers, columns, ...example } = JSON.parse(text) as Example
    const plan = planOf([tablePlan('t', columns, { evolution: 'freeze' })], {
      value: withEnvelope(value),
      key: key && withEnvelope(key),
      keyColumns: prefix === undefined ? undefined : { prefix },
      headersColumn: headers,
    })
    const { record, recordKey, recordHeaders } = example
    const { rows, letters } = decodeRecords(plan, [
      { value: record, ...(recordKey && { key: recordKey }), ...(recordHeaders && { headers: recordHeaders }) },
    ])
    expect(letters.map(({ reason }) => reason)).toEqual(example.reason === undefined ? [] : [example.reason])
    expect(JSON.parse(JSON.stringify(rows, numbers))).toEqual(example.row === undefined ? [] : [example.row])
  })
})

function withEnvelope(plan: ConverterPlan): ConverterPlan {
  return plan.format === 'json' ? { ...plan, envelope: plan.envelope ?? false } : plan
}

function numbers(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value
}
