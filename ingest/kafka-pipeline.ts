/**
 * A pipeline: records of its topics become rows of its tables, each record in every one of them.
 *
 *   assigned ─▶ drain what is open ─▶ coverage from the catalog ─▶ start positions
 *   block    ─▶ room ─▶ skip what is covered ─▶ decode into the open tick ─▶ next offset
 *   stale    ─▶ the source is restarted from its coverage
 *
 * No position survives an assignment in memory (PROTOCOL 3). A coverage that the log contradicts (truncation,
 * retention gone past, a recreated topic) stops that topic-partition with state `needs-decision` and the command that
 * goes on; never a silent reset.
 */

import type { Catalog } from '../lake/catalog/catalog.ts'
import type { World } from '../runtime/world.ts'
import { type Coverage, type SourceKey, sourceKeyText } from '../schemas/coverage.ts'
import { MillraceError } from '../schemas/errors.ts'
import { appendDeadLetter, tooLarge } from './dead-letters.ts'
import type { Decoder } from './decoder/decoder.ts'
import type { Intake } from './intake.ts'
import {
  type AssignedPartition,
  type KafkaSource,
  type KafkaSourceHandlers,
  type RecordBlock,
  type StartPosition,
  type TopicPartition,
  topicPartitionKey,
} from './kafka/kafka-source.ts'
import type { RowOrigin } from './open-tick.ts'
import { coverageEnd, filesRecord, type SourceLedger } from './source-ledger.ts'
import type { IngestTable } from './tables.ts'

export type PipelineState = {
  /** Reason and command, per topic-partition that waits for a human. */
  readonly needsDecision: ReadonlyMap<string, string>
}

export type KafkaPipeline = {
  readonly name: string
  readonly handlers: KafkaSourceHandlers
  readonly state: PipelineState
  /** The source, once it exists: handlers are needed to make it. */
  attach(source: KafkaSource): void
  /** Coverage of this source is elsewhere: ask it again. */
  becameStale(key: SourceKey): void
  owns(key: SourceKey): boolean
  /** Sources that stand at the log's end with nothing uncommitted: they are fresh though no rows come. */
  idleAtEnd(): { key: SourceKey; end: bigint }[]
  /** A human's answer to `needs-decision`: go on from there, as a new source. Throws `invalid` when nothing waits. */
  decide(topic: string, partition: number, from: 'earliest' | 'latest' | bigint): Promise<Coverage>
  /** Next offset to commit, of every source assigned here. */
  committedPositions(): (TopicPartition & { offset: number })[]
}

/** An idle source is told fresh only while the broker's replies say so: twice the time a fetch waits, and some. */
const AT_END_FRESH_MS = 1500

/** `end` of the source's coverage; undefined: not known, or there is none. */
type Contradiction = {
  readonly partition: AssignedPartition
  readonly source: string | undefined
  readonly end: bigint | undefined
}

type Assigned = {
  readonly partition: AssignedPartition
  readonly key: SourceKey
  readonly generation: number
}

/**
 * `kafka:<topic>:<topic id>`, and `#2`, `#3`, … after a human decided to go on elsewhere in a log that contradicts the
 * coverage: offsets may mean other records then, and `(_source, _partition, _offset)` stays unique.
 */
export function kafkaSourceText(partition: TopicPartition, incarnation = 1): string {
  const text = `kafka:${partition.topic}:${partition.topicId}`
  return incarnation === 1 ? text : `${text}#${incarnation}`
}

export function incarnationOf(source: string): number {
  const mark = /#(\d+)$/.exec(source)
  return mark ? Number(mark[1]) : 1
}

