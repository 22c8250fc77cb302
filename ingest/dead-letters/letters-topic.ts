/**
 * A copy of dead letters to a Kafka topic, as Kafka Connect's sinks make it (`errors.deadletterqueue.topic.name`): key, value,
 * headers and timestamp as they came, and, where it is asked for, why, in headers of Connect's own names.
 *
 *   decoded ─▶ queue (bounded) ─▶ one produce request after the other, tried again until it is acknowledged
 *                   └▶ the flush tick that has the letters waits for that, `PATIENCE_MS` at most
 *
 * At least once: a letter may be copied by a tick that is not committed, and again by the one that is. If we stop before the copy is
 * acknowledged, the tick was not committed as a rule, and the records are read and copied again. The exception is a topic that cannot
 * be written for long: ticks do not wait for it, health says so, and the table of dead letters stays the truth.
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import type { KafkaSourceSettings } from '../kafka/fetch-source.ts'
import { createProducerLink, type ProducerLink } from '../kafka/produce.ts'
import type { WrittenHeader, WrittenRecord } from '../kafka/record-batch-writer.ts'
import { readHeaders } from '../kafka/record-headers.ts'

export type LettersTopicSettings = {
  readonly name: string
  /** Of a topic that is made. */
  readonly replicationFactor: number
  readonly contextHeaders: boolean
}

export type LettersTopic = {
  /** Rows of a table of dead letters. */
  offer(letters: MicroBatch): void
  /** What was offered before is acknowledged, or patience is over. */
  settled(): Promise<void>
  close(): Promise<void>
}

const QUEUE_BYTES_MAX = 16 * 1024 ** 2
const BATCH_BYTES_MAX = 512 * 1024
/** Of a flush tick. */
const PATIENCE_MS = 5_000
const RETRY_FIRST_MS = 100
const RETRY_MAX_MS = 5_000
const PREFIX = '__connect.errors.'
const STAGES: Readonly<Record<string, string>> = { key: 'KEY_CONVERTER', transform: 'TRANSFORMATION' }

export function createLettersTopic(parts: {
  topic: LettersTopicSettings
  connector: string
  taskId: number
  kafka: KafkaSourceSettings
  world: World
  onTrouble(reason: string | undefined): void
}): LettersTopic {
  const { topic, kafka, world } = parts
  const closing = new AbortController()
  const queue: { readonly record: WrittenRecord; readonly bytes: number }[] = []
  let queuedBytes = 0
  let leftOut = 0
  let link: ProducerLink | undefined
  let sending: Promise<void> | undefined

  async function sendAll(): Promise<void> {
    let delayMs = RETRY_FIRST_MS
    while (queue.length > 0 && !closing.signal.aborted) {
      let count = 0
      for (let bytes = 0; count < queue.length && (count === 0 || bytes < BATCH_BYTES_MAX); count += 1) {
        bytes += queue[count].bytes
      }
      const batch = queue.slice(0, count)
      try {
        link ??= createProducerLink(kafka, topic)
        await link.send(batch.map(({ record }) => record))
        queue.splice(0, count)
        queuedBytes -= batch.reduce((sum, { bytes }) => sum + bytes, 0)
        delayMs = RETRY_FIRST_MS
        parts.onTrouble(leftOut === 0 ? undefined : leftOutText())
      } catch (error) {
        link?.close()
        link = undefined
        const why = error instanceof Error ? error.message : String(error)
        parts.onTrouble(`dead letters cannot be copied to topic ${topic.name} (${queue.length} wait): ${why}`)
        await world.clock.sleep(delayMs, closing.signal).catch(() => {})
        delayMs = Math.min(delayMs * 2, RETRY_MAX_MS)
      }
    }
  }

  function leftOutText(): string {
    return `${leftOut} dead letters were not copied to topic ${topic.name}: it could not be written for too long. They are in the table`
  }

  return {
    offer(letters) {
      for (const { record, bytes } of recordsOf(letters, parts)) {
        if (queuedBytes + bytes > QUEUE_BYTES_MAX) {
          leftOut += 1
          continue
        }
        queue.push({ record, bytes })
        queuedBytes += bytes
      }
      sending ??= sendAll().finally(() => {
        sending = undefined
      })
    },
    async settled() {
      if (!sending) return
      const enough = new AbortController()
      await Promise.race([sending, world.clock.sleep(PATIENCE_MS, enough.signal).catch(() => {})])
      enough.abort()
    },
    async close() {
      await this.settled()
      closing.abort()
      await sending
      link?.close()
    },
  }
}

