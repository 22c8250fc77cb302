/**
 * What was produced, and so what rows there should be: by Kafka offset, by an HTTP producer's sequence, by request. Given
 * what a tick says it consumed of a source and the rows it brought, says what is wrong with them.
 */
import type { SourceAdvance } from '../../schemas/coverage.ts'
import type { Row } from './row-files.ts'
import { type Broker, type Log, type LogRecord, TOPIC } from './simulated-kafka.ts'

export type HttpRow = { readonly text: string; readonly body: string; readonly isBad: boolean }

export type Truth = {
  /** A row of a named producer: its sequence says all. */
  producerRow(producer: string, sequence: number): HttpRow
  /** A row of a request without a producer. */
  requestRow(requestId: number, index: number): HttpRow
  /** @param seenAt when each row of a request was committed, catalog time */
  problemsOf(advance: SourceAdvance, rows: readonly Row[], seenAt: Map<string, bigint>, nowMicros: bigint): string[]
  /** A source's first coverage must begin where its log begins, unless a human said otherwise. */
  beginsWrongly(advance: SourceAdvance): string | undefined
  logOf(source: string, partition: number): Log | undefined
}

const PRODUCER_ROWS = 1_000_000
const REQUEST_IDS_FROM = 500_000_000
const PARTS = 2
const KEYS_KEPT_MICROS = 24n * 3_600_000_000n

export function createTruth(broker: Broker): Truth {
  const httpRow = (id: number): HttpRow => {
    const isBad = id % 11 === 5
    const body = isBad ? `{"id":"bad-${id}"}` : `{"id":${id},"part":${id % PARTS}}`
    return { text: isBad ? body : String(id), body, isBad }
  }

  function producerRow(producer: string, sequence: number): HttpRow {
    return httpRow((Number(producer.replace(/\D/g, '')) + 1) * 10 * PRODUCER_ROWS + sequence)
  }

  function logOf(source: string, partition: number): Log | undefined {
    const topicId = source.replace(/#\d+$/, '').slice(`kafka:${TOPIC}:`.length)
    return broker.topics.find((topic) => topic.topicId === topicId)?.logs[partition]
  }

  function kafkaProblems(advance: SourceAdvance, byOffset: ReadonlyMap<number, Row>): string[] {
    const log = logOf(advance.source, advance.partition)
    if (!log) return [`${advance.source} is no topic that ever was`]
    const problems: string[] = []
    const counts = { in: 0, dead: 0, filtered: 0 }
    let isPlain = true
    for (let offset = Number(advance.range.start); offset < Number(advance.range.end); offset += 1) {
      const records = log.history.get(offset) ?? []
      if (records.length !== 1) isPlain = false
      const row = byOffset.get(offset)
      const record = records.find((each) => agrees(each, row))
      if (!record) {
        const should = records.map(({ kind, value }) => `${kind} ${value}`).join(' or ') || 'no record'
        problems.push(
          `${advance.source}/${advance.partition} offset ${offset}: ${row?.text ?? 'no row'}, it should be ${should}`,
        )
        continue
      }
      if (record.kind !== 'hole') counts.in += 1
      if (record.kind === 'bad') counts.dead += 1
      if (record.kind === 'tombstone' || record.kind === 'aborted') counts.filtered += 1
    }
    const { recordsIn, recordsDead, recordsFiltered } = advance
    if (isPlain && (recordsIn !== counts.in || recordsDead !== counts.dead || recordsFiltered !== counts.filtered)) {
      problems.push(
        `${advance.source}/${advance.partition} [${advance.range.start}, ${advance.range.end}) says ${recordsIn} in, ${recordsDead} dead, ${recordsFiltered} filtered; it is ${counts.in}, ${counts.dead}, ${counts.filtered}`,
      )
    }
    return problems
  }

  function producerProblems(advance: SourceAdvance, byOffset: ReadonlyMap<number, Row>): string[] {
    const producer = advance.source.slice('http:'.length)
    const problems: string[] = []
    for (let sequence = Number(advance.range.start); sequence < Number(advance.range.end); sequence += 1) {
      const { text } = producerRow(producer, sequence)
      const row = byOffset.get(sequence)
      if (row?.text !== text)
        problems.push(`${producer} sequence ${sequence}: ${row?.text ?? 'no row'}, it should be ${text}`)
    }
    return problems
  }

  function requestProblems(
    advance: SourceAdvance,
    rows: readonly Row[],
    seenAt: Map<string, bigint>,
    nowMicros: bigint,
  ): string[] {
    const problems: string[] = []
    for (const { text } of rows) {
      const before = seenAt.get(text)
      // A key is kept for 24 hours; who sends the request again later doubles it.
      if (before !== undefined && nowMicros - before < KEYS_KEPT_MICROS) {
        problems.push(`a request's row ${text} is committed twice`)
      }
      seenAt.set(text, nowMicros)
    }
    const consumed = Number(advance.range.end - advance.range.start)
    const dropped = advance.recordsFiltered
    if (rows.length + dropped !== consumed || advance.recordsIn !== consumed) {
      problems.push(
        `${advance.source}: ${consumed} sequences, ${rows.length} rows, ${dropped} filtered, ${advance.recordsIn} in`,
      )
    }
    return problems
  }

  return {
    producerRow,
    requestRow: (requestId, index) => httpRow(REQUEST_IDS_FROM + requestId * 100 + index),
    logOf,
    problemsOf(advance, rows, seenAt, nowMicros) {
      const byOffset = new Map(rows.map((row) => [row.offset, row]))
      const outside = rows.find(
        ({ offset }) => BigInt(offset) < advance.range.start || BigInt(offset) >= advance.range.end,
      )
      const problems = outside ? [`${advance.source}: row at ${outside.offset} is outside of what was consumed`] : []
      if (advance.source.startsWith('kafka:')) return [...problems, ...kafkaProblems(advance, byOffset)]
      if (advance.source.startsWith('http:producer-')) return [...problems, ...producerProblems(advance, byOffset)]
      return [...problems, ...requestProblems(advance, rows, seenAt, nowMicros)]
    },
    beginsWrongly({ source, partition, range }) {
      if (source.startsWith('http:')) {
        return range.start === 0n ? undefined : `${source} begins at ${range.start}, not at 0`
      }
      if (source.includes('#')) return undefined
      const log = logOf(source, partition)
      if (!log || source !== `kafka:${TOPIC}:${broker.topics[0].topicId}`) return undefined
      return range.start <= BigInt(log.logStart)
        ? undefined
        : `${source}/${partition} begins at ${range.start}, the log at ${log.logStart}`
    },
  }
}

/** Does what became of an offset agree with a record that was there? */
function agrees({ kind, value }: LogRecord, row: Row | undefined): boolean {
  if (!row) return kind !== 'row' && kind !== 'bad'
  if (kind === 'row') return value.startsWith(`{"id":${row.text},`)
  return kind === 'bad' && row.text === value
}
