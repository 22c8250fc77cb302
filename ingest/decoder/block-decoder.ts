/**
 * A block of records → rows of every table it goes to, and dead letters, by a plan.
 *
 * 1. Writers: each record's value (and key, where keys make columns) is given its writer: none, the one of all, or by the
 *    registry's id or the envelope's schema in it. Ids that the plan lacks end here: they are asked for.
 * 2. Tables: what a writer's records come to in each table of the topic. Columns that a table lacks are asked for.
 * 3. Rows: value, then key, then headers are written into one row; what fails is a dead letter with its reason, whole.
 * 4. Keys of JSON without a schema that no column has: looked at once, and asked for.
 *
 * What is asked for is asked once: the owner's answer is in the next plan, or `isFinal` says that there is none. Nothing of a
 * block that asked is kept. With transforms every record goes the general way (`general-block.ts`).
 *
 * A record goes to all tables of its topic. Builders stay with the decoder and are empty between blocks.
 */
import { compileTransforms } from '../connect/transforms/compile-transforms.ts'
import { TransformFailure } from '../connect/transforms/transform.ts'
import { NO_SCHEMA, tooLarge } from '../dead-letters/append-letter.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import type { BlockDecoder, CreateBlockDecoder, DecodeNeeds, DecodePlan } from './decode-plan.ts'
import type { DecodeFailure } from './decoder.ts'
import { refusalKey } from './fit-record.ts'
import { createGeneralBlock, type TransformRecord } from './general-block.ts'
import { putHeaders } from './headers-column.ts'
import { homeless } from './homeless.ts'
import { findNewFields, firstNewKey, SCHEMALESS } from './new-fields.ts'
import { createSelection, type Selection, select, writersIn } from './selection.ts'
import { keyFields, type Prepared, TableRows } from './table-rows.ts'
import { bodyEnd, bodyStart, createWriters, NO_VALUE, UNREADABLE, type Writer, writerFailure } from './writers.ts'

export const createBlockDecoder: CreateBlockDecoder = (plan) => {
  const tables = new Map(Object.values(plan.tables).map((table) => [table.name, new TableRows(plan, table)]))
  if (plan.transforms.length > 0) return createGeneralBlock(plan, tables, compileChain(plan))
  return createCompiledBlock(plan, tables)
}

function compileChain(plan: DecodePlan): TransformRecord {
  const transform = compileTransforms(plan.transforms)
  return (record) => {
    try {
      return transform(record)
    } catch (failure) {
      if (!(failure instanceof TransformFailure)) throw failure
      return { failure: { reason: failure.message, column: undefined, kind: 'transform' } }
    }
  }
}

