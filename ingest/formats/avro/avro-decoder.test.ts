import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assignFieldIds, type Field } from '../../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../../schemas/table-schema.ts'
import { avscType, forAvsc, inColumn, records, schemaOf, valuesOf } from '../../../test/harness/random-avro.ts'
import { batchRows, checkVector } from '../../../test/harness/vector-values.ts'
import { createBatchBuilder } from '../../decoder/batch-builder.ts'
import type { DecodeFailure } from '../../decoder/decoder.ts'
import { allTargets, type WriterFormat } from '../format.ts'
import { openAvro } from './avro-format.ts'

function open(json: unknown): WriterFormat {
  return openAvro({ text: JSON.stringify(json), references: [], label: 'test' }, { format: 'avro', registry: false })
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

/** Names of enums and fixed without their number. */
function plainNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainNames)
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name.replace(/^([EF])\d+$/, '$1'), plainNames(each)]),
  )
}

const samples = records.chain((shape) =>
  fc.tuple(fc.constant(shape), fc.array(valuesOf(shape), { minLength: 1, maxLength: 5 })),
)

describe('Avro', () => {
  it('makes of random schemas and values the same rows as a library that was written by others', () => {
    fc.assert(
      fc.property(samples, ([shape, values]) => {
        const json = schemaOf(shape)
        const type = avscType(json)
        const format = open(json)
        const encoded = values.map((value) => type.toBuffer(forAvsc(shape, json, value)))
        const { rows, failures } = decode(format, tableOf(format.columns.fields), encoded)
        expect(failures.filter((each) => each !== undefined)).toEqual([])
        expect(rows.map(plainNames)).toEqual(values.map((value) => inColumn(shape, value)))
      }),
      { numRuns: 400 },
    )
  })

  it('never throws, hangs or takes much memory, whatever byte is wrong', () => {
    fc.assert(
      fc.property(
        samples,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom('set', 'cut', 'insert')), {
          minLength: 1,
          maxLength: 4,
        }),
        ([shape, values], changes) => {
          const json = schemaOf(shape)
          const type = avscType(json)
          const format = open(json)
          const damaged = values.map((value) => {
            let bytes = type.toBuffer(forAvsc(shape, json, value))
            for (const [at, byte, how] of changes) {
              const place = at % (bytes.length + 1)
              if (how === 'cut') bytes = bytes.subarray(0, place)
              else if (how === 'insert')
                bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from([byte]), bytes.subarray(place)])
              else if (place < bytes.length) bytes[place] = byte
            }
            return bytes
          })
          // Damaged ones and sound ones take turns: no failure leaves a trace in the rows after it.
          const sound = values.map((value) => type.toBuffer(forAvsc(shape, json, value)))
          const turns = damaged.flatMap((bytes, index) => [bytes, sound[index]])
          const { rows, failures } = decode(format, tableOf(format.columns.fields), turns)
          const soundRows = turns
            .map((_, index) => index)
            .filter((index) => failures[index] === undefined)
            .map((index, row) => [index, plainNames(rows[row])] as const)
            .filter(([index]) => index % 2 === 1)
          expect(soundRows.map(([, row]) => row)).toEqual(values.map((value) => inColumn(shape, value)))
          for (const bytes of damaged) {
            // What the columns refuse the general way refuses too, unless only the column's type was in the way.
            const result = format.read(bytes, 0, bytes.length)
            if ('failure' in result) expect(result.failure.reason).toMatch(/^malformed Avro: /)
          }
        },
      ),
      { numRuns: 400 },
    )
  })
})
