/**
 * What the main thread and a worker tell each other. Bytes of records and rows are never in a message: they lie in shared
 * memory, and a message says where. Several jobs and several answers go in one message.
 */
import type { ErrorCode } from '../../schemas/errors.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { DecodeNeeds, DecodePlan } from '../decoder/decode-plan.ts'
import type { FetchedRecords } from '../kafka/kafka-source.ts'
import type { DecodedUnit, UnitQuestion } from './decode-unit.ts'
import type { SealedSegment, SealQuestion } from './seal-segment.ts'
import type { BatchLayout } from './shared-batch.ts'

/** Of the arena when `memory` is undefined, else of a buffer of its own. */
export type Place = { readonly memory: SharedArrayBuffer | undefined; readonly start: number; readonly length: number }

export type DecodeJob = Omit<UnitQuestion, 'unit'> & {
  readonly kind: 'decode'
  readonly id: number
  readonly plan: number
  readonly fetched: Omit<FetchedRecords, 'batches'>
  readonly batches: Place
  /** Where the pieces go, if they fit. */
  readonly into: Place
}

export type PlacedPiece =
  | {
      readonly kind: 'shared'
      readonly memory: Place['memory']
      readonly rowCount: number
      readonly layout: BatchLayout
    }
  | { readonly kind: 'own'; readonly batch: MicroBatch }

export type SealJob = Omit<SealQuestion, 'pieces'> & {
  readonly kind: 'seal'
  readonly id: number
  readonly schema: TableSchema
  readonly pieces: readonly PlacedPiece[]
}

export type ToWorker = {
  readonly plans: readonly DecodePlan[]
  /** Numbers of plans that nobody asks by any more. */
  readonly forget: readonly number[]
  readonly jobs: readonly (DecodeJob | SealJob)[]
}

/** Pieces in `into`, or all of them in `overflow`; `bytes` of it are theirs. */
export type DecodedAway = Omit<DecodedUnit, 'pieces' | 'damage'> & {
  readonly pieces: readonly {
    readonly tableId: number
    readonly schemaId: number
    readonly rowCount: number
    readonly layout: BatchLayout
  }[]
  readonly bytes: number
  readonly overflow: SharedArrayBuffer | undefined
  readonly damage: ErrorFacts | undefined
}

export type ErrorFacts = {
  /** undefined: not one of ours. */
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly facts: Readonly<Record<string, unknown>>
  readonly stack: string | undefined
}

export type FromWorker = {
  readonly answers: readonly (
    | { readonly kind: 'decoded'; readonly id: number; readonly result: DecodedAway | DecodeNeeds }
    | { readonly kind: 'sealed'; readonly id: number; readonly result: SealedSegment }
    | { readonly kind: 'failed'; readonly id: number; readonly error: ErrorFacts }
  )[]
}

export type WorkerData = { readonly arena: SharedArrayBuffer; readonly unpackedBytesMax: number }
