/** What the parts of a rebuild's plan share while it is made. */
import type { KnownTable, MetadataFile, TableFolder, TableShape } from './facts.ts'

export type Problem = {
  /**
   * lost       rows that were committed are gone
   * broken     a file that should be read cannot be, and something older is used, or nothing
   * question   a human must say what to do
   */
  readonly kind: 'lost' | 'broken' | 'question'
  readonly text: string
  readonly paths: readonly string[]
}

export type RebuildOptions = {
  /** Ticks whose only sources are senders without a producer sequence, and which nothing proves committed. */
  readonly takeUnsequenced: boolean
}

/** One table while it is being planned. */
export type TableDraft = {
  readonly tableId: number
  readonly name: string
  readonly folder: TableFolder
  readonly known: KnownTable | undefined
  readonly shape: TableShape
  readonly metadata: MetadataFile | undefined
}
