/**
 * The requests a consumer needs beside fetching: what the cluster looks like, where logs begin and end, and the classic
 * group protocol. Each in one fixed version that every broker from Kafka 3.1 on speaks, so that there is nothing to
 * negotiate; `checkBrokerVersions` says so in words where a broker does not.
 *
 * An error code in a reply comes back as data: what it means depends on who asked.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { addressText, type BrokerLink } from './client.ts'
import { WireReader, WireWriter } from './wire.ts'

const API = {
  fetch: 1,
  listOffsets: 2,
  metadata: 3,
  offsetCommit: 8,
  findCoordinator: 10,
  joinGroup: 11,
  heartbeat: 12,
  leaveGroup: 13,
  syncGroup: 14,
  apiVersions: 18,
} as const

const VERSION = {
  [API.fetch]: 13,
  [API.listOffsets]: 6,
  [API.metadata]: 12,
  [API.offsetCommit]: 8,
  [API.findCoordinator]: 4,
  [API.joinGroup]: 7,
  [API.heartbeat]: 4,
  [API.leaveGroup]: 4,
  [API.syncGroup]: 5,
} as const

export type MetadataPartition = {
  readonly errorCode: number
  readonly partition: number
  readonly leader: number
  readonly leaderEpoch: number
}

export type MetadataTopic = {
  readonly errorCode: number
  readonly name: string
  readonly topicId: string
  readonly partitions: readonly MetadataPartition[]
}

export type ClusterMetadata = {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]
  readonly topics: readonly MetadataTopic[]
}

export async function checkBrokerVersions(link: BrokerLink): Promise<void> {
  const body = new WireWriter().compactString('millrace').compactString('1').noTags()
  const reader = new WireReader(await link.request(API.apiVersions, 3, body.bytes()))
  const errorCode = reader.int16()
  const highest = new Map<number, number>()
  if (errorCode === 0) {
    reader.compactArray(() => {
      const key = reader.int16()
      reader.int16()
      highest.set(key, reader.int16())
      reader.skipTags()
    })
  }
  for (const [key, version] of Object.entries(VERSION)) {
    if ((highest.get(Number(key)) ?? -1) >= version) continue
    throw new MillraceError(
      'broker-unavailable',
      `broker ${addressText(link.address)} is too old: Kafka 3.1 or newer is needed (request ${key} version ${version})`,
    )
  }
}

/** Every topic that this client may see, and which cluster it is. */
export async function requestTopicNames(
  link: BrokerLink,
): Promise<{ readonly clusterId: string | null; readonly topics: readonly string[] }> {
  // 0: all of them.
  const body = new WireWriter().unsignedVarint(0).boolean(false).boolean(false).noTags()
  const { clusterId, topics } = readMetadata(await link.request(API.metadata, VERSION[API.metadata], body.bytes()))
  return { clusterId, topics: topics.filter(({ isInternal }) => !isInternal).map(({ name }) => name) }
}

export async function requestMetadata(link: BrokerLink, topics: readonly string[]): Promise<ClusterMetadata> {
  const body = new WireWriter()
  body.compactArray(topics, (name) => body.uuid('0'.repeat(32)).compactString(name).noTags())
  body.boolean(false).boolean(false).noTags()
  return readMetadata(await link.request(API.metadata, VERSION[API.metadata], body.bytes()))
}

function readMetadata(reply: Buffer) {
  const reader = new WireReader(reply)
  reader.int32()
  const brokers = reader.compactArray(() => {
    const broker = { nodeId: reader.int32(), host: reader.compactString(), port: reader.int32() }
    reader.compactNullableString()
    reader.skipTags()
    return broker
  })
  const clusterId = reader.compactNullableString()
  reader.int32()
  const found = reader.compactArray(() => {
    const errorCode = reader.int16()
    const name = reader.compactString()
    const topicId = reader.uuid()
    const isInternal = reader.boolean()
    const partitions = reader.compactArray(() => readMetadataPartition(reader))
    reader.int32()
    reader.skipTags()
    return { errorCode, name, topicId, isInternal, partitions }
  })
  return { clusterId, brokers, topics: found }
}

function readMetadataPartition(reader: WireReader): MetadataPartition {
  const partition = {
    errorCode: reader.int16(),
    partition: reader.int32(),
    leader: reader.int32(),
    leaderEpoch: reader.int32(),
  }
  for (let lists = 0; lists < 3; lists++) reader.compactArray(() => reader.int32())
  reader.skipTags()
  return partition
}

export const LATEST = -1
export const EARLIEST = -2

export type ListedOffset = {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly offset: number
}

/** read_committed: the latest offset is the last stable one. A timestamp: of the first record that is not older; -1 for none. */
export async function requestOffsets(
  link: BrokerLink,
  at: typeof LATEST | typeof EARLIEST | number,
  partitions: readonly { topic: string; partition: number; leaderEpoch: number }[],
): Promise<ListedOffset[]> {
  const topics = [...Map.groupBy(partitions, (each) => each.topic)]
  const body = new WireWriter().int32(-1).int8(1)
  body.compactArray(topics, ([topic, wanted]) => {
    body.compactString(topic)
    body.compactArray(wanted, (each) => body.int32(each.partition).int32(each.leaderEpoch).int64(at).noTags())
    body.noTags()
  })
  body.noTags()
  const reader = new WireReader(await link.request(API.listOffsets, VERSION[API.listOffsets], body.bytes()))
  reader.int32()
  const listed: ListedOffset[] = []
  reader.compactArray(() => {
    const topic = reader.compactString()
    reader.compactArray(() => {
      const partition = reader.int32()
      const errorCode = reader.int16()
      reader.int64()
      const offset = reader.int53()
      reader.int32()
      reader.skipTags()
      listed.push({ topic, partition, errorCode, offset })
    })
    reader.skipTags()
  })
  return listed
}

