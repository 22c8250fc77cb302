/**
 * An Avro value as JSON text, for columns of type json: the general way, with text in between.
 *
 *   int, long, float, double, boolean, null   as in JSON; a float that is no number as text ("NaN")
 *   string, enum, uuid                        text
 *   bytes, fixed, duration                    text in base64
 *   decimal                                   a number with all its digits
 *   date, time-*, timestamp-*                 text: 2026-01-31, 23:59:59.123456, 2026-01-31T23:59:59.123456Z (local: without Z)
 *   record, map                               an object             array    an array
 *   union                                     the value of its branch
 */
import { decimalText, floorDiv, signedOf } from '../binary/put-values.ts'
import { dateText, timestampText, timeText } from '../binary/temporal-text.ts'
import { AvroCursor, Stop } from './avro-cursor.ts'
import type { AvroType } from './avro-type.ts'
import { problem, problemAt } from './avro-wire.ts'
import type { ReadNode } from './read-plan.ts'

export type JsonTextResult =
  | { readonly text: string; readonly at: number }
  | { readonly text: undefined; readonly problem: string; readonly at: number }

export function readJsonText(node: ReadNode, bytes: Uint8Array, at: number, end: number): JsonTextResult {
  const cursor = new AvroCursor(node, bytes, at, end)
  try {
    return { text: jsonOf(node.type, cursor), at: cursor.at }
  } catch (error) {
    if (error instanceof Stop) return { text: undefined, problem, at: problemAt }
    // A text longer than the engine can hold: names of fields stand in it for every item.
    if (error instanceof RangeError) return { text: undefined, problem: 'a value of too much JSON text', at }
    throw error
  }
}

function jsonOf(type: AvroType, cursor: AvroCursor): string {
  switch (type.kind) {
    case 'null':
      return 'null'
    case 'boolean':
      return String(cursor.boolean())
    case 'int':
    case 'long':
      return integerText(type, type.kind === 'int' ? BigInt(cursor.int()) : cursor.long())
    case 'float':
    case 'double': {
      const value = type.kind === 'float' ? cursor.float() : cursor.double()
      return Number.isFinite(value) ? String(value) : `"${value}"`
    }
    case 'string':
      return JSON.stringify(cursor.text())
    case 'bytes':
    case 'fixed':
      return bytesText(type, cursor.span(type.kind === 'fixed' ? type.size : undefined))
    case 'enum':
      return JSON.stringify(type.symbols[cursor.index(type.symbols.length, 'symbol')])
    case 'union':
      return jsonOf(type.branches[cursor.index(type.branches.length, 'union branch')], cursor)
    case 'record':
      return `{${type.fields.map((field) => `${JSON.stringify(field.name)}:${jsonOf(field.type, cursor)}`).join(',')}}`
    case 'array': {
      const parts: string[] = []
      cursor.items(type, () => parts.push(jsonOf(type.items, cursor)))
      return `[${parts.join(',')}]`
    }
    case 'map': {
      const parts = new Map<string, string>()
      cursor.items(type, () => {
        const key = cursor.text()
        parts.set(key, jsonOf(type.values, cursor))
      })
      return `{${[...parts].map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`
    }
  }
}

function integerText(type: AvroType, value: bigint): string {
  switch (type.logical?.kind) {
    case 'date':
      return `"${dateText(Number(value))}"`
    case 'time-millis':
      return `"${timeText(value * 1000n)}"`
    case 'time-micros':
      return `"${timeText(value)}"`
    case 'timestamp-millis':
    case 'local-timestamp-millis':
      return `"${timestampText(value * 1000n, type.logical.kind === 'timestamp-millis')}"`
    case 'timestamp-micros':
    case 'local-timestamp-micros':
      return `"${timestampText(value, type.logical.kind === 'timestamp-micros')}"`
    case 'timestamp-nanos':
    case 'local-timestamp-nanos':
      return `"${timestampText(floorDiv(value, 1000n), type.logical.kind === 'timestamp-nanos')}"`
    default:
      return String(value)
  }
}

function bytesText(type: AvroType, span: Buffer): string {
  if (type.logical?.kind === 'decimal') {
    const unscaled = signedOf(span, 0, span.length)
    if (unscaled !== undefined) return decimalText(unscaled, type.logical.scale)
  }
  if (type.logical?.kind === 'uuid') {
    const hex = span.toString('hex')
    return `"${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}"`
  }
  return `"${span.toString('base64')}"`
}
