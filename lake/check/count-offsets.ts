/**
 * Is every row there once? Reads `(_source, _partition, _offset)` of all rows of a table's current version through an engine:
 * no place may come twice, and none may lie outside what was consumed (G-2).
 *
 * Local files are read where they are; those in a bucket are fetched into a folder of the check's own, table by table. Above
 * a maximum of rows or of bytes to fetch nothing is counted, and the answer says so: sorting out billions of places would
 * take longer than reading every byte.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Coverage, OffsetRange } from '../../schemas/coverage.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { rowSourceOf } from '../../schemas/kafka-source-text.ts'
import type { Table } from '../catalog/catalog.ts'
import type { Engine } from '../engine/engine.ts'
import { type MappedFile, relationSql } from '../file-mapping.ts'
import { PLACE_COLUMNS } from '../mask-sql.ts'
import { FILE_SCHEME, localFileOf } from '../object-store/object-path.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { readLocalFooter } from '../parquet/footer-file.ts'
import type { Finding, Reference } from './finding.ts'

export type CountedOffsets = {
  readonly rows: number
  readonly findings: readonly Finding[]
  /** Why they were not counted. */
  readonly skipped: string | undefined
}

export type OffsetCounter = {
  /** @param files segments and data files of the table's current version */
  count(table: Table, files: readonly Reference[], coverage: readonly Coverage[]): Promise<CountedOffsets>
}

const ROWS_MAX = 50_000_000
const FETCH_BYTES_MAX = 2 * 1024 ** 3
const PLACES_SHOWN_MAX = 10
const HTTP_SOURCE = 'http:'

export function createOffsetCounter(components: {
  engine: Engine
  store: ObjectStore
  workFolder: string
}): OffsetCounter {
  const { engine, store, workFolder } = components

  async function open(files: readonly Reference[]): Promise<MappedFile[]> {
    const opened: MappedFile[] = []
    for (const { path } of files) {
      let localFile: string
      if (path.startsWith(FILE_SCHEME)) localFile = localFileOf(path)
      else {
        localFile = join(workFolder, `${opened.length}.parquet`)
        await writeFile(localFile, (await store.get(path)).bytes)
      }
      opened.push({ path, localFile, footer: await readLocalFooter(localFile) })
    }
    return opened
  }

  return {
    async count(table, files, coverage) {
      const rows = files.reduce((sum, file) => sum + (file.rowCount ?? 0), 0)
      const remote = files.filter(({ path }) => !path.startsWith(FILE_SCHEME))
      const fetched = remote.reduce((sum, file) => sum + (file.bytes ?? 0), 0)
      const skip = (skipped: string): CountedOffsets => ({ rows: 0, findings: [], skipped })
      if (rows === 0) return { rows: 0, findings: [], skipped: undefined }
      if (rows > ROWS_MAX) return skip(`${rows} rows are more than ${ROWS_MAX}`)
      if (fetched > FETCH_BYTES_MAX) return skip(`${fetched} bytes to fetch are more than ${FETCH_BYTES_MAX}`)
      await mkdir(workFolder, { recursive: true })
      try {
        const relation = relationSql(await open(files), table.schemas, PLACE_COLUMNS)
        const twice = await engine.run(
          `SELECT _source, _partition, _offset, count(*) AS times FROM (${relation})
           GROUP BY ALL HAVING times > 1 ORDER BY ALL LIMIT ${PLACES_SHOWN_MAX}`,
        )
        const spans = await engine.run(
          `SELECT _source, _partition, min(_offset) AS first, max(_offset) AS last FROM (${relation}) GROUP BY ALL ORDER BY ALL`,
        )
        const outside = spans.filter((span) => !isConsumed(span, coverage))
        const findings = [
          ...twice.map((place) =>
            finding(
              table,
              place,
              'one row',
              `${place.times} rows at offset ${place._offset}`,
              'rows came in twice; please report it with this line',
            ),
          ),
          ...outside.map((span) => ({
            ...finding(
              table,
              span,
              'offsets that the catalog calls consumed',
              `offsets ${span.first} to ${span.last}`,
              'the catalog is older than the rows: see "millrace catalog rebuild"',
            ),
            kind: 'behind' as const,
          })),
        ]
        return { rows, findings, skipped: undefined }
      } catch (error) {
        // Files were verified just before: what the engine says against one of them is no finding about its bytes.
        if (!isMillraceError(error)) throw error
        return skip(error.message)
      } finally {
        await rm(workFolder, { recursive: true, force: true })
      }
    },
  }
}

type Row = Readonly<Record<string, unknown>>

/** Sources of HTTP are not looked at: a producer that was idle for long leaves the coverage. */
function isConsumed({ _source, _partition, first, last }: Row, coverage: readonly Coverage[]): boolean {
  if (String(_source).startsWith(HTTP_SOURCE)) return true
  const [from, to] = [BigInt(first as bigint), BigInt(last as bigint)]
  const ranges: OffsetRange[] = coverage
    .filter(({ source, partition }) => rowSourceOf(source) === _source && partition === Number(_partition))
    .flatMap((each) => each.ranges)
  const isIn = (offset: bigint) => ranges.some(({ start, end }) => start <= offset && offset < end)
  return isIn(from) && isIn(to)
}

function finding(table: Table, { _source, _partition }: Row, expected: string, found: string, advice: string): Finding {
  return {
    kind: 'overlapping',
    severity: 'damage',
    path: `${table.name} ${_source}/${_partition}`,
    what: 'table',
    table: table.name,
    referredBy: undefined,
    expected,
    found,
    advice,
  }
}
