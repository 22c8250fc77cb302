/** Names of a cluster's topics, and its id, for those that follow a pattern of topics or tell which cluster this is. */
import { brokerClientOptions, parseBrokerAddress } from './client.ts'
import { createCluster } from './cluster.ts'
import type { KafkaSourceSettings } from './fetch-source.ts'
import { requestTopicNames } from './requests.ts'

const CONNECT_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 15_000

/** Throws `broker-unavailable`. A connection of its own, closed at the end. */
export async function listTopics(
  settings: KafkaSourceSettings,
): Promise<{ readonly clusterId: string | null; readonly topics: readonly string[] }> {
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
    return await requestTopicNames(await cluster.anyLink())
  } finally {
    cluster.close()
  }
}