function createCompiledBlock(plan: DecodePlan, tables: ReadonlyMap<string, TableRows>): BlockDecoder {
  const values = createSelection(createWriters(plan.value, plan))
  const keys = plan.key && plan.keyColumns ? createSelection(createWriters(plan.key, plan)) : undefined
  const prefix = plan.keyColumns?.prefix ?? ''
  let deadReason: string | undefined

  function tablesOf(topic: string): TableRows[] {
    const names = Object.hasOwn(plan.routes, topic) ? plan.routes[topic] : []
    return names.flatMap((name) => tables.get(name) ?? [])
  }

  /** What the plan lacks for this block: schemas first, since nobody knows columns without them. */
  function lacking(block: RecordBlock, first: number, fed: readonly TableRows[]): DecodeNeeds | undefined {
    const { topic } = block
    const ids = [...values.unknown].map((id) => ({ id, isKey: false, topic }))
    for (const id of keys?.unknown ?? []) if (!values.unknown.has(id)) ids.push({ id, isKey: true, topic })
    if (ids.length > 0) return { kind: 'needs', schemas: ids, columns: [], topics: [] }
    if (!hasValue(block, first)) return undefined
    if (fed.length === 0 || fed.some(({ schema }) => !schema)) return lackingTopic(block, first)
    const columns: DecodeNeeds['columns'][number][] = []
    for (const table of fed) {
      const prepared = writersIn(values, block, first).map((writer) => table.prepareValue(writer))
      if (keys) for (const writer of writersIn(keys, block, first)) prepared.push(table.prepareKey(writer, prefix))
      if (table.headers) prepared.push(table.headers)
      for (const { ask } of prepared) if (ask) columns.push(ask)
    }
    return columns.length === 0 ? undefined : { kind: 'needs', schemas: [], columns, topics: [] }
  }

  /** By the first schema of values and of keys: what others have beside it is asked for once there is a table. */
  function lackingTopic(block: RecordBlock, first: number): DecodeNeeds {
    const firstOf = (selection: Selection) => writersIn(selection, block, first).find(({ format }) => format)?.format
    const fields = [...(firstOf(values)?.columns.fields ?? [])]
    const key = keys && firstOf(keys)
    if (key) fields.push(...keyFields(key.columns, prefix))
    const names = new Set<string>()
    const samples = Array.from(recordsOf(block, first, values), (record) => new Uint8Array(record))
    const distinct = fields.filter(({ name }) => !names.has(name.toLowerCase()) && names.add(name.toLowerCase()))
    return { kind: 'needs', schemas: [], columns: [], topics: [{ topic: block.topic, fields: distinct, samples }] }
  }

  /** The hot loop: about 0.5 µs a record of plain JSON (bench/decoder.ts); no object, closure or bigint per record. */
  function append(
    table: TableRows,
    block: RecordBlock,
    first: number,
    source: string,
    arrived: number,
    dead: Uint8Array,
  ): void {
    const { builder } = table
    const { offsets, timestamps, bytes, partition, count, valueStarts, valueEnds } = block
    const { recordBytesMax } = plan
    const sourceIndex = builder?.sourceIndex(source) ?? 0
    const { index: writerOf, starts, ends } = values
    const prepared = builder ? values.writers.list.map((writer) => table.prepareValue(writer)) : []
    const isStrict = table.plan.evolution === 'fail'
    const only = prepared.length === 1 && !isStrict ? prepared[0].decoder : undefined
    const isPlain = !keys && !table.headers
    for (let index = first; index < count; index += 1) {
      const start = valueStarts[index]
      const writer = writerOf[index]
      if (start < 0 || writer === NO_VALUE) continue
      const length = valueEnds[index] - start
      let failure: DecodeFailure | undefined
      if (length > recordBytesMax) failure = tooLarge(length, recordBytesMax)
      else if (!builder) failure = values.failures.get(index) ?? noTable(values.writers.list[writer])
      else if (only && writer === 0) failure = only.decode(bytes, starts[index], ends[index], builder)
      else failure = decodeOdd(table, prepared, block, index)
      if (failure && values.writers.selectAgain && builder && length <= recordBytesMax) {
        failure = decodeAgain(table, block, index, failure)
      }
      if (failure === undefined && !isPlain) failure = appendRest(table, block, index)
      if (failure === undefined) {
        builder?.finishRow(sourceIndex, partition, offsets[index], timestamps[index], arrived)
        continue
      }
      deadReason ??= failure.reason
      table.bury(block, index, source, arrived, failure)
      dead[index] = 1
    }
  }

  function decodeOdd(
    table: TableRows,
    prepared: readonly Prepared[],
    block: RecordBlock,
    index: number,
  ): DecodeFailure | undefined {
    const writer = values.index[index]
    if (writer < 0) return values.failures.get(index)
    const { decoder, open, failure } = prepared[writer]
    if (!decoder) return failure
    const { bytes } = block
    const [start, end] = [values.starts[index], values.ends[index]]
    const before = open?.newKeys
    const refused = decoder.decode(bytes, start, end, table.builder!)
    if (refused || open?.newKeys === before || table.plan.evolution !== 'fail') return refused
    const field = firstNewKey(table.plan, bytes.subarray(start, end), (path) => table.isFutile(path))
    return {
      reason: `field "${field}" is no column of table "${table.plan.name}", whose evolution is fail`,
      column: field,
      kind: 'schema',
    }
  }

  /** Keys of records without a schema that might become columns of the table. */
  function wishes(
    table: TableRows,
    block: RecordBlock,
    first: number,
    isFinal: boolean,
    of: { readonly selection: Selection; readonly isKey: boolean },
  ): DecodeNeeds['columns'] {
    const { plan: own } = table
    if (own.evolution !== 'evolve' || own.isFull || table.isTired) return []
    const found = of.isKey
      ? table.newKeyFields(recordsOf(block, first, of.selection), prefix)
      : findNewFields(own, recordsOf(block, first, of.selection), (path) => table.isFutile(path))
    const isRefused = isFinal || Object.hasOwn(plan.refusedSchemas, refusalKey(own.name, SCHEMALESS))
    table.forget(found.futile)
    if (!isRefused) return found.columns
    table.forget(found.paths)
    return []
  }

  /** Those of the block that have no schema. */
  function* recordsOf(block: RecordBlock, first: number, selection: Selection): Generator<Uint8Array> {
    const { index: writerOf, starts, ends, writers } = selection
    for (let index = first; index < block.count; index += 1) {
      const writer = writerOf[index]
      if (starts[index] < 0 || block.valueStarts[index] < 0 || writer < 0 || writers.list[writer].format) continue
      yield block.bytes.subarray(starts[index], ends[index])
    }
  }

  /** The shortcut to an envelope's payload may have been none. */
  function decodeAgain(
    table: TableRows,
    block: RecordBlock,
    index: number,
    before: DecodeFailure,
  ): DecodeFailure | undefined {
    const { writers, starts, ends } = values
    const writer = writers.selectAgain!(block.bytes, block.valueStarts[index], block.valueEnds[index])
    if (writer === UNREADABLE) return writerFailure
    if (writer < 0 || (bodyStart === starts[index] && bodyEnd === ends[index])) return before
    const [start, end] = [bodyStart, bodyEnd]
    const { decoder, failure } = table.prepareValue(writers.list[writer])
    return decoder ? decoder.decode(block.bytes, start, end, table.builder!) : failure
  }

  /** Key columns and headers of the row that the value has been written into. */
  function appendRest(table: TableRows, block: RecordBlock, index: number): DecodeFailure | undefined {
    const builder = table.builder!
    const failure = keys && appendKey(table, keys, block, index)
    if (failure) {
      const named = `${prefix}${failure.column}`
      const column = table.schema?.columns.some(({ name }) => name === named) ? named : failure.column
      return { reason: `key: ${failure.reason}`, column, kind: 'key' }
    }
    const { headers, headersIndex } = table
    if (!headers) return undefined
    if (headers.failure || headersIndex < 0) return headers.failure
    const { bytes, headerStarts, headerEnds } = block
    const fault = putHeaders(
      builder.user[headersIndex],
      builder.rowCount,
      bytes,
      headerStarts[index],
      headerEnds[index],
    )
    return fault && { ...fault, kind: 'key' }
  }

  function appendKey(table: TableRows, keys: Selection, block: RecordBlock, index: number): DecodeFailure | undefined {
    const builder = table.builder!
    const writer = keys.index[index]
    const length = block.keyEnds[index] - block.keyStarts[index]
    if (length > plan.recordBytesMax) return tooLarge(length, plan.recordBytesMax)
    if (block.keyStarts[index] < 0 || writer === NO_VALUE) return table.markNoKey(builder.rowCount)
    if (writer < 0) return keys.failures.get(index)
    const { decoder, failure } = table.prepareKey(keys.writers.list[writer], prefix)
    return decoder ? decoder.decode(block.bytes, keys.starts[index], keys.ends[index], builder) : failure
  }

  function freshInKeys(table: TableRows, { writers }: Selection): number {
    if (!table.builder) return 0
    return writers.list.reduce((sum, writer) => sum + (table.prepareKey(writer, prefix).open?.newKeys ?? 0), 0)
  }

  return {
    decode(block, first, source, arrivedMicros, isFinal) {
      const fed = tablesOf(block.topic)
      const isRenewed = values.writers.renew()
      if (keys?.writers.renew() || isRenewed) for (const table of tables.values()) table.forgetWriters()
      select(values, block, first, block.valueStarts, block.valueEnds)
      if (keys) select(keys, block, first, block.keyStarts, block.keyEnds)
      const needs = lacking(block, first, fed)
      if (needs && !isFinal) return needs
      if (fed.length === 0 && hasValue(block, first)) throw homeless(block.topic)
      deadReason = undefined
      const dead = new Uint8Array(block.count)
      const before = fed.map((table) => countKeys(table, values))
      const keysBefore = fed.map((table) => (keys ? freshInKeys(table, keys) : 0))
      for (const table of fed) append(table, block, first, source, arrivedMicros, dead)
      const after = fed.map((table) => countKeys(table, values))
      const columns = fed.flatMap((table, index) => {
        const asked: DecodeNeeds['columns'][number][] = []
        const isNew = after[index].fresh > before[index].fresh
        const isNewKey = keys !== undefined && freshInKeys(table, keys) > keysBefore[index]
        if (isNew) asked.push(...wishes(table, block, first, isFinal, { selection: values, isKey: false }))
        if (isNewKey) asked.push(...wishes(table, block, first, isFinal, { selection: keys, isKey: true }))
        return asked
      })
      if (columns.length > 0) {
        for (const table of fed) table.clear()
        return { kind: 'needs', schemas: [], columns, topics: [] }
      }
      let deadCount = 0
      let filtered = 0
      for (let index = first; index < block.count; index += 1) {
        if (block.valueStarts[index] < 0 || values.index[index] === NO_VALUE) filtered += 1
        else deadCount += dead[index]
      }
      return {
        kind: 'decoded',
        pieces: fed.flatMap((table) => table.seal()),
        dead: deadCount,
        filtered,
        unknownKeys: after.reduce((sum, { unknown }, index) => sum + unknown - before[index].unknown, 0),
        deadReason,
      }
    },
  }
}

function countKeys(table: TableRows, { writers }: Selection): { unknown: number; fresh: number } {
  let unknown = 0
  let fresh = 0
  if (!table.builder) return { unknown, fresh }
  for (const writer of writers.list) {
    const { decoder, open } = table.prepareValue(writer)
    unknown += decoder?.unknownKeys ?? 0
    fresh += open?.newKeys ?? 0
  }
  return { unknown, fresh }
}

/** Why a record has no table to go to: its schema, where that says more than that there is none. */
function noTable({ format, problem }: Writer): DecodeFailure {
  if (problem) return problem
  return format ? { ...NO_SCHEMA, reason: `records of ${format.columns.name} make no columns` } : NO_SCHEMA
}

function hasValue(block: RecordBlock, first: number): boolean {
  for (let index = first; index < block.count; index += 1) if (block.valueStarts[index] >= 0) return true
  return false
}
