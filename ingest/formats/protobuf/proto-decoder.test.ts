import fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { assignFieldIds, type Field } from '../../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../../schemas/table-schema.ts'
import { encodeProto, protoInColumn, protoShapes, protoText, protoValues } from '../../../test/harness/random-proto.ts'
import { batchRows, checkVector } from '../../../test/harness/vector-values.ts'
import { createBatchBuilder } from '../../decoder/batch-builder.ts'
import type { DecodeFailure } from '../../decoder/decoder.ts'
import { allTargets, type WriterFormat } from '../format.ts'
import { openProtobuf } from './proto-format.ts'

function open(text: string): WriterFormat {
  return openProtobuf({ text, references: [], label: 'test' }, { format: 'protobuf', registry: true })
}

function tableOf(fields: readonly Field[]): TableSchema {
  return { schemaId: 1, columns: [...assignFieldIds(fields, 16).fields, ...HIDDEN_COLUMNS] }
}

/** What each record makes: its row, or why there is none. Read from the middle of a block, as records come. */
function decode(format: WriterFormat, table: TableSchema, values: readonly Uint8Array[]) {
  const decoder = format.createDecoder(table, allTargets(table))
  const builder = createBatchBuilder(table)
  const failures: (DecodeFailure | undefined)[] = []
  for (const value of values) {
    const block = Uint8Array.from(Buffer.concat([Buffer.from([1, 2, 3]), value, Buffer.from([4, 5, 6])]))
    const failure = decoder.decode(block, 3, 3 + value.length, builder)
    failures.push(failure)
    if (!failure) builder.finishRow(builder.sourceIndex('s'), 0, 0, 0, 0)
  }
  const batch = builder.seal()
  for (const vector of batch.vectors) checkVector(vector)
  const names = table.columns.filter(({ fieldId }) => fieldId >= 16).map(({ name }) => name)
  return { rows: batchRows(batch, names), failures }
}

const samples = protoShapes.chain((shape) =>
  fc.tuple(fc.constant(shape), fc.array(protoValues(shape), { minLength: 1, maxLength: 5 })),
)

describe('Protobuf', () => {
  it('makes of random messages the rows that their values are: packed or not, in any order of fields', () => {
    fc.assert(
      fc.property(samples, fc.boolean(), fc.boolean(), ([shape, values], packed, reversed) => {
        const format = open(protoText(shape))
        const encoded = values.map((value) => encodeProto(shape, value, packed, reversed))
        const { rows, failures } = decode(format, tableOf(format.columns.fields), encoded)
        expect(failures.filter((each) => each !== undefined)).toEqual([])
        expect(rows).toEqual(values.map((value) => protoInColumn(shape, value)))
      }),
      { numRuns: 200 },
    )
  })

  it('messages written by the library of others are read as it reads them', () => {
    fc.assert(
      fc.property(samples, ([shape, values]) => {
        const root = protobuf.parse(protoText(shape), { keepCase: true }).root
        for (const name of ['timestamp', 'wrappers']) {
          root.addJSON(protobuf.common.get(`google/protobuf/${name}.proto`)!.nested!)
        }
        const type = root.resolveAll().lookupType('t.x.M0')
        const format = open(protoText(shape))
        const encoded = values.map((value) => {
          const message = type.decode(encodeProto(shape, value, true))
          return type.encode(message).finish()
        })
        const { rows } = decode(format, tableOf(format.columns.fields), encoded)
        // Maps and fields in the library's order.
        const sorted = (row: unknown) => JSON.stringify(row, sortPairs)
        expect(rows.map(sorted)).toEqual(values.map((value) => sorted(protoInColumn(shape, value))))
      }),
      { numRuns: 100 },
    )
  })

  it('a message cut in two and merged again, twice over, is the same but for lists, which go on', () => {
    fc.assert(
      fc.property(samples, ([shape, values]) => {
        const single = {
          ...shape,
          fields: shape.fields.filter(({ label }) => label === 'implicit' || label === 'optional' || label === 'map'),
        }
        if (single.fields.length < shape.fields.length || JSON.stringify(shape).includes('"repeated"')) return
        const format = open(protoText(shape))
        const encoded = values.map((value) => {
          const once = encodeProto(shape, value, false)
          return Buffer.concat([once, once])
        })
        const { rows } = decode(format, tableOf(format.columns.fields), encoded)
        expect(rows).toEqual(values.map((value) => protoInColumn(shape, value)))
      }),
      { numRuns: 400 },
    )
  })

  it('never throws, hangs or takes much memory, whatever byte is wrong; nothing of it is in the rows after', () => {
    fc.assert(
      fc.property(
        samples,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom('set', 'cut', 'insert')), {
          minLength: 1,
          maxLength: 4,
        }),
        ([shape, values], changes) => {
          const format = open(protoText(shape))
          const sound = values.map((value) => encodeProto(shape, value, true))
          const damaged = sound.map((bytes) => {
            let copy = Buffer.from(bytes)
            for (const [at, byte, how] of changes) {
              const place = at % (copy.length + 1)
              if (how === 'cut') copy = copy.subarray(0, place)
              else if (how === 'insert')
                copy = Buffer.concat([copy.subarray(0, place), Buffer.from([byte]), copy.subarray(place)])
              else if (place < copy.length) copy[place] = byte
            }
            return copy
          })
          const turns = damaged.flatMap((bytes, index) => [bytes, sound[index]])
          const { rows, failures } = decode(format, tableOf(format.columns.fields), turns)
          const good = turns.map((_, index) => index).filter((index) => failures[index] === undefined)
          const soundRows = good.map((index, row) => [index, rows[row]] as const).filter(([index]) => index % 2 === 1)
          expect(soundRows.map(([, row]) => row)).toEqual(values.map((value) => protoInColumn(shape, value)))
          for (const bytes of damaged) {
            const result = format.read(bytes, 0, bytes.length)
            if ('failure' in result) expect(result.failure.reason).toMatch(/^malformed Protobuf: /)
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})

function sortPairs(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value) && value.every((each) => Array.isArray(each) && each.length === 2)) {
    return [...value].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
