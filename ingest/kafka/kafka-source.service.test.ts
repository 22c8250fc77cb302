import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { Log } from '../../runtime/world.ts'
import type { BatchRecord, Codec } from '../../test/harness/batch-encoder.ts'
import { type KafkaBroker, startKafka } from '../../test/harness/kafka.ts'
import {
  coverageKey,
  createModelCoverage,
  createModelReceiver,
  type ModelCoverage,
  type ModelReceiver,
} from '../../test/harness/kafka-receiver.ts'
import { createProducer, type Producer } from '../../test/harness/produce.ts'
import { createKafkaSource, type KafkaSourceSettings } from './fetch-source.ts'
import type { KafkaSource, RecordBlock } from './kafka-source.ts'

const MiB = 1024 * 1024
const WAIT_MS = 60_000

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const world = createSystemWorld({ log: silent, crashAt: '' })

let kafka: KafkaBroker
let producer: Producer
let groups = 0
const open: KafkaSource[] = []

beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((source) => source.close()))
})

afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

async function startSource(
  topics: readonly string[],
  receiver: ModelReceiver,
  options: { groupId?: string; settings?: Partial<KafkaSourceSettings> } = {},
): Promise<KafkaSource> {
  groups += 1
  const source = createKafkaSource({
    settings: {
      bootstrap: [kafka.bootstrap],
      clientId: 'millrace-test',
      fetchBytesMax: 4 * MiB,
      topicsRefreshMs: 300,
      heartbeatMs: 100,
      ...options.settings,
    },
    world,
    topics,
    groupId: options.groupId ?? `group-${process.pid}-${groups}`,
    handlers: receiver.handlers,
  })
  open.push(source)
  await source.start()
  return source
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(WAIT_MS)
  while (!(await holds())) {
    if (deadline.aborted) throw new Error(`never came: ${what}`)
    await sleep(10)
  }
}

function texts(count: number, from = 0): BatchRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    value: `record ${from + index}`,
    timestamp: 1000 + from + index,
  }))
}

/** All that is in the log up to its present end. */
async function readAll(topic: string, partitions = 1): Promise<ModelCoverage> {
  const coverage = createModelCoverage()
  const receiver = createModelReceiver(coverage, { keep: 'values' })
  const source = await startSource([topic], receiver)
  await until(`end of ${topic}`, () => {
    const assigned = receiver.assignments[0]
    if (assigned?.length !== partitions) return false
    return assigned.every((each) => (coverage.next.get(coverageKey(each)) ?? each.logStart) >= each.logEnd)
  })
  await source.close()
  return coverage
}

