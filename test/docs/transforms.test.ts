/** The page of transforms against the code: every setting with its default stands there, and every example does what it says. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ConnectRecord } from '../../ingest/connect/data/record.ts'
import { type ConnectValue, isArray, isMap, SizedNumber } from '../../ingest/connect/data/values.ts'
import { checkTransforms } from '../../ingest/connect/transforms/check-transforms.ts'
import { compileTransforms } from '../../ingest/connect/transforms/compile-transforms.ts'
import { PREDICATES, TRANSFORMS } from '../../ingest/connect/transforms/plugins.ts'

const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'reference', 'transforms.md'), 'utf8')

describe('the page of transforms', () => {
  it.each([...TRANSFORMS, ...PREDICATES])('has the settings of $className', ({ className, settings }) => {
    const name = className.slice(className.lastIndexOf('.') + 1).replace(/\$.*/, '')
    const section = new RegExp(`^### ${name}\\n(.*?)(?=^##|(?![^]))`, 'ms').exec(page)?.[1]
    expect(section).toContain(className.replace(/\$.*/, ''))
    for (const setting of settings) {
      const row = section?.split('\n').find((line) => line.startsWith(`| \`${setting.name}\` |`))
      expect(row, setting.name).toContain(setting.documentation)
      const { defaultValue } = setting
      if (defaultValue === undefined) expect(row).toContain('| required |')
      else if (defaultValue !== null && String(defaultValue) !== '') expect(row).toContain(`| \`${defaultValue}\` |`)
    }
  })

  const examples = [...page.matchAll(/```properties\n(.*?)```/gs)].map(([, text]) => text)
  it.each(examples)('is right about\n%s', (text) => {
    const lines = text.trim().split('\n')
    const properties = lines.filter((line) => !line.startsWith('#')).map((line) => line.split(/=(.*)/s).slice(0, 2))
    const { plans, configs, problems } = checkTransforms(Object.fromEntries(properties))
    expect(configs.flatMap(({ value }) => value.errors)).toEqual([])
    expect(problems).toEqual([])
    const input = lines.find((line) => line.startsWith('# in:  '))?.slice(7)
    if (input === undefined) return
    const made = compileTransforms(plans)(recordOf(JSON.parse(input)))
    const said = lines.filter((line) => line.startsWith('# out: ')).map((line) => line.slice(7))
    expect(said.length).toBeGreaterThan(0)
    for (const each of said) expect(each).toBe(described(made, each))
  })
})

function recordOf(json: unknown): ConnectRecord {
  return {
    topic: 'orders',
    partition: 0,
    keySchema: undefined,
    key: null,
    valueSchema: undefined,
    value: fromJson(json),
    timestamp: 1_700_000_000_123,
    headers: [{ name: 'h1', schema: undefined, value: 'x' }],
    offset: 7n,
  }
}

function fromJson(json: unknown): ConnectValue {
  if (typeof json === 'number') return Number.isInteger(json) ? BigInt(json) : json
  if (Array.isArray(json)) return json.map(fromJson)
  if (typeof json === 'object' && json !== null) {
    return new Map<ConnectValue, ConnectValue>(Object.entries(json).map(([name, each]) => [name, fromJson(each)]))
  }
  return json as ConnectValue
}

/** The record in the form of the example's line: `dropped`, `topic t`, `key {…}`, `header h v`, or the value. */
function described(made: ConnectRecord | undefined, like: string): string {
  if (made === undefined) return 'dropped'
  const [kind, name] = like.split(' ')
  if (kind === 'topic') return `topic ${made.topic}`
  if (kind === 'key') return `key ${textOf(made.key)}`
  if (kind !== 'header') return textOf(made.value)
  return `header ${name} ${textOf(made.headers.find((header) => header.name === name)?.value ?? null)}`
}

function textOf(value: ConnectValue): string {
  if (isArray(value)) return `[${value.map(textOf).join(', ')}]`
  if (isMap(value)) return `{${[...value].map(([name, each]) => `${textOf(name)}: ${textOf(each)}`).join(', ')}}`
  if (value instanceof SizedNumber) return String(value.value)
  return typeof value === 'bigint' ? String(value) : JSON.stringify(value)
}
