/**
 * A query process of the simulated world: it reads table versions from the catalog, holds them by the production reader row,
 * opens every file of them, and compares the rows with what the model says of these versions (G-3). Some queries take long
 * and read their files again at the end: what a version had once it has until it is let go.
 */

import type { TableVersion } from '../../lake/catalog/catalog.ts'
import { readLiveFiles, readMetadata } from '../../lake/iceberg/read.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import { createReaderRow } from '../../lake/reader-row.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import { TABLE } from './ingest-process.ts'
import type { Lake } from './lake.ts'
import type { Hold } from './model.ts'
import { decodeRows, type Row } from './row-files.ts'
import type { SimulatedProcess } from './simulated-process.ts'

const PAUSE_MS = { least: 200, most: 2500 }
const LONG_QUERY_SHARE = 0.4

export async function bootQuery(lake: Lake, process: SimulatedProcess): Promise<void> {
  const { universe, model } = lake
  const { shape, scheduler } = universe
  const { world } = process
  const catalog = lake.catalogOf(process)
  const store = lake.storeOf(process)
  let readerId = ''
  const readerRow = createReaderRow({
    service: 'query',
    world,
    catalog: {
      ...catalog,
      setReader(id, oldest) {
        readerId = id
        return catalog.setReader(id, oldest)
      },
    },
  })

  async function refreshNowAndThen(): Promise<void> {
    for (;;) {
      await world.clock.sleep(shape.readerSilentMs / 3)
      await readerRow.refresh().catch(() => {})
    }
  }

  async function query(): Promise<void> {
    const names = scheduler.random.float() < 0.5 ? [TABLE] : [TABLE, `${TABLE}${DEAD_LETTERS_SUFFIX}`]
    const versions = await catalog.readTables(names)
    const release = await readerRow.hold(versions)
    const hold: Hold = {
      readerId,
      versions: new Map(versions.map(({ table, version }) => [table.tableId, version])),
      // Held only after the removal of its files may have been old enough: nothing was promised.
      isBroken: model.catalogMicros() - versions[0].readAt > BigInt(Math.floor(shape.snapshotMinAgeMs * 1000)),
    }
    model.hold(hold)
    try {
      for (const version of versions) await compare(version, hold, 'read')
      if (scheduler.random.float() < LONG_QUERY_SHARE) {
        await world.clock.sleep(shape.snapshotMinAgeMs * (1 + 2 * scheduler.random.float()))
        for (const version of versions) await compare(version, hold, 'read again')
      }
    } finally {
      model.letGo(hold)
      release()
    }
  }

  async function compare(version: TableVersion, hold: Hold, what: string): Promise<void> {
    const table = model.tables.get(version.table.tableId)
    if (!table) return
    try {
      const rows = await rowsOf(store, version)
      const problem = model.difference(table, version.version, rows)
      if (problem) universe.violation('G-3', `${what}: version ${version.version} of ${version.table.name}: ${problem}`)
      universe.tally(`query: ${what}`)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      if (error.kind === 'unavailable') universe.tally('query: store away')
      else if (hold.isBroken) universe.tally('query: its promise had run out')
      else universe.violation('G-4', `${what}: version ${version.version} of ${version.table.name}: ${error.message}`)
    }
  }

  await catalog.versions()
  void refreshNowAndThen()
  void (async () => {
    for (;;) {
      await query().catch((error: unknown) => {
        if (isMillraceError(error)) universe.tally(`query failed: ${error.code}`)
        else universe.violation('query', String(error))
      })
      await world.clock.sleep(PAUSE_MS.least + (PAUSE_MS.most - PAUSE_MS.least) * scheduler.random.float())
    }
  })()
}

async function rowsOf(store: ObjectStore, version: TableVersion): Promise<Row[]> {
  const metadata = version.metadataLocation ? await readMetadata(store, version.metadataLocation) : undefined
  const files = metadata ? await readLiveFiles(store, metadata) : []
  const paths = [...files.map(({ path }) => path), ...version.segments.map(({ path }) => path)]
  const read = await Promise.all(paths.map((path) => store.get(path)))
  return read.flatMap(({ bytes }) => decodeRows(bytes))
}