function* recordsOf(
  letters: MicroBatch,
  { topic, connector, taskId }: { topic: LettersTopicSettings; connector: string; taskId: number },
): Generator<{ record: WrittenRecord; bytes: number }> {
  const column = (name: string) => letters.vectors.find((vector) => vector.column.name === name)
  const [key, value, headers] = [column('raw_key'), column('raw'), column('raw_headers')]
  for (let row = 0; row < letters.rowCount; row += 1) {
    const raw = bytesAt(headers, row)
    const own = raw ? (readHeaders(raw, 0, raw.length) ?? []) : []
    const micros = longAt(column('_timestamp'), row)
    const told: WrittenHeader[] = topic.contextHeaders
      ? contextHeaders({
          topic: textAt(column('topic'), row),
          partition: intText(column('partition'), row),
          offset: String(longAt(column('offset'), row) ?? ''),
          'connector.name': connector,
          'task.id': String(taskId),
          stage: STAGES[textAt(column('kind'), row)] ?? 'VALUE_CONVERTER',
          'class.name': 'io.millrace.connect.MillraceSinkConnector',
          'exception.class.name': 'org.apache.kafka.connect.errors.DataException',
          'exception.message': textAt(column('reason'), row),
          'exception.stacktrace': textAt(column('reason'), row),
        })
      : []
    const record: WrittenRecord = {
      key: bytesAt(key, row),
      value: bytesAt(value, row),
      timestamp: micros === undefined ? -1 : Number(micros / 1000n),
      headers: [...own.map((header) => ({ ...header, value: header.value && Uint8Array.from(header.value) })), ...told],
    }
    yield { record, bytes: (record.key?.length ?? 0) + (record.value?.length ?? 0) + (raw?.length ?? 0) + 500 }
  }
}

function contextHeaders(texts: Readonly<Record<string, string>>): WrittenHeader[] {
  return Object.entries(texts).map(([name, text]) => ({ name: `${PREFIX}${name}`, value: Buffer.from(text) }))
}

function isNull({ validity }: ColumnVector, row: number): boolean {
  return validity !== undefined && ((validity[row >> 3] >> (row & 7)) & 1) === 0
}

/** Copied: the batch's memory may be given back. */
function bytesAt(vector: ColumnVector | undefined, row: number): Uint8Array | null {
  if (!vector?.offsets || isNull(vector, row)) return null
  return Uint8Array.from(vector.data.subarray(vector.offsets[row], vector.offsets[row + 1]))
}

function textAt(vector: ColumnVector | undefined, row: number): string {
  return Buffer.from(bytesAt(vector, row) ?? []).toString()
}

function longAt(vector: ColumnVector | undefined, row: number): bigint | undefined {
  if (!vector || isNull(vector, row)) return undefined
  const { data } = vector
  return new DataView(data.buffer, data.byteOffset, data.byteLength).getBigInt64(row * 8, true)
}

function intText(vector: ColumnVector | undefined, row: number): string {
  if (!vector || isNull(vector, row)) return ''
  const { data } = vector
  return String(new DataView(data.buffer, data.byteOffset, data.byteLength).getInt32(row * 4, true))
}

/** The name must be one that the brokers take. */
export function checkTopicName(name: string): void {
  if (/^[A-Za-z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..') return
  throw new MillraceError('settings-invalid', `errors.deadletterqueue.topic.name: "${name}" is no name of a topic`)
}
