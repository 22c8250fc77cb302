/**
 * What tests ask of a broker beside reading and writing: topics, their settings, where logs begin and end. One small
 * request each over a connection of its own (about 10 ms), so that a broker that was killed in between is no matter.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type BrokerLink, brokerClientOptions, openBroker, parseBrokerAddress } from '../../ingest/kafka/client.ts'
import { KAFKA_ERRORS, kafkaErrorText } from '../../ingest/kafka/error-codes.ts'
import { EARLIEST, LATEST, requestMetadata, requestOffsets } from '../../ingest/kafka/requests.ts'
import { WireReader, WireWriter } from '../../ingest/kafka/wire.ts'

const API = { createTopics: 19, deleteTopics: 20, deleteRecords: 21, createPartitions: 37, alterConfigs: 44 } as const
const SETTLE_MS = 20_000
const REQUEST_TIMEOUT_MS = 30_000
const CONFIG_OF_TOPIC = 2
const NO_UUID = '0'.repeat(32)

const OPTIONS = brokerClientOptions({
  clientId: 'millrace-tests',
  connectTimeoutMs: 5_000,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
})

export type KafkaAdmin = {
  /** Waits until every partition has a leader; gives the topic's id. */
  createTopic(name: string, partitions?: number, config?: Readonly<Record<string, string>>): Promise<string>
  /** Waits until the name is free again. */
  deleteTopic(name: string): Promise<void>
  createPartitions(name: string, count: number): Promise<void>
  alterConfig(name: string, config: Readonly<Record<string, string>>): Promise<void>
  /** Everything before `offset` goes. */
  deleteRecords(name: string, partition: number, offset: number): Promise<void>
  logStart(name: string, partition: number): Promise<number>
  /** The last stable offset. */
  logEnd(name: string, partition: number): Promise<number>
}

export function openLink(bootstrap: string): Promise<BrokerLink> {
  return openBroker(parseBrokerAddress(bootstrap), OPTIONS)
}

