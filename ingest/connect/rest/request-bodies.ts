/** Bodies of the REST API's requests, parsed once. What is wrong is told without repeating what was sent. */
import { badRequest } from './rest-errors.ts'

export type ConnectorProperties = Readonly<Record<string, string>>

export type CreateRequest = {
  readonly name: string | undefined
  readonly properties: ConnectorProperties
  readonly target: 'running' | 'paused' | 'stopped'
}

/** `kafka_offset` undefined: back to where `auto.offset.reset` says. */
export type OffsetRequest = {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint | undefined
}

type Json = Readonly<Record<string, unknown>>

const PROPERTIES_MAX = 2000
const PROPERTY_CHARACTERS_MAX = 512 * 1024
const OFFSETS_MAX = 100_000
const STATES = { RUNNING: 'running', PAUSED: 'paused', STOPPED: 'stopped' } as const

export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString()) as unknown
  } catch {
    throw badRequest(bytes.length === 0 ? 'expected a body in JSON, found nothing' : 'the body is not JSON')
  }
}

export function createRequest(body: unknown): CreateRequest {
  const request = objectOf(body, 'a connector: {"name": "…", "config": {…}}')
  const unknown = Object.keys(request).find((key) => !['name', 'config', 'initial_state'].includes(key))
  if (unknown !== undefined) {
    throw badRequest(`Unrecognized field "${unknown.slice(0, 100)}": expected name, config and initial_state`)
  }
  const { name, config, initial_state: state } = request
  if (name !== undefined && name !== null && typeof name !== 'string') throw badRequest('name: expected a text')
  if (config === undefined || config === null) throw badRequest('config: expected the properties of the connector')
  return { name: name ?? undefined, properties: propertiesOf(config), target: targetOf(state) }
}

function targetOf(state: unknown): CreateRequest['target'] {
  if (state === undefined || state === null) return 'running'
  const found = typeof state === 'string' ? state.toUpperCase() : ''
  if (found === 'RUNNING' || found === 'PAUSED' || found === 'STOPPED') return STATES[found]
  throw badRequest('initial_state: expected one of RUNNING, PAUSED, STOPPED')
}

export function propertiesOf(body: unknown): ConnectorProperties {
  const properties = Object.entries(patchOf(body)).filter(([, value]) => value !== null)
  return Object.fromEntries(properties) as ConnectorProperties
}

/** null takes a property away. */
export function patchOf(body: unknown): Readonly<Record<string, string | null>> {
  const given = Object.entries(objectOf(body, 'an object of properties'))
  if (given.length > PROPERTIES_MAX) throw badRequest(`expected at most ${PROPERTIES_MAX} properties`)
  return Object.fromEntries(
    given.map(([name, value]) => {
      const text = value === null ? null : typeof value === 'object' ? undefined : String(value)
      if (text === undefined) throw badRequest(`${name.slice(0, 100)}: expected a text, found a structure`)
      if (text !== null && text.length > PROPERTY_CHARACTERS_MAX) throw badRequest(`${name.slice(0, 100)} is too long`)
      return [name, text]
    }),
  )
}

export function offsetsRequest(body: unknown): readonly OffsetRequest[] {
  const { offsets } = objectOf(body, '{"offsets": […]}')
  if (!Array.isArray(offsets) || offsets.length === 0) {
    throw badRequest('Partitions / offsets need to be provided for an alter offsets request')
  }
  if (offsets.length > OFFSETS_MAX) throw badRequest(`expected at most ${OFFSETS_MAX} topic-partitions`)
  const requests = offsets.map(offsetRequest)
  const places = new Set(requests.map(({ topic, partition }) => `${topic}/${partition}`))
  if (places.size < requests.length) throw badRequest('expected each topic-partition once')
  return requests
}

function offsetRequest(item: unknown): OffsetRequest {
  const { partition: place, offset } = objectOf(item, '{"partition": {…}, "offset": {…}}')
  const shape = "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'"
  if (!isObject(place)) throw badRequest(shape)
  const { kafka_topic: topic, kafka_partition: partition } = place
  if (typeof topic !== 'string' || partition === undefined || partition === null) throw badRequest(shape)
  return {
    topic,
    partition: Number(
      wholeNumber(
        partition,
        31,
        'Failed to parse the following Kafka partition value in the provided offsets: ',
        'Partition values for sink connectors need to be integers.',
      ),
    ),
    offset: offsetOf(offset),
  }
}

function offsetOf(offset: unknown): bigint | undefined {
  if (offset === null) return undefined
  if (!isObject(offset) || offset.kafka_offset === undefined || offset.kafka_offset === null) {
    throw badRequest("The offset for a sink connector should either be null or contain the key 'kafka_offset'")
  }
  return wholeNumber(
    offset.kafka_offset,
    63,
    'Failed to parse the following Kafka offset value in the provided offsets: ',
    'Offset values for sink connectors need to be integers.',
  )
}

function wholeNumber(value: unknown, bits: number, before: string, after: string): bigint {
  const text = String(value)
  const isWhole = /^\d{1,19}$/.test(text) && (typeof value === 'string' || Number.isSafeInteger(value))
  if (!isWhole || BigInt(text) >= 2n ** BigInt(bits)) throw badRequest(`${before}'${text.slice(0, 40)}'. ${after}`)
  return BigInt(text)
}

function objectOf(body: unknown, expected: string): Json {
  if (isObject(body)) return body
  throw badRequest(
    `expected ${expected}, found ${body === null ? 'null' : Array.isArray(body) ? 'a list' : typeof body}`,
  )
}

function isObject(value: unknown): value is Json {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
