/**
 * Where the logs of assigned topic-partitions begin and end (the last stable offset), asked of their leaders. Leaders move
 * and new ones do not know at once, so it is asked again for a few seconds; what has no answer then is `missing`, and the
 * others begin without it.
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Cluster } from './cluster.ts'
import { KAFKA_ERRORS } from './error-codes.ts'
import type { AssignedTopic } from './group-protocol.ts'
import { type AssignedPartition, topicPartitionKey } from './kafka-source.ts'
import { EARLIEST, LATEST, requestOffsets } from './requests.ts'

const PATIENCE_MS = 4_000
const RETRY_MS = 100

type Place = { topic: string; topicId: string; partition: number; leader: number; leaderEpoch: number }

export async function listLogEnds(request: {
  cluster: Cluster
  world: World
  /** All topics of the source: one metadata request for them all. */
  topics: readonly string[]
  assigned: readonly AssignedTopic[]
  over(): boolean
}): Promise<{ partitions: AssignedPartition[]; missing: string[] }> {
  const { cluster, world, assigned } = request
  const { clock } = world
  const found = new Map<string, AssignedPartition>()
  const keys = assigned.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })))
  const begunMs = clock.monotonicMs()
  let failure: unknown
  while (!request.over()) {
    const states = await cluster.refresh(request.topics)
    const places: Place[] = []
    for (const { topic, partition } of keys) {
      const state = states.get(topic)
      const known = state?.partitions.get(partition)
      const already = found.get(topicPartitionKey({ topic, partition }))
      // A topic that was created anew in between is asked again.
      if (!state || !known || known.leader < 0 || already?.topicId === state.topicId) continue
      places.push({ topic, topicId: state.topicId, partition, leader: known.leader, leaderEpoch: known.leaderEpoch })
    }
    for (const [leader, led] of Map.groupBy(places, (each) => each.leader)) {
      try {
        for (const each of await endsAt(cluster, leader, led)) found.set(topicPartitionKey(each), each)
      } catch (error) {
        failure = error
      }
    }
    const missing = keys.map(topicPartitionKey).filter((key) => !found.has(key))
    if (missing.length === 0) return { partitions: [...found.values()], missing }
    if (clock.monotonicMs() - begunMs > PATIENCE_MS) {
      if (found.size === 0 && failure !== undefined) throw failure
      return { partitions: [...found.values()], missing }
    }
    await clock.sleep(RETRY_MS)
  }
  return { partitions: [], missing: [] }
}

async function endsAt(cluster: Cluster, leader: number, places: readonly Place[]): Promise<AssignedPartition[]> {
  const address = cluster.brokerAddress(leader)
  if (!address) throw new MillraceError('broker-unavailable', `broker ${leader} is not in the cluster's metadata`)
  const link = await cluster.link(address)
  // The start first: retention may move it meanwhile, and a start that is too early is found out by the fetch.
  const starts = await requestOffsets(link, EARLIEST, places)
  const ends = await requestOffsets(link, LATEST, places)
  const answered: AssignedPartition[] = []
  for (const { topic, topicId, partition } of places) {
    const start = starts.find((each) => each.topic === topic && each.partition === partition)
    const end = ends.find((each) => each.topic === topic && each.partition === partition)
    if (start?.errorCode !== KAFKA_ERRORS.none || end?.errorCode !== KAFKA_ERRORS.none) continue
    answered.push({ topic, topicId, partition, logStart: start.offset, logEnd: end.offset })
  }
  return answered
}
