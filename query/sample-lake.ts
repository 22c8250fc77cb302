/**
 * A small real lake for tests of this folder: a catalog, tables, and Parquet files written by DuckDB the way a segment is
 * (field ids, schema id in the footer), committed through flush ticks.
 */
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Catalog, ColumnBounds, Table, Writer } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { fieldIdsSql } from '../lake/field-ids.ts'
import { duckdbType, quoteName, quoteText, SCHEMA_ID_KEY } from '../lake/file-mapping.ts'
import { dataFileFromFooter } from '../lake/iceberg/data-file.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import type { ParquetFooter } from '../lake/parquet/parquet.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import type { World } from '../runtime/world.ts'
import { parseColumnType } from '../schemas/column-type.ts'
import type { Settings } from '../schemas/settings.ts'
import type { TableSchema } from '../schemas/table-schema.ts'

type FileOptions = {
  readonly rowGroupRows?: number
  readonly schema?: TableSchema
  readonly bloomFilters?: boolean
}

export type SampleLake = {
  readonly folder: string
  readonly catalog: Catalog
  readonly catalogUrl: string
  readonly engine: Engine
  readonly world: World
  /** `{a: 'long', b: 'string'}` */
  createTable(name: string, columns: Readonly<Record<string, string>>, root?: string): Promise<Table>
  /** Writes the rows of a SELECT (user columns, in order; `r` numbers its rows from 0) as a Parquet file of the current schema. */
  writeFile(table: Table, select: string, options?: FileOptions): Promise<string>
  /** Makes a file, local or uploaded before, part of the table. */
  commitFile(
    table: Table,
    localFile: string,
    options?: { readonly path?: string; readonly withBounds?: boolean },
  ): Promise<void>
  /** writeFile and commitFile. */
  addRows(table: Table, select: string, options?: FileOptions): Promise<string>
  close(): Promise<void>
}

