/**
 * Rows so wide that the engine cannot hold a sort of them: taken a part at a time, each part few enough rows to fit as it is.
 *
 *   inputs ─▶ parts (some files, or a stretch of one) ─▶ one sorted file for each table partition of a part
 *          ─▶ for each table partition, its sorted files one behind the other: what is written, by a COPY that sorts nothing
 *
 * A stretch of a file is read with LIMIT and OFFSET, by one thread and so in the file's order: every row is in one part. A large
 * file is read again for each of its stretches, which costs CPU and no memory. If we stop here, files are left in the work folder.
 */
import type { MappedFile } from '../lake/file-mapping.ts'
import type { PartitionValue } from '../lake/iceberg/iceberg.ts'
import { partitionText } from './plan.ts'

export type InputPart = {
  readonly inputs: readonly MappedFile[]
  /** Rows of the only input; undefined: all rows of all of them. */
  readonly stretch: { readonly offset: number; readonly rows: number } | undefined
}

/** Whole files together as long as they are few rows, a larger one in stretches. Pure. */
export function inputParts(inputs: readonly MappedFile[], rowsMax: number): InputPart[] {
  const parts: InputPart[] = []
  let together: MappedFile[] = []
  let rows = 0
  const close = () => {
    if (together.length > 0) parts.push({ inputs: together, stretch: undefined })
    together = []
    rows = 0
  }
  for (const input of inputs) {
    const { rowCount } = input.footer
    if (rows + rowCount > rowsMax) close()
    if (rowCount <= rowsMax) {
      together.push(input)
      rows += rowCount
      continue
    }
    for (let offset = 0; offset < rowCount; offset += rowsMax) {
      parts.push({ inputs: [input], stretch: { offset, rows: Math.min(rowsMax, rowCount - offset) } })
    }
  }
  close()
  return parts
}

export function stretchSql(relation: string, { stretch }: InputPart): string {
  return stretch ? `SELECT * FROM (${relation}) LIMIT ${stretch.rows} OFFSET ${stretch.offset}` : relation
}

export type Destined = readonly PartitionValue[] | 'aside'

export type SortedFiles = {
  add(partition: Destined, file: string): void
  readonly groups: Iterable<{ readonly partition: Destined; readonly files: readonly string[] }>
}

/** Files of the parts by where their rows go. Beyond so many table partitions, rows of others go beside the partitioning. Pure. */
export function createSortedFiles(partitionsMax: number): SortedFiles {
  const groups = new Map<string, { readonly partition: Destined; readonly files: string[] }>()
  let partitions = 0
  return {
    add(wanted, file) {
      const isNew = wanted !== 'aside' && !groups.has(partitionText({ partition: wanted }))
      const partition = isNew && partitions >= partitionsMax ? 'aside' : wanted
      const name = partition === 'aside' ? 'aside' : partitionText({ partition })
      const group = groups.get(name)
      if (group) {
        group.files.push(file)
        return
      }
      if (partition !== 'aside') partitions += 1
      groups.set(name, { partition, files: [file] })
    },
    get groups() {
      return groups.values()
    },
  }
}
