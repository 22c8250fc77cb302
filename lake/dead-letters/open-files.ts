/**
 * Files of one version of a table as the engine opens them: fetched whole into a folder of the caller's where they are remote.
 * A file that is gone or damaged is an error naming it.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MillraceError } from '../../schemas/errors.ts'
import type { Segment, TableVersion } from '../catalog/catalog.ts'
import type { MappedFile } from '../file-mapping.ts'
import type { LiveFile } from '../iceberg/iceberg.ts'
import { createSnapshotReader, readMetadata } from '../iceberg/read.ts'
import { FILE_SCHEME, localFileOf } from '../object-store/object-path.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { readLocalFooter } from '../parquet/footer-file.ts'

export type TableFile = LiveFile | Segment

/** Files of a bucket are fetched whole: more than this is looked at by SQL, and taken away in parts by the compactor. */
const FETCH_BYTES_MAX = 4 * 1024 ** 3

/** Data files of its snapshot and live segments. */
export async function filesOf(
  { metadataLocation, segments }: Pick<TableVersion, 'metadataLocation' | 'segments'>,
  store: ObjectStore,
): Promise<TableFile[]> {
  const snapshot = metadataLocation && (await readMetadata(store, metadataLocation)).currentSnapshot
  const live = snapshot ? await createSnapshotReader({ store, entriesMax: 0 }).liveFiles(snapshot) : []
  return [...live, ...segments]
}

/** @param advice what to do when they are too many bytes to fetch */
export async function openFiles(
  files: readonly TableFile[],
  { store, workFolder, table, advice }: { store: ObjectStore; workFolder: string; table: string; advice?: string },
): Promise<MappedFile[]> {
  const remote = files.filter(({ path }) => !path.startsWith(FILE_SCHEME))
  const bytes = remote.reduce((sum, file) => sum + file.bytes, 0)
  if (bytes > FETCH_BYTES_MAX) {
    throw new MillraceError(
      'request-too-large',
      `the files of ${table} have ${bytes} bytes, at most ${FETCH_BYTES_MAX} are fetched at once${advice ? `: ${advice}` : ''}`,
      { facts: { table } },
    )
  }
  await mkdir(workFolder, { recursive: true })
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
