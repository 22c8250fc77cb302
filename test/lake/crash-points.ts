/**
 * The crash points of the product, found in its source text: a point that somebody adds is tested the day it is added,
 * or the tests say that nobody kills a process there.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..')
const FOLDERS = ['compactor', 'ingest', 'lake']
const NAME = /'((?:catalog|compactor|iceberg|ingest|rebuild|sweep)\/(?:[a-z]+-)*[a-z]+)'/g

/** Sorted. */
export function crashPointsInSource(): readonly string[] {
  const names = new Set<string>()
  for (const folder of FOLDERS) {
    for (const file of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
      const text = readFileSync(join(ROOT, folder, file), 'utf8')
      if (!/crashPoint/.test(text)) continue
      for (const [, name] of text.matchAll(NAME)) names.add(name)
    }
  }
  return [...names].sort()
}