export async function createSampleLake(world: World = createTestWorld()): Promise<SampleLake> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-query-'))
  await mkdir(join(folder, 'lake'), { recursive: true })
  const catalogUrl = `sqlite:${join(folder, 'catalog.db')}`
  const catalog = await openCatalog({ url: catalogUrl, world })
  const engine = createEngine({
    settings: {
      name: 'sample',
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1024 * 1024 * 1024,
      folders: [folder],
      mode: 'compaction',
    },
    world,
  })
  let writer: Writer | undefined
  let files = 0
  let rows = 0n

  async function writeFile(table: Table, select: string, options: FileOptions = {}): Promise<string> {
    const schema = options.schema ?? table.schemas.at(-1)!
    const user = schema.columns.filter((column) => column.fieldId >= 16)
    const file = join(folder, 'lake', `file-${++files}.parquet`)
    const casts = user.map(
      (column, index) => `CAST(c${index} AS ${duckdbType(column.type)}) AS ${quoteName(column.name)}`,
    )
    const hidden = [
      `'http:sample' AS "_source"`,
      '0::INTEGER AS "_partition"',
      `(row_number() OVER () - 1 + ${rows})::BIGINT AS "_offset"`,
      `NULL::TIMESTAMPTZ AS "_timestamp"`,
      `TIMESTAMPTZ '2026-01-01 00:00:00Z' AS "_arrived"`,
    ]
    const names = user.map((_, index) => `c${index}`)
    await engine.run(
      `COPY (SELECT ${[...casts, ...hidden].join(', ')} FROM (${select}) r(${names.join(', ')})) TO ${quoteText(file)}
       (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${options.rowGroupRows ?? 122880},
        FIELD_IDS ${fieldIdsSql(schema.columns)}, KV_METADATA {'${SCHEMA_ID_KEY}': '${schema.schemaId}'},
        WRITE_BLOOM_FILTER ${options.bloomFilters ?? true})`,
    )
    return file
  }

  async function commitFile(
    table: Table,
    localFile: string,
    options: { readonly path?: string; readonly withBounds?: boolean } = {},
  ): Promise<void> {
    writer ??= await catalog.registerWriter('ingest')
    const footer = await readLocalFooter(localFile)
    const schemaId = Number(footer.keyValues.get(SCHEMA_ID_KEY))
    const schema = table.schemas.find((each) => each.schemaId === schemaId)!
    const key = { pipeline: `http:${table.name}`, source: 'http:sample', partition: 0 }
    await catalog.bindPipeline(key.pipeline, [table.tableId], [])
    await catalog.beginCoverage(key, 0n)
    const [coverage] = await catalog.coverage(key.pipeline)
    const start = coverage.ranges.at(-1)?.end ?? 0n
    const range = { start, end: start + BigInt(footer.rowCount) }
    rows = range.end
    const outcome = await catalog.commitTick({
      commitId: world.random.uuid(),
      writer,
      segments: [
        {
          tableId: table.tableId,
          schemaId,
          path: options.path ?? `file://${localFile}`,
          rowCount: footer.rowCount,
          bytes: (await stat(localFile)).size,
          etag: undefined,
          bounds: options.withBounds === false ? [] : boundsOf(footer, schema, table),
          sources: [{ ...key, range, rows: footer.rowCount }],
          touched: { grain: 'all', values: [] },
        },
      ],
      advances: [
        {
          ...key,
          range,
          recordsIn: footer.rowCount,
          recordsDead: 0,
          recordsFiltered: 0,
          logEnd: undefined,
          caughtUp: true,
        },
      ],
      idempotencyKeys: [],
    })
    if (outcome.outcome !== 'committed') throw new Error(`tick: ${outcome.outcome}`)
  }

  return {
    folder,
    catalog,
    catalogUrl,
    engine,
    world,
    createTable(name, columns, root = `file://${join(folder, 'lake')}`) {
      const declared = Object.entries(columns).map(([column, type]) => ({
        name: column,
        type: parseColumnType(type)!,
        required: false,
      }))
      const definition = { name, columns: declared, partition: [], sort: [], eventTime: undefined }
      return catalog.createTable(defineTable(definition, `${root}/${name}`))
    },
    writeFile,
    commitFile,
    async addRows(table, select, options) {
      const file = await writeFile(table, select, options)
      await commitFile(table, file)
      return file
    },
    async close() {
      await engine.close()
      await catalog.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** As a manifest would keep them. */
function boundsOf(footer: ParquetFooter, schema: TableSchema, table: Table): ColumnBounds[] {
  const facts = { path: 'sample', bytes: 0, footer, table, schema, partition: [], sortOrderId: 0 }
  const { nullCounts, lowerBounds, upperBounds } = dataFileFromFooter(facts)
  return [...nullCounts].map(([fieldId, nullCount]) => ({
    fieldId,
    nullCount,
    lower: lowerBounds.get(fieldId),
    upper: upperBounds.get(fieldId),
  }))
}

/** What `startQuery` reads of the settings. */
export function querySettings(
  lake: Pick<SampleLake, 'folder' | 'catalogUrl'>,
  changes: Partial<Settings['query']> = {},
): Settings {
  const settings: Partial<Settings> = {
    data: lake.folder,
    catalog: { url: lake.catalogUrl, connectionsMax: 2 },
    lake: { root: `file://${join(lake.folder, 'lake')}` },
    storage: {
      s3: {
        endpoint: undefined,
        region: 'us-east-1',
        accessKeyId: undefined,
        secretAccessKey: undefined,
        pathStyle: true,
      },
      cold: undefined,
      copiesBytes: 0,
    },
    listen: {
      ingest: { host: '127.0.0.1', port: 0 },
      compactor: { host: '127.0.0.1', port: 0 },
      query: { host: '127.0.0.1', port: 0 },
    },
    tls: { cert: undefined, key: undefined },
    tokens: [],
    query: {
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      timeoutMs: 60_000,
      rowsMax: 1_000_000,
      resultBytesMax: 1024 * 1024 * 1024,
      resultCacheBytes: 0,
      unpackedBytes: 0,
      concurrentMax: 4,
      batchConcurrentMax: undefined,
      userConcurrentMax: 3,
      userQueueMax: 4,
      queueMax: 8,
      scanBytesMax: 1024 ** 4,
      spillBytes: 1024 * 1024 * 1024,
      cache: { folder: join(lake.folder, 'cache'), bytes: 1024 * 1024 * 1024 },
      fetchConcurrency: 16,
      ...changes,
    },
    shutdownMs: 5_000,
    sweep: { intervalMs: 60_000, writerSilentMs: 60_000, readerSilentMs: 60_000 },
    snapshot: { bytes: 1024 ** 2, ageMs: 60_000, minAgeMs: 3_600_000, keepMax: 100, manifestsMax: 100 },
    timeTravel: { fineMs: 600_000 },
  }
  return settings as Settings
}