describe('what is read', () => {
  test('every codec of our producer, keys, tombstones, times and order', async () => {
    await kafka.createTopic('codecs')
    const codecs: Codec[] = ['none', 'gzip', 'snappy', 'snappy-framed', 'lz4', 'zstd']
    for (const [index, codec] of codecs.entries()) {
      await producer.send('codecs', 0, texts(100, index * 100), { codec, recordsPerBatch: 30 })
    }
    await producer.send('codecs', 0, [{ key: 'k', value: null, timestamp: 5, headers: [['h', 'v']] }])
    const blocks: { key: string; timestamp: number }[] = []
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, {
      keep: 'values',
      measure(block, index) {
        const [start, end] = [block.keyStarts[index], block.keyEnds[index]]
        const key = start < 0 ? '' : Buffer.from(block.bytes.subarray(start, end)).toString()
        blocks.push({ key, timestamp: block.timestamps[index] })
        return 1
      },
    })
    await startSource(['codecs'], receiver)
    await until('all records', () => coverage.records === 601)
    expect(coverage.values).toEqual([...texts(600).map((record) => record.value), null])
    expect(blocks.map((each) => each.timestamp)).toEqual([...texts(600).map((record) => record.timestamp), 5])
    expect(blocks.at(-1)?.key).toBe('k')
  })

  test('every codec of the Java producer', async () => {
    await kafka.createTopic('java')
    const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
    for (const codec of codecs) {
      await kafka.tool('org.apache.kafka.tools.ProducerPerformance', [
        ...['--topic', 'java', '--num-records', '2000', '--record-size', '150', '--throughput', '-1'],
        ...['--producer-props', `bootstrap.servers=${kafka.bootstrap}`, `compression.type=${codec}`, 'linger.ms=20'],
      ])
    }
    const coverage = await readAll('java')
    expect(coverage.records).toBe(10_000)
    expect(coverage.values.every((value) => /^[A-Z]{150}$/.test(value ?? ''))).toBe(true)
  })

  test('committed and aborted transactions interleaved; an open one holds back what comes after', async () => {
    const topicId = await kafka.createTopic('transactions')
    const [kept, lost] = [await producer.begin('kept'), await producer.begin('lost')]
    await kept.send('transactions', 0, texts(10, 0), { codec: 'lz4' })
    await lost.send('transactions', 0, texts(10, 1000))
    await producer.send('transactions', 0, texts(5, 10))
    await kept.send('transactions', 0, texts(10, 15))
    await lost.send('transactions', 0, texts(10, 1010), { codec: 'zstd' })
    await lost.abort()
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, { keep: 'values' })
    await startSource(['transactions'], receiver)
    await until('assignment', () => receiver.assignments.length > 0)
    // The kept one began first and is open: the last stable offset is where it began.
    expect(receiver.assignments[0][0].logEnd).toBe(0)
    await kept.commit()
    await until('stable end', async () => (await kafka.logEnd('transactions', 0)) === 47)
    await until('all records', () => coverage.next.get(`${topicId}/0`) === 47)
    expect(coverage.values).toEqual(texts(25).map((record) => record.value))
    expect(coverage.filtered).toBe(22)
  })

  test('the holes of a compacted topic are covered', async () => {
    await kafka.createTopic('compacted', 1, {
      'cleanup.policy': 'compact',
      'segment.ms': '100',
      'min.cleanable.dirty.ratio': '0.01',
      'max.compaction.lag.ms': '100',
    })
    const keyed = (from: number) =>
      Array.from({ length: 100 }, (_, index) => ({
        key: `k${index % 10}`,
        value: `v${from + index}`,
        // A segment is closed by the time of its records.
        timestamp: 1_700_000_000_000 + from * 10,
      }))
    for (let from = 0; from < 1000; from += 100) await producer.send('compacted', 0, keyed(from), { codec: 'lz4' })
    await sleep(150)
    await producer.send('compacted', 0, keyed(1000), { codec: 'lz4' })
    let coverage = await readAll('compacted')
    await until('compaction', async () => {
      if (coverage.records < 500) return true
      await sleep(200)
      coverage = await readAll('compacted')
      return false
    })
    const [offsets] = coverage.offsets.values()
    const [next] = coverage.next.values()
    expect(next).toBe(1100)
    expect(offsets.slice(-100)).toEqual(Array.from({ length: 100 }, (_, index) => 1000 + index))
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b))
    expect(coverage.values.slice(-100)).toEqual(keyed(1000).map((record) => record.value))
    expect(coverage.gaps).toEqual([])
  })

  test('a batch larger than the whole limit comes all the same, among others', async () => {
    await kafka.createTopic('oversized', 2, { 'max.message.bytes': String(16 * MiB) })
    await producer.send('oversized', 0, texts(10))
    await producer.send('oversized', 0, [{ value: 'x'.repeat(5 * MiB) }])
    await producer.send('oversized', 0, texts(10, 10))
    await producer.send('oversized', 1, texts(1000), { recordsPerBatch: 10 })
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, { measure: (block, index) => valueBytes(block, index) })
    await startSource(['oversized'], receiver, { settings: { fetchBytesMax: 128 * 1024 } })
    await until('all records', () => coverage.records === 1021)
    const small = [...texts(20), ...texts(1000)].reduce((sum, record) => sum + (record.value?.length ?? 0), 0)
    expect(coverage.sum).toBe(5 * MiB + small)
  })

  test('a million records: count and sum', async () => {
    await kafka.createTopic('million', 4)
    await producer.sendMany('million', {
      partitions: 4,
      count: 1_000_000,
      codec: 'lz4',
      make: (index) => ({ value: `{"id":${index},"text":"${'abcdefghij'.repeat(3)}"}` }),
    })
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, {
      measure(block, index) {
        let id = 0
        for (let at = block.valueStarts[index] + 6; block.bytes[at] !== 0x2c; at++) id = id * 10 + block.bytes[at] - 48
        return id
      },
    })
    await startSource(['million'], receiver)
    await until('all records', () => coverage.records >= 1_000_000)
    expect([coverage.records, coverage.sum, coverage.repeated]).toEqual([1_000_000, 499_999_500_000, 0])
    expect(coverage.gaps).toEqual([])
  })
})