export type Coordinator = {
  readonly errorCode: number
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

/** `kind` 0: of a consumer group. */
export async function requestCoordinator(link: BrokerLink, key: string, kind = 0): Promise<Coordinator> {
  const body = new WireWriter().int8(kind)
  body.compactArray([key], (each) => body.compactString(each)).noTags()
  const reader = new WireReader(await link.request(API.findCoordinator, VERSION[API.findCoordinator], body.bytes()))
  reader.int32()
  const [found] = reader.compactArray(() => {
    reader.compactString()
    const nodeId = reader.int32()
    const host = reader.compactString()
    const port = reader.int32()
    const errorCode = reader.int16()
    reader.compactNullableString()
    reader.skipTags()
    return { errorCode, nodeId, host, port }
  })
  if (!found) throw new RangeError('the broker named no coordinator')
  return found
}

export type JoinReply = {
  readonly errorCode: number
  readonly generation: number
  readonly leader: string
  readonly memberId: string
  /** Of all members; empty unless this one is the leader. */
  readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[]
}

export async function requestJoin(
  link: BrokerLink,
  join: {
    groupId: string
    memberId: string
    sessionTimeoutMs: number
    rebalanceTimeoutMs: number
    protocol: string
    metadata: Uint8Array
  },
): Promise<JoinReply> {
  const body = new WireWriter()
    .compactString(join.groupId)
    .int32(join.sessionTimeoutMs)
    .int32(join.rebalanceTimeoutMs)
    .compactString(join.memberId)
    .compactString(null)
    .compactString('consumer')
  body.compactArray([join.protocol], (name) => body.compactString(name).compactBytes(join.metadata).noTags()).noTags()
  const reader = new WireReader(await link.request(API.joinGroup, VERSION[API.joinGroup], body.bytes()))
  reader.int32()
  const errorCode = reader.int16()
  const generation = reader.int32()
  reader.compactNullableString()
  reader.compactNullableString()
  const leader = reader.compactString()
  const memberId = reader.compactString()
  const members = reader.compactArray(() => {
    const id = reader.compactString()
    reader.compactNullableString()
    const metadata = reader.compactBytes()
    reader.skipTags()
    return { memberId: id, metadata }
  })
  return { errorCode, generation, leader, memberId, members }
}

export type Membership = { readonly groupId: string; readonly generation: number; readonly memberId: string }

export async function requestSync(
  link: BrokerLink,
  membership: Membership,
  protocol: string,
  assignments: readonly { memberId: string; assignment: Uint8Array }[],
): Promise<{ errorCode: number; assignment: Buffer }> {
  const body = new WireWriter()
    .compactString(membership.groupId)
    .int32(membership.generation)
    .compactString(membership.memberId)
    .compactString(null)
    .compactString('consumer')
    .compactString(protocol)
  body.compactArray(assignments, (each) => body.compactString(each.memberId).compactBytes(each.assignment).noTags())
  body.noTags()
  const reader = new WireReader(await link.request(API.syncGroup, VERSION[API.syncGroup], body.bytes()))
  reader.int32()
  const errorCode = reader.int16()
  reader.compactNullableString()
  reader.compactNullableString()
  return { errorCode, assignment: reader.compactBytes() }
}

/** Gives the error code. */
export async function requestHeartbeat(link: BrokerLink, membership: Membership): Promise<number> {
  const body = new WireWriter()
    .compactString(membership.groupId)
    .int32(membership.generation)
    .compactString(membership.memberId)
    .compactString(null)
    .noTags()
  const reader = new WireReader(await link.request(API.heartbeat, VERSION[API.heartbeat], body.bytes()))
  reader.int32()
  return reader.int16()
}

export async function requestLeave(link: BrokerLink, membership: Membership): Promise<void> {
  const body = new WireWriter().compactString(membership.groupId)
  body.compactArray([membership.memberId], (id) => body.compactString(id).compactString(null).noTags()).noTags()
  await link.request(API.leaveGroup, VERSION[API.leaveGroup], body.bytes())
}

/** Gives the first error code that is not 0, or 0. */
export async function requestOffsetCommit(
  link: BrokerLink,
  membership: Membership,
  positions: readonly { topic: string; partition: number; offset: number }[],
): Promise<number> {
  const topics = [...Map.groupBy(positions, (each) => each.topic)]
  const body = new WireWriter()
    .compactString(membership.groupId)
    .int32(membership.generation)
    .compactString(membership.memberId)
    .compactString(null)
  body.compactArray(topics, ([topic, wanted]) => {
    body.compactString(topic)
    body.compactArray(wanted, (each) =>
      body.int32(each.partition).int64(each.offset).int32(-1).compactString('').noTags(),
    )
    body.noTags()
  })
  body.noTags()
  const reader = new WireReader(await link.request(API.offsetCommit, VERSION[API.offsetCommit], body.bytes()))
  reader.int32()
  let first = 0
  reader.compactArray(() => {
    reader.compactString()
    reader.compactArray(() => {
      reader.int32()
      first ||= reader.int16()
      reader.skipTags()
    })
    reader.skipTags()
  })
  return first
}
