/**
 * Rows and dead letters of one table while a block is decoded, and how records of each writer get into its columns.
 *
 *   user columns   those with the key's prefix are the key's, one is the headers', all others the value's
 *   Prepared       what a writer's records come to here: a decoder, a question (`DecodeNeeds.columns`), or a reason to refuse
 *
 * Every part marks its own columns in each row, so that value, key and headers can be written one after the other; the row
 * counts when all of them took it.
 */
import { isNested } from '../../schemas/column-type.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { matchFields } from '../../schemas/match-fields.ts'
import type { RecordField, RecordSchema } from '../../schemas/record-schema.ts'
import { type Column, HIDDEN_COLUMNS, type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import { appendDeadLetter, headersOf } from '../dead-letters/append-letter.ts'
import { type Target, WHOLE_VALUE } from '../formats/format.ts'
import { createWholeDecoder } from '../formats/json/json-format.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import { type ColumnarBatchBuilder, createBatchBuilder } from './batch-builder.ts'
import type { DecodedPiece, DecodeNeeds, DecodePlan, TablePlan } from './decode-plan.ts'
import type { DecodeFailure, Decoder } from './decoder.ts'
import { fitRecord } from './fit-record.ts'
import { checkHeadersColumn, headersField } from './headers-column.ts'
import { createJsonDecoder, type JsonDecoder } from './json-decoder.ts'
import { findNewKeyFields, type NewFields } from './new-fields.ts'
import { skipSpace } from './scan-json.ts'
import type { Writer } from './writers.ts'

export type Prepared = {
  readonly decoder: Decoder | undefined
  /** The same decoder, of JSON without a schema: it knows which keys are new. */
  readonly open: JsonDecoder | undefined
  readonly failure: DecodeFailure | undefined
  readonly ask: DecodeNeeds['columns'][number] | undefined
}

const FUTILE_KEYS_MAX = 10_000

/** Column of a key that is no record. */
export function wholeKeyColumn(prefix: string): string {
  return prefix.replace(/[^\p{L}\p{N}]+$/u, '') || 'key'
}

export class TableRows {
  readonly plan: TablePlan
  readonly builder: ColumnarBatchBuilder | undefined
  readonly headersIndex: number
  readonly headers: Prepared | undefined
  private readonly whole: DecodePlan
  private readonly letters: ColumnarBatchBuilder
  private readonly pipeline: string
  private readonly valueTargets: readonly Target[]
  private readonly keyTargets: readonly Target[]
  private readonly values = new Map<Writer, Prepared>()
  private readonly keys = new Map<Writer, Prepared>()
  /** Of keys that turned out not to make columns. */
  private readonly futile = new Set<string>()
  /** Names of columns that are not the value's. */
  readonly otherColumns: readonly string[]

  constructor(whole: DecodePlan, plan: TablePlan) {
    this.whole = whole
    this.plan = plan
    this.builder = plan.schema && createBatchBuilder(plan.schema)
    this.letters = createBatchBuilder(plan.deadLetters.schema)
    this.pipeline = whole.pipeline
    const columns = plan.schema ? userColumns(plan.schema) : []
    const targets = columns.map((field, index) => ({ index, field }))
    const { headersColumn } = whole
    const isHeaders = ({ field }: Target) => field.name === headersColumn
    const isKey = ({ field: { name } }: Target) => this.isKeyColumn(name)
    this.headersIndex = targets.findIndex(isHeaders)
    this.keyTargets = targets.filter((target) => !isHeaders(target) && isKey(target))
    this.valueTargets = targets.filter((target) => !isHeaders(target) && !isKey(target))
    this.otherColumns = targets.filter((target) => !this.valueTargets.includes(target)).map(({ field }) => field.name)
    this.headers = headersColumn === undefined ? undefined : this.prepareHeaders(headersColumn, columns)
  }

  get schema(): TableSchema | undefined {
    return this.plan.schema
  }

  isKeyColumn(name: string): boolean {
    const { keyColumns, headersColumn } = this.whole
    if (!keyColumns || name === headersColumn) return false
    const { prefix } = keyColumns
    return name === wholeKeyColumn(prefix) || (prefix !== '' && name.startsWith(prefix))
  }

  /** Writers were forgotten: what was made for them goes too. */
  forgetWriters(): void {
    this.values.clear()
    this.keys.clear()
  }

  prepareValue(writer: Writer): Prepared {
    let prepared = this.values.get(writer)
    if (!prepared) {
      prepared = this.prepare(writer, this.valueTargets, undefined)
      this.values.set(writer, prepared)
    }
    return prepared
  }

  prepareKey(writer: Writer, prefix: string): Prepared {
    let prepared = this.keys.get(writer)
    if (!prepared) {
      prepared = this.prepare(writer, this.keyTargets, prefix)
      this.keys.set(writer, prepared)
    }
    return prepared
  }

  /** Every key column of the row null: the record has no key. */
  markNoKey(row: number): DecodeFailure | undefined {
    for (const { index, field } of this.keyTargets) {
      if (field.required)
        return { reason: `column "${field.name}": the record has no key; it is required`, column: field.name }
      this.builder!.user[index].markNull(row)
      this.builder!.hasNulls = true
    }
    return undefined
  }

  /** `prefix`: of key columns. */
  private prepare(writer: Writer, targets: readonly Target[], prefix: string | undefined): Prepared {
    const { schema } = this
    if (writer.problem || !schema) return refuse(writer.problem ?? { reason: 'no schema', column: undefined })
    try {
      if (!writer.format) return this.prepareOpen(schema, targets, prefix)
      const { format } = writer
      const incoming = this.incoming(format.columns, targets, prefix, format.isText === true)
      const columns = [...targets.map(({ field }) => field), ...HIDDEN_COLUMNS]
      const fit = fitRecord(this.whole, { ...this.plan, schema: { ...schema, columns } }, incoming)
      if (fit.kind === 'dead') return refuse({ reason: fit.reason, column: undefined })
      if (fit.kind === 'ask') {
        const { name } = this.plan
        const failure: DecodeFailure = {
          kind: 'schema',
          reason: `table "${name}" did not get the columns that records of ${incoming.name} need`,
          column: undefined,
        }
        const ask = { table: name, schemaName: incoming.name, fields: fit.fields }
        return { decoder: undefined, open: undefined, failure, ask }
      }
      const decoder = format.createDecoder(schema, renamed(targets, prefix, isWhole(format.columns)))
      return { decoder, open: undefined, failure: undefined, ask: undefined }
    } catch (error) {
      if (!isMillraceError(error, 'type-mismatch')) throw error
      return refuse({ reason: error.message, column: undefined })
    }
  }

  private prepareOpen(schema: TableSchema, targets: readonly Target[], prefix: string | undefined): Prepared {
    const known = [...this.plan.ignoredKeys, ...this.futile]
    const open =
      prefix === undefined
        ? createJsonDecoder(schema, { targets, ignoredKeys: [...known, ...this.otherColumns] })
        : this.openKey(schema, targets, prefix, known)
    return { decoder: open, open, failure: undefined, ask: undefined }
  }

  /** A key of JSON without a schema: an object's fields, or the whole of any other value. */
  private openKey(schema: TableSchema, targets: readonly Target[], prefix: string, known: string[]): JsonDecoder {
    const ignoredKeys = known.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length))
    const fields = createJsonDecoder(schema, { targets: renamed(targets, prefix, false), ignoredKeys })
    const name = wholeKeyColumn(prefix)
    const whole = createWholeDecoder(schema, renamed(targets, prefix, true), undefined)
    const isNew = !targets.some(({ field }) => field.name === name) && !known.includes(name)
    let wholeKeys = 0
    return {
      get unknownKeys() {
        return fields.unknownKeys
      },
      get newKeys() {
        return fields.newKeys + wholeKeys
      },
      decode(bytes, start, end, target) {
        const at = skipSpace(bytes, start, end)
        if (at >= end || bytes[at] === 0x7b) return fields.decode(bytes, start, end, target)
        const failure = whole.decode(bytes, start, end, target)
        if (!failure && isNew && bytes[at] !== 0x6e) wholeKeys += 1
        return failure
      },
    }
  }

  /** What keys without a schema would make. */
  newKeyFields(records: Iterable<Uint8Array>, prefix: string): NewFields {
    const columns = renamed(this.keyTargets, prefix, false).map(({ field }) => field)
    return findNewKeyFields(this.plan, columns, records, prefix, wholeKeyColumn(prefix), (path) => this.isFutile(path))
  }

  /** These keys of JSON without a schema make no columns: they are not new any more. */
  forget(paths: readonly string[]): void {
    if (paths.length === 0) return
    for (const path of paths) this.futile.add(path)
    for (const [writer, { open }] of this.values) if (open) this.values.delete(writer)
    for (const [writer, { open }] of this.keys) if (open) this.keys.delete(writer)
  }

  isFutile(path: string): boolean {
    return this.futile.has(path) || this.plan.ignoredKeys.includes(path) || this.otherColumns.includes(path)
  }

  /** So many keys made no columns that no more are looked at: each block may bring others. */
  get isTired(): boolean {
    return this.futile.size >= FUTILE_KEYS_MAX
  }

  /** The columns that the writer's records want here. */
  private incoming(
    columns: RecordSchema,
    targets: readonly Target[],
    prefix: string | undefined,
    isText: boolean,
  ): RecordSchema {
    let { fields } = columns
    if (prefix !== undefined) fields = keyFields(columns, prefix)
    if (isText) {
      const own = targets.map(({ field }) => field)
      const matched = matchFields(fields, own)
      fields = fields.map((field, index) => {
        const column = own[matched[index]]
        return column && !isNested(column.type) ? { ...field, type: column.type, required: column.required } : field
      })
    }
    // Other parts of the row are asked for by themselves.
    const elsewhere = prefix === undefined ? new Set(this.otherColumns) : new Set<string>()
    return { name: columns.name, fields: fields.filter(({ name }) => !elsewhere.has(name)) }
  }

  private prepareHeaders(name: string, columns: readonly Column[]): Prepared {
    const column = columns.find((each) => each.name === name)
    if (!column) {
      const ask = { table: this.plan.name, schemaName: 'headers', fields: [headersField(name)] }
      const isAsked = this.plan.schema !== undefined && !this.plan.ignoredKeys.includes(name) && !this.plan.isFull
      return { decoder: undefined, open: undefined, failure: undefined, ask: isAsked ? ask : undefined }
    }
    try {
      checkHeadersColumn(column)
    } catch (error) {
      if (!isMillraceError(error, 'type-mismatch')) throw error
      return refuse({ reason: error.message, column: name })
    }
    return { decoder: undefined, open: undefined, failure: undefined, ask: undefined }
  }

  bury(block: RecordBlock, index: number, source: string, arrived: number, failure: DecodeFailure): void {
    const { bytes, offsets, timestamps, partition, topic, keyStarts, keyEnds, valueStarts, valueEnds } = block
    const { letters } = this
    appendDeadLetter(letters, {
      topic,
      partition,
      offset: offsets[index],
      failure,
      key: keyStarts[index] < 0 ? null : bytes.subarray(keyStarts[index], keyEnds[index]),
      value: valueStarts[index] < 0 ? null : bytes.subarray(valueStarts[index], valueEnds[index]),
      headers: headersOf(block, index),
      pipeline: this.pipeline,
    })
    letters.finishRow(letters.sourceIndex(source), partition, offsets[index], timestamps[index], arrived)
  }

  seal(): DecodedPiece[] {
    const pieces: DecodedPiece[] = []
    const { deadLetters, tableId, schema } = this.plan
    if (schema && this.builder && this.builder.rowCount > 0) {
      pieces.push({ tableId, schemaId: schema.schemaId, batch: this.builder.seal() })
    }
    if (this.letters.rowCount > 0) {
      const { tableId: lettersId, schema: own } = deadLetters
      pieces.push({ tableId: lettersId, schemaId: own.schemaId, batch: this.letters.seal() })
    }
    return pieces
  }

  /** Nothing of the block stays. */
  clear(): void {
    this.builder?.truncate(0)
    this.letters.truncate(0)
  }
}

