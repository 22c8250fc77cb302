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

/** Rows with numbers that go on from `first`, and times that go on from `ts` by a microsecond. Kept in place of the rows. */
type Span = { readonly first: number; readonly ts: bigint; readonly count: number }
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
  const spansOf = new Map<string, readonly Span[]>()
  let sequence = 0

  async function writeFile(
    { table }: RewriteRequest,
    schema: TableSchema,
    day: number,
    spans: readonly Span[],
  ): Promise<DataFile> {
    sequence += 1
    const rows = spans
      .flatMap(({ first, ts, count }) =>
        Array.from({ length: count }, (_, index): Row => ({ id: first + index, ts: ts + BigInt(index) })),
      )
      .sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : a.id - b.id))
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
    spansOf.set(path, spans)
    return dataFileFromFooter({ path, bytes: bytes.length, footer, table, schema, partition: [day], sortOrderId: 1 })
  }

  return {
    addSegment(path, { first, count, nowMicros, late }) {
      const lateRows = late ? Math.min(LATE_ROWS, count) : 0
      const spans = [
        { first, ts: nowMicros - DAY_MICROS, count: lateRows },
        ...untilMidnight({ first: first + lateRows, ts: nowMicros, count: count - lateRows }),
      ]
      spansOf.set(
        path,
        spans.filter(({ count: rows }) => rows > 0),
      )
    },
    async open(files) {
      const opened = files.map(({ path }) => ({ path }) as MappedFile)
      return { files: opened, release: async () => {} }
    },
    async rewrite(request) {
      const schema = request.table.schemas.at(-1)!
      const days = new Map<number, Span[]>()
      for (const { path } of request.inputs) {
        for (const span of spansOf.get(path) ?? []) {
          const day = Number(span.ts / DAY_MICROS)
          const known = days.get(day)
          if (known) known.push(span)
          else days.set(day, [span])
        }
        spansOf.delete(path)
      }
      const files: DataFile[] = []
      for (const [day, spans] of days) files.push(await writeFile(request, schema, day, spans))
      return { files, maskedRows: new Map() }
    },
  }
}

/** Two spans where a day ends between the rows. */
function untilMidnight({ first, ts, count }: Span): Span[] {
  const left = Math.min(count, Number(DAY_MICROS - (ts % DAY_MICROS)))
  return [
    { first, ts, count: left },
    { first: first + left, ts: ts + BigInt(left), count: count - left },
  ]
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
