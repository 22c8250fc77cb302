/**
 * One sealed batch → one segment: an immutable Parquet file, durable at its path before the tick commits, and the row
 * that the catalog keeps of it. Its footer repeats table, schema id, commit id, writer and source ranges, so that a
 * bucket explains itself (PROTOCOL 3).
 *
 * If we stop after the file, a restart sees a file that nothing refers to; the sweep removes it once this writer is fenced.
 */

import type { NewSegment, Writer } from '../lake/catalog/catalog.ts'
import { checksumOf } from '../lake/checksum.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { WriteParquet } from '../lake/parquet/parquet.ts'
import type { World } from '../runtime/world.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import type { RowSpan, SealedBatch } from './open-tick.ts'

export type SegmentWriter = {
  write(batch: SealedBatch, commitId: string): Promise<NewSegment>
}

const ROW_GROUP_ROWS = 122_880
const ZSTD_LEVEL = 1
/** More hours than this are told as days, more days as "all". */
const TOUCHED_MAX = 64
const MICROS_PER_HOUR = 3_600_000_000
const MICROS_PER_DAY = 24 * MICROS_PER_HOUR
const TWO_32 = 4294967296
/** The high half of an int64 that a double still holds exactly. */
const SAFE_HIGH = 2 ** 21

export function createSegmentWriter(components: {
  store: ObjectStore
  world: World
  writer: Writer
  writeParquet: WriteParquet
}): SegmentWriter {
  const { store, world, writer, writeParquet } = components
  let sequence = 0

  return {
    async write(sealed, commitId) {
      const { table, schemaId, batch } = sealed
      const sources = segmentSources(sealed.spans)
      const { bytes, bounds } = writeParquet(batch, {
        compression: 'zstd',
        level: ZSTD_LEVEL,
        rowGroupRows: ROW_GROUP_ROWS,
        keyValues: {
          'millrace.table': table.name,
          'millrace.schema-id': String(schemaId),
          'millrace.commit-id': commitId,
          'millrace.writer-id': writer.writerId,
          'millrace.writer-epoch': String(writer.epoch),
          'millrace.sources': JSON.stringify(
            sources.map(({ pipeline, source, partition, range }) => [
              pipeline,
              source,
              partition,
              String(range.start),
              String(range.end),
            ]),
          ),
        },
      })
      sequence += 1
      const path = `${table.location}/segments/${writer.writerId}-${String(sequence).padStart(8, '0')}.parquet`
      world.crashPoint('ingest/before-segment-file')
      const info = await store.put(path, bytes, { ifNoneMatch: '*' })
      world.crashPoint('ingest/after-segment-file')
      return {
        tableId: table.tableId,
        schemaId,
        path,
        rowCount: batch.rowCount,
        bytes: bytes.length,
        etag: info.etag,
        checksum: checksumOf(bytes),
        bounds,
        sources,
        touched: touchedHours(batch, sealed.eventTimeFieldId),
      }
    },
  }
}

/** Spans of one source joined: its range runs from the first span's start to the last one's end. */
export function segmentSources(spans: readonly RowSpan[]): NewSegment['sources'] {
  const sources = new Map<string, NewSegment['sources'][number]>()
  for (const { key, keyText, range, start, end } of spans) {
    const before = sources.get(keyText)
    sources.set(keyText, {
      ...key,
      range: { start: before?.range.start ?? range.start, end: range.end },
      rows: (before?.rows ?? 0) + end - start,
    })
  }
  return [...sources.values()]
}

/** The bounded set of event-time hours that the rows touch; rows without an event time touch nothing. */
export function touchedHours(batch: MicroBatch, eventTimeFieldId: number | undefined): NewSegment['touched'] {
  const vector = batch.vectors.find((each) => each.column.fieldId === eventTimeFieldId)
  if (!vector) return { grain: 'all', values: [] }
  const hours = distinct(vector, MICROS_PER_HOUR)
  if (hours) return { grain: 'hour', values: hours }
  const days = distinct(vector, MICROS_PER_DAY)
  return days ? { grain: 'day', values: days } : { grain: 'all', values: [] }
}

/** Beyond 2^53 microseconds (year 2255) a double would round the last instant of an hour into the next one. */
function ordinalOf(high: number, low: number, unitMicros: number): number {
  if (high >= -SAFE_HIGH && high < SAFE_HIGH) return Math.floor((high * TWO_32 + low) / unitMicros)
  const micros = BigInt(high) * BigInt(TWO_32) + BigInt(low)
  const unit = BigInt(unitMicros)
  const remainder = ((micros % unit) + unit) % unit
  return Number((micros - remainder) / unit)
}

/** Sorted ordinals, or undefined when there are more than `TOUCHED_MAX`. Reads int64 halves: no bigint a row. */
function distinct(vector: MicroBatch['vectors'][number], unitMicros: number): number[] | undefined {
  const ordinals = new Set<number>()
  const { length, validity, data, column } = vector
  const words = new Int32Array(data.buffer, data.byteOffset, data.byteLength >> 2)
  const isDate = column.type.kind === 'date'
  let last = Number.NaN
  for (let row = 0; row < length; row += 1) {
    if (validity && ((validity[row >> 3] >> (row & 7)) & 1) === 0) continue
    const ordinal = isDate
      ? Math.floor((words[row] * MICROS_PER_DAY) / unitMicros)
      : ordinalOf(words[row * 2 + 1], words[row * 2] >>> 0, unitMicros)
    if (ordinal === last) continue
    last = ordinal
    ordinals.add(ordinal)
    if (ordinals.size > TOUCHED_MAX) return undefined
  }
  return [...ordinals].sort((a, b) => a - b)
}
