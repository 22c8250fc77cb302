/** What moving a pipeline's positions takes and answers (ADR 27); `offsets.ts` does it, and says what each kind of move is. */
import type { Coverage, OffsetRange } from '../../schemas/coverage.ts'
import type { KafkaPlace } from '../../schemas/kafka-source-text.ts'

export type OffsetMoveKind = 'begin' | 'skip' | 'rewind' | 'backfill'

/** What was done to one topic-partition, and to which offsets. */
export type MovedOffsets = {
  readonly topic: string
  readonly partition: number
  readonly source: string
  /** `none`: it stands there already, or all of it was consumed before. */
  readonly kind: OffsetMoveKind | 'none'
  readonly range: OffsetRange
}

export type WantedOffset = KafkaPlace & { readonly offset: bigint; readonly logStart: bigint }
export type WantedRange = KafkaPlace & { readonly range: OffsetRange }

export type Asking = { readonly requestedBy: string; readonly why: string }

export type OffsetMove = {
  readonly moveId: number
  readonly pipeline: string
  readonly topic: string
  readonly partition: number
  readonly source: string
  readonly kind: OffsetMoveKind
  readonly range: OffsetRange
  readonly requestedBy: string
  readonly why: string
  readonly movedAt: bigint
}

export type Backfill = OffsetMove & { readonly coverage: Coverage }

export type Offsets = {
  /** Throws `request-invalid` while a live ingest process runs the pipeline. */
  moveOffsets(
    pipeline: string,
    wanted: readonly WantedOffset[],
    asking: Asking & { readonly allowDuplicates: boolean },
  ): Promise<readonly MovedOffsets[]>
  /** Also while the pipeline runs. What was consumed, or is being backfilled, adds nothing. */
  beginBackfill(pipeline: string, wanted: readonly WantedRange[], asking: Asking): Promise<readonly MovedOffsets[]>
  /** Those that are not at their ends yet. */
  backfills(pipeline: string): Promise<readonly Backfill[]>
  offsetMoves(pipeline: string): Promise<readonly OffsetMove[]>
}
