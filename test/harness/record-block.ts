/** Blocks of records for tests, as a fetch would give them: all bytes in one piece, with other bytes around each part. */

import type { RecordBlock } from '../../ingest/kafka/kafka-source.ts'
import { encodeHeaders } from '../../ingest/kafka/record-headers.ts'

type Bytes = string | Uint8Array | null
export type TestRecord = {
  readonly value: Bytes
  readonly key?: Bytes
  readonly headers?: readonly (readonly [name: string, value: Bytes])[]
}

export function recordBlock(topic: string, records: readonly TestRecord[], startOffset = 0): RecordBlock {
  const count = records.length
  const parts: Uint8Array[] = []
  let position = 0
  const put = (part: Bytes, starts: Int32Array, ends: Int32Array, index: number) => {
    // What lies around a record must not matter.
    const around = Buffer.from('"}0')
    parts.push(around)
    position += around.length
    const bytes = part === null ? Buffer.alloc(0) : typeof part === 'string' ? Buffer.from(part) : part
    starts[index] = part === null ? -1 : position
    ends[index] = part === null ? -1 : position + bytes.length
    parts.push(bytes)
    position += bytes.length
  }
  const arrays = () => new Int32Array(count)
  const [keyStarts, keyEnds, valueStarts, valueEnds, headerStarts, headerEnds] = Array.from({ length: 6 }, arrays)
  for (const [index, { key = null, value, headers = [] }] of records.entries()) {
    put(key, keyStarts, keyEnds, index)
    put(value, valueStarts, valueEnds, index)
    const bytesOf = (text: Bytes) => (typeof text === 'string' ? Buffer.from(text) : text)
    const encoded = encodeHeaders(headers.map(([name, each]) => [Buffer.from(name), bytesOf(each)] as const))
    put(encoded, headerStarts, headerEnds, index)
  }
  parts.push(Buffer.from('"}0'))
  return {
    topic,
    topicId: '00000000-0000-0000-0000-000000000001',
    partition: 3,
    count,
    bytes: Uint8Array.from(Buffer.concat(parts)),
    offsets: Float64Array.from(records, (_, index) => startOffset + index),
    timestamps: Float64Array.from(records, (_, index) => 1_767_225_600_000 + index),
    keyStarts,
    keyEnds,
    valueStarts,
    valueEnds,
    headerStarts,
    headerEnds,
    startOffset,
    nextOffset: startOffset + count,
    filtered: 0,
    logEnd: startOffset + count,
  }
}
