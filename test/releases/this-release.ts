/** This release's catalog code, in the shape of the kept ones (`scripts/save-release.ts`). */
export { openCatalog } from '../../lake/catalog/open-catalog.ts'
export { createLog } from '../../runtime/log.ts'
export { createSystemWorld } from '../../runtime/system-world.ts'
