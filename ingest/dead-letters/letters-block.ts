/**
 * Between dead letters and the decoder: letters of one topic-partition become a block as the broker would have sent it, and what
 * the decoder makes of the block is told letter by letter. Pure.
 */
import type { Letter } from '../../lake/dead-letters/read-letters.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import type { DecodedBlock } from '../decoder/decode-plan.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'

/** No headers: their count, 0. */
const NO_HEADERS = Uint8Array.of(0)
const MICROS_PER_MS = 1000

/** Letters in the order of their offsets. @param topic what the plan's routes call it */
export function blockOf(letters: readonly Letter[], topic: string): RecordBlock {
  const count = letters.length
  const parts: Uint8Array[] = []
  let at = 0
  const starts = () => new Int32Array(count)
  const block = {
    topic,
    topicId: '',
    partition: letters[0].partition,
    count,
    offsets: Float64Array.from(letters, ({ offset }) => Number(offset)),
    timestamps: Float64Array.from(letters, ({ timestamp }) =>
      timestamp === null ? Number.NaN : Number(timestamp) / MICROS_PER_MS,
    ),
    keyStarts: starts(),
    keyEnds: starts(),
    valueStarts: starts(),
    valueEnds: starts(),
    headerStarts: starts(),
    headerEnds: starts(),
    startOffset: Number(letters[0].offset),
    nextOffset: Number(letters[count - 1].offset) + 1,
    filtered: 0,
    logEnd: Number(letters[count - 1].offset) + 1,
  }
  const place = (bytes: Uint8Array | null, from: Int32Array, to: Int32Array, index: number) => {
    from[index] = bytes === null ? -1 : at
    if (bytes !== null) {
      parts.push(bytes)
      at += bytes.length
    }
    to[index] = bytes === null ? -1 : at
  }
  for (const [index, { key, value, headers }] of letters.entries()) {
    place(key, block.keyStarts, block.keyEnds, index)
    place(value, block.valueStarts, block.valueEnds, index)
    place(headers ?? NO_HEADERS, block.headerStarts, block.headerEnds, index)
  }
  return { ...block, bytes: Buffer.concat(parts) }
}

export type Tried = {
  /** Rows of the letters that became one; undefined: none did. */
  readonly rows: { readonly schemaId: number; readonly batch: MicroBatch } | undefined
  /** Those that leave: they became rows, or the plan drops them. */
  readonly leaving: readonly Letter[]
  readonly filtered: number
  readonly failed: readonly { readonly letter: Letter; readonly reason: string }[]
}

const ELSEWHERE = 'the pipeline does not send such records to this table any more'

/** What became of each letter in the one table that they are the dead letters of: other tables of the pipeline have theirs. */
export function outcomeOf(
  letters: readonly Letter[],
  decoded: DecodedBlock,
  tableIds: { readonly table: number; readonly deadLetters: number },
): Tried {
  const rows = decoded.pieces.find(({ tableId }) => tableId === tableIds.table)
  const dead = decoded.pieces.find(({ tableId }) => tableId === tableIds.deadLetters)
  const became = new Set(rows ? longsOf(vectorOf(rows.batch, '_offset')) : [])
  const reasons = new Map<bigint, string>()
  if (dead) {
    const texts = textsOf(vectorOf(dead.batch, 'reason'))
    for (const [index, offset] of longsOf(vectorOf(dead.batch, '_offset')).entries()) reasons.set(offset, texts[index])
  }
  const neither = letters.filter(({ offset }) => !became.has(offset) && !reasons.has(offset))
  // As many as the plan dropped have gone for good; more than that went to other tables.
  const isDropped = neither.length <= decoded.filtered
  const failed = letters.flatMap((letter) => {
    const reason = reasons.get(letter.offset)
    if (reason !== undefined) return [{ letter, reason }]
    return !isDropped && !became.has(letter.offset) ? [{ letter, reason: ELSEWHERE }] : []
  })
  const staying = new Set(failed.map(({ letter }) => letter))
  return {
    rows: rows && { schemaId: rows.schemaId, batch: rows.batch },
    leaving: letters.filter((letter) => !staying.has(letter)),
    filtered: isDropped ? neither.length : 0,
    failed,
  }
}

function vectorOf(batch: MicroBatch, name: string): ColumnVector {
  return batch.vectors.find(({ column }) => column.name === name) as ColumnVector
}

function longsOf({ data, length }: ColumnVector): bigint[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  return Array.from({ length }, (_, index) => view.getBigInt64(index * 8, true))
}

function textsOf({ data, offsets, length }: ColumnVector): string[] {
  const positions = offsets as Int32Array
  return Array.from({ length }, (_, index) =>
    Buffer.from(data.buffer, data.byteOffset + positions[index], positions[index + 1] - positions[index]).toString(),
  )
}
