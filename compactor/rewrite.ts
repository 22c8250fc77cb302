/**
 * Files in → sorted data files out, the same rows (PROTOCOL 4). One `COPY` per table partition, because a partitioned
 * `COPY` does not keep order; written on NVMe, checked, then put where the table lives.
 *
 * Checked for every output: the footer has every column in its exact type and field id; rows in − masked = rows out; the sort
 * order, before it is claimed. If we stop at any place here, a restart sees files that nothing refers to.
 */
import { mkdir, open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Mask, Table, Writer } from '../lake/catalog/catalog.ts'
import { checksumOfFile } from '../lake/checksum.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { fieldIdsSql } from '../lake/field-ids.ts'
import { type MappedFile, quoteName, quoteText, relationSql, SCHEMA_ID_KEY } from '../lake/file-mapping.ts'
import { dataFileFromFooter } from '../lake/iceberg/data-file.ts'
import type { DataFile, PartitionValue } from '../lake/iceberg/iceberg.ts'
import { partitionPath } from '../lake/iceberg/partition-path.ts'
import { UNPARTITIONED_SPEC_ID } from '../lake/iceberg/table-metadata.ts'
import { maskedCountsSql, unmaskedSql } from '../lake/mask-sql.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import type { ParquetFooter } from '../lake/parquet/parquet.ts'
import type { World } from '../runtime/world.ts'
import { invariant, isMillraceError, MillraceError } from '../schemas/errors.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../schemas/table-schema.ts'
import { type CopyLimits, copyLimits } from './copy-limits.ts'
import { FULL_STEP, type MemoryStep } from './memory-steps.ts'
import { negativeZerosSql } from './negative-zero.ts'
import { createPartitioner, type PartLimits } from './partitioner.ts'
import { lengthsSql, rowBytesOf } from './row-bytes.ts'
import { orderBySql, violationsSql } from './sort-order.ts'
import { EVERY_TIME, isWithin, timeWindowOf } from './time-window.ts'
import { createSortedFiles, type Destined, inputParts, stretchSql } from './wide-rows.ts'

export type RewriteRequest = {
  readonly table: Table
  readonly inputs: readonly MappedFile[]
  /** Rows of the inputs, masked ones included. */
  readonly rowsExpected: number
  /** Their rows are left out. */
  readonly masks?: readonly Mask[]
  /** Known when all inputs are of one table partition already; undefined also for files beside the partitioning. */
  readonly partition: readonly PartitionValue[] | undefined
  /** False as long as a compactor lives that does not know files beside the partitioning: then every row goes into one of it. */
  readonly mayLieBeside: boolean
  /** Less at once than usual, after the engine ran out of memory. */
  readonly step?: MemoryStep
}

/** What every file of one rewrite has in common. */
type Destination = { readonly table: Table; readonly schema: TableSchema; readonly copy: CopyLimits }

/** How its rows are told apart: `known` when all are of one table partition. */
type Split = Destination & { readonly known: Destined | undefined; readonly limits: PartLimits }

export type RewrittenFiles = {
  readonly files: readonly DataFile[]
  /** How many rows of each mask the inputs had; those with none are not listed. */
  readonly maskedRows: ReadonlyMap<number, number>
  /** Of one row, unpacked. */
  readonly rowBytes?: number
}

export type Rewriter = {
  rewrite(request: RewriteRequest): Promise<RewrittenFiles>
}

/** Level 3 costs 12 % more CPU than level 1 and saves nothing on sorted rows (50.5 against 50.1 MB for two million). */
const ZSTD_LEVEL = 1
const CHECKED_SORT_ORDER_ID = 1
const SOURCE = HIDDEN_COLUMNS[0]
/** As many as a byte numbers. */
const SOURCES_MAX = 255

