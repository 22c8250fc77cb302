/**
 * One CSV line a record, its fields named by the settings in order. Quotes as in RFC 4180: a field may stand in them, a quote
 * inside is doubled, and delimiters and line ends lose their meaning there. A field that does not begin with a quote is taken
 * as it stands. One line end after the last field is no part of it.
 *
 *   a,"b ""c"", d",,7   →   `a` · `b "c", d` · null · `7`
 *
 * Each field becomes a value of its column's type (without a table: text). The null text, unquoted, is null; in quotes it is
 * that text. A line with fewer or more fields than named is refused.
 */
import { isUtf8 } from 'node:buffer'
import { matchFields } from '../../schemas/match-fields.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import { userColumns } from '../../schemas/table-schema.ts'
import { ConnectSchema, OPTIONAL_STRING_SCHEMA } from '../connect/data/schema.ts'
import { Struct } from '../connect/data/values.ts'
import type { ConverterPlan } from '../decoder/decode-plan.ts'
import type { DecodeFailure, Decoder } from '../decoder/decoder.ts'
import { readPlainText, scratchOf } from '../decoder/read-value.ts'
import { markMissing, rowBuilder, type WriterFormat } from './format.ts'
import { BAD_UTF8, missingFailure, textCode, textFailure } from './text.ts'

type CsvPlan = Extract<ConverterPlan, { format: 'csv' }>

/** Kinds of fields. */
const PLAIN = 0
const QUOTED = 1
/** With a doubled quote inside. */
const DOUBLED = 2

export function openCsv(plan: CsvPlan): WriterFormat {
  const fields: RecordField[] = plan.fields.map((name) => {
    return { fieldId: 0, name, type: { kind: 'string' }, required: false }
  })
  const connect = new ConnectSchema({
    type: 'struct',
    fields: plan.fields.map((name) => ({ name, schema: OPTIONAL_STRING_SCHEMA })),
  })
  const nullText = Buffer.from(plan.nullText)
  const quote = plan.quote.charCodeAt(0)
  const line = new LineFields(fields.length, plan.delimiter.charCodeAt(0), quote)

  return {
    columns: { name: `CSV of ${fields.length} fields`, fields },
    isText: true,
    createDecoder(schema, targets): Decoder {
      const columns = userColumns(schema)
      const places = matchFields(
        fields,
        targets.map(({ field }) => field),
      )
      const own = [...places].map((place) => (place < 0 ? undefined : targets[place]))
      const codes = own.map((target) => (target ? textCode(target.field) : 0))
      const others = targets.filter((target) => !own.includes(target))
      const unwanted = own.filter((target) => target === undefined).length
      let unknownKeys = 0
      return {
        get unknownKeys() {
          return unknownKeys
        },
        decode(bytes, start, end, target) {
          const builders = rowBuilder(target, schema)
          const row = builders.rowCount
          const broken = line.split(bytes, start, end)
          if (broken) return broken
          for (let index = 0; index < own.length; index += 1) {
            const place = own[index]
            if (!place) continue
            const builder = builders.user[place.index]
            if (line.isText(bytes, index, nullText)) {
              if (!markMissing(builders, builder)) return missingFailure(place.field)
              continue
            }
            const from = line.starts[index]
            const isDoubled = line.kinds[index] === DOUBLED
            const text = isDoubled ? undouble(bytes, from, line.ends[index], quote) : bytes
            const at = isDoubled ? 0 : from
            const to = isDoubled ? undoubledLength : line.ends[index]
            if (!readPlainText(codes[index], builder, row, text, at, to)) return textFailure(place.field, from - start)
            builder.markPresent(row)
          }
          for (const { index } of others) {
            if (!markMissing(builders, builders.user[index])) return missingFailure(columns[index])
          }
          unknownKeys += unwanted
          return undefined
        },
      }
    },
    read(bytes, start, end) {
      const broken = line.split(bytes, start, end)
      if (broken) return { failure: broken }
      const values = fields.map((_, index) => {
        if (line.isText(bytes, index, nullText)) return null
        const text = Buffer.from(bytes.subarray(line.starts[index], line.ends[index])).toString('utf8')
        return line.kinds[index] === DOUBLED ? text.replaceAll(plan.quote.repeat(2), plan.quote) : text
      })
      return { schema: connect, value: new Struct(connect, values) }
    },
  }
}