export function createKafkaPipeline(components: {
  name: string
  tables: readonly IngestTable[]
  autoOffsetReset: 'earliest' | 'latest'
  recordBytesMax: number
  catalog: Catalog
  intake: Intake
  ledger: SourceLedger
  world: World
  onTrouble(reason: string | undefined): void
  onDecision(): void
  count(what: 'records' | 'dead' | 'filtered' | 'unknown-keys', by: number): void
}): KafkaPipeline {
  const { name, tables, catalog, intake, ledger, world } = components
  const assigned = new Map<string, Assigned>()
  const needsDecision = new Map<string, string>()
  /** Those logs as they were when they were last looked at, and the coverage that they contradicted. */
  const contradicted = new Map<string, Contradiction>()
  let source: KafkaSource | undefined

  /** The source of the latest incarnation that has coverage. */
  function keyOf(partition: TopicPartition, all: readonly Coverage[]): SourceKey {
    const plain = kafkaSourceText(partition)
    const incarnations = all
      .filter((each) => each.partition === partition.partition)
      .filter((each) => each.source === plain || each.source.startsWith(`${plain}#`))
      .map((each) => incarnationOf(each.source))
    const source = kafkaSourceText(partition, Math.max(1, ...incarnations))
    return { pipeline: name, source, partition: partition.partition }
  }

  function needDecision({ partition, source, end }: Contradiction, reason: string): void {
    const command = `millrace decide --pipeline ${name} --topic ${partition.topic} --partition ${partition.partition} --from earliest|latest|<offset>`
    const told = `${reason}; to go on: ${command}`
    // It is looked at again and again: the log needs it once.
    if (needsDecision.get(topicPartitionKey(partition)) !== told) {
      world.log.error('topic-partition needs a decision', { pipeline: name, ...partition, reason, command })
    }
    needsDecision.set(topicPartitionKey(partition), told)
    contradicted.set(topicPartitionKey(partition), { partition, source, end })
    assigned.delete(topicPartitionKey(partition))
    components.onDecision()
  }

  function endOf(partition: TopicPartition, all: readonly Coverage[]): bigint | undefined {
    const key = keyOf(partition, all)
    return coverageEnd(all.find((each) => each.source === key.source && each.partition === key.partition))
  }

  /** Where to go on, or why a human has to say so. */
  function startPosition(partition: AssignedPartition, all: readonly Coverage[]): bigint | string {
    const end = endOf(partition, all)
    if (end === undefined) {
      const earlier = all.find(
        (each) => each.source.startsWith(`kafka:${partition.topic}:`) && each.partition === partition.partition,
      )
      if (earlier) {
        return `topic ${partition.topic} was recreated: its id is ${partition.topicId}, rows came from ${earlier.source}`
      }
      return BigInt(components.autoOffsetReset === 'earliest' ? partition.logStart : partition.logEnd)
    }
    if (end > BigInt(partition.logEnd)) {
      return `coverage ends at ${end}, past the log's end ${partition.logEnd}: the topic was truncated`
    }
    if (end < BigInt(partition.logStart)) {
      return `coverage ends at ${end}, before the log's start ${partition.logStart}: retention has gone past`
    }
    return end
  }

  async function assign(partitions: readonly AssignedPartition[]): Promise<Map<string, StartPosition>> {
    // What is still open extends the coverage first, else it would be read again and found stale.
    await intake.drain()
    for (const { key } of assigned.values()) ledger.forget(key)
    assigned.clear()
    const all = await catalog.coverage(name)
    const positions = new Map<string, StartPosition>()
    for (const partition of partitions) {
      const id = topicPartitionKey(partition)
      const start = startPosition(partition, all)
      if (typeof start === 'string') {
        const { source } = keyOf(partition, all)
        needDecision({ partition, source, end: endOf(partition, all) }, start)
        positions.set(id, { at: 'none' })
        continue
      }
      needsDecision.delete(id)
      contradicted.delete(id)
      const key = keyOf(partition, all)
      const coverage = await catalog.beginCoverage(key, start)
      const next = coverageEnd(coverage) ?? start
      ledger.reload(key, next, filesRecord(coverage))
      assigned.set(id, { partition, key, generation: generationOf(key) })
      positions.set(id, { at: 'offset', offset: Number(next) })
    }
    components.onDecision()
    return positions
  }

  function generationOf(key: SourceKey): number {
    return ledger.generation(sourceKeyText(key))
  }

  async function take(block: RecordBlock): Promise<void> {
    const id = topicPartitionKey(block)
    for (const table of tables) {
      if (!table.ready) await table.learn(samplesOf(block))
    }
    await intake.room()
    // Nothing is awaited from here on: the rows, their spans and the advance go into one tick.
    const entry = assigned.get(id)
    if (!entry || entry.partition.topicId !== block.topicId) return
    const next = ledger.next(entry.key)
    if (next === undefined || entry.generation !== generationOf(entry.key)) return
    const from = Number(next)
    if (block.nextOffset <= from) return
    if (block.startOffset > from) {
      world.log.warn('block beyond the next offset dropped', { ...entry.key, next: from, start: block.startOffset })
      void source?.restart(block)
      return
    }
    appendBlock(block, entry, from)
    intake.added()
  }

  function appendBlock(block: RecordBlock, entry: Assigned, from: number): void {
    const origin: RowOrigin = {
      key: entry.key,
      generation: entry.generation,
      range: { start: BigInt(from), end: BigInt(block.nextOffset) },
    }
    let first = 0
    while (first < block.count && block.offsets[first] < from) first += 1
    const dead = new Uint8Array(block.count)
    for (const table of tables) appendToTable(table, block, first, origin, dead)

    let recordsDead = 0
    let tombstones = 0
    for (let index = first; index < block.count; index += 1) {
      if (block.valueStarts[index] < 0) tombstones += 1
      else recordsDead += dead[index]
    }
    // Of a block that is covered in part, what was skipped before it is not known apart from what was skipped after.
    const skipped = Math.min(block.filtered, block.nextOffset - from - (block.count - first))
    const filtered = tombstones + skipped
    intake.tick.advance(
      {
        ...entry.key,
        range: origin.range,
        recordsIn: block.count - first + skipped,
        recordsDead,
        recordsFiltered: filtered,
        logEnd: BigInt(block.logEnd),
        caughtUp: block.nextOffset >= block.logEnd,
      },
      entry.generation,
    )
    ledger.took(entry.key, BigInt(block.nextOffset))
    components.count('records', block.count - first)
    if (recordsDead > 0) components.count('dead', recordsDead)
    if (filtered > 0) components.count('filtered', filtered)
  }

  /** The hot loop: about 0.5 µs a record (bench/decoder.ts); no object, closure or bigint per record. */
  function appendToTable(
    table: IngestTable,
    block: RecordBlock,
    first: number,
    origin: RowOrigin,
    dead: Uint8Array,
  ): void {
    const { valueStarts, valueEnds, offsets, timestamps, bytes, partition, count } = block
    const { recordBytesMax } = components
    const arrived = Number(world.clock.nowMicros())
    const ready = table.ready
    const batch = ready && intake.tick.batch(ready.feed)
    const decoder: Decoder | undefined = ready?.decoder
    const rowStart = batch?.builder.rowCount ?? 0
    const unknownBefore = decoder?.unknownKeys ?? 0
    const sourceIndex = batch?.builder.sourceIndex(origin.key.source) ?? 0
    for (let index = first; index < count; index += 1) {
      const start = valueStarts[index]
      if (start < 0) continue
      const end = valueEnds[index]
      if (end - start > recordBytesMax) {
        bury(table, block, index, origin, tooLarge(end - start, recordBytesMax))
        dead[index] = 1
        continue
      }
      if (!batch || !decoder) {
        bury(table, block, index, origin, {
          reason: 'no schema could be inferred: this is not a JSON object with fields',
          column: undefined,
        })
        dead[index] = 1
        continue
      }
      const failure = decoder.decode(bytes, start, end, batch.builder)
      if (failure === undefined) {
        batch.builder.finishRow(sourceIndex, partition, offsets[index], timestamps[index], arrived)
      } else {
        bury(table, block, index, origin, failure)
        dead[index] = 1
      }
    }
    if (batch) intake.tick.noteRows(batch, rowStart, origin)
    const unknown = (decoder?.unknownKeys ?? 0) - unknownBefore
    if (unknown > 0) components.count('unknown-keys', unknown)
  }

  function bury(
    table: IngestTable,
    block: RecordBlock,
    index: number,
    origin: RowOrigin,
    failure: { reason: string; column: string | undefined },
  ): void {
    const letters = intake.tick.batch(table.deadLetters)
    const rowStart = letters.builder.rowCount
    const keyStart = block.keyStarts[index]
    appendDeadLetter(letters, {
      topic: block.topic,
      partition: block.partition,
      offset: block.offsets[index],
      failure,
      key: keyStart < 0 ? null : block.bytes.subarray(keyStart, block.keyEnds[index]),
      value: block.bytes.subarray(block.valueStarts[index], block.valueEnds[index]),
    })
    const sourceIndex = letters.builder.sourceIndex(origin.key.source)
    letters.builder.finishRow(
      sourceIndex,
      block.partition,
      block.offsets[index],
      block.timestamps[index],
      Number(world.clock.nowMicros()),
    )
    intake.tick.noteRows(letters, rowStart, origin)
  }

  return {
    name,
    state: { needsDecision },
    attach(made) {
      source = made
    },
    owns: (key) => key.pipeline === name,
    becameStale(key) {
      for (const { partition, key: own } of assigned.values()) {
        if (own.source !== key.source || own.partition !== key.partition) continue
        world.log.warn('another process moved this source; starting again from its coverage', {
          ...key,
        })
        void source?.restart(partition)
      }
    },
    idleAtEnd: () => {
      const oldest = world.clock.monotonicMs() - AT_END_FRESH_MS
      return [...assigned.values()]
        .filter(({ partition, key }) => ledger.isSettled(key) && (source?.lastAtEndMs(partition) ?? 0) >= oldest)
        .map(({ key }) => ({ key, end: ledger.next(key)! }))
    },
    async decide(topic, partitionNumber, from) {
      const id = topicPartitionKey({ topic, partition: partitionNumber })
      const isAssigned = source?.assignments().some((each) => topicPartitionKey(each) === id)
      if (!isAssigned) {
        throw new MillraceError(
          'not-found',
          `topic-partition ${id} is not assigned to this process; ask the one that has it`,
        )
      }
      const refuse = () => new MillraceError('request-invalid', `topic-partition ${id} does not wait for a decision`)
      if (!needsDecision.has(id)) throw refuse()
      // Log and coverage as they are now: another process may have this topic-partition by now, decided and going on.
      await source?.restart({
        topic,
        topicId: contradicted.get(id)?.partition.topicId ?? '',
        partition: partitionNumber,
      })
      const contradiction = contradicted.get(id)
      if (!needsDecision.has(id) || !contradiction) throw refuse()
      const { partition } = contradiction
      const at = from === 'earliest' ? BigInt(partition.logStart) : from === 'latest' ? BigInt(partition.logEnd) : from
      if (at < BigInt(partition.logStart) || at > BigInt(partition.logEnd)) {
        throw new MillraceError(
          'value-out-of-range',
          `offset ${at} is outside the log [${partition.logStart}, ${partition.logEnd}]`,
        )
      }
      const all = await catalog.coverage(name)
      const current = keyOf(partition, all)
      // Moved since: somebody goes on there, and another incarnation would read the same records a second time. Of two who
      // find it unmoved both begin the same incarnation, and the first one's offset counts.
      if (contradiction.source !== current.source || contradiction.end !== endOf(partition, all)) throw refuse()
      const isKnown = all.some((each) => each.source === current.source && each.partition === current.partition)
      const incarnation = isKnown ? incarnationOf(current.source) + 1 : 1
      const coverage = await catalog.beginCoverage({ ...current, source: kafkaSourceText(partition, incarnation) }, at)
      world.log.info('going on after a decision', {
        pipeline: name,
        topic,
        partition: partitionNumber,
        from: String(at),
      })
      await source?.restart(partition)
      return coverage
    },
    committedPositions: () =>
      [...assigned.values()].flatMap(({ partition, key }) => {
        const offset = ledger.coveredTo(sourceKeyText(key))
        return offset === undefined ? [] : [{ ...partition, offset: Number(offset) }]
      }),
    handlers: {
      assigned: assign,
      async revoked(partitions) {
        await intake.drain()
        for (const partition of partitions) {
          const entry = assigned.get(topicPartitionKey(partition))
          if (entry) ledger.forget(entry.key)
          assigned.delete(topicPartitionKey(partition))
          // Whoever has it next looks and tells.
          needsDecision.delete(topicPartitionKey(partition))
          contradicted.delete(topicPartitionKey(partition))
        }
        components.onDecision()
      },
      block: take,
      outOfRange(partition, position) {
        const source = assigned.get(topicPartitionKey(partition))?.key.source
        needDecision(
          { partition, source, end: undefined },
          `position ${position} is outside the log [${partition.logStart}, ${partition.logEnd})`,
        )
      },
      trouble: components.onTrouble,
    },
  }
}

function samplesOf(block: RecordBlock): Uint8Array[] {
  const samples: Uint8Array[] = []
  for (let index = 0; index < block.count; index += 1) {
    if (block.valueStarts[index] >= 0)
      samples.push(block.bytes.subarray(block.valueStarts[index], block.valueEnds[index]))
  }
  return samples
}
