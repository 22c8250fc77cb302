/** Where a topic-partition of this process stands, for people. */
export type PartitionView = {
  readonly topic: string
  readonly partition: number
  readonly source: string
  readonly state: 'running' | 'waiting' | 'needs-decision'
  readonly detail: string | undefined
  readonly logStart: number
  readonly logEnd: number
  readonly position: bigint | undefined
  readonly committed: bigint | undefined
  /** Since it was assigned. */
  readonly records: number
  readonly dead: number
  readonly bytes: number
}