describe('assignment', () => {
  test('two members: join and leave under load lose nothing and take nothing twice', async () => {
    await kafka.createTopic('shared', 4)
    const total = 100_000
    const payload = 'x'.repeat(500)
    await producer.sendMany('shared', {
      partitions: 4,
      count: total,
      recordsPerBatch: 100,
      make: (id) => ({ key: payload, value: `${id}` }),
    })
    const coverage = createModelCoverage()
    let blockMs = 25
    const slow = { keep: 'values' as const, before: () => sleep(blockMs) }
    const groupId = `shared-${process.pid}`
    const settings = { fetchBytesMax: 64 * 1024 }
    const first = createModelReceiver(coverage, slow)
    const second = createModelReceiver(coverage, slow)
    const one = await startSource(['shared'], first, { groupId, settings })
    await until('first records', () => coverage.records > 1_000)
    const two = await startSource(['shared'], second, { groupId, settings })
    await until('half each', () => one.assignments().length === 2 && two.assignments().length === 2)
    expect(first.revocations[0]).toHaveLength(4)
    const before = coverage.records
    await until('progress of both', () => coverage.records > before + 1_000)
    expect(before + 1_000).toBeLessThan(total)
    await one.close()
    blockMs = 0
    await until('all to the second', () => two.assignments().length === 4)
    await until('all records', () => coverage.records >= total)
    expect(coverage.gaps).toEqual([])
    expect(coverage.values.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, id) => id))
    for (const offsets of coverage.offsets.values()) expect(offsets).toEqual(offsets.map((_, index) => index))
  })

  test('a topic that comes later, new partitions, and a topic created anew under another id', async () => {
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, { keep: 'values' })
    const source = await startSource(['later'], receiver)
    const absent = 'topic "later" does not exist; it is read as soon as it does'
    await until('trouble that names the topic', () => receiver.troubles.at(-1) === absent)
    expect(receiver.assignments).toEqual([])
    const firstId = await kafka.createTopic('later')
    await producer.send('later', 0, texts(3))
    await until('its records', () => coverage.records === 3)
    await until('no trouble', () => receiver.troubles.at(-1) === undefined)
    await kafka.createPartitions('later', 3)
    await until('new partitions', () => source.assignments().length === 3)
    await producer.send('later', 2, texts(2, 3))
    await until('records of the new partition', () => coverage.records === 5)
    await kafka.deleteTopic('later')
    const secondId = await kafka.createTopic('later')
    await producer.send('later', 0, texts(4, 5))
    await until('records of the new topic', () => coverage.records === 9)
    expect(secondId).not.toBe(firstId)
    expect(source.assignments().map((each) => each.topicId)).toEqual([secondId])
    expect(coverage.next.get(`${secondId}/0`)).toBe(4)
    expect(coverage.next.get(`${firstId}/0`)).toBe(3)
    expect(coverage.values.toSorted()).toEqual(texts(9).map((record) => record.value))
    await until('no trouble left', () => receiver.troubles.at(-1) === undefined)
  })

  test('restart asks for positions again and reads from there', async () => {
    const topicId = await kafka.createTopic('again', 2)
    await producer.send('again', 0, texts(10))
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, { keep: 'offsets' })
    const source = await startSource(['again'], receiver)
    await until('all records', () => coverage.records === 10)
    coverage.next.set(`${topicId}/0`, 4)
    await source.restart({ topic: 'again', topicId, partition: 0 })
    expect(receiver.assignments).toHaveLength(2)
    expect(receiver.assignments[1].map((each) => each.partition).toSorted()).toEqual([0, 1])
    await until('records again', () => coverage.records === 16)
    expect(coverage.offsets.get(`${topicId}/0`)?.slice(10)).toEqual([4, 5, 6, 7, 8, 9])
  })

  test('advisory offsets are seen by the usual tools', async () => {
    const topicId = await kafka.createTopic('lag')
    await producer.send('lag', 0, texts(10))
    const coverage = createModelCoverage()
    const groupId = `lag-${process.pid}`
    const source = await startSource(['lag'], createModelReceiver(coverage), { groupId })
    await until('all records', () => coverage.records === 10)
    await source.commitAdvisory([{ topic: 'lag', topicId, partition: 0, offset: 7 }])
    const shown = await kafka.tool('org.apache.kafka.tools.consumer.group.ConsumerGroupCommand', [
      ...['--bootstrap-server', kafka.bootstrap, '--describe', '--group', groupId],
    ])
    expect(shown).toMatch(/lag\s+0\s+7\s+10\s+3\s/)
  })
})

