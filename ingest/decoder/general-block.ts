/**
 * Blocks the general way, for pipelines with transforms: each record becomes Connect data, goes through the chain, and then to
 * the tables of the topic that it has by then.
 *
 *   key, value, headers ─▶ Connect data ─▶ transforms ─┬▶ row of each table of its topic
 *                                                      ├▶ dropped: counted as filtered, as a null value is
 *                                                      └▶ refused: dead letter of the tables of the topic it came from
 *
 * As in the compiled way, what the plan lacks is asked for once and nothing of a block that asked is kept.
 */
import { isUtf8 } from 'node:buffer'
import { isMillraceError } from '../../schemas/errors.ts'
import type { ConnectHeader, ConnectRecord } from '../connect/data/record.ts'
import { ConnectSchema, OPTIONAL_STRING_SCHEMA } from '../connect/data/schema.ts'
import { NO_SCHEMA, tooLarge } from '../dead-letters/append-letter.ts'
import { isReadFailure, type ReadFailure, type SchemaAndValue } from '../formats/format.ts'
import { sampleText } from '../formats/json/connect-text.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import { readHeaders } from '../kafka/record-headers.ts'
import { ConnectRows, fieldsOfRecord } from './connect-rows.ts'
import type { BlockDecoder, DecodeNeeds, DecodePlan } from './decode-plan.ts'
import type { DecodeFailure } from './decoder.ts'
import { homeless } from './homeless.ts'
import { createSelection, type Selection, select } from './selection.ts'
import type { TableRows } from './table-rows.ts'
import { createWriters, NO_VALUE } from './writers.ts'

/** The chain for one record: what it makes of it, undefined where it drops it, or why it refuses it. */
export type TransformRecord = (record: ConnectRecord) => ConnectRecord | undefined | ReadFailure

const OPTIONAL_BYTES_SCHEMA = new ConnectSchema({ type: 'bytes', optional: true })
const NOTHING: SchemaAndValue = { schema: undefined, value: null }
const MALFORMED_HEADERS: ReadFailure = {
  failure: { reason: 'the headers are malformed', column: undefined, kind: 'key' },
}

