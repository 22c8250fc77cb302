/**
 * Records to one topic, for copies of dead letters: the topic is made when it is not there, batches go to its topic-partitions in
 * turn, acknowledged by all replicas. Nothing is retried here; what fails says so (`broker-unavailable`).
 */
import { MillraceError } from '../../schemas/errors.ts'
import { brokerClientOptions, parseBrokerAddress } from './client.ts'
import { createCluster, type TopicState } from './cluster.ts'
import { KAFKA_ERRORS, kafkaErrorText } from './error-codes.ts'
import type { KafkaSourceSettings } from './fetch-source.ts'
import { type WrittenRecord, writeRecordBatch } from './record-batch-writer.ts'
import { WireReader, WireWriter } from './wire.ts'

const API = { produce: 0, createTopics: 19 } as const
const VERSION = { produce: 9, createTopics: 7 } as const
const ACKS_ALL = -1
const TIMEOUT_MS = 15_000
const PARTITIONS_OF_NEW = 1

export type ProducerLink = { send(records: readonly WrittenRecord[]): Promise<void>; close(): void }

export function createProducerLink(
  settings: KafkaSourceSettings,
  topic: { readonly name: string; readonly replicationFactor: number },
): ProducerLink {
  const { clientId, security } = settings
  const options = brokerClientOptions({
    clientId,
    security,
    connectTimeoutMs: TIMEOUT_MS,
    requestTimeoutMs: TIMEOUT_MS,
  })
  const cluster = createCluster(settings.bootstrap.map(parseBrokerAddress), options)
  let state: TopicState | undefined
  let turn = 0

  async function find(): Promise<TopicState> {
    const found = (await cluster.refresh([topic.name])).get(topic.name)
    if (found) return found
    await makeTopic()
    const made = (await cluster.refresh([topic.name])).get(topic.name)
    if (!made) throw new MillraceError('broker-unavailable', `topic ${topic.name} has no leader yet`)
    return made
  }

  async function makeTopic(): Promise<void> {
    const body = new WireWriter()
    body.compactArray([topic.name], (name) => {
      body.compactString(name).int32(PARTITIONS_OF_NEW).int16(topic.replicationFactor)
      body.compactArray([], () => {})
      body.compactArray([], () => {})
      body.noTags()
    })
    body.int32(TIMEOUT_MS).boolean(false).noTags()
    const link = await cluster.anyLink()
    const reader = new WireReader(await link.request(API.createTopics, VERSION.createTopics, body.bytes()))
    reader.int32()
    reader.unsignedVarint()
    reader.compactString()
    reader.uuid()
    const errorCode = reader.int16()
    if (errorCode === KAFKA_ERRORS.none || errorCode === KAFKA_ERRORS.topicAlreadyExists) return
    const why = reader.compactNullableString() ?? kafkaErrorText(errorCode)
    throw new MillraceError('broker-unavailable', `topic ${topic.name} cannot be made: ${why}`)
  }

  return {
    async send(records) {
      state ??= await find()
      const partitions = [...state.partitions.values()].filter(({ leader }) => leader >= 0)
      if (partitions.length === 0)
        throw new MillraceError('broker-unavailable', `topic ${topic.name} has no leader now`)
      const { partition, leader } = partitions[turn++ % partitions.length]
      const address = cluster.brokerAddress(leader)
      if (!address) throw new MillraceError('broker-unavailable', `broker ${leader} is not in the cluster's metadata`)
      const batch = writeRecordBatch(records)
      const body = new WireWriter(batch.length + 256).compactString(null).int16(ACKS_ALL).int32(TIMEOUT_MS)
      body.compactArray([topic.name], (name) => {
        body.compactString(name)
        body.compactArray([partition], (index) => body.int32(index).compactBytes(batch).noTags())
        body.noTags()
      })
      body.noTags()
      const link = await cluster.link(address)
      const reader = new WireReader(await link.request(API.produce, VERSION.produce, body.bytes()))
      reader.unsignedVarint()
      reader.compactString()
      reader.unsignedVarint()
      reader.int32()
      const errorCode = reader.int16()
      if (errorCode === KAFKA_ERRORS.none) return
      throw new MillraceError('broker-unavailable', `${topic.name}/${partition}: ${kafkaErrorText(errorCode)}`)
    },
    close: () => cluster.close(),
  }
}
