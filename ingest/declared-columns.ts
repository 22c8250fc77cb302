/**
 * Columns that a table gets at its making or at the start of a process: those of its first records' schema, and those that the
 * settings declare where the table has others.
 *
 * Declared columns that the table lacks are added, wider types and optional ones are taken over; whatever the table has beyond
 * them stays. What would need another change is refused, whole: settings are not half obeyed.
 */
import type { Catalog, Table } from '../lake/catalog/catalog.ts'
import { changeColumns } from '../lake/change-columns.ts'
import type { Log } from '../runtime/world.ts'
import { formatPath } from '../schemas/column-path.ts'
import { childFields, type Field, formatColumnType, withChildFields } from '../schemas/column-type.ts'
import { MillraceError } from '../schemas/errors.ts'
import { describeChanges, evolvingTable, type IgnoredField, planEvolution } from '../schemas/evolution.ts'
import type { RecordSchema } from '../schemas/record-schema.ts'
import type { DeclaredColumn } from '../schemas/settings-tables.ts'
import { userColumns } from '../schemas/table-schema.ts'

/** Ids are still to be given. */
export function columnsOfRecord(name: string, record: RecordSchema, columnsMax: number): readonly Field[] {
  const nothing = { name, columns: [], lastFieldId: 0, dropped: new Map(), reservedNames: [] }
  const plan = planEvolution(nothing, record, { columnsMax, keepRequired: true })
  return plan.kind === 'evolve' ? plan.columns.map(withoutIds) : []
}

function withoutIds(field: Field): Field {
  return { ...field, fieldId: 0, type: withChildFields(field.type, childFields(field.type).map(withoutIds)) }
}

export async function takeOverDeclared(
  components: { catalog: Pick<Catalog, 'findTable' | 'addSchema'>; log: Log; columnsMax: number },
  table: Table,
  declared: readonly DeclaredColumn[],
): Promise<Table> {
  const { catalog, log, columnsMax } = components
  const record: RecordSchema = { name: 'the settings', fields: declared.map((column) => ({ ...column, fieldId: 0 })) }
  let ignored: readonly IgnoredField[] = []
  const changed = await changeColumns(catalog, table.name, (found) => {
    // Rows that are there have no value for a new column.
    const isEmpty = found.version === 0n
    const plan = planEvolution(evolvingTable(found), record, { columnsMax, keepRequired: isEmpty })
    if (plan.kind === 'refused') throw differs(found, declared, plan.reason)
    ignored = plan.ignored
    if (plan.kind === 'same') return undefined
    const required = plan.changes.find(
      ({ kind, path }) =>
        kind === 'add' &&
        !isEmpty &&
        declared.some((column) => column.required && column.name === path[0] && path.length === 1),
    )
    if (required) {
      const name = formatPath(required.path)
      throw differs(found, declared, `rows that are there have no value for "${name}": declare it without "required"`)
    }
    log.info('columns changed by the settings', { table: found.name, change: describeChanges(plan.changes) })
    return plan.columns
  })
  for (const { path, why } of ignored) {
    log.warn('a declared column is not in the table', {
      table: table.name,
      column: formatPath(path),
      why: IGNORED[why],
    })
  }
  return changed
}

export const IGNORED: Readonly<Record<IgnoredField['why'], string>> = {
  dropped: 'it was dropped; "millrace columns <table> add" makes it again',
  'name-taken':
    'another column, a hidden one or a partition field is called so; upper and lower case count as the same',
  'name-impossible': 'it cannot be the name of a column',
  'columns-max': 'the table has as many columns as it may (columns-max)',
}

function differs(table: Table, declared: readonly DeclaredColumn[], reason: string): MillraceError {
  const show = (list: readonly DeclaredColumn[]) =>
    list.map(({ name, type, required }) => `${name} ${formatColumnType(type)}${required ? ' required' : ''}`).join(', ')
  return new MillraceError(
    'settings-invalid',
    `table "${table.name}" exists with other columns than the settings declare: ${reason}. It has (${show(userColumns(table.schemas.at(-1)!))}), declared are (${show(declared)})`,
  )
}