export function createGeneralBlock(
  plan: DecodePlan,
  tables: ReadonlyMap<string, TableRows>,
  transform: TransformRecord,
): BlockDecoder {
  const values = createSelection(createWriters(plan.value, plan))
  const keys = plan.key && createSelection(createWriters(plan.key, plan))
  const rows = new Map([...tables].map(([name, table]) => [name, new ConnectRows(plan, table)]))

  function rowsOf(topic: string): ConnectRows[] {
    const names = Object.hasOwn(plan.routes, topic) ? plan.routes[topic] : []
    return names.flatMap((name) => rows.get(name) ?? [])
  }

  function unknownSchemas({ topic }: RecordBlock): DecodeNeeds['schemas'] {
    const ids = [...values.unknown].map((id) => ({ id, isKey: false, topic }))
    for (const id of keys?.unknown ?? []) if (!values.unknown.has(id)) ids.push({ id, isKey: true, topic })
    return ids
  }

  function readRecord(block: RecordBlock, index: number): ConnectRecord | ReadFailure {
    const { bytes, headerStarts, headerEnds, timestamps } = block
    const length = block.valueEnds[index] - block.valueStarts[index]
    if (length > plan.recordBytesMax) return { failure: tooLarge(length, plan.recordBytesMax) }
    const key = keys ? readPart(keys, block, index, block.keyStarts) : rawKey(block, index)
    if (isReadFailure(key)) return { failure: { ...key.failure, reason: `key: ${key.failure.reason}`, kind: 'key' } }
    const value = readPart(values, block, index, block.valueStarts)
    if (isReadFailure(value)) return value
    const headers = readHeaders(bytes, headerStarts[index], headerEnds[index])
    if (!headers) return MALFORMED_HEADERS
    return {
      topic: block.topic,
      partition: block.partition,
      keySchema: key.schema,
      key: key.value,
      valueSchema: value.schema,
      value: value.value,
      timestamp: Number.isNaN(timestamps[index]) ? undefined : timestamps[index],
      headers: headers.map(headerOf),
      offset: BigInt(block.offsets[index]),
    }
  }

  return {
    decode(block, first, source, arrivedMicros, isFinal) {
      values.writers.renew()
      keys?.writers.renew()
      select(values, block, first, block.valueStarts, block.valueEnds)
      if (keys) select(keys, block, first, block.keyStarts, block.keyEnds)
      const schemas = unknownSchemas(block)
      if (schemas.length > 0 && !isFinal) return { kind: 'needs', schemas, columns: [], topics: [] }
      const used = new Set<ConnectRows>()
      const topics = new Map<string, { fields: DecodeNeeds['topics'][number]['fields']; samples: Uint8Array[] }>()
      let dead = 0
      let filtered = 0
      let deadReason: string | undefined

      function bury(index: number, failure: DecodeFailure, fed: readonly ConnectRows[]): void {
        // A topic that only a router gives a table has none for what the router never saw.
        const own = fed.length > 0 ? fed : [...rows.values()].slice(0, 1)
        if (own.length === 0 && isFinal) throw homeless(block.topic)
        if (own.length === 0) topics.set(block.topic, { fields: [], samples: [] })
        for (const each of own) {
          each.rows.bury(block, index, source, arrivedMicros, failure)
          used.add(each)
        }
        deadReason ??= failure.reason
      }

      function lackTopic(record: ConnectRecord): void {
        let entry = topics.get(record.topic)
        if (!entry) {
          entry = { fields: fieldsOfRecord(record, plan), samples: [] }
          topics.set(record.topic, entry)
        }
        if (record.valueSchema === undefined) entry.samples.push(Buffer.from(sampleText(record.value)))
      }

      for (const each of rows.values()) each.begin()
      for (let index = first; index < block.count; index += 1) {
        const read = readRecord(block, index)
        const record = 'failure' in read ? read : transform(read)
        if (record === undefined || (!('failure' in record) && record.value === null)) {
          filtered += 1
          continue
        }
        if ('failure' in record) {
          bury(index, record.failure, rowsOf(block.topic))
          dead += 1
          continue
        }
        const fed = rowsOf(record.topic)
        if (fed.length === 0 || fed.some(({ rows: { schema } }) => !schema)) lackTopic(record)
        let isDead = fed.length === 0
        if (fed.length === 0) bury(index, { reason: `topic "${record.topic}" has no table`, column: undefined }, [])
        for (const each of fed) {
          const { rows: table } = each
          used.add(each)
          const failure = table.builder ? appendRow(each, record) : NO_SCHEMA
          if (failure) bury(index, failure, [each])
          else {
            const { builder } = table
            builder!.finishRow(
              builder!.sourceIndex(source),
              block.partition,
              block.offsets[index],
              block.timestamps[index],
              arrivedMicros,
            )
          }
          isDead ||= failure !== undefined
        }
        if (isDead) dead += 1
      }

      function appendRow(each: ConnectRows, record: ConnectRecord): DecodeFailure | undefined {
        try {
          return each.append(record, isFinal)
        } catch (error) {
          if (!isMillraceError(error, 'conversion-failed')) throw error
          return { reason: error.message, column: undefined }
        }
      }

      const columns = [...rows.values()].flatMap(({ asks }) => [...asks.values()])
      if ((columns.length > 0 || topics.size > 0) && !isFinal) {
        for (const each of rows.values()) each.rows.clear()
        const lacking = [...topics].map(([topic, entry]) => ({ topic, ...entry }))
        return { kind: 'needs', schemas: [], columns, topics: lacking }
      }
      return {
        kind: 'decoded',
        pieces: [...used].flatMap((each) => each.rows.seal()),
        dead,
        filtered,
        unknownKeys: [...used].reduce((sum, { unknownKeys }) => sum + unknownKeys, 0),
        deadReason,
      }
    },
  }
}

function readPart(
  selection: Selection,
  block: RecordBlock,
  index: number,
  starts: Int32Array,
): SchemaAndValue | ReadFailure {
  const { writers } = selection
  if (starts[index] < 0) return NOTHING
  const writer = selection.index[index]
  if (writer === NO_VALUE) return NOTHING
  if (writer < 0) return { failure: selection.failures.get(index)! }
  return writers.list[writer].read(block.bytes, selection.starts[index], selection.ends[index])
}

/** Without a key converter. */
function rawKey({ bytes, keyStarts, keyEnds }: RecordBlock, index: number): SchemaAndValue {
  if (keyStarts[index] < 0) return NOTHING
  return { schema: OPTIONAL_BYTES_SCHEMA, value: bytes.slice(keyStarts[index], keyEnds[index]) }
}

function headerOf({ name, value }: { name: string; value: Uint8Array | null }): ConnectHeader {
  if (value === null) return { name, schema: OPTIONAL_STRING_SCHEMA, value: null }
  if (!isUtf8(value)) return { name, schema: OPTIONAL_BYTES_SCHEMA, value: value.slice() }
  return { name, schema: OPTIONAL_STRING_SCHEMA, value: Buffer.from(value).toString('utf8') }
}
