/**
 * What members of the group say to each other through the broker: a member its topics, the leader each member's
 * topic-partitions. Bytes as in Kafka's own consumer protocol, so that the usual tools show them; the split is ours:
 * every topic-partition goes to the subscribed member with the fewest so far.
 */
import { WireReader, WireWriter } from './wire.ts'

/** Another name for another way to split, so that members of two releases never mix two ways. */
export const GROUP_PROTOCOL = 'millrace-even-1'

export type MemberTopics = { readonly memberId: string; readonly topics: readonly string[] }
export type AssignedTopic = { readonly topic: string; readonly partitions: readonly number[] }

export function encodeSubscription(topics: readonly string[]): Buffer {
  const body = new WireWriter().int16(0)
  return body
    .array(topics.toSorted(), (topic) => body.string(topic))
    .byteArray(null)
    .bytes()
}

export function decodeSubscription(bytes: Buffer): string[] {
  const reader = new WireReader(bytes)
  reader.int16()
  return reader.array(() => reader.string() ?? '')
}

export function encodeAssignment(topics: readonly AssignedTopic[]): Buffer {
  const body = new WireWriter().int16(0)
  body.array(topics, ({ topic, partitions }) => {
    body.string(topic).array(partitions, (partition) => body.int32(partition))
  })
  return body.byteArray(null).bytes()
}

export function decodeAssignment(bytes: Buffer): AssignedTopic[] {
  if (bytes.length === 0) return []
  const reader = new WireReader(bytes)
  reader.int16()
  return reader.array(() => ({ topic: reader.string() ?? '', partitions: reader.array(() => reader.int32()) }))
}

/** Same input, same split, whatever the order; counts of two members of equal topics differ by one at most. */
export function splitEvenly(
  members: readonly MemberTopics[],
  partitionCounts: ReadonlyMap<string, number>,
): Map<string, AssignedTopic[]> {
  const inOrder = members.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1))
  const given = new Map(inOrder.map(({ memberId }) => [memberId, new Map<string, number[]>()]))
  const totals = new Map(inOrder.map(({ memberId }) => [memberId, 0]))
  for (const topic of [...partitionCounts.keys()].toSorted()) {
    const wanting = inOrder.filter((member) => member.topics.includes(topic))
    if (wanting.length === 0) continue
    for (let partition = 0; partition < partitionCounts.get(topic)!; partition++) {
      let fewest = wanting[0].memberId
      for (const { memberId } of wanting) if (totals.get(memberId)! < totals.get(fewest)!) fewest = memberId
      totals.set(fewest, totals.get(fewest)! + 1)
      const topics = given.get(fewest)!
      topics.set(topic, [...(topics.get(topic) ?? []), partition])
    }
  }
  return new Map(
    [...given].map(([id, topics]) => [id, [...topics].map(([topic, partitions]) => ({ topic, partitions }))]),
  )
}
