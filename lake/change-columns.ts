/**
 * A table's next schema, whoever wants one: read the table, plan, compare and set. Of two who are at it at once one wins; the
 * other reads what the winner made and plans again, and mostly finds that nothing is left to do.
 *
 * If we stop before the catalog has the schema, a restart sees nothing of it; after it, all of it. Files stay as they are:
 * each names the schema it was written with, and is read by the ids of its fields.
 */
import { MillraceError } from '../schemas/errors.ts'
import type { Column } from '../schemas/table-schema.ts'
import type { Catalog, Table } from './catalog/catalog.ts'
import { EVENT_TIME_PROPERTY } from './table-definition.ts'

/** Others may be first a few times, not for ever. */
const ATTEMPTS_MAX = 100

/**
 * @param plan user columns of the next schema; undefined: it stays as it is
 * @returns the table with its new schema, or as it was found
 */
export async function changeColumns(
  catalog: Pick<Catalog, 'findTable' | 'addSchema'>,
  name: string,
  plan: (table: Table) => readonly Column[] | undefined,
): Promise<Table> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const table = await catalog.findTable(name)
    if (!table) throw new MillraceError('undefined-table', `there is no table "${name}"`)
    const columns = plan(table)
    if (!columns) return table
    const added = await catalog.addSchema(table.tableId, table.schemas.length, columns)
    if (added) return (await catalog.findTable(name)) ?? table
  }
  throw new MillraceError(
    'commit-conflict',
    `table "${name}" got a new schema from others ${ATTEMPTS_MAX} times in a row`,
  )
}

/** Field id → what the table needs the column for, in words that follow `the table is …`. */
export function neededFields({
  partition,
  sort,
  properties,
}: Pick<Table, 'partition' | 'sort' | 'properties'>): ReadonlyMap<number, string> {
  const eventTime = properties[EVENT_TIME_PROPERTY]
  return new Map([
    ...(eventTime === undefined ? [] : [[Number(eventTime), 'ordered in time by it (event-time)'] as const]),
    ...sort.map(({ fieldId }) => [fieldId, 'sorted by it'] as const),
    ...partition.map(({ fieldId }) => [fieldId, 'partitioned by it'] as const),
  ])
}
