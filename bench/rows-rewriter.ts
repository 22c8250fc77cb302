/**
 * A cheap stand-in for the compactor's rewriter: it knows the rows of every file by their numbers, and writes them as real
 * Parquet files of the table's schema, one per day. No engine runs, so a benchmark can make ten thousand commits of them.
 */

import type { RewriteRequest, Rewriter } from '../compactor/rewrite.ts'
import type { Inputs } from '../compactor/table-worker.ts'
import type { MappedFile } from '../lake/file-mapping.ts'
import { dataFileFromFooter } from '../lake/iceberg/data-file.ts'
import type { DataFile } from '../lake/iceberg/iceberg.ts'
import { partitionPath } from '../lake/iceberg/partition-path.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { parseFooter } from '../lake/parquet/footer.ts'
import { type SampleValue, sampleVector } from '../lake/parquet/sample-batches.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import type { Column, TableSchema } from '../schemas/table-schema.ts'

const DAY_MICROS = 86_400_000_000n
const LATE_ROWS = 3
const COUNTRIES = ['DE', 'FR', 'US', 'GB', 'IN', 'BR', 'JP', 'ES']

type Row = { readonly id: number; readonly ts: bigint }
type SegmentRows = {
  readonly first: number
  readonly count: number
  readonly nowMicros: bigint
  /** The first rows are of the day before. */
  readonly late: boolean
}

export type RowsRewriter = Rewriter & Inputs & { addSegment(path: string, rows: SegmentRows): void }

export function createRowsRewriter({ store, writerId }: { store: ObjectStore; writerId: string }): RowsRewriter {
  const rowsOf = new Map<string, readonly Row[]>()
  let sequence = 0

  async function writeFile(
    { table }: RewriteRequest,
    schema: TableSchema,
    day: number,
    rows: Row[],
  ): Promise<DataFile> {
    sequence += 1
    rows.sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : a.id - b.id))
    const vectors = schema.columns.map((column) =>
      sampleVector(
        column,
        rows.map((row) => sampleOf(column, row)),
      ),
    )
    const { bytes } = writeParquet(
      { schema, rowCount: rows.length, vectors },
      { compression: 'none', level: 1, rowGroupRows: 122_880, keyValues: {} },
    )
    const footer = parseFooter(bytes, bytes.length)
    if ('needBytes' in footer) throw new Error('a footer larger than its file')
    const path = `${table.location}/data/${partitionPath(table, [day])}${writerId}-${String(sequence).padStart(8, '0')}.parquet`
    await store.put(path, bytes, { ifNoneMatch: '*' })
    rowsOf.set(path, rows)
    return dataFileFromFooter({ path, bytes: bytes.length, footer, table, schema, partition: [day], sortOrderId: 1 })
  }

  return {
    addSegment(path, { first, count, nowMicros, late }) {
      const rows = Array.from({ length: count }, (_, index) => ({
        id: first + index,
        ts: nowMicros - (late && index < LATE_ROWS ? DAY_MICROS : 0n) + BigInt(index),
      }))
      rowsOf.set(path, rows)
    },
    async open(files) {
      const opened = files.map(({ path }) => ({ path }) as MappedFile)
      return { files: opened, release: async () => {} }
    },
    async rewrite(request) {
      const schema = request.table.schemas.at(-1)!
      const days = new Map<number, Row[]>()
      for (const { path } of request.inputs) {
        for (const row of rowsOf.get(path) ?? []) {
          const day = Number(row.ts / DAY_MICROS)
          const known = days.get(day)
          if (known) known.push(row)
          else days.set(day, [row])
        }
        rowsOf.delete(path)
      }
      const files: DataFile[] = []
      for (const [day, rows] of days) files.push(await writeFile(request, schema, day, rows))
      return files
    },
  }
}

function sampleOf({ name, type }: Column, { id, ts }: Row): SampleValue {
  switch (type.kind) {
    case 'timestamptz':
      return ts
    case 'long':
      return BigInt(name === 'id' ? id : id % 1000)
    case 'int':
      return id % 100
    case 'double':
      return (id % 9000) / 100
    case 'decimal':
      return BigInt(id % 10_000)
    case 'boolean':
      return id % 2 === 0
    default:
      return name === 'country' ? COUNTRIES[id % COUNTRIES.length] : `${name}-${id % 50}`
  }
}
