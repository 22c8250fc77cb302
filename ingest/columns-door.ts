/**
 * Columns of a table, for humans: seen, added, dropped, renamed, widened, made optional, while rows come in.
 *
 *   GET  /v1/tables/{table}/columns
 *   POST /v1/tables/{table}/columns    {op: add, column, type} | {op: drop | optional, column}
 *                                      | {op: rename, column, to} | {op: type, column, type}
 *
 * Any ingest process may be asked: the change is one row of the catalog, which all of them look at every second or two.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Catalog, Table } from '../lake/catalog/catalog.ts'
import { changeColumns, neededFields } from '../lake/change-columns.ts'
import type { World } from '../runtime/world.ts'
import { type ColumnChange, planColumnChange } from '../schemas/column-change.ts'
import { parsePath } from '../schemas/column-path.ts'
import { formatColumnType, parseColumnType } from '../schemas/column-type.ts'
import { MillraceError } from '../schemas/errors.ts'
import { describeChanges, evolvingTable } from '../schemas/evolution.ts'
import { DEAD_LETTERS_SUFFIX, userColumns } from '../schemas/table-schema.ts'

export function addColumnRoutes(
  app: FastifyInstance,
  components: {
    catalog: Catalog
    world: World
    /** Throws `forbidden` when the caller's token is kept to other tables. */
    checkTableAccess: (request: FastifyRequest, table: string) => void
    columnsMax: (table: string) => number
    /** Has the schema take effect in this process at once. */
    onChanged: (table: Table) => void
  },
): void {
  const { catalog, world, checkTableAccess, columnsMax, onChanged } = components

  app.get<{ Params: { table: string } }>(
    '/v1/tables/:table/columns',
    { config: { right: 'read' } },
    async (request) => {
      const name = request.params.table.toLowerCase()
      checkTableAccess(request, name)
      const table = await catalog.findTable(name)
      if (!table) throw new MillraceError('undefined-table', `there is no table "${name}"`)
      return answerOf(table)
    },
  )

  app.post<{ Params: { table: string } }>(
    '/v1/tables/:table/columns',
    { config: { right: 'admin' } },
    async (request) => {
      const name = request.params.table.toLowerCase()
      checkTableAccess(request, name)
      if (name.endsWith(DEAD_LETTERS_SUFFIX)) {
        throw new MillraceError('request-invalid', `"${name}" holds dead letters: its columns are always the same`)
      }
      const change = changeOf(request.body)
      let done = ''
      const table = await changeColumns(catalog, name, (current) => {
        if (current.schemas.length === 0) {
          throw new MillraceError(
            'request-invalid',
            `table "${name}" has no columns yet: they come with its first records`,
          )
        }
        const limits = { columnsMax: columnsMax(name) }
        const plan = planColumnChange(evolvingTable(current), neededFields(current), change, limits)
        if (plan.kind === 'refused') throw new MillraceError('request-invalid', plan.reason)
        done = describeChanges([plan.change])
        return plan.columns
      })
      world.log.info('columns changed by a human', { table: name, change: done, by: request.token?.name })
      onChanged(table)
      return { ...answerOf(table), change: done }
    },
  )
}

function answerOf(table: Table) {
  const schema = table.schemas.at(-1)
  return {
    table: table.name,
    schema_id: schema?.schemaId ?? null,
    columns: (schema ? userColumns(schema) : []).map(({ fieldId, name, type, required, formerNames = [] }) => ({
      id: fieldId,
      name,
      type: formatColumnType(type),
      required,
      ...(formerNames.length === 0 ? {} : { former_names: formerNames }),
    })),
  }
}

const TEXT = z.string().min(1).max(10_000)
const changeSchema = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('add'), column: TEXT, type: TEXT }),
  z.strictObject({ op: z.enum(['drop', 'optional']), column: TEXT }),
  z.strictObject({ op: z.literal('rename'), column: TEXT, to: TEXT }),
  z.strictObject({ op: z.literal('type'), column: TEXT, type: TEXT }),
])

function changeOf(body: unknown): ColumnChange {
  const change = parsed(body)
  const path = parsePath(change.column)
  if (!path)
    throw new MillraceError(
      'request-invalid',
      `"${change.column}" is no column: expected a name, or names with dots between them`,
    )
  switch (change.op) {
    case 'add':
      return { op: 'add', path, ...typeOf(change.type) }
    case 'rename': {
      const to = parsePath(change.to)
      if (to?.length !== 1)
        throw new MillraceError(
          'request-invalid',
          `"${change.to}" is no new name: expected a name without the names before it`,
        )
      return { op: 'rename', path, to: to[0] }
    }
    case 'type':
      return { op: 'type', path, type: typeOf(change.type).type }
    case 'drop':
    case 'optional':
      return { op: change.op, path }
  }
}

function typeOf(text: string) {
  const [, typeText, required] = /^\s*(.*?)(\s+required)?\s*$/i.exec(text) ?? []
  const type = parseColumnType(typeText ?? '')
  if (!type) {
    throw new MillraceError(
      'request-invalid',
      `"${text}" is no type; examples: string, long, decimal(12,2), timestamptz, list<string>`,
    )
  }
  return { type, required: required !== undefined }
}

function parsed(body: unknown): z.infer<typeof changeSchema> {
  try {
    return changeSchema.parse(JSON.parse(Buffer.from(body instanceof Uint8Array ? body : []).toString()))
  } catch (cause) {
    throw new MillraceError(
      'request-invalid',
      'expected {"op": "add", "column": "…", "type": "…"}, {"op": "drop" or "optional", "column": "…"}, {"op": "rename", "column": "…", "to": "…"} or {"op": "type", "column": "…", "type": "…"}',
      { cause },
    )
  }
}
