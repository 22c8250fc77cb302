/**
 * Connect records → rows of one table: what is behind transforms.
 *
 * A value with a schema asks for the columns of that schema, as any writer's does; one without (a map) is looked into by its
 * keys, as JSON without a schema is. Whatever schema object a transform made, schemas that say the same columns are one.
 */

import { formatPath } from '../../schemas/column-path.ts'
import { formatColumnType } from '../../schemas/column-type.ts'
import { keysOfFields } from '../../schemas/match-fields.ts'
import type { RecordField, RecordSchema } from '../../schemas/record-schema.ts'
import { type Column, HIDDEN_COLUMNS, userColumns } from '../../schemas/table-schema.ts'
import type { ConnectRecord } from '../connect/data/record.ts'
import { recordFieldOf, recordSchemaOf } from '../connect/data/record-fields.ts'
import type { ConnectSchema } from '../connect/data/schema.ts'
import { type ConnectValue, isMap, Struct } from '../connect/data/values.ts'
import { ConnectMisfit, columnValue, createPlaces } from '../formats/connect-value.ts'
import { WHOLE_VALUE } from '../formats/format.ts'
import { connectJsonText, sampleText } from '../formats/json/connect-text.ts'
import type { DecodeNeeds, DecodePlan } from './decode-plan.ts'
import type { DecodeFailure } from './decoder.ts'
import { fitRecord, refusalKey } from './fit-record.ts'
import type { GeneralValue } from './general-value.ts'
import { findNewFields, SCHEMALESS } from './new-fields.ts'
import { keyFields, type TableRows, wholeKeyColumn } from './table-rows.ts'

type Ask = DecodeNeeds['columns'][number]
type Fit = { readonly failure: DecodeFailure | undefined; readonly ask: Ask | undefined; readonly unknown: number }

const FITS: Fit = { failure: undefined, ask: undefined, unknown: 0 }

export class ConnectRows {
  readonly rows: TableRows
  /** What the block lacks so far. */
  readonly asks = new Map<string, Ask>()
  unknownKeys = 0
  private readonly plan: DecodePlan
  private readonly columns: readonly Column[]
  private readonly values: GeneralValue[]
  private readonly fits = new Map<string, Fit>()
  private readonly fitOf = new WeakMap<ConnectSchema, Fit>()
  private readonly keyFitOf = new WeakMap<ConnectSchema, Fit>()
  private readonly places = createPlaces()
  private readonly isOther: ReadonlySet<string>
  private readonly keysOfColumns: ReadonlyMap<string, number>

  constructor(plan: DecodePlan, rows: TableRows) {
    this.plan = plan
    this.rows = rows
    this.columns = rows.schema ? userColumns(rows.schema) : []
    this.values = this.columns.map(() => null)
    this.isOther = new Set(rows.otherColumns)
    this.keysOfColumns = keysOfFields(this.columns)
  }

  /** Of a new block. */
  begin(): void {
    this.asks.clear()
    this.unknownKeys = 0
  }

  /** The record's user columns into the row at hand; the reason when it cannot be one, with `asks` where columns are missing. */
  append(record: ConnectRecord, isFinal: boolean): DecodeFailure | undefined {
    const { values, columns } = this
    values.fill(null)
    try {
      const failure = this.putValue(record, isFinal) ?? this.putKey(record) ?? this.putHeaders(record)
      if (failure) return failure
      for (const [index, column] of columns.entries()) {
        if (values[index] !== null || !column.required) continue
        const type = formatColumnType(column.type)
        return {
          reason: `column "${column.name}": expected ${type}, found nothing; it is required`,
          column: column.name,
        }
      }
    } catch (misfit) {
      if (!(misfit instanceof ConnectMisfit)) throw misfit
      return misfit
    }
    this.rows.builder!.appendValues(values)
    return undefined
  }

  private putValue({ value, valueSchema }: ConnectRecord, isFinal: boolean): DecodeFailure | undefined {
    if (valueSchema === undefined) return this.putOpen(value, isFinal)
    const fit = this.valueFit(valueSchema)
    if (fit.ask) this.ask(fit.ask)
    if (fit.failure) return fit.failure
    this.unknownKeys += fit.unknown
    if (!(value instanceof Struct)) {
      this.put(WHOLE_VALUE, value, valueSchema)
      return undefined
    }
    const places = this.places(value.schema, this.columns)
    for (const field of value.schema.fields) {
      const column = this.columns[places[field.index]]
      if (!column || this.isOther.has(column.name)) continue
      this.values[places[field.index]] = columnValue(column, value.get(field), field.schema, column.name, this.places)
    }
    return undefined
  }

  private put(name: string, value: ConnectValue, schema: ConnectSchema | undefined): void {
    const index = this.columns.findIndex((column) => column.name === name)
    if (index >= 0) this.values[index] = columnValue(this.columns[index], value, schema, name, this.places)
  }

  /** A map without a schema. */
  private putOpen(value: ConnectValue, isFinal: boolean): DecodeFailure | undefined {
    if (!isMap(value)) return { reason: 'expected fields, found a value that has none', column: undefined }
    let hasNew = false
    for (const [key, each] of value) {
      const position = typeof key === 'string' ? this.keysOfColumns.get(key) : undefined
      if (position === undefined || this.isOther.has(this.columns[position].name)) {
        this.unknownKeys += 1
        if (each !== null && !this.rows.isFutile(formatPath([String(key)]))) hasNew = true
        continue
      }
      const column = this.columns[position]
      this.values[position] = columnValue(column, each, undefined, column.name, this.places)
      if (isMap(each) || Array.isArray(each)) hasNew ||= column.type.kind !== 'json' && column.type.kind !== 'map'
    }
    return hasNew ? this.wish(value, isFinal) : undefined
  }

