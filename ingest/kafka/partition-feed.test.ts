import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type BatchRecord, encodeBatch } from '../../test/harness/batch-encoder.ts'
import type { FetchedPartition } from './fetch-request.ts'
import { PartitionFeed } from './partition-feed.ts'
import { createReplyPool } from './reply-memory.ts'
import { walkFetched } from './walk-fetched.ts'

const TOPIC_ID = '00000000-0000-0000-0000-000000000001'

function records(count: number): BatchRecord[] {
  return Array.from({ length: count }, (_, index) => ({ value: `v${index}` }))
}

function makeFeed(block: (from: number, next: number) => Promise<void>) {
  const events: string[] = []
  const feed: PartitionFeed = new PartitionFeed({
    partition: { topic: 'flights', topicId: TOPIC_ID, partition: 0, logStart: 0, logEnd: 100 },
    position: 0,
    handlers: {
      records: walkFetched(({ startOffset, nextOffset }) => block(startOffset, nextOffset), 1024 * 1024),
      delivered: () => {},
      damaged: (_feed, error, stopped) => events.push(`${stopped ? 'stopped' : 'again'}: ${error.message}`),
      refused: (_feed, error) => events.push(`refused: ${error instanceof Error ? error.message : error}`),
    },
  })
  const pool = createReplyPool(1024 * 1024)
  function take(batches: Buffer): void {
    const held = pool.take()
    const buffer = held.memory(batches.length)
    batches.copy(buffer)
    const part: FetchedPartition = {
      topicId: TOPIC_ID,
      partition: 0,
      errorCode: 0,
      highWatermark: 100,
      lastStableOffset: 100,
      logStart: 0,
      aborted: [],
      diverged: false,
      start: 0,
      end: batches.length,
    }
    feed.take(feed.fetchFrom, buffer, part, held)
    held.release()
  }
  return { feed, take, events }
}

async function idle(feed: PartitionFeed): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await nextTurn()
  await feed.settled()
}

test('goes on fetching from the headers while the receiver is at work, one block at a time', async () => {
  const seen: [number, number][] = []
  let release: (() => void) | undefined
  const { feed, take } = makeFeed((from, next) => {
    seen.push([from, next])
    return new Promise((resolve) => {
      release = resolve
    })
  })
  take(encodeBatch(records(3)))
  expect(feed.fetchFrom).toBe(3)
  take(encodeBatch(records(2), { baseOffset: 3 }))
  expect(feed.fetchFrom).toBe(5)
  for (let turns = 0; turns < 5; turns++) await nextTurn()
  expect(seen).toEqual([[0, 3]])
  expect(feed.delivered).toBe(0)
  expect(feed.waitingBytes).toBeGreaterThan(0)
  release?.()
  for (let turns = 0; turns < 5; turns++) await nextTurn()
  expect(seen).toEqual([
    [0, 3],
    [3, 5],
  ])
  release?.()
  await idle(feed)
  expect([feed.delivered, feed.waitingBytes]).toEqual([5, 0])
})

test('damaged records are fetched once more, then the topic-partition stops', async () => {
  const { feed, take, events } = makeFeed(async () => {})
  const bad = encodeBatch(records(2), { baseOffset: 2 })
  bad[70] ^= 1
  take(Buffer.concat([encodeBatch(records(2)), bad]))
  await idle(feed)
  expect(events).toHaveLength(1)
  expect(events[0]).toMatch(/^again: flights\/0 offset 2: CRC32C/)
  expect([feed.delivered, feed.fetchFrom, feed.alive]).toEqual([2, 2, true])
  take(bad)
  await idle(feed)
  expect(events[1]).toMatch(/^stopped: flights\/0 offset 2/)
  expect(feed.alive).toBe(false)
})

test('damage on the way heals by fetching again', async () => {
  const seen: number[] = []
  const { feed, take, events } = makeFeed(async (_from, next) => {
    seen.push(next)
  })
  const good = encodeBatch(records(2))
  const bad = Buffer.from(good)
  bad[70] ^= 1
  take(bad)
  await idle(feed)
  take(good)
  await idle(feed)
  expect(events).toHaveLength(1)
  expect(seen).toEqual([2])
  expect(feed.alive).toBe(true)
})

test('a batch that does not fit says how large it is and waits for room', () => {
  const { feed, take } = makeFeed(async () => {})
  const batch = encodeBatch(records(100))
  take(batch.subarray(0, 50))
  expect([feed.cutBatchBytes, feed.fetchFrom, feed.waitingBytes]).toEqual([batch.length, 0, 0])
})

test('after stop nothing is delivered; a receiver that throws stops it', async () => {
  let calls = 0
  const stopped = makeFeed(async () => {
    calls += 1
  })
  stopped.take(encodeBatch(records(1)))
  await idle(stopped.feed)
  stopped.feed.stop()
  stopped.take(encodeBatch(records(1), { baseOffset: 1 }))
  await idle(stopped.feed)
  expect(calls).toBe(1)

  const refusing = makeFeed(async () => {
    throw new Error('no room')
  })
  refusing.take(encodeBatch(records(1)))
  await idle(refusing.feed)
  expect(refusing.events).toEqual(['refused: no room'])
  expect(refusing.feed.alive).toBe(false)
})

test('paused, it hands out nothing, and afterwards what came meanwhile', async () => {
  const seen: [number, number][] = []
  const { feed, take } = makeFeed(async (from, next) => {
    seen.push([from, next])
  })
  take(encodeBatch(records(1)))
  feed.pause(true)
  take(encodeBatch(records(1), { baseOffset: 1 }))
  take(encodeBatch(records(1), { baseOffset: 2 }))
  await idle(feed)
  expect(seen).toEqual([[0, 1]])
  expect(feed.waitingBytes).toBeGreaterThan(0)
  feed.pause(false)
  await idle(feed)
  expect(seen).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
  ])
  expect(feed.waitingBytes).toBe(0)
})

test('what follows a damaged batch is void though the receiver has it already, and comes again', async () => {
  const seen: [number, number][] = []
  const { feed, take, events } = makeFeed(async (from, next) => {
    seen.push([from, next])
  })
  const bad = encodeBatch(records(2), { baseOffset: 2 })
  bad[70] ^= 1
  take(encodeBatch(records(2)))
  take(bad)
  take(encodeBatch(records(2), { baseOffset: 4 }))
  take(encodeBatch(records(2), { baseOffset: 6 }))
  await idle(feed)
  expect(events).toHaveLength(1)
  expect(seen).toEqual([[0, 2]])
  expect([feed.delivered, feed.fetchFrom, feed.waitingBytes]).toEqual([2, 2, 0])
  for (const baseOffset of [2, 4, 6]) take(encodeBatch(records(2), { baseOffset }))
  await idle(feed)
  expect(seen).toEqual([
    [0, 2],
    [2, 4],
    [4, 6],
    [6, 8],
  ])
})