export function createKafkaAdmin(bootstrap: string): KafkaAdmin {
  async function withLink<T>(work: (link: BrokerLink) => Promise<T>): Promise<T> {
    const link = await openLink(bootstrap)
    try {
      return await work(link)
    } finally {
      link.close()
    }
  }

  async function topicOf(name: string) {
    const metadata = await withLink((link) => requestMetadata(link, [name]))
    return metadata.topics[0]
  }

  async function settled(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = AbortSignal.timeout(SETTLE_MS)
    while (!(await holds())) {
      if (deadline.aborted) throw new Error(`kafka: ${what} did not happen within ${SETTLE_MS} ms`)
      await sleep(25)
    }
  }

  /** The broker tells others that it leads a little before it does. */
  async function leadersAnswer(name: string, count: number): Promise<boolean> {
    const wanted = Array.from({ length: count }, (_, partition) => ({ topic: name, partition, leaderEpoch: -1 }))
    const listed = await withLink((link) => requestOffsets(link, LATEST, wanted))
    return listed.every((each) => each.errorCode === 0)
  }

  async function offsetAt(name: string, partition: number, at: typeof LATEST | typeof EARLIEST): Promise<number> {
    let offset = 0
    await settled(`offsets of ${name}/${partition}`, async () => {
      const [listed] = await withLink((link) => requestOffsets(link, at, [{ topic: name, partition, leaderEpoch: -1 }]))
      offset = listed.offset
      return listed.errorCode === 0
    })
    return offset
  }

  return {
    async createTopic(name, partitions = 1, config = {}) {
      const body = new WireWriter()
      body.compactArray([name], () => {
        body.compactString(name).int32(partitions).int16(1)
        body.compactArray([], () => {})
        body.compactArray(Object.entries(config), ([key, value]) =>
          body.compactString(key).compactString(value).noTags(),
        )
        body.noTags()
      })
      body.int32(REQUEST_TIMEOUT_MS).boolean(false).noTags()
      await settled(`creation of ${name}`, async () => {
        const reader = new WireReader(await withLink((link) => link.request(API.createTopics, 7, body.bytes())))
        reader.int32()
        reader.unsignedVarint()
        reader.compactString()
        reader.uuid()
        const errorCode = reader.int16()
        // A deletion of the same name may still be at work.
        if (errorCode === KAFKA_ERRORS.topicAlreadyExists) return false
        check(`create topic ${name}`, errorCode, reader.compactNullableString())
        return true
      })
      let topicId = ''
      await settled(`leaders of ${name}`, async () => {
        const topic = await topicOf(name)
        topicId = topic.topicId
        if (topic.errorCode !== 0 || topic.partitions.length !== partitions) return false
        return topic.partitions.every(hasLeader) && (await leadersAnswer(name, partitions))
      })
      return topicId
    },

    async deleteTopic(name) {
      const body = new WireWriter()
      body.compactArray([name], () => body.compactString(name).uuid(NO_UUID).noTags())
      body.int32(REQUEST_TIMEOUT_MS).noTags()
      const reader = new WireReader(await withLink((link) => link.request(API.deleteTopics, 6, body.bytes())))
      reader.int32()
      reader.unsignedVarint()
      reader.compactNullableString()
      reader.uuid()
      check(`delete topic ${name}`, reader.int16(), reader.compactNullableString())
      await settled(`deletion of ${name}`, async () => (await topicOf(name)).errorCode !== 0)
    },

    async createPartitions(name, count) {
      const body = new WireWriter()
      body.compactArray([name], () => body.compactString(name).int32(count).unsignedVarint(0).noTags())
      body.int32(REQUEST_TIMEOUT_MS).boolean(false).noTags()
      const reader = new WireReader(await withLink((link) => link.request(API.createPartitions, 3, body.bytes())))
      reader.int32()
      reader.unsignedVarint()
      reader.compactString()
      check(`partitions of ${name}`, reader.int16(), reader.compactNullableString())
      await settled(`partitions of ${name}`, async () => {
        const topic = await topicOf(name)
        if (topic.partitions.length !== count || !topic.partitions.every(hasLeader)) return false
        return leadersAnswer(name, count)
      })
    },

    async alterConfig(name, config) {
      const body = new WireWriter()
      body.compactArray([name], () => {
        body.int8(CONFIG_OF_TOPIC).compactString(name)
        body.compactArray(Object.entries(config), ([key, value]) =>
          body.compactString(key).int8(0).compactString(value).noTags(),
        )
        body.noTags()
      })
      body.boolean(false).noTags()
      const reader = new WireReader(await withLink((link) => link.request(API.alterConfigs, 1, body.bytes())))
      reader.int32()
      reader.unsignedVarint()
      check(`configuration of ${name}`, reader.int16(), reader.compactNullableString())
    },

    async deleteRecords(name, partition, offset) {
      const body = new WireWriter()
      body.compactArray([name], () => {
        body.compactString(name)
        body.compactArray([partition], () => body.int32(partition).int64(offset).noTags())
        body.noTags()
      })
      body.int32(REQUEST_TIMEOUT_MS).noTags()
      const reader = new WireReader(await withLink((link) => link.request(API.deleteRecords, 2, body.bytes())))
      reader.int32()
      reader.unsignedVarint()
      reader.compactString()
      reader.unsignedVarint()
      reader.int32()
      reader.int64()
      check(`delete records of ${name}/${partition}`, reader.int16(), null)
    },

    logStart: (name, partition) => offsetAt(name, partition, EARLIEST),
    logEnd: (name, partition) => offsetAt(name, partition, LATEST),
  }
}

function hasLeader(partition: { errorCode: number; leader: number }): boolean {
  return partition.errorCode === 0 && partition.leader >= 0
}

function check(what: string, errorCode: number, message: string | null): void {
  if (errorCode !== 0) throw new Error(`kafka: ${what}: ${message ?? kafkaErrorText(errorCode)}`)
}