  private wish(value: ConnectValue, isFinal: boolean): DecodeFailure | undefined {
    const { rows } = this
    const { plan: table } = rows
    if (table.evolution === 'freeze' || table.isFull || rows.isTired) return undefined
    const found = findNewFields(table, [Buffer.from(sampleText(value))], (path) => rows.isFutile(path))
    if (table.evolution === 'fail') {
      const [field] = [...found.paths, ...found.futile]
      if (field === undefined) return undefined
      return {
        reason: `field "${field}" is no column of table "${table.name}", whose evolution is fail`,
        column: field,
        kind: 'schema',
      }
    }
    rows.forget(found.futile)
    const isRefused = isFinal || Object.hasOwn(this.plan.refusedSchemas, refusalKey(table.name, SCHEMALESS))
    if (isRefused) rows.forget(found.paths)
    else for (const ask of found.columns) this.ask(ask)
    return undefined
  }

  private putKey({ key, keySchema }: ConnectRecord): DecodeFailure | undefined {
    const { keyColumns } = this.plan
    if (!keyColumns || key === null) return undefined
    const { prefix } = keyColumns
    if (keySchema) {
      let fit = this.keyFitOf.get(keySchema)
      if (!fit) {
        const own = schemaOfConnect(keySchema, 'the key')
        fit = this.fitFields({ ...own, fields: keyFields(own, prefix) }, true)
        this.keyFitOf.set(keySchema, fit)
      }
      if (fit.ask) this.ask(fit.ask)
      if (fit.failure) return fit.failure
    }
    if (key instanceof Struct) {
      for (const field of key.schema.fields) this.put(`${prefix}${field.name}`, key.get(field), field.schema)
    } else if (isMap(key)) {
      for (const [name, each] of key) this.put(`${prefix}${String(name)}`, each, undefined)
    } else this.put(wholeKeyColumn(prefix), key, keySchema)
    return undefined
  }

  private putHeaders({ headers }: ConnectRecord): DecodeFailure | undefined {
    const { headers: prepared, headersIndex } = this.rows
    if (prepared?.ask) this.ask(prepared.ask)
    if (!prepared || prepared.failure || headersIndex < 0) return prepared?.failure
    const column = this.columns[headersIndex]
    const isText = column.type.kind === 'map' && column.type.value.type.kind === 'string'
    const made = new Map<GeneralValue, GeneralValue>()
    for (const { name, value, schema } of headers) {
      made.delete(name)
      made.set(name, value === null ? null : isText ? headerText(value, schema) : headerBytes(value, schema))
    }
    this.values[headersIndex] = made
    return undefined
  }

  private ask(ask: Ask): void {
    const fields = ask.fields.map(({ name, type }) => `${name} ${formatColumnType(type)}`).join()
    this.asks.set(`${ask.schemaName}/${fields}`, ask)
  }

  private valueFit(schema: ConnectSchema): Fit {
    let fit = this.fitOf.get(schema)
    if (!fit) {
      fit = this.fitFields(schemaOfConnect(schema, schema.name ?? 'records'), false)
      this.fitOf.set(schema, fit)
    }
    return fit
  }

  /** Transforms make schemas anew: those that come to the same columns have one name and one answer. */
  private fitFields(given: RecordSchema, isKey: boolean): Fit {
    const { rows, columns } = this
    const incoming = isKey ? given : { ...given, fields: given.fields.filter(({ name }) => !this.isOther.has(name)) }
    const known = this.fits.get(incoming.name)
    if (known) return known
    const own = columns.filter(({ name }) => rows.isKeyColumn(name) === isKey && name !== this.plan.headersColumn)
    const schema = { ...rows.schema!, columns: [...own, ...HIDDEN_COLUMNS] }
    const fit = fitRecord(this.plan, { ...rows.plan, schema }, incoming)
    const names = keysOfFields(own)
    const unknown = incoming.fields.filter(({ name }) => !names.has(name)).length
    const made: Fit =
      fit.kind === 'fits'
        ? { ...FITS, unknown }
        : fit.kind === 'dead'
          ? { ...FITS, failure: { reason: fit.reason, column: undefined, kind: 'schema' } }
          : {
              ask: { table: rows.plan.name, schemaName: incoming.name, fields: fit.fields },
              failure: {
                reason: `table "${rows.plan.name}" did not get the columns that ${incoming.name} need`,
                column: undefined,
                kind: 'schema',
              },
              unknown,
            }
    this.fits.set(incoming.name, made)
    return made
  }
}

/** What a table would get that is not there yet. */
export function fieldsOfRecord(record: ConnectRecord, plan: DecodePlan): readonly RecordField[] {
  const { valueSchema, keySchema } = record
  const fields = valueSchema ? [...schemaOfConnect(valueSchema, 'records').fields] : []
  if (keySchema && plan.keyColumns) fields.push(...keyFields(schemaOfConnect(keySchema, 'key'), plan.keyColumns.prefix))
  return fields
}

function schemaOfConnect(schema: ConnectSchema, label: string): RecordSchema {
  const made =
    schema.type === 'struct'
      ? recordSchemaOf(schema, label)
      : { name: label, fields: [recordFieldOf(WHOLE_VALUE, schema)] }
  const text = made.fields.map(({ name, type, required }) => `${name} ${formatColumnType(type)} ${required}`).join()
  return { ...made, name: `${label} after transforms (${textHash(text)})` }
}

function textHash(text: string): string {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return (value >>> 0).toString(16).padStart(8, '0')
}

function headerText(value: ConnectValue, schema: ConnectSchema | undefined): string {
  return typeof value === 'string' ? value.toWellFormed() : connectJsonText(value, schema)
}

function headerBytes(value: ConnectValue, schema: ConnectSchema | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : Buffer.from(headerText(value, schema))
}
