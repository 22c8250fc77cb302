/**
 * One sealed batch → one segment: an immutable Parquet file, durable at its path before the tick commits, and the row
 * that the catalog keeps of it.
 *
 *   sealed tick ── plan: names of all its segments, what each records ─▶ write, one after the other
 *
 * A footer names the tick's other segments, so names are given before the first is written; table, schema id, commit id,
 * writer and source ranges are in it too, so that a bucket explains itself (PROTOCOL 3 and 7; `lake/rebuild/segment-record.ts`).
 *
 * If we stop after the file, a restart sees a file that nothing refers to; the sweep removes it once this writer is fenced.
 */

import type { NewSegment, Table, Writer } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import {
  COMMIT_ID_KEY,
  COMMIT_KEY,
  commitJsons,
  DEFINITION_KEY,
  definitionJson,
  EPOCH_KEY,
  type RecordedSource,
  SCHEMA_KEY,
  SOURCES_KEY,
  segmentPath,
  sourcesJson,
  TABLE_KEY,
  WRITER_KEY,
} from '../lake/rebuild/segment-record.ts'
import type { World } from '../runtime/world.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import type { PendingAdvance, Piece, SealedBatch } from './open-tick.ts'
import { putOwnFile } from './put-own-file.ts'
import type { SealedSegment, SealQuestion } from './threads/seal-segment.ts'

/** One attempt at a flush tick, as its files tell it. */
export type TickAttempt = {
  readonly commitId: string
  /** Numbered by this process, from 1. */
  readonly tick: number
  readonly settled: number
  readonly dropped: readonly number[]
  readonly advances: readonly (PendingAdvance & Pick<RecordedSource, 'recordedFrom'> & { readonly isFirst: boolean })[]
  /** Newest version of the table that this process knew committed. */
  versionOf(tableId: number): bigint | undefined
}

export type PlannedSegment = {
  readonly sealed: SealedBatch
  readonly path: string
  readonly sources: readonly RecordedSource[]
  readonly keyValues: Readonly<Record<string, string>>
}

export type SegmentWriter = {
  /** Names and footers of all segments of the attempt, in the order in which they are to be written. */
  plan(batches: readonly SealedBatch[], attempt: TickAttempt): readonly PlannedSegment[]
  /**
   * After an error the same again: the file is encoded once. @param onEncoded its rows are in the file's bytes, so many, and are not
   * looked at any more
   */
  write(planned: PlannedSegment, onEncoded?: (bytes: number) => void): Promise<NewSegment>
}

export function createSegmentWriter(components: {
  store: ObjectStore
  world: World
  writer: Writer
  /** The bytes, made wherever there is room for it. */
  seal(question: SealQuestion): Promise<SealedSegment>
}): SegmentWriter {
  const { store, world, writer, seal } = components
  const definitions = new Map<string, string>()
  const encoded = new WeakMap<PlannedSegment, SealedSegment>()
  let number = 0

  function definitionOf(table: Table, schemaId: number): string {
    const name = `${table.tableId}/${schemaId}`
    let text = definitions.get(name)
    if (text === undefined) {
      text = definitionJson(table, schemaId)
      definitions.set(name, text)
    }
    return text
  }

  return {
    plan(batches, attempt) {
      const sources = recordedSources(batches, attempt.advances)
      const parts = batches.map(({ table }) => {
        number += 1
        return { tableId: table.tableId, number }
      })
      const places = new Map(attempt.advances.map(({ keyText }, place) => [keyText, place]))
      const placesOf = (recorded: readonly RecordedSource[]) =>
        recorded.flatMap((source) => places.get(sourceKeyText(source)) ?? [])
      const commits = commitJsons({ ...attempt, parts, sources: sources.map(placesOf) }, attempt.versionOf)
      return batches.map((sealed, index) => ({
        sealed,
        path: segmentPath(sealed.table.location, writer.writerId, parts[index].number),
        sources: sources[index],
        keyValues: {
          [TABLE_KEY]: sealed.table.name,
          [SCHEMA_KEY]: String(sealed.schemaId),
          [COMMIT_ID_KEY]: attempt.commitId,
          [WRITER_KEY]: writer.writerId,
          [EPOCH_KEY]: String(writer.epoch),
          [SOURCES_KEY]: sourcesJson(sources[index]),
          [DEFINITION_KEY]: definitionOf(sealed.table, sealed.schemaId),
          [COMMIT_KEY]: commits[index],
        },
      }))
    },

    async write(planned, onEncoded) {
      const { sealed: batch, path, sources, keyValues } = planned
      const { table, schemaId, eventTimeFieldId } = batch
      let file = encoded.get(planned)
      if (file === undefined) {
        const pieces = batch.pieces.map(({ batch }) => batch)
        file = await seal({ pieces, keyValues, eventTimeFieldId })
        encoded.set(planned, file)
        onEncoded?.(file.bytes.length)
      }
      const { bytes, release, ...told } = file
      const fileBytes = bytes.length
      world.crashPoint('ingest/before-segment-file')
      const info = await putOwnFile(store, path, bytes)
      release?.()
      world.crashPoint('ingest/after-segment-file')
      return {
        ...told,
        tableId: table.tableId,
        schemaId,
        path,
        bytes: fileBytes,
        etag: info.etag,
        sources,
      }
    },
  }
}

/**
 * What each batch's segment records: its sources with the whole range that the tick consumed of them. A source that
 * brought no row in the tick is recorded with 0 rows by the first segment of its pipeline, so that the files' record has
 * no hole; without one, by a later tick.
 */
export function recordedSources(
  batches: readonly { readonly pieces: readonly RecordedPiece[] }[],
  advances: TickAttempt['advances'],
): RecordedSource[][] {
  const byKey = new Map(advances.map((advance) => [advance.keyText, advance]))
  const firstOfPipeline = new Map<string, number>()
  const listed = new Set<string>()
  const recorded = batches.map(({ pieces }, index) => {
    const rows = rowsOfSources(pieces)
    return [...rows].map(([keyText, { key, range, count }]): RecordedSource => {
      const advance = byKey.get(keyText)
      if (!firstOfPipeline.has(key.pipeline)) firstOfPipeline.set(key.pipeline, index)
      listed.add(keyText)
      return {
        ...key,
        range: advance?.range ?? range,
        rows: count,
        recordedFrom: advance?.recordedFrom ?? range.start,
        isFirst: advance?.isFirst,
      }
    })
  })
  for (const { keyText, pipeline, source, partition, range, recordedFrom, isFirst } of advances) {
    const index = firstOfPipeline.get(pipeline)
    if (index === undefined || listed.has(keyText)) continue
    recorded[index].push({ pipeline, source, partition, range, rows: 0, recordedFrom, isFirst })
  }
  return recorded
}

type RecordedPiece = Pick<Piece, 'key' | 'keyText' | 'range'> & { readonly batch: { readonly rowCount: number } }
type SourceRows = { readonly key: Piece['key']; readonly range: Piece['range']; readonly count: number }

/** Pieces of one source joined: its range runs from the first one's start to the last one's end. */
export function rowsOfSources(pieces: readonly RecordedPiece[]): ReadonlyMap<string, SourceRows> {
  const sources = new Map<string, SourceRows>()
  for (const { key, keyText, range, batch } of pieces) {
    const before = sources.get(keyText)
    sources.set(keyText, {
      key,
      range: { start: before?.range.start ?? range.start, end: range.end },
      count: (before?.count ?? 0) + batch.rowCount,
    })
  }
  return sources
}
