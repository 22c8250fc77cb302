/** How pipelines fare, as ingest processes told it and as a reader finds it at one moment; `pipeline-status.ts` writes and reads it. */
import type { Coverage } from '../../schemas/coverage.ts'
import type { OffsetMove } from './offset-moves.ts'

/** `running`; `paused` by a human; `waiting` at a limit, the memory ceiling or for the store or catalog; `needs-decision`. */
export type PartitionState = 'running' | 'paused' | 'waiting' | 'needs-decision'

export type PartitionStatus = {
  readonly pipeline: string
  readonly topic: string
  readonly partition: number
  /** Of coverage. */
  readonly source: string
  readonly state: PartitionState
  /** Why it does not run, with what to do. */
  readonly detail: string | undefined
  readonly logStart: bigint | undefined
  /** The last stable offset as last seen. */
  readonly logEnd: bigint | undefined
  /** Next offset to take; what is before it may not be committed yet. */
  readonly position: bigint | undefined
  readonly rowsPerSecond: number | undefined
  readonly bytesPerSecond: number | undefined
}

export type ReportedPartition = PartitionStatus & {
  readonly writerId: string
  /** Its process shows signs of life. */
  readonly isLive: boolean
  readonly updatedAt: bigint
}

export type TaskState = 'running' | 'paused' | 'failed'

export type PipelineTask = {
  readonly pipeline: string
  readonly writerId: string
  readonly state: TaskState
  readonly detail: string | undefined
  readonly startedAt: bigint
  readonly isLive: boolean
}

export type Binding = {
  readonly pipeline: string
  readonly topic: string
  readonly tableId: number
  readonly table: string
}

/** All of it at one moment: read in one transaction with the tables of a query. */
export type PipelineFacts = {
  readonly readAt: bigint
  readonly bindings: readonly Binding[]
  readonly coverage: readonly Coverage[]
  readonly partitions: readonly ReportedPartition[]
  readonly tasks: readonly PipelineTask[]
  readonly moves: readonly OffsetMove[]
  readonly lettersLeft: readonly LettersLeft[]
}

/** What masks took away of one topic-partition of one table. */
export type LettersLeft = {
  readonly tableId: number
  readonly action: string
  readonly source: string
  readonly partition: number
  readonly rows: number
}
