/**
 * The headers of a record → one map column: name → value, as text or as bytes by the type of the map's values. Of a name that
 * comes several times the last one counts. A null value is null; a record without headers has an empty map.
 */
import { isUtf8 } from 'node:buffer'
import { formatColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { type RecordHeader, readHeaders } from '../kafka/record-headers.ts'
import type { ColumnBuilder } from './column-builder.ts'
import type { DecodeFailure } from './decoder.ts'

/** What a table gets that has no such column yet. */
export function headersField(name: string): RecordField {
  return {
    fieldId: 0,
    name,
    required: false,
    type: {
      kind: 'map',
      key: { fieldId: 0, name: 'key', type: { kind: 'string' }, required: true },
      value: { fieldId: 0, name: 'value', type: { kind: 'string' }, required: false },
    },
  }
}

/** Throws `type-mismatch` for a column that is no such map. */
export function checkHeadersColumn({ name, type }: Column): void {
  if (type.kind === 'map' && type.key.type.kind === 'string') {
    const { kind } = type.value.type
    if (kind === 'string' || kind === 'binary') return
  }
  throw new MillraceError(
    'type-mismatch',
    `column "${name}": expected map<string, string> or map<string, binary> for headers, found ${formatColumnType(type)}`,
  )
}

/** Writes and marks the row's slot. */
export function putHeaders(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): DecodeFailure | undefined {
  const { name } = builder.column
  let slot = builder.beginList(row)
  // Most records have none: one byte.
  const hasNone = end - start === 1 && bytes[start] === 0
  const headers = hasNone ? [] : readHeaders(bytes, start, end)
  if (!headers) return { reason: `column "${name}": the headers are malformed`, column: name }
  const [keys, values] = builder.children
  for (const [index, header] of headers.entries()) {
    if (isReplaced(headers, index)) continue
    builder.childSlot(slot)
    const key = Buffer.from(header.name)
    keys.setBytes(slot, key, 0, key.length)
    keys.markPresent(slot)
    const { value } = header
    if (value === null) {
      if (values.column.required) {
        return { reason: `column "${name}.value": expected a value, found null; it is required`, column: name }
      }
      values.markNull(slot)
    } else {
      if (values.column.type.kind === 'string' && !isUtf8(value)) {
        return { reason: `column "${name}.value": expected string, found bytes that are not valid UTF-8`, column: name }
      }
      values.setBytes(slot, value, 0, value.length)
      values.markPresent(slot)
    }
    slot += 1
  }
  builder.endList(row, slot)
  builder.markPresent(row)
  return undefined
}

function isReplaced(headers: readonly RecordHeader[], index: number): boolean {
  for (let later = index + 1; later < headers.length; later += 1) {
    if (headers[later].name === headers[index].name) return true
  }
  return false
}
