/** What editors and the reference page say is what the settings are, and every variable names one setting. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { settingsJsonSchema, settingsReference } from './settings-export.ts'
import { TABLE_LEAVES } from './settings-leaves.ts'
import { findPath, TOP_LEAVES, variableName } from './settings-paths.ts'
import { PIPELINE_LEAVES } from './settings-pipelines.ts'

const reference = join(import.meta.dirname, '..', 'docs', 'reference')

describe('exported settings', () => {
  it('docs/reference/millrace.schema.json is up to date (millrace settings schema)', () => {
    const kept: unknown = JSON.parse(readFileSync(join(reference, 'millrace.schema.json'), 'utf8'))
    expect(kept).toEqual(JSON.parse(JSON.stringify(settingsJsonSchema())))
  })

  it('docs/reference/settings.md is up to date (millrace settings reference)', () => {
    expect(readFileSync(join(reference, 'settings.md'), 'utf8')).toBe(settingsReference())
  })
})

describe('the list of settings', () => {
  it('has no setting that is also a section, and no two with one variable', () => {
    const paths = Object.keys(TOP_LEAVES)
    for (const path of paths) expect(paths.filter((other) => other.startsWith(`${path}.`))).toEqual([])
    expect(new Set(paths.map(variableName)).size).toBe(paths.length)
  })

  it('has defaults that its own rules accept', () => {
    for (const [path, leaf] of Object.entries({ ...TOP_LEAVES, ...TABLE_LEAVES, ...PIPELINE_LEAVES })) {
      if (leaf.fallback !== undefined && leaf.fallbackText !== undefined) {
        expect([path, leaf.parse(leaf.fallbackText)]).toEqual([path, { value: leaf.fallback }])
      }
    }
  })

  it('finds settings, sections and near misses by path', () => {
    expect(findPath(['tables', 'flights', 'infer']).kind).toBe('section')
    expect(findPath(['tables', 'flights', 'infer', 'records']).kind).toBe('leaf')
    expect(findPath(['tables', 'flights', 'colums'])).toMatchObject({ suggestion: 'tables.flights.columns' })
    expect(findPath(['constructor']).kind).toBe('unknown')
    expect(findPath(['tables', 'constructor', 'toString']).kind).toBe('unknown')
  })
})
