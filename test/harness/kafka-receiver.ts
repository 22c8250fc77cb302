/**
 * For tests: what the pipeline does with blocks, over a map in memory instead of a catalog. Coverage is shared by all
 * members of a group and moves only from exactly where it ended, so records are taken once whoever is late.
 */
import {
  type AssignedPartition,
  type KafkaSourceHandlers,
  type RecordBlock,
  type TopicPartition,
  topicPartitionKey,
} from '../../ingest/kafka/kafka-source.ts'

export type ModelCoverage = {
  /** Next offset by `topic id/partition`. */
  readonly next: Map<string, number>
  readonly offsets: Map<string, number[]>
  readonly values: (string | null)[]
  records: number
  filtered: number
  /** Sum of what `measure` gives. */
  sum: number
  /** Blocks that began beyond the coverage: records would be lost. */
  gaps: string[]
  repeated: number
}

export function createModelCoverage(): ModelCoverage {
  return {
    next: new Map(),
    offsets: new Map(),
    values: [],
    records: 0,
    filtered: 0,
    sum: 0,
    gaps: [],
    repeated: 0,
  }
}

export type ModelReceiver = {
  readonly handlers: KafkaSourceHandlers
  readonly assignments: AssignedPartition[][]
  readonly revocations: TopicPartition[][]
  readonly outOfRange: { partition: AssignedPartition; position: number }[]
  readonly troubles: (string | undefined)[]
  readonly outstanding: { now: number; most: number }
}

export function coverageKey(partition: TopicPartition): string {
  return `${partition.topicId}/${partition.partition}`
}

export function createModelReceiver(
  coverage: ModelCoverage,
  options: {
    keep?: 'values' | 'offsets'
    before?(block: RecordBlock): Promise<void>
    measure?(block: RecordBlock, index: number): number
  } = {},
): ModelReceiver {
  const assignments: AssignedPartition[][] = []
  const revocations: TopicPartition[][] = []
  const outOfRange: ModelReceiver['outOfRange'] = []
  const troubles: (string | undefined)[] = []
  const outstanding = { now: 0, most: 0 }

  function take(block: RecordBlock): void {
    const key = coverageKey(block)
    const next = coverage.next.get(key) ?? block.startOffset
    if (block.startOffset > next) coverage.gaps.push(`${key}: ${next} to ${block.startOffset}`)
    if (block.nextOffset <= next) {
      coverage.repeated += block.count
      return
    }
    const offsets = coverage.offsets.get(key) ?? []
    coverage.offsets.set(key, offsets)
    for (let index = 0; index < block.count; index++) {
      if (block.offsets[index] < next) {
        coverage.repeated += 1
        continue
      }
      coverage.records += 1
      if (options.measure) coverage.sum += options.measure(block, index)
      if (options.keep !== undefined) offsets.push(block.offsets[index])
      if (options.keep === 'values') coverage.values.push(valueText(block, index))
    }
    coverage.filtered += block.filtered
    coverage.next.set(key, block.nextOffset)
  }

  return {
    assignments,
    revocations,
    outOfRange,
    troubles,
    outstanding,
    handlers: {
      async assigned(partitions) {
        assignments.push([...partitions])
        return new Map(
          partitions.map((partition) => {
            const offset = coverage.next.get(coverageKey(partition))
            return [topicPartitionKey(partition), offset === undefined ? { at: 'earliest' } : { at: 'offset', offset }]
          }),
        )
      },
      async revoked(partitions) {
        revocations.push([...partitions])
      },
      async block(block) {
        outstanding.now += 1
        outstanding.most = Math.max(outstanding.most, outstanding.now)
        await options.before?.(block)
        outstanding.now -= 1
        take(block)
      },
      outOfRange: (partition, position) => outOfRange.push({ partition, position }),
      trouble: (reason) => troubles.push(reason),
    },
  }
}

export function valueText(block: RecordBlock, index: number): string | null {
  const start = block.valueStarts[index]
  return start < 0 ? null : Buffer.from(block.bytes.subarray(start, block.valueEnds[index])).toString('utf8')
}