/** Where the fields of the line at hand lie, without their quotes. */
class LineFields {
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly kinds: Uint8Array
  private readonly width: number
  private readonly delimiter: number
  private readonly quote: number
  private problem = ''

  constructor(width: number, delimiter: number, quote: number) {
    this.width = width
    this.starts = new Int32Array(width)
    this.ends = new Int32Array(width)
    this.kinds = new Uint8Array(width)
    this.delimiter = delimiter
    this.quote = quote
  }

  split(bytes: Uint8Array, start: number, end: number): DecodeFailure | undefined {
    if (!isUtf8(bytes.subarray(start, end))) return BAD_UTF8
    const stop = lineEnd(bytes, start, end)
    let count = 0
    let position = start
    let isOpen = true
    while (isOpen) {
      position = this.take(bytes, position, stop, count)
      if (position < 0) {
        return { reason: `malformed CSV: ${this.problem} at byte ${-position - 1 - start}`, column: undefined }
      }
      count += 1
      isOpen = position < stop
      position += 1
    }
    if (count === this.width) return undefined
    return { reason: `expected ${this.width} fields, found ${count}`, column: undefined }
  }

  /** Field `index`: the position of the delimiter behind it, or `end`; `-1 - position` where it is malformed. */
  private take(bytes: Uint8Array, at: number, end: number, index: number): number {
    const { delimiter, quote } = this
    let position = at
    if (at >= end || bytes[at] !== quote) {
      while (position < end && bytes[position] !== delimiter) {
        if (bytes[position] === 0x0a) return this.malformed('more than one line', position)
        position += 1
      }
      this.put(index, at, position, PLAIN)
      return position
    }
    let kind = QUOTED
    position += 1
    for (;;) {
      while (position < end && bytes[position] !== quote) position += 1
      if (position >= end) return this.malformed('the line ends inside quotes', end)
      if (position + 1 >= end || bytes[position + 1] !== quote) break
      kind = DOUBLED
      position += 2
    }
    this.put(index, at + 1, position, kind)
    position += 1
    return position < end && bytes[position] !== delimiter
      ? this.malformed('text behind a closing quote', position)
      : position
  }

  private put(index: number, start: number, end: number, kind: number): void {
    if (index >= this.width) return
    this.starts[index] = start
    this.ends[index] = end
    this.kinds[index] = kind
  }

  private malformed(what: string, at: number): number {
    this.problem = what
    return -1 - at
  }

  /** Whether the field is this text, without quotes. */
  isText(bytes: Uint8Array, index: number, text: Uint8Array): boolean {
    const start = this.starts[index]
    if (this.kinds[index] !== PLAIN || this.ends[index] - start !== text.length) return false
    for (let at = 0; at < text.length; at += 1) if (bytes[start + at] !== text[at]) return false
    return true
  }
}

function lineEnd(bytes: Uint8Array, start: number, end: number): number {
  if (end === start || bytes[end - 1] !== 0x0a) return end
  return end - 1 > start && bytes[end - 2] === 0x0d ? end - 2 : end - 1
}

let undoubledLength = 0

function undouble(bytes: Uint8Array, start: number, end: number, quote: number): Uint8Array {
  const text = scratchOf(end - start)
  let out = 0
  for (let at = start; at < end; at += 1) {
    text[out++] = bytes[at]
    if (bytes[at] === quote) at += 1
  }
  undoubledLength = out
  return text
}
