/** `GET /v1/tables`: tables with version and freshness; `/v1/tables/{t}`: one with columns and sources. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import { checkTableAccess } from '../../runtime/http-access.ts'
import { formatColumnType } from '../../schemas/column-type.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { isHidden } from '../../schemas/table-schema.ts'
import { freshnessMs, sourcesOf } from '../freshness.ts'

export function addTableRoutes(app: FastifyInstance, { catalog }: { readonly catalog: Catalog }): void {
  const read = { config: { right: 'read' } } as const

  app.get('/v1/tables', read, async (request) => {
    const names = await readableTables(catalog, (name) => checkTableAccess(request, name))
    const versions = await catalog.readTables(names)
    return {
      tables: versions.map((version) => ({
        name: version.table.name,
        version: version.version.toString(),
        freshness_ms: freshnessMs(version),
        columns: version.table.schemas.at(-1)?.columns.filter((column) => !isHidden(column)).length ?? 0,
        segments_live: version.segments.length,
      })),
    }
  })

  app.get('/v1/tables/:table', read, async (request: FastifyRequest<{ Params: { table: string } }>) => {
    const name = request.params.table.toLowerCase()
    checkTableAccess(request, name)
    const [version] = await catalog.readTables([name])
    const schema = version.table.schemas.at(-1)
    return {
      name,
      version: version.version.toString(),
      location: version.table.location,
      metadata_location: version.metadataLocation ?? null,
      freshness_ms: freshnessMs(version),
      schema_id: schema?.schemaId ?? null,
      columns: (schema?.columns ?? []).map((column) => ({
        name: column.name,
        type: formatColumnType(column.type),
        required: column.required,
        field_id: column.fieldId,
        hidden: isHidden(column),
      })),
      segments_live: version.segments.length,
      rows_in_segments: version.segments.reduce((sum, segment) => sum + segment.rowCount, 0),
      sources: sourcesOf(version),
    }
  })
}

/** @param checkTable throws `forbidden` */
export async function readableTables(catalog: Catalog, checkTable: (name: string) => void): Promise<string[]> {
  return (await catalog.listTables())
    .map(({ name }) => name)
    .filter((name) => {
      try {
        checkTable(name)
        return true
      } catch (error) {
        if (isMillraceError(error, 'forbidden')) return false
        throw error
      }
    })
}
