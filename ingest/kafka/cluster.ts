/**
 * The cluster as this process knows it: which broker leads which topic-partition, and connections to brokers. Metadata
 * comes from any broker that answers, those met last first, then the bootstrap list; so a cluster may move entirely
 * while we run.
 *
 * What can fail: no broker answers (`broker-unavailable`, naming the last failure). Nothing is retried here.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { addressText, type BrokerAddress, type BrokerClientOptions, type BrokerLink, openBroker } from './client.ts'
import { KAFKA_ERRORS } from './error-codes.ts'
import { checkBrokerVersions, type MetadataPartition, requestMetadata } from './requests.ts'

export type TopicState = {
  readonly topic: string
  readonly topicId: string
  readonly partitions: ReadonlyMap<number, MetadataPartition>
}

export type Cluster = {
  /** Topics that do not exist are not in the answer. */
  refresh(topics: readonly string[]): Promise<ReadonlyMap<string, TopicState>>
  /** Of the last refresh. */
  topics(): ReadonlyMap<string, TopicState>
  brokerAddress(nodeId: number): BrokerAddress | undefined
  /** A connection for short requests, shared. */
  link(address: BrokerAddress): Promise<BrokerLink>
  /** Any broker that answers. */
  anyLink(): Promise<BrokerLink>
  /** A connection of the caller's own, for requests that wait. */
  ownLink(address: BrokerAddress, requestTimeoutMs?: number): Promise<BrokerLink>
  close(): void
}

export function createCluster(bootstrap: readonly BrokerAddress[], options: BrokerClientOptions): Cluster {
  const shared = new Map<string, Promise<BrokerLink>>()
  const own = new Set<BrokerLink>()
  const checked = new Set<string>()
  let brokers = new Map<number, BrokerAddress>()
  let topicStates: ReadonlyMap<string, TopicState> = new Map()
  let closed = false

  async function open(address: BrokerAddress, requestTimeoutMs = options.requestTimeoutMs): Promise<BrokerLink> {
    if (closed) throw new MillraceError('shutting-down', 'the Kafka source is closed')
    const link = await openBroker(address, { ...options, requestTimeoutMs })
    const name = addressText(address)
    try {
      if (!checked.has(name)) await checkBrokerVersions(link)
      if (closed) throw new MillraceError('shutting-down', 'the Kafka source is closed')
    } catch (error) {
      link.close()
      throw error
    }
    checked.add(name)
    return link
  }

  async function link(address: BrokerAddress): Promise<BrokerLink> {
    const name = addressText(address)
    const known = shared.get(name)
    if (known) {
      const opened = await known.catch(() => undefined)
      if (opened?.isOpen()) return opened
      if (shared.get(name) === known) shared.delete(name)
      const newer = shared.get(name)
      if (newer) return newer
    }
    const opening = open(address)
    shared.set(name, opening)
    // A broker that comes back may be another version.
    opening.catch(() => {
      checked.delete(name)
      if (shared.get(name) === opening) shared.delete(name)
    })
    return opening
  }

  async function anyLink(): Promise<BrokerLink> {
    const candidates = new Map([...brokers.values(), ...bootstrap].map((address) => [addressText(address), address]))
    let failure: unknown
    for (const address of candidates.values()) {
      try {
        return await link(address)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  return {
    link,
    anyLink,
    topics: () => topicStates,
    brokerAddress: (nodeId) => brokers.get(nodeId),
    async refresh(topics) {
      const metadata = await requestMetadata(await anyLink(), topics)
      if (metadata.brokers.length > 0) {
        brokers = new Map(metadata.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
      }
      const found = new Map<string, TopicState>()
      for (const { errorCode, name, topicId, partitions } of metadata.topics) {
        if (errorCode === KAFKA_ERRORS.topicAuthorizationFailed) {
          throw new MillraceError('broker-unavailable', `not allowed to read topic ${name}`)
        }
        if (errorCode !== KAFKA_ERRORS.none || partitions.length === 0) continue
        found.set(name, {
          topic: name,
          topicId,
          partitions: new Map(partitions.map((each) => [each.partition, each])),
        })
      }
      topicStates = found
      return found
    },
    async ownLink(address, requestTimeoutMs) {
      const opened = await open(address, requestTimeoutMs)
      for (const each of own) if (!each.isOpen()) own.delete(each)
      own.add(opened)
      return opened
    },
    close() {
      closed = true
      for (const opening of shared.values()) opening.then((each) => each.close()).catch(() => {})
      for (const each of own) each.close()
    },
  }
}
