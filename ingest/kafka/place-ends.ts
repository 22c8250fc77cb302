/** Where the logs of some topic-partitions begin and end, and the ids of their topics, for those who move positions. */
import type { World } from '../../runtime/world.ts'
import { brokerClientOptions, parseBrokerAddress } from './client.ts'
import { createCluster } from './cluster.ts'
import type { KafkaSourceSettings } from './fetch-source.ts'
import type { AssignedPartition } from './kafka-source.ts'
import { listLogEnds } from './log-ends.ts'

const CONNECT_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 15_000

/** Those that exist and have a leader. Throws `broker-unavailable`. */
export async function placeEnds(
  settings: KafkaSourceSettings,
  world: World,
  places: readonly { readonly topic: string; readonly partition: number }[],
): Promise<readonly AssignedPartition[]> {
  const cluster = createCluster(
    settings.bootstrap.map(parseBrokerAddress),
    brokerClientOptions({
      clientId: settings.clientId,
      security: settings.security,
      connectTimeoutMs: settings.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      requestTimeoutMs: settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    }),
  )
  try {
    const topics = [...new Set(places.map(({ topic }) => topic))]
    const known = await cluster.refresh(topics)
    // What is not there is not waited for.
    const there = places.filter(({ topic, partition }) => known.get(topic)?.partitions.has(partition))
    const byTopic = Map.groupBy(there, ({ topic }) => topic)
    const assigned = [...byTopic].map(([topic, all]) => ({ topic, partitions: all.map(({ partition }) => partition) }))
    if (assigned.length === 0) return []
    const { partitions } = await listLogEnds({ cluster, world, topics, assigned, over: () => false })
    return partitions
  } finally {
    cluster.close()
  }
}
