/**
 * What an older process left in the cache's folder: files whose index is readable, the rest is removed. Their ranges are only
 * proposed. A line that a kill tore off is cut away, so that the next one stands on its own.
 */
import { readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { parseIndex } from './side-index.ts'
import { createSparseFile, type SparseFile, type SparseFileParts } from './sparse-file.ts'

const NAME = /^(\d+)\.(data|index)$/

export type LoadedFile = { readonly file: SparseFile; readonly generation: number; readonly usedAtMs: number }

/** Of each object the newest generation, in the order in which they were used last. */
export async function loadSparseFiles(
  parts: SparseFileParts,
): Promise<{ readonly files: readonly LoadedFile[]; readonly lastGeneration: number }> {
  const names = await readdir(parts.folder)
  const generations = [...new Set(names.flatMap((name) => NAME.exec(name)?.[1] ?? []))].map(Number)
  generations.sort((a, b) => b - a)
  const newest = new Map<string, LoadedFile>()
  for (const generation of generations) {
    const loaded = await loadSparseFile(parts, generation)
    if (loaded === undefined) continue
    if (newest.has(loaded.file.path)) await loaded.file.remove()
    else newest.set(loaded.file.path, loaded)
  }
  const files = [...newest.values()].sort((a, b) => a.usedAtMs - b.usedAtMs || a.generation - b.generation)
  return { files, lastGeneration: generations[0] ?? 0 }
}

async function loadSparseFile(parts: SparseFileParts, generation: number): Promise<LoadedFile | undefined> {
  const data = join(parts.folder, `${generation}.data`)
  const index = join(parts.folder, `${generation}.index`)
  const bytes = await readFile(index).catch(() => Buffer.alloc(0))
  const wholeBytes = bytes.lastIndexOf('\n') + 1
  const parsed = parseIndex(bytes.toString('utf8', 0, wholeBytes))
  const size = await stat(data).then(
    (found) => found.size,
    () => undefined,
  )
  if (parsed === undefined || size !== parsed.head.size) {
    await rm(index, { force: true })
    await rm(data, { force: true })
    return undefined
  }
  const { mtimeMs: usedAtMs } = await stat(index)
  if (wholeBytes < bytes.length) await truncate(index, wholeBytes)
  const file = createSparseFile(parts, { ...parsed.head, generation, proposed: parsed.ranges })
  return { file, generation, usedAtMs }
}
