import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  splitEvenly,
} from './group-protocol.ts'

const TOPICS = ['a', 'b', 'c', 'd']
const arbitraryMembers = fc.uniqueArray(
  fc.record({
    memberId: fc.string({ minLength: 1, maxLength: 6 }),
    topics: fc.subarray(TOPICS, { minLength: 1 }),
  }),
  { selector: (member) => member.memberId, maxLength: 6 },
)
const arbitraryCounts = fc
  .dictionary(fc.constantFrom(...TOPICS), fc.nat(12))
  .map((each) => new Map(Object.entries(each)))

test('every topic-partition goes to exactly one member that wants it', () => {
  fc.assert(
    fc.property(arbitraryMembers, arbitraryCounts, (members, counts) => {
      const split = splitEvenly(members, counts)
      const given = [...split].flatMap(([memberId, topics]) =>
        topics.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ memberId, topic, partition }))),
      )
      for (const { memberId, topic } of given) {
        expect(members.find((member) => member.memberId === memberId)?.topics).toContain(topic)
      }
      const expected = [...counts]
        .filter(([topic]) => members.some((member) => member.topics.includes(topic)))
        .flatMap(([topic, count]) => Array.from({ length: count }, (_, partition) => `${topic}/${partition}`))
      expect(given.map(({ topic, partition }) => `${topic}/${partition}`).toSorted()).toEqual(expected.toSorted())
    }),
  )
})

test('members that want the same differ by one at most, and the order of members is no matter', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 7 }),
      arbitraryCounts,
      (ids, counts) => {
        const members = ids.map((memberId) => ({ memberId, topics: TOPICS }))
        const split = splitEvenly(members, counts)
        const totals = [...split.values()].map((topics) =>
          topics.reduce((sum, each) => sum + each.partitions.length, 0),
        )
        expect(Math.max(...totals) - Math.min(...totals)).toBeLessThanOrEqual(1)
        expect(new Map([...splitEvenly(members.toReversed(), counts)].toSorted())).toEqual(
          new Map([...split].toSorted()),
        )
      },
    ),
  )
})

test('what members tell each other comes back', () => {
  expect(decodeSubscription(encodeSubscription(['zoo', 'ärger']))).toEqual(['zoo', 'ärger'])
  const assignment = [{ topic: 'flights', partitions: [0, 3] }]
  expect(decodeAssignment(encodeAssignment(assignment))).toEqual(assignment)
  expect(decodeAssignment(Buffer.alloc(0))).toEqual([])
})
