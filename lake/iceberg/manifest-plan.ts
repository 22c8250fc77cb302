/**
 * Which manifests a new snapshot has: those of its parent as they are, those with removed files written anew, one for
 * the added files, and, beyond `manifestsMax`, the smallest joined to one, all by partition spec, of which a manifest has one.
 * Pure; reading and writing is `write.ts`.
 *
 *   kept      same file as in the parent; only read when it is joined or may hold a removed file
 *   written   entries: ADDED by this snapshot, EXISTING with their own sequence numbers, DELETED by this snapshot
 *
 * DELETED entries of earlier snapshots, and manifests with nothing else, are left out: else the list grows for ever.
 */
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { DataFile } from './iceberg.ts'
import { type ManifestEntry, type ManifestFile, STATUS } from './manifest.ts'
import { TABLE_SPEC_ID } from './table-metadata.ts'

export type ManifestDraft =
  | { readonly kind: 'kept'; readonly manifest: ManifestFile }
  | { readonly kind: 'written'; readonly specId: number; readonly entries: readonly ManifestEntry[] }

function addedEntries(files: readonly DataFile[], snapshotId: bigint): readonly ManifestEntry[] {
  // No sequence number: whoever reads takes that of the manifest list, as the spec says for added files.
  return files.map((file) => ({
    status: STATUS.added,
    snapshotId,
    sequenceNumber: undefined,
    fileSequenceNumber: undefined,
    file,
  }))
}

export type Removal = {
  readonly drafts: readonly ManifestDraft[]
  readonly removed: readonly DataFile[]
}

/** @param contents entries of each manifest, inherited numbers filled in; undefined for one that lists nothing to be removed */
export function removeFiles(
  manifests: readonly ManifestFile[],
  contents: readonly (readonly ManifestEntry[] | undefined)[],
  remove: ReadonlySet<string>,
  snapshotId: bigint,
): Removal {
  const removed: DataFile[] = []
  const drafts = manifests.map((manifest, i): ManifestDraft => {
    const live = liveEntries(contents[i] ?? [])
    if (!live.some(({ file }) => remove.has(file.path))) return { kind: 'kept', manifest }
    const entries = live.map((entry): ManifestEntry => {
      if (!remove.has(entry.file.path)) return { ...entry, status: STATUS.existing }
      removed.push(entry.file)
      return { ...entry, status: STATUS.deleted, snapshotId }
    })
    return { kind: 'written', specId: manifest.specId, entries }
  })
  const found = new Set(removed.map((file) => file.path))
  for (const path of remove) {
    if (!found.has(path)) throw new MillraceError('commit-conflict', `${path} is to be removed but is not live`)
  }
  invariant('G-2.file-listed-once', found.size === removed.length, { paths: found.size, entries: removed.length })
  return { drafts, removed }
}

export function liveEntries(entries: readonly ManifestEntry[]): readonly ManifestEntry[] {
  return entries.filter(({ status }) => status !== STATUS.deleted)
}

/** Entries of a kept manifest as they stand in one that joins it. */
export function joinedEntries(entries: readonly ManifestEntry[]): readonly ManifestEntry[] {
  return liveEntries(entries).map((entry) => ({ ...entry, status: STATUS.existing }))
}

export function addedDrafts(files: readonly DataFile[], snapshotId: bigint): readonly ManifestDraft[] {
  const bySpec = Map.groupBy(files, (file) => file.specId ?? TABLE_SPEC_ID)
  return [...bySpec].map(([specId, list]) => ({ kind: 'written', specId, entries: addedEntries(list, snapshotId) }))
}

export function specIdOf(draft: ManifestDraft): number {
  return draft.kind === 'written' ? draft.specId : draft.manifest.specId
}

function sizeOf(draft: ManifestDraft): number {
  if (draft.kind === 'written') return draft.entries.length
  return draft.manifest.addedFiles + draft.manifest.existingFiles
}

/**
 * Positions to join, fewest entries first; none while there are at most `manifestsMax`. Half of the room is freed at
 * once, so that a row of the list is joined about log times and not at every commit.
 */
export function chooseJoined(drafts: readonly ManifestDraft[], manifestsMax: number): ReadonlySet<number> {
  if (drafts.length <= Math.max(1, manifestsMax)) return new Set()
  const after = Math.max(1, Math.ceil(manifestsMax / 2))
  const bySize = drafts.map((_, i) => i).sort((a, b) => sizeOf(drafts[a]) - sizeOf(drafts[b]) || a - b)
  return new Set(bySize.slice(0, drafts.length - after + 1))
}