function refuse(failure: DecodeFailure): Prepared {
  return { decoder: undefined, open: undefined, failure: { ...failure, kind: 'schema' }, ask: undefined }
}

function isWhole({ fields }: RecordSchema): boolean {
  return fields.length === 1 && fields[0].name === WHOLE_VALUE
}

/** Key columns may always be null: a record may have no key. Numbers and aliases say something among fields of the key only. */
export function keyFields(columns: RecordSchema, prefix: string): RecordField[] {
  if (isWhole(columns)) return [{ ...columns.fields[0], name: wholeKeyColumn(prefix), required: false }]
  return columns.fields.map(({ sourceId, aliases, ...field }) => ({
    ...field,
    name: `${prefix}${field.name}`,
    required: false,
  }))
}

/** Key columns under the names that the key's writer knows. */
function renamed(targets: readonly Target[], prefix: string | undefined, whole: boolean): readonly Target[] {
  if (prefix === undefined) return targets
  return targets.map(({ index, field }) => {
    const isOwn = whole ? field.name === wholeKeyColumn(prefix) : field.name.startsWith(prefix)
    // A column that this key does not have under any name.
    const name = isOwn ? (whole ? WHOLE_VALUE : field.name.slice(prefix.length)) : `\u0000${field.name}`
    const { sourceId, formerNames, ...rest } = field
    return { index, field: { ...rest, name } }
  })
}
