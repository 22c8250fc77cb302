/** Plans and outcomes for tests of block decoders: one or more tables, rows without hidden columns, dead letters in short. */

import { createBlockDecoder } from '../../ingest/decoder/block-decoder.ts'
import type { DecodedBlock, DecodeNeeds, DecodePlan, TablePlan } from '../../ingest/decoder/decode-plan.ts'
import { parseColumnType } from '../../schemas/column-type.ts'
import { DEAD_LETTER_COLUMNS, HIDDEN_COLUMNS, type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import { recordBlock, type TestRecord } from './record-block.ts'
import { batchRows, checkVector } from './vector-values.ts'

export function schemaOf(columns: Record<string, string>): TableSchema {
  const user = Object.entries(columns).map(([name, type], index) => ({
    fieldId: 16 + index,
    name,
    type: parseColumnType(type.replace(/ required$/, ''))!,
    required: type.endsWith(' required'),
  }))
  return { schemaId: 1, columns: [...user, ...HIDDEN_COLUMNS] }
}

export function tablePlan(
  name: string,
  columns: Record<string, string> | undefined,
  more: Partial<TablePlan> = {},
): TablePlan {
  return {
    tableId: 7,
    name,
    schema: columns && schemaOf(columns),
    deadLetters: { tableId: 8, schema: { schemaId: 1, columns: [...DEAD_LETTER_COLUMNS, ...HIDDEN_COLUMNS] } },
    ignoredKeys: [],
    evolution: 'evolve',
    ...more,
  }
}

export function planOf(tables: readonly TablePlan[], more: Partial<DecodePlan> = {}): DecodePlan {
  return {
    number: 1,
    pipeline: 'p',
    key: undefined,
    value: { format: 'json', envelope: false },
    transforms: [],
    headersColumn: undefined,
    keyColumns: undefined,
    routes: { t: tables.map(({ name }) => name) },
    tables: Object.fromEntries(tables.map((table) => [table.name, table])),
    schemas: {},
    refusedSchemas: {},
    recordBytesMax: 10_000,
    ...more,
  }
}

export type Outcome = {
  rows: Record<string, unknown>[]
  letters: { offset: unknown; reason: unknown; raw: unknown; key: unknown }[]
  counts: Pick<DecodedBlock, 'dead' | 'filtered' | 'unknownKeys'>
}

/** The block's rows of one table without hidden columns; throws when something is asked for. */
export function decodeRecords(plan: DecodePlan, records: readonly TestRecord[], isFinal = false): Outcome {
  const result = createBlockDecoder(plan).decode(recordBlock('t', records), 0, 'kafka:t:x', 5, isFinal)
  if (result.kind === 'needs') throw new Error(`needs ${JSON.stringify(result)}`)
  return outcome(plan, result)
}

function outcome(plan: DecodePlan, { pieces, dead, filtered, unknownKeys }: DecodedBlock): Outcome {
  for (const { batch } of pieces) for (const vector of batch.vectors) checkVector(vector)
  const [table] = Object.values(plan.tables)
  const names = table.schema ? userColumns(table.schema).map(({ name }) => name) : []
  const rows = pieces.filter(({ tableId }) => tableId === 7).flatMap(({ batch }) => batchRows(batch, names))
  const letters = pieces
    .filter(({ tableId }) => tableId === 8)
    .flatMap(({ batch }) => batchRows(batch))
    .map((row) => ({ offset: row.offset, reason: row.reason, raw: row.raw, key: row.raw_key }))
  return { rows, letters, counts: { dead, filtered, unknownKeys } }
}

export function askFor(plan: DecodePlan, records: readonly TestRecord[]): DecodeNeeds {
  const result = createBlockDecoder(plan).decode(recordBlock('t', records), 0, 'kafka:t:x', 5, false)
  if (result.kind === 'decoded') throw new Error('nothing was asked for')
  return result
}