export function createRewriter(components: {
  engine: Engine
  store: ObjectStore
  world: World
  writer: Writer
  workFolder: string
  /** Table partitions that one rewrite writes files for; rows of others are kept in one file beside the partitioning. */
  partitionsMax: number
  /** What the engine has. */
  memoryBytes: number
  threads: number
}): Rewriter {
  const { engine, store, world, writer, workFolder, partitionsMax, memoryBytes, threads } = components
  let sequence = 0

  async function writeFile(
    { table, schema, copy }: Destination,
    partition: Destined,
    rowsSql: string,
    mayBeSorted = true,
  ): Promise<DataFile> {
    sequence += 1
    const name = `${writer.writerId}-${String(sequence).padStart(8, '0')}.parquet`
    const localFile = join(workFolder, name)
    const footer = await copyRows(rowsSql, localFile, schema, copy, true)
    const zerosSql = negativeZerosSql(localFile, footer)
    const [zeros] = zerosSql === undefined ? [] : await engine.run(zerosSql)
    const kept = zeros && Number(zeros.rows) > 0 ? await copyRows(rowsSql, localFile, schema, copy, false) : footer
    const sorted = mayBeSorted && table.sort.length > 0 && (await isSorted(localFile, table, schema))
    const { size } = await stat(localFile)
    const isAside = partition === 'aside'
    const path = `${table.location}/data/${isAside ? '' : partitionPath(table, partition)}${name}`
    const file = dataFileFromFooter({
      path,
      bytes: size,
      footer: kept,
      table,
      schema,
      partition: isAside ? [] : partition,
      sortOrderId: sorted ? CHECKED_SORT_ORDER_ID : 0,
    })
    await syncFile(localFile)
    const checksum = await checksumOfFile(localFile)
    world.crashPoint('compactor/after-local-file')
    const { etag } = await store.putFile(path, localFile, { ifNoneMatch: '*' })
    await rm(localFile, { force: true })
    world.crashPoint('compactor/after-data-file')
    return { ...file, ...(isAside ? { specId: UNPARTITIONED_SPEC_ID } : {}), checksum, etag }
  }

  async function copyRows(
    rowsSql: string,
    localFile: string,
    schema: TableSchema,
    copy: CopyLimits,
    hasBloomFilters: boolean,
  ): Promise<ParquetFooter> {
    await engine.run(
      `${limitsSql(copy)}COPY (${rowsSql}) TO ${quoteText(localFile)}
       (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL ${ZSTD_LEVEL}, ROW_GROUP_SIZE ${copy.rowGroupRows}, FIELD_IDS ${fieldIdsSql(schema.columns)},
        KV_METADATA {${quoteText(SCHEMA_ID_KEY)}: ${quoteText(String(schema.schemaId))}}, WRITE_BLOOM_FILTER ${hasBloomFilters})`,
    )
    return readLocalFooter(localFile)
  }

  /**
   * The rows in order. Every row has the same few long source texts: sorted as numbers and turned back behind the sort,
   * they cost 12 % less CPU.
   */
  async function sortedSql({ table, schema }: Destination, fromSql: string): Promise<string> {
    const names = schema.columns.map((column) => quoteName(column.name))
    const plain = `SELECT ${names.join(', ')} FROM ${fromSql}${orderBySql(table.sort, schema)}`
    if (table.sort.length === 0 || table.sort.some(({ fieldId }) => fieldId === SOURCE.fieldId)) return plain
    const rows = await engine.run(
      `SELECT DISTINCT ${quoteName(SOURCE.name)} AS source FROM ${fromSql} LIMIT ${SOURCES_MAX + 1}`,
    )
    if (rows.length === 0 || rows.length > SOURCES_MAX) return plain
    const sources = `[${rows.map(({ source }) => quoteText(String(source))).join(', ')}]`
    const source = quoteName(SOURCE.name)
    const others = names.filter((name) => name !== source).join(', ')
    let number = '__source'
    while (schema.columns.some((column) => column.name.toLowerCase() === number)) number += '_'
    const numbered = `SELECT ${others}, CAST(list_position(${sources}, ${source}) AS UTINYINT) AS ${quoteName(number)} FROM ${fromSql}`
    const back = names.map((name) => (name === source ? `${sources}[${quoteName(number)}] AS ${source}` : name))
    return `SELECT ${back.join(', ')} FROM (${numbered}${orderBySql(table.sort, schema)})`
  }

  async function isSorted(localFile: string, table: Table, schema: TableSchema): Promise<boolean> {
    const [{ violations }] = await engine.run(violationsSql(localFile, table.sort, schema))
    if (Number(violations) === 0) return true
    world.log.error('a rewritten file is not in its sort order; the order is not claimed', {
      table: table.name,
      violations,
    })
    return false
  }

  function tellOutside(table: Table, rows: number): void {
    world.log.warn('rows with times outside the table’s window are kept beside its partitioning', {
      table: table.name,
      rows,
    })
  }

  async function countMasked(relation: string, masks: readonly Mask[]): Promise<Map<number, number>> {
    if (masks.length === 0) return new Map()
    const [counts] = await engine.run(maskedCountsSql(relation, masks))
    const counted = masks.map(({ maskId }, index) => [maskId, Number(counts[`masked_${index}`])] as const)
    return new Map(counted.filter(([, rows]) => rows > 0))
  }

  /** Bytes of one row of these files, once it is unpacked. */
  async function measureRow(table: Table, inputs: readonly MappedFile[], rows: number): Promise<number> {
    const { known, unknown } = rowBytesOf(inputs, table.schemas.at(-1)!.columns)
    if (unknown.length === 0) return known
    const [{ bytes }] = await engine.run(lengthsSql(relationSql(inputs, table.schemas, unknown), unknown))
    return known + Number(bytes) / Math.max(1, rows)
  }

  /** Files of a rewrite that failed: nothing refers to them, or ever will. */
  async function discard(files: readonly DataFile[]): Promise<void> {
    if (files.length === 0) return
    await store.delete(files.map(({ path }) => path)).catch((error: unknown) => {
      world.log.warn('files of a rewrite that failed stay until the sweep', { files: files.length, error })
    })
  }

  async function eachPartition(
    { table, schema, known, limits }: Split,
    relation: string,
    act: (where: Destined, fromSql: string) => Promise<void>,
  ): Promise<void> {
    if (known) return act(known, `(${relation})`)
    const partitioner = createPartitioner({ engine, table, schema, name: `rewrite_${sequence}`, workFolder })
    try {
      const { parts, aside } = await partitioner.load(relation, limits)
      for (const part of parts) await act(part.values, part.fromSql)
      if (aside) {
        if (aside.outside > 0) tellOutside(table, aside.outside)
        await act('aside', aside.fromSql)
      }
    } finally {
      await partitioner.drop()
    }
  }

  /** Rows too wide to be sorted together (`wide-rows.ts`). */
  async function inSortedFiles(
    split: Split,
    inputs: readonly MappedFile[],
    masks: readonly Mask[],
    act: (where: Destined, rowsSql: string, mayBeSorted: boolean) => Promise<void>,
  ): Promise<void> {
    const { table, schema, copy, limits } = split
    const folder = join(workFolder, `parts-${sequence}`)
    await mkdir(folder, { recursive: true })
    try {
      const sorted = createSortedFiles(limits.partitionsMax)
      const names = schema.columns.map(({ name }) => quoteName(name)).join(', ')
      let number = 0
      for (const part of inputParts(inputs, copy.sortRowsMax)) {
        const everyRow = stretchSql(relationSql(part.inputs, table.schemas, schema.columns), part)
        await eachPartition(split, unmaskedSql(everyRow, schema.columns, masks), async (where, fromSql) => {
          const file = join(folder, `${number++}.parquet`)
          await engine.run(
            `${limitsSql(copy)}COPY (SELECT ${names} FROM ${fromSql}${orderBySql(table.sort, schema)}) TO ${quoteText(file)}
             (FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE ${copy.rowGroupRows}, WRITE_BLOOM_FILTER false)`,
          )
          sorted.add(where, file)
        })
      }
      for (const { partition, files } of sorted.groups) {
        const list = files.map(quoteText).join(', ')
        const rowsSql = `SELECT ${names} FROM read_parquet([${list}], hive_partitioning=false, union_by_name=false)`
        await act(partition, rowsSql, files.length === 1)
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  return {
    async rewrite({ table, inputs, rowsExpected: rowsIn, masks = [], partition, mayLieBeside, step = FULL_STEP }) {
      await mkdir(workFolder, { recursive: true })
      const schema = table.schemas.at(-1)!
      const rowBytes = await measureRow(table, inputs, rowsIn)
      const destination = { table, schema, copy: copyLimits({ rowBytes, memoryBytes, threads, step }) }
      const everyRow = relationSql(inputs, table.schemas, schema.columns)
      const maskedRows = await countMasked(everyRow, masks)
      const rowsExpected = [...maskedRows.values()].reduce((rows, masked) => rows - masked, rowsIn)
      const isOne = partition ?? (table.partition.length === 0 ? [] : undefined)
      const window = mayLieBeside ? timeWindowOf(table, world.clock.nowMicros()) : EVERY_TIME
      const known: Destined | undefined = isOne && !isWithin(table, isOne, window) ? 'aside' : isOne
      if (known === 'aside') tellOutside(table, rowsExpected)
      const split = {
        ...destination,
        known,
        limits: { partitionsMax: mayLieBeside ? partitionsMax : Number.MAX_SAFE_INTEGER, window },
      }
      const files: DataFile[] = []
      try {
        if (rowsIn <= destination.copy.sortRowsMax) {
          await eachPartition(split, unmaskedSql(everyRow, schema.columns, masks), async (where, fromSql) => {
            files.push(await writeFile(destination, where, await sortedSql(destination, fromSql)))
          })
        } else {
          await inSortedFiles(split, inputs, masks, async (where, rowsSql, mayBeSorted) => {
            files.push(await writeFile(destination, where, rowsSql, mayBeSorted))
          })
        }
      } catch (error) {
        if (isMillraceError(error)) await discard(files)
        if (!isMillraceError(error, 'out-of-memory')) throw error
        throw new MillraceError(error.code, error.message, { cause: error, facts: { ...error.facts, rowBytes } })
      }
      const rowsOut = files.reduce((sum, file) => sum + file.rowCount, 0)
      invariant('G-2.rewrite', rowsOut === rowsExpected, { table: table.name, rowsExpected, rowsOut })
      return { files: files.filter((file) => file.rowCount > 0), maskedRows, rowBytes }
    },
  }
}

/** DuckDB's only way to make the merge of a sort take few rows at once is a pragma that is there for its own tests. */
function limitsSql({ threads, mergesFewRows }: CopyLimits): string {
  return `SET threads = ${threads}; ${mergesFewRows ? 'PRAGMA verify_parallelism; ' : ''}`
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+')
  await file.sync()
  await file.close()
}
