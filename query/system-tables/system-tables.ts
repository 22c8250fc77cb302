/**
 * The system tables of one query: their rows gathered, laid down in files, and the statements that make DuckDB see them.
 *
 *   1. what the statement needs of those that cost something (`system-needs.ts`)
 *   2. rows: of the catalog's moment that the query's tables are of, and of what this process knows; only of tables that the
 *      caller may read (G-11)
 *   3. a file each, written piece by piece: ten thousand data files with their bounds never are in memory as text
 *
 * What can fail: a metadata file or manifest that is gone (`file-missing`: the runner reads the catalog again), damaged, or the
 * store is away.
 */
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TableVersion, TableVersions } from '../../lake/catalog/catalog.ts'
import type { Engine, EngineQuery } from '../../lake/engine/engine.ts'
import type { TableMetadata } from '../../lake/iceberg/iceberg.ts'
import { type SystemRow, systemRows } from '../../lake/pipeline-rows.ts'
import { inParallel } from '../../runtime/in-parallel.ts'
import type { SettingRow } from '../../runtime/setting-rows.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import type { Stubs } from '../plan/stubs.ts'
import type { TableFileReader } from '../plan/table-files.ts'
import type { QueryList } from '../run/query-list.ts'
import { STANDARD_SCHEMA } from '../statement/standard-schema.ts'
import type { Statement } from '../statement/statement.ts'
import { LAKE_TABLES, partsOf, readFrom, SYSTEM_SCHEMA, SYSTEM_TABLES, type SystemTable } from './columns.ts'
import { columnRows, dataFileRow, segmentRow, snapshotRows, tableRow } from './lake-rows.ts'
import { type Caller, queryRows, settingRows } from './process-rows.ts'
import { standardRows } from './standard-rows.ts'
import { EVERYTHING, type SystemNeed, systemNeeds } from './system-needs.ts'
import { emptySystemTableSql, systemLine, systemTableSql } from './system-sql.ts'

export type SystemQuery = Pick<EngineQuery, 'params' | 'timeoutMs'> & {
  readonly queryId: string
  readonly sessionSetup: readonly string[]
  readonly caller: Caller
  /** Throws `forbidden`. */
  readonly checkTable: (name: string) => void
}

export type PreparedSystemTables = {
  readonly setup: readonly string[]
  /** The files are not read any more. */
  release(): Promise<void>
}

export type SystemTables = {
  /** `versions` are as the catalog gave them for `othersOf` and `wantsPipelines`. */
  prepare(
    statement: Statement,
    versions: TableVersions,
    query: SystemQuery,
    signal: AbortSignal,
  ): Promise<PreparedSystemTables>
}

/** Whose rows are made of metadata and manifests. */
const OF_METADATA: readonly SystemTable[] = ['millrace.tables', 'millrace.snapshots', 'millrace.files']
const METADATA_AT_ONCE = 16
/** A write, and a breath for the event loop. */
const ROWS_AT_ONCE = 200

/** What the catalog must say of tables that the statement does not name. */
export function othersOf({ systemTables }: Statement): 'versions' | 'definitions' | undefined {
  const ids = [...systemTables].map(readFrom)
  if (ids.some((id) => OF_METADATA.includes(id))) return 'versions'
  return ids.some((id) => isOfTables(id)) ? 'definitions' : undefined
}

function isOfTables(id: SystemTable): boolean {
  const [schema, name] = partsOf(id)
  return schema === STANDARD_SCHEMA || Object.hasOwn(LAKE_TABLES, name)
}

export function wantsPipelines({ systemTables }: Statement): boolean {
  const others: readonly SystemTable[] = ['millrace.queries', 'millrace.settings']
  return [...systemTables].some((id) => !isOfTables(readFrom(id)) && !others.includes(id))
}

