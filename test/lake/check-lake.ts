/**
 * A lake to damage: two tables with snapshots and live segments, services stopped; and `millrace check` over it, once as a
 * person runs it and once without the process around it.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CatalogInspection } from '../../lake/catalog/inspection.ts'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { type CheckReport, checkLake } from '../../lake/check/check-lake.ts'
import { FILE_SCHEME, localFileOf } from '../../lake/object-store/object-path.ts'
import type { Millrace } from '../harness/millrace.ts'
import { startProcess } from '../harness/processes.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS } from './open-lake.ts'

export const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')

const TABLES = `
tables:
  trips:
    columns: { id: long required, city: string, fare: "decimal(9,2)", note: string }
    partition: [city]
    sort: [id]
  visits:
    columns: { id: long required, city: string }
    partition: [city]
`

/** Of the same length each, so that segments are too. */
export function tripLines(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const id = 100_000 + first + i
    return JSON.stringify({ id, city: id % 2 === 0 ? 'Oslo' : 'Rome', fare: '12.50', note: `a trip with the id ${id}` })
  })
}

/** @param yaml where the lake lies; default: on local disk */
export async function lakeToCheck(yaml = ''): Promise<Lake> {
  const lake = await openLake(`${SMALL_STEPS.replace('keep.max: 3', 'keep.max: 10')}${yaml}\n${TABLES}`, {
    grace: true,
  })
  try {
    const ingest = await lake.millrace.start('ingest')
    const trips = createProducer(lake.millrace, 'trips', 'p')
    const visits = createProducer(lake.millrace, 'visits', 'p')
    const compactor = await lake.startCompactor()
    for (let round = 0; round < 3; round++) {
      await trips.send(tripLines(round * 40, 40))
      await visits.send(tripLines(round * 10, 10))
      await lake.millrace.ingest('trips', '{"id":"no number"}', { query: '?errors=dead-letter' })
      await snapshotOf(lake, 'trips')
    }
    await compactor.stop()
    for (let round = 3; round < 7; round++) await trips.send(tripLines(round * 40, 40))
    await ingest.stop()
    return lake
  } catch (error) {
    await lake.close()
    throw error
  }
}

async function snapshotOf(lake: Lake, table: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if ((await lake.live(table).catch(() => undefined))?.segments.length === 0) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`no snapshot of ${table}`)
}

/** `checkLake` as the command calls it. */
export async function check(lake: Lake, deep: boolean, table?: string): Promise<CheckReport> {
  const { settings, world, store } = lake
  const catalog = await openCatalog({ url: settings.catalog.url, world, asItIs: true })
  try {
    const ofSettings = {
      lakeRoot: settings.lake.root,
      coldRoot: settings.storage.cold,
      sweepIntervalMs: settings.sweep.intervalMs,
      writerSilentMs: settings.sweep.writerSilentMs,
      readerSilentMs: settings.sweep.readerSilentMs,
    }
    return await checkLake({ catalog, store, world, settings: ofSettings }, { deep, table })
  } finally {
    await catalog.close()
  }
}

/** The catalog's rows as the check reads them. */
export async function inspect({ settings, world }: Lake): Promise<CatalogInspection> {
  const catalog = await openCatalog({ url: settings.catalog.url, world, asItIs: true })
  try {
    return await catalog.inspect()
  } finally {
    await catalog.close()
  }
}

/** `millrace check` as a process. */
export async function checkCommand(
  lake: { readonly millrace: Pick<Millrace, 'configFile'> },
  ...args: readonly string[]
): Promise<{ code: number; output: string }> {
  const command = await startProcess({
    name: 'check',
    command: process.execPath,
    args: [MAIN, 'check', '--config', lake.millrace.configFile, ...args],
  })
  const { code } = await command.exited
  return { code: code ?? -1, output: command.output() }
}

export async function bytesOf(lake: Lake, path: string): Promise<Uint8Array> {
  if (path.startsWith(FILE_SCHEME)) return Uint8Array.from(await readFile(localFileOf(path)))
  return (await lake.store.get(path)).bytes
}

/** Behind the lake's back: on local disk in place, without the store. */
export async function overwrite(lake: Lake, path: string, bytes: Uint8Array): Promise<void> {
  if (path.startsWith(FILE_SCHEME)) await writeFile(localFileOf(path), bytes)
  else await lake.store.put(path, bytes)
}
