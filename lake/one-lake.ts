/**
 * Do a catalog and a store belong together? A table lies under `lake.root` for its life, so one that lies elsewhere says that
 * the catalog is another lake's, or that the setting is wrong. Whoever goes on all the same takes every file for gone, and
 * the files of the other lake for nobody's.
 */
import { MillraceError } from '../schemas/errors.ts'

export type PlacedTable = { readonly name: string; readonly location: string }

/** `settings-invalid`, naming both places. */
export function requireOneLake(tables: readonly PlacedTable[], lakeRoot: string): void {
  const elsewhere = tables.find(({ location }) => !location.startsWith(`${lakeRoot}/`))
  if (!elsewhere) return
  throw new MillraceError(
    'settings-invalid',
    `the catalog and the bucket are not of one lake: table "${elsewhere.name}" lies at ${elsewhere.location}, lake.root is ${lakeRoot}; nothing was changed. Set lake.root to where the tables are, or name the catalog of this bucket`,
  )
}
