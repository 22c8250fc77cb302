/**
 * DuckDB's error for broken pages does not say which file they are in. When a statement failed in a way that only broken
 * bytes explain, its files are read one by one, every column, and the first one that fails is named (G-9). Costs a read
 * of all of them, and only happens then.
 */
import type { Engine } from '../../lake/engine/engine.ts'
import { quoteText } from '../../lake/file-mapping.ts'
import { asMillraceError, isMillraceError, MillraceError } from '../../schemas/errors.ts'

export type ReadFile = { readonly path: string; readonly localFile: string }

/** The error to show: naming the file when one is found, else the one that was given. */
export async function damagedFileError(
  engine: Pick<Engine, 'run'>,
  files: readonly ReadFile[],
  error: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  if (!isMillraceError(error, 'file-damaged') && !isMillraceError(error, 'internal')) return error
  for (const { path, localFile } of files) {
    if (signal.aborted) return error
    const sql = `SELECT max(hash(file)) FROM read_parquet(${quoteText(localFile)}, hive_partitioning = false) file`
    try {
      await engine.run(sql, { signal })
    } catch (found) {
      const failure = asMillraceError(found)
      if (failure.kind !== 'data' && failure.kind !== 'internal') return error
      return new MillraceError('file-damaged', `${path}: its bytes cannot be read: ${failure.message.split('\n')[0]}`, {
        cause: error,
        facts: { path },
      })
    }
  }
  return error
}
