/**
 * Moving data files to the cold store: the same bytes at another path, held to their checksum on the way, then one
 * `replace` commit. The file here stays until no version needs it. If we stop between copy and commit, a restart sees a
 * copy that nothing refers to.
 */

import type { Table, Writer } from '../lake/catalog/catalog.ts'
import { checksumOf } from '../lake/checksum.ts'
import type { DataFile, LiveFile } from '../lake/iceberg/iceberg.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { World } from '../runtime/world.ts'
import { MillraceError } from '../schemas/errors.ts'

export type Tiering = {
  move(table: Table, files: readonly LiveFile[]): Promise<DataFile[]>
}

export function createTiering(components: {
  store: ObjectStore
  world: World
  writer: Writer
  lakeRoot: string
  coldRoot: string
}): Tiering {
  const { store, world, writer, lakeRoot, coldRoot } = components
  let sequence = 0
  return {
    async move(_table, files) {
      const moved: DataFile[] = []
      for (const file of files) {
        if (!file.path.startsWith(`${lakeRoot}/`)) {
          throw new MillraceError('file-schema-mismatch', `${file.path}: it lies outside lake.root ${lakeRoot}`)
        }
        // Named by who moves it, so that the sweep can tell whose leftover it is.
        sequence += 1
        const folder = file.path.slice(lakeRoot.length + 1, file.path.lastIndexOf('/'))
        const path = `${coldRoot}/${folder}/${writer.writerId}-cold-${String(sequence).padStart(8, '0')}.parquet`
        const { bytes } = await store.get(file.path)
        if (bytes.length !== file.bytes) {
          throw new MillraceError('file-damaged', `${file.path}: expected ${file.bytes} bytes, found ${bytes.length}`)
        }
        // Of an older release none is known: what is copied here is what is held to from now on.
        const checksum = checksumOf(bytes)
        if (checksum !== (file.checksum ?? checksum)) {
          throw new MillraceError(
            'file-damaged',
            `${file.path}: its bytes have the checksum ${checksum}, expected ${file.checksum}`,
            { facts: { path: file.path } },
          )
        }
        const { etag } = await store.put(path, bytes, { ifNoneMatch: '*' })
        world.crashPoint('compactor/after-cold-file')
        const { snapshotId: _, sequenceNumber: __, manifestPath: ___, ...dataFile } = file
        moved.push({ ...dataFile, path, checksum, etag })
      }
      return moved
    },
  }
}
