/**
 * What a process of `working-process.ts` tells its parent: one report for each thing that the catalog said is committed. The
 * parent adds them up, whatever release they came from, and compares with what lies in the catalog at the end.
 */
export type Report =
  | {
      readonly kind: 'tick'
      readonly commitId: string
      readonly source: string
      readonly start: number
      readonly end: number
      readonly dead: number
      readonly filtered: number
      readonly segments: readonly { readonly table: string; readonly path: string; readonly rows: number }[]
      readonly key: string | undefined
    }
  | {
      readonly kind: 'snapshot'
      readonly table: string
      readonly metadataLocation: string
      readonly consumed: readonly string[]
      readonly removed: readonly string[]
      readonly rows: number
    }
  | {
      readonly kind: 'merge'
      readonly table: string
      readonly inputs: readonly string[]
      readonly path: string
      readonly rows: number
    }
  | { readonly kind: 'schema'; readonly table: string; readonly schemaId: number }
  | { readonly kind: 'forgotten'; readonly paths: readonly string[] }
  /** Counts of what else happened, at the end. */
  | { readonly kind: 'seen'; readonly counts: Readonly<Record<string, number>> }
