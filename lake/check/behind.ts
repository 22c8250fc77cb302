/**
 * A catalog that was restored from an older copy, or failed over to a replica that lagged: the bucket is ahead of it. Pure.
 *
 * What gives it away without reading a file: metadata with a higher sequence number than the catalog's. A compactor that died
 * just before its commit leaves one, numbered one higher; one of a writer that the catalog never saw, or one numbered
 * higher still, was committed in a catalog that is not this one.
 */
import type { Unreferenced } from './compare-files.ts'
import type { Finding } from './finding.ts'

export function behindFinding(
  unreferenced: readonly Unreferenced[],
  { table, metadataLocation }: { readonly table: string | undefined; readonly metadataLocation: string | undefined },
): Finding | undefined {
  if (table === undefined) return undefined
  const current = sequenceOf(metadataLocation ?? '') ?? 0
  let ahead: { readonly path: string; readonly sequence: number } | undefined
  for (const { info, state } of unreferenced) {
    const sequence = sequenceOf(info.path)
    if (sequence === undefined || state === 'lives' || state === 'fenced') continue
    const isAhead = sequence > current + 1 || (sequence > current && state === 'unknown')
    if (isAhead && sequence > (ahead?.sequence ?? 0)) ahead = { path: info.path, sequence }
  }
  if (!ahead) return undefined
  return {
    kind: 'behind',
    severity: 'damage',
    path: ahead.path,
    what: 'metadata',
    table,
    referredBy: 'nothing',
    expected: `metadata number ${current}, as the catalog says, to be the last`,
    found: `number ${ahead.sequence}`,
    advice:
      'the catalog is older than the bucket: stop the compactors, so that no sweep removes what it does not know, and see "millrace catalog rebuild"',
  }
}

/** The number that the name of a metadata file begins with. */
function sequenceOf(path: string): number | undefined {
  const digits = /\/(\d+)-[^/]*\.metadata\.json$/.exec(path)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
