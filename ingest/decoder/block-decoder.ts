/**
 * A block of records → rows of every table it goes to, and dead letters, by a plan.
 *
 *   each table: value ─▶ decoder ─┬▶ row, hidden columns behind it
 *                                 └▶ dead letter with the reason, whole
 *
 * A record goes to all tables of its topic. Builders stay with the decoder and are empty between blocks.
 */
import { appendDeadLetter, NO_SCHEMA, tooLarge } from '../dead-letters.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import { createBatchBuilder } from './batch-builder.ts'
import type { CreateBlockDecoder, DecodedPiece, DecodeNeeds, TablePlan } from './decode-plan.ts'
import type { BatchBuilder, DecodeFailure, Decoder } from './decoder.ts'
import { createJsonDecoder } from './json-decoder.ts'

type TableDecoder = {
  readonly plan: TablePlan
  readonly decoder: Decoder | undefined
  readonly builder: BatchBuilder | undefined
  readonly letters: BatchBuilder
}

export const createBlockDecoder: CreateBlockDecoder = (plan) => {
  const tables = new Map(Object.values(plan.tables).map((table) => [table.name, openTable(table)]))
  let deadReason: string | undefined

  function openTable(table: TablePlan): TableDecoder {
    const { schema, deadLetters } = table
    return {
      plan: table,
      decoder: schema && createJsonDecoder(schema),
      builder: schema && createBatchBuilder(schema),
      letters: createBatchBuilder(deadLetters.schema),
    }
  }

  function tablesOf(topic: string): TableDecoder[] {
    const names = Object.hasOwn(plan.routes, topic) ? plan.routes[topic] : []
    return names.flatMap((name) => tables.get(name) ?? [])
  }

  /** The hot loop: about 0.5 µs a record (bench/decoder.ts); no object, closure or bigint per record. */
  function append(
    { decoder, builder, letters }: TableDecoder,
    block: RecordBlock,
    first: number,
    source: string,
    arrived: number,
    dead: Uint8Array,
  ): void {
    const { valueStarts, valueEnds, offsets, timestamps, bytes, partition, count } = block
    const { recordBytesMax } = plan
    const sourceIndex = builder?.sourceIndex(source) ?? 0
    for (let index = first; index < count; index += 1) {
      const start = valueStarts[index]
      if (start < 0) continue
      const end = valueEnds[index]
      let failure: DecodeFailure | undefined
      if (end - start > recordBytesMax) failure = tooLarge(end - start, recordBytesMax)
      else if (!decoder || !builder) failure = NO_SCHEMA
      else failure = decoder.decode(bytes, start, end, builder)
      if (failure === undefined) {
        builder?.finishRow(sourceIndex, partition, offsets[index], timestamps[index], arrived)
        continue
      }
      bury(letters, block, index, source, arrived, failure)
      dead[index] = 1
    }
  }

  function bury(
    letters: BatchBuilder,
    block: RecordBlock,
    index: number,
    source: string,
    arrived: number,
    failure: DecodeFailure,
  ): void {
    const { bytes, offsets, timestamps, partition, topic } = block
    const keyStart = block.keyStarts[index]
    deadReason ??= failure.reason
    appendDeadLetter(letters, {
      topic,
      partition,
      offset: offsets[index],
      failure,
      key: keyStart < 0 ? null : bytes.subarray(keyStart, block.keyEnds[index]),
      value: bytes.subarray(block.valueStarts[index], block.valueEnds[index]),
    })
    letters.finishRow(letters.sourceIndex(source), partition, offsets[index], timestamps[index], arrived)
  }

  return {
    decode(block, first, source, arrivedMicros, isFinal) {
      const fed = tablesOf(block.topic)
      const isKnown = fed.length > 0 && fed.every(({ decoder }) => decoder)
      if (!isKnown && !isFinal && hasValue(block, first)) return needTopic(block, first)
      deadReason = undefined
      const dead = new Uint8Array(block.count)
      const unknownBefore = unknownKeys(fed)
      for (const table of fed) append(table, block, first, source, arrivedMicros, dead)
      let deadCount = 0
      let filtered = 0
      for (let index = first; index < block.count; index += 1) {
        if (block.valueStarts[index] < 0) filtered += 1
        else deadCount += dead[index]
      }
      return {
        kind: 'decoded',
        pieces: fed.flatMap(sealTable),
        dead: deadCount,
        filtered,
        unknownKeys: unknownKeys(fed) - unknownBefore,
        deadReason,
      }
    },
  }
}

function unknownKeys(tables: readonly TableDecoder[]): number {
  return tables.reduce((sum, { decoder }) => sum + (decoder?.unknownKeys ?? 0), 0)
}

function sealTable({ plan, builder, letters }: TableDecoder): DecodedPiece[] {
  const pieces: DecodedPiece[] = []
  const { deadLetters, tableId, schema } = plan
  if (schema && builder && builder.rowCount > 0) {
    pieces.push({ tableId, schemaId: schema.schemaId, batch: builder.seal() })
  }
  if (letters.rowCount > 0) {
    pieces.push({ tableId: deadLetters.tableId, schemaId: deadLetters.schema.schemaId, batch: letters.seal() })
  }
  return pieces
}

function hasValue(block: RecordBlock, first: number): boolean {
  for (let index = first; index < block.count; index += 1) if (block.valueStarts[index] >= 0) return true
  return false
}

function needTopic(block: RecordBlock, first: number): DecodeNeeds {
  const samples: Uint8Array[] = []
  for (let index = first; index < block.count; index += 1) {
    if (block.valueStarts[index] >= 0) samples.push(block.bytes.slice(block.valueStarts[index], block.valueEnds[index]))
  }
  return { kind: 'needs', schemas: [], columns: [], topics: [{ topic: block.topic, fields: [], samples }] }
}