export function createSystemTables(parts: {
  readonly engine: Engine
  readonly stubs: Stubs
  readonly files: TableFileReader
  readonly queries: QueryList
  readonly settings: readonly SettingRow[]
  /** For the rows; the engine reads it. Exists. */
  readonly folder: string
  readonly world: World
}): SystemTables {
  const { files, world } = parts

  /** Rows of one table, in order, as they become known. */
  async function* rowsOf(
    id: SystemTable,
    visible: readonly TableVersion[],
    versions: TableVersions,
    need: SystemNeed,
    { caller, checkTable, queryId }: SystemQuery,
    signal: AbortSignal,
  ): AsyncGenerator<SystemRow> {
    const [schema, name] = partsOf(id)
    if (schema === STANDARD_SCHEMA) {
      const rows = standardRows(visible.map(({ table }) => table))
      yield* rows[name as keyof typeof rows]()
      return
    }
    if (id === 'millrace.queries') {
      yield* queryRows(parts.queries.all(), parts.queries.finished(), caller, world.clock.nowMicros(), queryId)
      return
    }
    if (id === 'millrace.settings') {
      yield* settingRows(parts.settings, caller)
      return
    }
    const names = need.valuesOf('table_name')
    const wanted = names ? visible.filter(({ table }) => names.has(table.name)) : visible
    if (id === 'millrace.tables') {
      const needsMetadata = need.hasColumn('rows', 'bytes', 'files', 'snapshot_id', 'snapshot_at')
      const rows = async (version: TableVersion) =>
        tableRow(version, needsMetadata ? await metadataOf(version, signal) : undefined)
      yield* await inParallel(wanted, rows, METADATA_AT_ONCE)
      return
    }
    if (id === 'millrace.columns') {
      for (const { table } of wanted) yield* columnRows(table)
      return
    }
    if (id === 'millrace.snapshots') {
      for await (const version of withMetadata(wanted, signal)) {
        const metadata = await metadataOf(version, signal)
        if (metadata) yield* snapshotRows(version.table, metadata)
      }
      return
    }
    if (id === 'millrace.files') {
      const ofData = need.valuesOf('kind')?.has('data') !== false
      const listed = ofData ? withMetadata(wanted, signal) : wanted
      for await (const version of listed) yield* fileRows(version, ofData, need, signal)
      return
    }
    const { pipelines } = versions
    if (!pipelines) return
    const rows = systemRows(pipelines, (pipeline) =>
      pipelines.bindings.every((binding) => binding.pipeline !== pipeline || mayRead(checkTable, binding.table)),
    )
    yield* rows[name as keyof typeof rows]
  }

  async function metadataOf(version: TableVersion, signal: AbortSignal): Promise<TableMetadata | undefined> {
    signal.throwIfAborted()
    return files.metadataOf(version)
  }

  /** The same, a few ahead: each is a request, and the reader keeps what it read. */
  async function* withMetadata(versions: readonly TableVersion[], signal: AbortSignal): AsyncGenerator<TableVersion> {
    for (let from = 0; from < versions.length; from += METADATA_AT_ONCE) {
      const some = versions.slice(from, from + METADATA_AT_ONCE)
      await inParallel(some, (version) => metadataOf(version, signal), METADATA_AT_ONCE)
      yield* some
    }
  }

  async function* fileRows(
    version: TableVersion,
    ofData: boolean,
    need: SystemNeed,
    signal: AbortSignal,
  ): AsyncGenerator<SystemRow> {
    const withBounds = need.hasColumn('bounds')
    if (ofData) {
      const metadata = await metadataOf(version, signal)
      const times = new Map(metadata?.snapshots.map(({ snapshotId, timestampMs }) => [snapshotId, timestampMs]))
      const live = metadata ? await files.dataFilesOf(metadata, signal) : []
      for (const file of live) yield dataFileRow(version.table, file, times, withBounds)
    }
    if (need.valuesOf('kind')?.has('segment') === false) return
    for (let i = 0; i < version.segments.length; i++) yield segmentRow(version, i, withBounds)
  }

  /** Gives the longest line's bytes. */
  async function write(
    id: SystemTable,
    localFile: string,
    rows: AsyncGenerator<SystemRow>,
    signal: AbortSignal,
  ): Promise<number> {
    const columns = SYSTEM_TABLES[id]
    const file = await open(localFile, 'w')
    let longest = 0
    try {
      let lines: Buffer[] = []
      const flush = async () => {
        signal.throwIfAborted()
        await file.appendFile(Buffer.concat(lines))
        lines = []
      }
      for await (const row of rows) {
        const line = Buffer.from(systemLine(columns, row))
        longest = Math.max(longest, line.length)
        lines.push(line)
        if (lines.length >= ROWS_AT_ONCE) await flush()
      }
      await flush()
      return longest
    } finally {
      await file.close()
    }
  }

  return {
    async prepare(statement, versions, query, signal) {
      const ids = [...new Set([...statement.systemTables].map(readFrom))]
      if (statement.kind === 'describe') return { setup: ids.map(emptySystemTableSql), release: async () => {} }
      const needs = ids.some((id) => OF_METADATA.includes(id))
        ? await systemNeeds(parts, statement, versions, query, signal)
        : undefined
      const visible = [...versions, ...(versions.others ?? [])]
        .filter(({ table }) => mayRead(query.checkTable, table.name))
        .sort((a, b) => (a.table.name < b.table.name ? -1 : 1))
      const written: string[] = []
      const release = async () => {
        for (const localFile of written) await rm(localFile, { force: true })
      }
      try {
        const setup: string[] = []
        for (const id of ids) {
          const localFile = join(parts.folder, `${world.random.uuid()}.ndjson`)
          written.push(localFile)
          const rows = rowsOf(id, visible, versions, needs?.get(id) ?? EVERYTHING, query, signal)
          const longest = await write(id, localFile, rows, signal)
          setup.push(systemTableSql(id, localFile, longest))
        }
        return { setup, release }
      } catch (error) {
        await release()
        throw error
      }
    },
  }
}

/** A list of what there is, for `SHOW ALL TABLES`. */
export function systemTableNames(): readonly string[] {
  return Object.keys(SYSTEM_TABLES).filter((id) => id.startsWith(`${SYSTEM_SCHEMA}.`))
}

export function mayRead(checkTable: (name: string) => void, name: string): boolean {
  try {
    checkTable(name)
    return true
  } catch (error) {
    if (isMillraceError(error, 'forbidden')) return false
    throw error
  }
}
