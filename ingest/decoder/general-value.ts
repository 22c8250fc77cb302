/**
 * The slow, general way to put one value into a column (dead letters, tests): a JavaScript value in the column's own
 * unit. Temporal columns take integers (days; microseconds), a decimal takes its unscaled bigint or its text.
 */
import { formatColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ColumnBuilder } from './column-builder.ts'
import { readDecimalText, readUuid } from './read-text.ts'

export function setGeneralValue(
  builder: ColumnBuilder,
  row: number,
  value: boolean | number | bigint | string | Uint8Array,
): void {
  if (!put(builder, row, value)) {
    const { name, type } = builder.column
    throw new MillraceError('conversion-failed', `column "${name}": a ${typeof value} is no ${formatColumnType(type)}`)
  }
}

function put(builder: ColumnBuilder, row: number, value: boolean | number | bigint | string | Uint8Array): boolean {
  switch (builder.column.type.kind) {
    case 'boolean':
      if (typeof value !== 'boolean') return false
      builder.setBoolean(row, value)
      return true
    case 'int':
    case 'date':
      if (typeof value !== 'number' || (value | 0) !== value) return false
      builder.int32[row] = value
      return true
    case 'float':
      if (typeof value !== 'number') return false
      builder.float32[row] = value
      return true
    case 'double':
      if (typeof value !== 'number') return false
      builder.float64[row] = value
      return true
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      if (typeof value === 'number' && Number.isSafeInteger(value)) builder.setSafeInteger(row, value)
      else if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) builder.setInt64(row, value)
      else return false
      return true
    case 'decimal': {
      const { precision } = builder.column.type
      if (typeof value === 'string') {
        const text = Buffer.from(value)
        return readDecimalText(builder, row, text, 0, text.length)
      }
      if (typeof value !== 'bigint' || (value < 0n ? -value : value) >= 10n ** BigInt(precision)) return false
      builder.setInt128(row, value)
      return true
    }
    case 'uuid': {
      if (value instanceof Uint8Array && value.length === 16) {
        builder.data.set(value, row * 16)
        return true
      }
      if (typeof value !== 'string') return false
      const text = Buffer.from(value)
      return readUuid(builder, row, text, 0, text.length)
    }
    case 'string':
    case 'json':
    case 'binary': {
      const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
      if (!(bytes instanceof Uint8Array)) return false
      builder.setBytes(row, bytes, 0, bytes.length)
      return true
    }
    case 'struct':
    case 'list':
    case 'map':
      return false
  }
}
