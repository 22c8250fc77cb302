/**
 * Where topic-partitions stand in time, for people who move positions: of each the offset of the first record that is not older
 * than a moment, or the log's end when there is none. A cluster of its own for the question; nothing is kept.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { brokerClientOptions, parseBrokerAddress } from './client.ts'
import { createCluster } from './cluster.ts'
import { KAFKA_ERRORS, kafkaErrorText } from './error-codes.ts'
import type { KafkaSourceSettings } from './fetch-source.ts'
import type { AssignedPartition } from './kafka-source.ts'
import { requestOffsets } from './requests.ts'

const TIMEOUT_MS = 15_000

/** In the order of the places. */
export async function offsetsAt(
  settings: KafkaSourceSettings,
  places: readonly AssignedPartition[],
  timestampMs: number,
): Promise<readonly number[]> {
  const { clientId, security } = settings
  const options = brokerClientOptions({
    clientId,
    security,
    connectTimeoutMs: TIMEOUT_MS,
    requestTimeoutMs: TIMEOUT_MS,
  })
  const cluster = createCluster(settings.bootstrap.map(parseBrokerAddress), options)
  try {
    const states = await cluster.refresh([...new Set(places.map(({ topic }) => topic))])
    const offsets: number[] = []
    for (const { topic, partition, logEnd } of places) {
      const known = states.get(topic)?.partitions.get(partition)
      const address = known && cluster.brokerAddress(known.leader)
      if (!known || !address) throw new MillraceError('broker-unavailable', `${topic}/${partition} has no leader now`)
      const wanted = [{ topic, partition, leaderEpoch: known.leaderEpoch }]
      const [listed] = await requestOffsets(await cluster.link(address), timestampMs, wanted)
      if (listed.errorCode !== KAFKA_ERRORS.none) {
        throw new MillraceError('broker-unavailable', `${topic}/${partition}: ${kafkaErrorText(listed.errorCode)}`)
      }
      offsets.push(listed.offset < 0 ? logEnd : listed.offset)
    }
    return offsets
  } finally {
    cluster.close()
  }
}

/** How many partitions each topic has; topics that are not there are left out. */
export async function partitionsOf(
  settings: KafkaSourceSettings,
  topics: readonly string[],
): Promise<{ readonly topic: string; readonly partition: number }[]> {
  const { clientId, security } = settings
  const options = brokerClientOptions({
    clientId,
    security,
    connectTimeoutMs: TIMEOUT_MS,
    requestTimeoutMs: TIMEOUT_MS,
  })
  const cluster = createCluster(settings.bootstrap.map(parseBrokerAddress), options)
  try {
    const states = await cluster.refresh(topics)
    return [...states].flatMap(([topic, { partitions }]) =>
      [...partitions.keys()].sort((a, b) => a - b).map((partition) => ({ topic, partition })),
    )
  } finally {
    cluster.close()
  }
}