describe('limits', () => {
  test('a receiver that does not resolve: one block a topic-partition, memory bounded, and it goes on after', async () => {
    await kafka.createTopic('pressure', 4)
    const payload = Buffer.alloc(1000, 'p')
    await producer.sendMany('pressure', {
      partitions: 4,
      count: 80_000,
      recordsPerBatch: 500,
      make: () => ({ value: payload }),
    })
    const coverage = createModelCoverage()
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const receiver = createModelReceiver(coverage, { before: () => gate })
    const memoryBefore = process.memoryUsage().arrayBuffers
    await startSource(['pressure'], receiver, { settings: { fetchBytesMax: 2 * MiB } })
    await until('a block of each', () => receiver.outstanding.now === 4)
    await sleep(1_000)
    expect(receiver.outstanding.most).toBe(4)
    expect(coverage.records).toBe(0)
    // 80 MB are there to be had.
    expect(process.memoryUsage().arrayBuffers - memoryBefore).toBeLessThan(24 * MiB)
    release()
    await until('all records', () => coverage.records === 80_000)
    expect(coverage.gaps).toEqual([])
  })

  test('paused, nothing arrives; resumed, all does', async () => {
    await kafka.createTopic('paused')
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage)
    const source = await startSource(['paused'], receiver)
    await until('assignment', () => source.assignments().length === 1)
    source.pause()
    await sleep(100)
    await producer.send('paused', 0, texts(10))
    await sleep(700)
    expect(coverage.records).toBe(0)
    source.resume()
    await until('all records', () => coverage.records === 10)
  })

  test('retention gone past the position: out of range, at the start and on the way', async () => {
    const topicId = await kafka.createTopic('retained', 2)
    await producer.send('retained', 0, texts(100), { recordsPerBatch: 10 })
    await producer.send('retained', 1, texts(10))
    await kafka.deleteRecords('retained', 0, 50)
    const coverage = createModelCoverage()
    coverage.next.set(`${topicId}/0`, 20)
    const receiver = createModelReceiver(coverage)
    const source = await startSource(['retained'], receiver)
    await until('out of range', () => receiver.outOfRange.length === 1)
    expect(receiver.outOfRange[0]).toMatchObject({
      partition: { partition: 0, logStart: 50, logEnd: 100 },
      position: 20,
    })
    await until('the other goes on', () => coverage.records === 10)
    source.pause()
    await sleep(600)
    await producer.send('retained', 1, texts(10, 10))
    await kafka.deleteRecords('retained', 1, 15)
    source.resume()
    await until('out of range on the way', () => receiver.outOfRange.length === 2)
    expect(receiver.outOfRange[1]).toMatchObject({
      partition: { partition: 1, logStart: 15, logEnd: 20 },
      position: 10,
    })
    expect(coverage.records).toBe(10)
  })

  test('a position past the end of the log is out of range', async () => {
    const topicId = await kafka.createTopic('short')
    await producer.send('short', 0, texts(5))
    const coverage = createModelCoverage()
    coverage.next.set(`${topicId}/0`, 9)
    const receiver = createModelReceiver(coverage)
    await startSource(['short'], receiver)
    await until('out of range', () => receiver.outOfRange.length === 1)
    expect(receiver.outOfRange[0]).toMatchObject({ partition: { logEnd: 5 }, position: 9 })
  })
})

// Last: these take the broker away.
describe('broker away', () => {
  test('killed under load and started again: trouble comes and goes, nothing is lost or taken twice', async () => {
    await kafka.createTopic('killed', 4)
    const total = 40_000
    await producer.sendMany('killed', {
      partitions: 4,
      count: total,
      recordsPerBatch: 100,
      make: (id) => ({ value: `${id}` }),
    })
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage, { keep: 'values', before: () => sleep(2) })
    const source = await startSource(['killed'], receiver, { settings: { fetchBytesMax: 64 * 1024 } })
    await until('first records', () => coverage.records > 2_000)
    await kafka.kill9()
    await until('trouble', () => receiver.troubles.at(-1) !== undefined)
    expect(receiver.troubles.at(-1)).toContain(kafka.bootstrap)
    expect(coverage.records).toBeLessThan(total)
    await kafka.restart()
    await until('all records', () => coverage.records >= total)
    expect(coverage.gaps).toEqual([])
    expect(coverage.values.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, id) => id))
    await until('end of trouble', () => receiver.troubles.at(-1) === undefined)
    expect(source.assignments()).toHaveLength(4)
  })

  test('absent at the start, and frozen for longer than a request may take', async () => {
    const topicId = await kafka.createTopic('frozen')
    await kafka.stop()
    const coverage = createModelCoverage()
    const receiver = createModelReceiver(coverage)
    const settings = { requestTimeoutMs: 1_500, rebalanceTimeoutMs: 1_000, connectTimeoutMs: 1_000 }
    await startSource(['frozen'], receiver, { settings })
    await until('trouble', () => receiver.troubles.at(-1) !== undefined)
    await kafka.restart()
    const fresh = await createProducer(kafka.bootstrap)
    await fresh.send('frozen', 0, texts(10))
    await until('records', () => coverage.records === 10)
    await until('end of trouble', () => receiver.troubles.at(-1) === undefined)
    kafka.pause()
    await until('trouble again', () => receiver.troubles.at(-1) !== undefined)
    kafka.resume()
    await fresh.send('frozen', 0, texts(10, 10))
    await until('records after the thaw', () => coverage.next.get(`${topicId}/0`) === 20)
    await until('end of trouble', () => receiver.troubles.at(-1) === undefined)
    expect([coverage.records, coverage.gaps]).toEqual([20, []])
    fresh.close()
  })
})

function valueBytes(block: RecordBlock, index: number): number {
  return block.valueEnds[index] - block.valueStarts[index]
}
