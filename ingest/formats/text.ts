/**
 * Values that are not taken apart: `string` (UTF-8 text) and `bytes`. They go into the column `WHOLE_VALUE`.
 *
 * Text goes into a column of any flat type, as a CSV field does; bytes into a binary column only. An empty value is an empty
 * text; a null one is a tombstone and does not come here.
 */
import { isUtf8 } from 'node:buffer'
import { formatColumnType, isNested } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { type Column, type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import { ConnectSchema, OPTIONAL_STRING_SCHEMA } from '../connect/data/schema.ts'
import type { DecodeFailure, Decoder } from '../decoder/decoder.ts'
import { readDetail } from '../decoder/read-number.ts'
import { readerCodeOf, readPlainText } from '../decoder/read-value.ts'
import { markMissing, rowBuilder, type Target, WHOLE_VALUE, type WriterFormat } from './format.ts'

const OPTIONAL_BYTES_SCHEMA = new ConnectSchema({ type: 'bytes', optional: true })

export const BAD_UTF8: DecodeFailure = { reason: 'text is not valid UTF-8', column: undefined }

export function openString(): WriterFormat {
  return {
    columns: {
      name: 'text',
      fields: [{ fieldId: 0, name: WHOLE_VALUE, type: { kind: 'string' }, required: false }],
    },
    isText: true,
    createDecoder: (schema, targets) => createWholeDecoder(schema, targets, false),
    read(bytes, start, end) {
      const text = bytes.subarray(start, end)
      if (!isUtf8(text)) return { failure: BAD_UTF8 }
      return { schema: OPTIONAL_STRING_SCHEMA, value: Buffer.from(text).toString('utf8') }
    },
  }
}

export function openBytes(): WriterFormat {
  return {
    columns: {
      name: 'bytes',
      fields: [{ fieldId: 0, name: WHOLE_VALUE, type: { kind: 'binary' }, required: false }],
    },
    createDecoder: (schema, targets) => createWholeDecoder(schema, targets, true),
    read: (bytes, start, end) => ({ schema: OPTIONAL_BYTES_SCHEMA, value: bytes.slice(start, end) }),
  }
}

/** Text goes into flat columns only. */
export function textCode(column: Column): number {
  if (!isNested(column.type)) return readerCodeOf(column.type.kind)
  throw textMismatch(column, 'text')
}

function textMismatch({ name, type }: Column, found: string): MillraceError {
  return new MillraceError('type-mismatch', `column "${name}": expected ${formatColumnType(type)}, found ${found}`)
}

export function textFailure({ name, type }: Column, at: number): DecodeFailure {
  const found = readDetail === '' ? 'text' : readDetail
  return { reason: `column "${name}": expected ${formatColumnType(type)}, found ${found} at byte ${at}`, column: name }
}

export function missingFailure({ name, type }: Column): DecodeFailure {
  return { reason: `column "${name}": expected ${formatColumnType(type)}, found nothing; it is required`, column: name }
}

function createWholeDecoder(schema: TableSchema, targets: readonly Target[], isBytes: boolean): Decoder {
  const own = targets.find(({ field }) => field.name === WHOLE_VALUE)
  if (isBytes && own && own.field.type.kind !== 'binary') throw textMismatch(own.field, 'bytes')
  const code = own && !isBytes ? textCode(own.field) : 0
  const others = targets.filter((target) => target !== own)
  const columns = userColumns(schema)
  return {
    unknownKeys: 0,
    decode(bytes, start, end, target) {
      const builders = rowBuilder(target, schema)
      const row = builders.rowCount
      if (!isBytes && !isUtf8(bytes.subarray(start, end))) return BAD_UTF8
      if (own) {
        const builder = builders.user[own.index]
        if (isBytes) builder.setBytes(row, bytes, start, end)
        else if (!readPlainText(code, builder, row, bytes, start, end)) return textFailure(own.field, 0)
        builder.markPresent(row)
      }
      for (const { index } of others) {
        if (!markMissing(builders, builders.user[index])) return missingFailure(columns[index])
      }
      return undefined
    },
  }
}
