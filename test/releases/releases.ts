/**
 * The releases whose catalog code tests can run: this one from its sources, the one before from the file that
 * `scripts/save-release.ts` kept. Both are modules of one shape; what crosses between them is the database alone.
 */
import { join } from 'node:path'
import type { openCatalog } from '../../lake/catalog/open-catalog.ts'
import type { createLog } from '../../runtime/log.ts'
import type { createSystemWorld } from '../../runtime/system-world.ts'

export type Release = {
  readonly openCatalog: typeof openCatalog
  readonly createLog: typeof createLog
  readonly createSystemWorld: typeof createSystemWorld
}

export const RELEASES = {
  before: join(import.meta.dirname, '..', 'fixtures', 'releases', '0.1', 'catalog.mjs'),
  this: join(import.meta.dirname, 'this-release.ts'),
} as const

export type ReleaseName = keyof typeof RELEASES

export async function loadRelease(name: ReleaseName): Promise<Release> {
  return (await import(RELEASES[name])) as Release
}
