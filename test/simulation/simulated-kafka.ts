/**
 * A Kafka cluster of the simulated world: one topic with its partitions' logs, and the coordinator of one consumer group.
 * What each offset ever held stays known, so that checkers can say what a row should be: a log that was truncated may
 * hold something else at an offset than it once did.
 *
 * The coordinator waits for nobody: a member that does not answer for the session's time is out, its partitions are given
 * away at once, and it learns of that when it next asks. So two members may both believe that they own a partition.
 */
import type { Universe } from './universe.ts'

export type LogRecord = {
  readonly offset: number
  /** hole: nothing there (compacted away); aborted: skipped by readers that read committed records only. */
  readonly kind: 'row' | 'bad' | 'tombstone' | 'aborted' | 'hole'
  readonly value: string
  readonly part: number
}

export type Log = {
  readonly partition: number
  logStart: number
  records: LogRecord[]
  /** By offset, everything that was ever there. */
  readonly history: Map<number, LogRecord[]>
  /** First offset no reader was ever given. */
  fetchedTo: number
  /** It lost records that readers had seen: nothing is produced until a human has decided. */
  isBroken: boolean
}

export type Topic = { readonly topic: string; readonly topicId: string; readonly logs: readonly Log[] }

export type Member = { readonly memberId: string; lastSeenMs: number }

export type Broker = {
  topic(): Topic
  /** All topics of the name that ever were, the living one last. */
  readonly topics: readonly Topic[]
  produce(log: Log, count: number): void
  truncate(log: Log): void
  passRetention(log: Log): void
  recreate(): void
  /** The group: joining tells the generation and what is the member's. */
  join(memberId: string): { readonly generation: number; readonly partitions: readonly number[] }
  heartbeat(memberId: string): number
  leave(memberId: string): void
  /** Shares everything out anew. */
  rebalance(): void
}

export const TOPIC = 'flights'
const SESSION_MS = 1500

export function logEnd(log: Log): number {
  return log.logStart + log.records.length
}

export function createBroker(universe: Universe, tables: { readonly parts: number }): Broker {
  const { scheduler, shape } = universe
  const { random } = scheduler
  const topics: Topic[] = []
  const members = new Map<string, Member>()
  let generation = 0
  let shares = new Map<number, string>()
  let lastRecordId = 0

  function makeTopic(): void {
    const logs = Array.from({ length: shape.topicPartitions }, (_, partition): Log => {
      // Logs that begin late, as after a retention that nobody noticed.
      const logStart = random.float() < 0.3 ? Math.floor(random.float() * 50) : 0
      return { partition, logStart, records: [], history: new Map(), fetchedTo: logStart, isBroken: false }
    })
    topics.push({ topic: TOPIC, topicId: random.uuid(), logs })
  }

  function produce(log: Log, count: number): void {
    for (let i = 0; i < count; i += 1) {
      lastRecordId += 1
      const part = Math.floor(random.float() * tables.parts)
      const draw = random.float()
      const kind =
        draw < 0.82 ? 'row' : draw < 0.88 ? 'bad' : draw < 0.92 ? 'tombstone' : draw < 0.96 ? 'aborted' : 'hole'
      const value = kind === 'bad' ? `{"id":"bad-${lastRecordId}"}` : `{"id":${lastRecordId},"part":${part}}`
      const record: LogRecord = { offset: logEnd(log), kind, value, part }
      log.records.push(record)
      const before = log.history.get(record.offset)
      if (before) before.push(record)
      else log.history.set(record.offset, [record])
    }
  }

  function rebalance(): void {
    generation += 1
    const ids = [...members.keys()]
    shares = new Map()
    const logs = topics.at(-1)?.logs ?? []
    if (ids.length === 0) return
    const first = Math.floor(random.float() * ids.length)
    for (const { partition } of logs) shares.set(partition, ids[(first + partition) % ids.length])
  }

  function expireMembers(): void {
    const silent = [...members.values()].filter((member) => scheduler.nowMs() - member.lastSeenMs > SESSION_MS)
    for (const { memberId } of silent) members.delete(memberId)
    if (silent.length > 0) rebalance()
  }

  makeTopic()
  return {
    topic: () => topics.at(-1)!,
    topics,
    produce,
    truncate(log) {
      const keep = Math.floor(log.records.length * random.float())
      log.records = log.records.slice(0, keep)
      if (logEnd(log) < log.fetchedTo) log.isBroken = true
    },
    passRetention(log) {
      const gone = Math.floor((log.records.length + 1) * random.float())
      log.records = log.records.slice(gone)
      log.logStart += gone
    },
    recreate() {
      makeTopic()
      rebalance()
    },
    join(memberId) {
      expireMembers()
      if (!members.has(memberId)) {
        members.set(memberId, { memberId, lastSeenMs: scheduler.nowMs() })
        rebalance()
      }
      members.get(memberId)!.lastSeenMs = scheduler.nowMs()
      const partitions = [...shares].filter(([, owner]) => owner === memberId).map(([partition]) => partition)
      return { generation, partitions }
    },
    heartbeat(memberId) {
      expireMembers()
      const member = members.get(memberId)
      // Out of the group: it has to join again, whatever the generation is.
      if (!member) return -1
      member.lastSeenMs = scheduler.nowMs()
      return generation
    },
    leave(memberId) {
      if (members.delete(memberId)) rebalance()
    },
    rebalance,
  }
}
