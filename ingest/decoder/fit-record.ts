/**
 * Does a table take records of this schema as it is? Asked once for each schema and plan, when a decoder is made:
 *
 *   fits   decode; fields that no column is are skipped, and their values counted as unknown keys
 *   ask    the table would have to change, or its policy has to be asked: `DecodeNeeds.columns` with these fields
 *   dead   the table cannot take them, and this is why: dead letters
 *
 * Whoever resolves what was asked for answers in the plan: with the table's next schema, with fields not to be asked for
 * again, or with a refusal. Policies are applied there. `schema.name` must tell schemas apart: refusals go by it.
 *
 * A record's schema is whole: a required column that it lacks is among the fields asked for, as an optional one.
 */
import { formatPath } from '../../schemas/column-path.ts'
import { type Change, planEvolution, wholeRecord } from '../../schemas/evolution.ts'
import type { RecordField, RecordSchema } from '../../schemas/record-schema.ts'
import { type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import type { DecodePlan, TablePlan } from './decode-plan.ts'

export type RecordFit =
  | { readonly kind: 'fits' }
  | { readonly kind: 'ask'; readonly fields: readonly RecordField[] }
  | { readonly kind: 'dead'; readonly reason: string }

/** Key of `DecodePlan.refusedSchemas` for a table that cannot take records of a schema. */
export function refusalKey(table: string, schemaName: string): string {
  return `${table}:${schemaName}`
}

export function fitRecord(
  plan: Pick<DecodePlan, 'refusedSchemas'>,
  table: Pick<TablePlan, 'name' | 'ignoredKeys' | 'isFull' | 'settledSchemas'> & { readonly schema: TableSchema },
  incoming: RecordSchema,
): RecordFit {
  const key = refusalKey(table.name, incoming.name)
  if (Object.hasOwn(plan.refusedSchemas, key)) return { kind: 'dead', reason: plan.refusedSchemas[key] }
  if (table.settledSchemas?.includes(incoming.name)) return { kind: 'fits' }
  const columns = userColumns(table.schema)
  const fields = wholeRecord(columns, incoming.fields)
  const wish = planEvolution(
    { name: table.name, columns, lastFieldId: 0, dropped: new Map(), reservedNames: [] },
    { ...incoming, fields },
    { columnsMax: Number.POSITIVE_INFINITY },
  )
  if (wish.kind === 'same') return { kind: 'fits' }
  if (wish.kind === 'refused') return { kind: 'ask', fields }
  const ignored = new Set(table.ignoredKeys)
  const isOpen = ({ kind, path }: Change) => kind !== 'add' || !(table.isFull || ignored.has(formatPath(path)))
  return wish.changes.some(isOpen) ? { kind: 'ask', fields } : { kind: 'fits' }
}
