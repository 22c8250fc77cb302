/**
 * Dead letters out of the lake, whole, as they came in: for those who decode them again or take them away.
 *
 *   one version of the table ─▶ its files (fetched where they are remote) ─▶ DuckDB: masked rows left out, filtered, in order
 *
 * The version is told to the reader row before a file is opened, so that nothing of it goes meanwhile. A file that is gone or
 * damaged is an error naming it. What is read holds for the version only: whoever takes letters away commits against it.
 */
import { rm } from 'node:fs/promises'
import type { Coverage } from '../../schemas/coverage.ts'
import { HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import type { Catalog } from '../catalog/catalog.ts'
import type { Engine } from '../engine/engine.ts'
import { relationSql } from '../file-mapping.ts'
import { unmaskedSql } from '../mask-sql.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import type { ReaderRow } from '../reader-row.ts'
import { type LetterPlace, type LettersFilter, lettersWhere } from './letters-filter.ts'
import { filesOf, openFiles } from './open-files.ts'

export type Letter = LetterPlace & {
  /** null: over HTTP. */
  readonly topic: string | null
  readonly pipeline: string | null
  readonly reason: string
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: Uint8Array | null
  /** Microseconds; null: the record had none. */
  readonly timestamp: bigint | null
}

export type OpenLetters = {
  readonly version: bigint
  readonly tableId: number
  /** Of the pipelines that feed the table, as of the version: where the source that counts what left stands. */
  readonly coverage: readonly Coverage[]
  /** The first ones behind `after` in the order of their places, up to `count` of them. */
  next(filter: LettersFilter, after: LetterPlace | undefined, count: number): Promise<readonly Letter[]>
  close(): Promise<void>
}

export async function openLetters(components: {
  catalog: Pick<Catalog, 'readTables'>
  store: ObjectStore
  engine: Engine
  readerRow: Pick<ReaderRow, 'hold'>
  /** Of this call alone. */
  workFolder: string
  table: string
}): Promise<OpenLetters> {
  const { catalog, store, engine, readerRow, workFolder, table } = components
  const [version] = await catalog.readTables([table])
  const letGo = await readerRow.hold([version])
  const close = async () => {
    letGo()
    await rm(workFolder, { recursive: true, force: true })
  }
  try {
    const { schemas } = version.table
    const columns = [...(schemas.at(-1)?.columns ?? HIDDEN_COLUMNS)]
    const files = await openFiles(await filesOf(version, store), { store, workFolder, table })
    const relation = unmaskedSql(relationSql(files, schemas, columns), columns, version.masks ?? [])
    return {
      version: version.version,
      tableId: version.table.tableId,
      coverage: version.coverage,
      close,
      async next(filter, after, count) {
        const rows = await engine.run(
          `SELECT _source, _partition, _offset, epoch_us(_timestamp) AS timestamp, topic, pipeline, reason, raw_key, raw, raw_headers
           FROM (${relation}) WHERE ${lettersWhere(filter, after)}
           ORDER BY _source, _partition, _offset LIMIT ${count}`,
        )
        return rows.map(letterOf)
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

type Row = Readonly<Record<string, unknown>>

function letterOf(row: Row): Letter {
  return {
    source: String(row._source),
    partition: Number(row._partition),
    offset: BigInt(row._offset as bigint),
    timestamp: row.timestamp === null ? null : BigInt(row.timestamp as bigint),
    topic: row.topic as string | null,
    pipeline: row.pipeline as string | null,
    reason: String(row.reason),
    key: row.raw_key as Uint8Array | null,
    value: row.raw as Uint8Array | null,
    headers: row.raw_headers as Uint8Array | null,
  }
}
