/**
 * By which schema the bytes of a key or a value were written: every record of a block is given a writer, and the range of its
 * bytes that the writer's format reads.
 *
 *   no schema, or one for all   always the same writer, the whole record
 *   registry                    the id in the record's frame; ids that the plan lacks are asked for
 *   Connect envelope            the schema's bytes in the record; those of the record before are compared first
 *
 * A writer that cannot be read carries the reason: its records are dead letters.
 */
import { isMillraceError } from '../../schemas/errors.ts'
import { frameId, frameMessage, frameProblem, type ReadValue, readFrame, type WriterFormat } from '../formats/format.ts'
import { connectSchemaOf, schemalessNumber } from '../formats/json/connect-json.ts'
import {
  envelopeProblem,
  hasSchema,
  payloadEnd,
  payloadStart,
  schemaEnd,
  schemaStart,
  splitEnvelope,
} from '../formats/json/envelope.ts'
import { openConnectJson } from '../formats/json/json-format.ts'
import { readJson, readTree } from '../formats/json/read-json.ts'
import { openRegistrySchema, openSchema, openText, type SchemaConverter } from '../formats/open-writer.ts'
import type { ConverterPlan, DecodePlan } from './decode-plan.ts'
import type { DecodeFailure } from './decoder.ts'

export type Writer = {
  /** undefined: JSON without a schema, or `problem`. */
  readonly format: WriterFormat | undefined
  readonly read: ReadValue
  readonly problem: DecodeFailure | undefined
}

/** The record's value is null within its envelope: a tombstone. */
export const NO_VALUE = -1
/** `writerFailure` says why. */
export const UNREADABLE = -2
/** The plan lacks the schema of `unknownId`. */
export const UNKNOWN_SCHEMA = -3

export let bodyStart = 0
export let bodyEnd = 0
export let writerFailure: DecodeFailure = { reason: '', column: undefined }
export let unknownId = 0

/** Each costs memory; a producer may send another schema, or name another message, in every record. */
const WRITERS_MAX = 200

export type Writers = {
  /** By their index; grows. */
  readonly list: readonly Writer[]
  /** All records are of `list[0]`, from first to last byte. */
  readonly isOne: boolean
  /** Each record names its schema in a registry's frame. */
  readonly isFramed: boolean
  /** Index of the record's writer, or one of the above; its bytes are [bodyStart, bodyEnd). */
  select(bytes: Uint8Array, start: number, end: number): number
  /** Between blocks: forgets all writers when there are many; whoever keeps something of them has to do the same (true). */
  renew(): boolean
  /** Selected by a shortcut, but could not be read: the long way. undefined where there is no other. */
  readonly selectAgain: ((bytes: Uint8Array, start: number, end: number) => number) | undefined
}

const readPlainJson: ReadValue = (bytes, start, end) => {
  const parsed = readTree(bytes, start, end, schemalessNumber)
  if ('problem' in parsed) return { failure: { reason: parsed.problem, column: undefined } }
  return { schema: undefined, value: parsed.value }
}

const PLAIN_JSON: Writer = { format: undefined, read: readPlainJson, problem: undefined }

function openWriter(open: () => WriterFormat): Writer {
  try {
    const format = open()
    return { format, read: format.read, problem: undefined }
  } catch (error) {
    if (!isMillraceError(error, 'conversion-failed')) throw error
    return unreadable(error.message)
  }
}

function unreadable(reason: string): Writer {
  const problem: DecodeFailure = { reason, column: undefined, kind: 'schema' }
  return { format: undefined, read: () => ({ failure: problem }), problem }
}

function fail(reason: string): number {
  writerFailure = { reason, column: undefined }
  return UNREADABLE
}

export function createWriters(converter: ConverterPlan, plan: DecodePlan): Writers {
  switch (converter.format) {
    case 'json':
      return converter.envelope ? envelopeWriters(converter.nullStays !== true) : oneWriter(PLAIN_JSON)
    case 'string':
    case 'bytes':
    case 'csv':
      return oneWriter(openWriter(() => openText(converter)))
    default:
      return converter.registry ? registryWriters(converter, plan) : oneWriter(openWriter(() => openGiven(converter)))
  }
}

function openGiven(converter: SchemaConverter): WriterFormat {
  const { schema = '', message } = converter
  const label = `the given ${converter.format} schema`
  return openSchema(converter, { text: schema, references: [], label, ...(message === undefined ? {} : { message }) })
}

function oneWriter(writer: Writer): Writers {
  return {
    list: [writer],
    isOne: true,
    isFramed: false,
    renew: () => false,
    selectAgain: undefined,
    select(_, start, end) {
      bodyStart = start
      bodyEnd = end
      return 0
    },
  }
}

function registryWriters(converter: SchemaConverter, plan: DecodePlan): Writers {
  const list: Writer[] = []
  const indexes = new Map<string, number>()
  const hasMessage = converter.format === 'protobuf'
  let lastId = -1
  let lastMessage = ''
  let lastIndex = 0

  function indexOf(id: number, message: string): number {
    const key = `${id}/${message}`
    const known = indexes.get(key)
    if (known !== undefined) return known
    const refused = plan.refusedSchemas[id]
    if (refused === undefined && !Object.hasOwn(plan.schemas, id)) {
      unknownId = id
      return UNKNOWN_SCHEMA
    }
    list.push(
      refused === undefined
        ? openWriter(() => openRegistrySchema(converter, plan.schemas[id], hasMessage ? message : undefined))
        : unreadable(refused),
    )
    indexes.set(key, list.length - 1)
    return list.length - 1
  }

  return {
    list,
    isOne: false,
    isFramed: true,
    renew() {
      if (list.length < WRITERS_MAX) return false
      list.length = 0
      indexes.clear()
      lastId = -1
      return true
    },
    selectAgain: undefined,
    select(bytes, start, end) {
      const at = readFrame(bytes, start, end, hasMessage)
      if (at < 0) return fail(frameProblem)
      bodyStart = at
      bodyEnd = end
      if (frameId === lastId && (!hasMessage || frameMessage === lastMessage)) return lastIndex
      const index = indexOf(frameId, hasMessage ? frameMessage : '')
      if (index < 0) return index
      lastId = frameId
      lastMessage = frameMessage
      lastIndex = index
      return index
    },
  }
}

function envelopeWriters(hasDefaults: boolean): Writers {
  const list: Writer[] = []
  const indexes = new Map<string, number>()
  let lastSchema: Uint8Array | undefined
  let lastIndex = 0
  // Most topics have one schema; v1 and v2 in turn are looked up by both.
  let olderSchema: Uint8Array | undefined
  let olderIndex = 0

  function indexOf(bytes: Uint8Array): number {
    const text = Buffer.from(bytes.subarray(schemaStart, schemaEnd)).toString('utf8')
    let index = indexes.get(text)
    if (index === undefined) {
      list.push(openEnvelope(text, hasDefaults))
      index = list.length - 1
      indexes.set(text, index)
    }
    olderSchema = lastSchema
    olderIndex = lastIndex
    lastSchema = Buffer.from(text)
    lastIndex = index
    return index
  }

  /** What begins like null is null where the payload is known to be well-formed; after a shortcut it is to be looked at. */
  function payload(bytes: Uint8Array, index: number): number {
    bodyStart = payloadStart
    bodyEnd = payloadEnd
    return bytes[payloadStart] === 0x6e ? NO_VALUE : index
  }

  function selectAgain(bytes: Uint8Array, start: number, end: number): number {
    if (!splitEnvelope(bytes, start, end)) return fail(envelopeProblem)
    return payload(bytes, indexOf(bytes))
  }

  return {
    list,
    isOne: false,
    isFramed: false,
    renew() {
      if (list.length < WRITERS_MAX) return false
      list.length = 0
      indexes.clear()
      lastSchema = undefined
      olderSchema = undefined
      return true
    },
    selectAgain,
    select(bytes, start, end) {
      if (lastSchema && hasSchema(lastSchema, bytes, start, end)) {
        return bytes[payloadStart] === 0x6e ? selectAgain(bytes, start, end) : payload(bytes, lastIndex)
      }
      if (olderSchema && hasSchema(olderSchema, bytes, start, end)) {
        const schema = olderSchema
        const index = olderIndex
        olderSchema = lastSchema
        olderIndex = lastIndex
        lastSchema = schema
        lastIndex = index
        return bytes[payloadStart] === 0x6e ? selectAgain(bytes, start, end) : payload(bytes, index)
      }
      return selectAgain(bytes, start, end)
    },
  }
}

function openEnvelope(text: string, hasDefaults: boolean): Writer {
  const parsed = readJson(Buffer.from(text))
  if ('problem' in parsed) return unreadable(parsed.problem)
  if (parsed.value === null) return PLAIN_JSON
  return openWriter(() => {
    const schema = connectSchemaOf(parsed.value, hasDefaults)!
    const version = schema.version === undefined ? '' : ` version ${schema.version}`
    return openConnectJson(schema, `${schema.name ?? 'schema'}${version} of the envelope (${textHash(text)})`)
  })
}

/** Tells schemas apart that say the same name and version. */
function textHash(text: string): string {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return (value >>> 0).toString(16).padStart(8, '0')
}
