/**
 * A pipeline: records of its topics become rows of its tables, each record in every one of them.
 *
 *   assigned ─▶ drain what is open ─▶ coverage from the catalog ─▶ start positions
 *   records  ─▶ room ─▶ decode what is not covered ─▶ (a schema, columns, a table are missing: have them made, decode again)
 *            ─▶ pieces, advance, next offset in one step, if the source still stands where it stood
 *   stale    ─▶ the source is restarted from its coverage
 *
 * No position survives an assignment in memory (PROTOCOL 3). A coverage that the log contradicts (truncation,
 * retention gone past, a recreated topic) stops that topic-partition with state `needs-decision` and the command that
 * goes on; never a silent reset.
 */

import type { Catalog } from '../lake/catalog/catalog.ts'
import type { World } from '../runtime/world.ts'
import { type Coverage, type SourceKey, sourceKeyText } from '../schemas/coverage.ts'
import { invariant, MillraceError } from '../schemas/errors.ts'
import { incarnationOf, kafkaSourceText, rowSourceOf, stretchesOf } from '../schemas/kafka-source-text.ts'
import type { DecodeNeeds, DecodePlan } from './decoder/decode-plan.ts'
import type { Intake } from './intake.ts'
import {
  type AssignedPartition,
  type Delivered,
  type KafkaSource,
  type KafkaSourceHandlers,
  type StartPosition,
  type TopicPartition,
  topicPartitionKey,
} from './kafka/kafka-source.ts'
import type { RowOrigin } from './open-tick.ts'
import type { PartitionView } from './partition-view.ts'
import type { PlanKeeper } from './schema-keeper.ts'
import { coverageEnd, filesRecord, type SourceLedger } from './source-ledger.ts'
import { cutUnit, type DecodedUnit, releasePieces, type SourceUnit } from './threads/decode-unit.ts'

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
  /** Every topic-partition assigned here. */
  partitions(): readonly PartitionView[]
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
 * The records from offset `from` on, as rows of `source`. `isFinal`: see `BlockDecoder.decode`. `hasTurn`: units behind this one
 * hold memory until it is taken, so it does not wait for room. Rejects only for bugs.
 */
export type Decode = (
  plan: DecodePlan,
  unit: SourceUnit,
  from: number,
  source: string,
  isFinal: boolean,
  hasTurn?: boolean,
) => Promise<DecodedUnit | DecodeNeeds>

/** The source as it was assigned, and its next offset. */
type Place = { readonly entry: Assigned; readonly from: number }

export type Stretch = { readonly key: SourceKey; readonly topic: string; readonly until: bigint }

type Progress = {
  logEnd: number
  records: number
  dead: number
  bytes: number
  /** Units that came and are not taken yet. */
  inHand: number
  /** Monotonic milliseconds since when its next unit waits, and for what. */
  waiting: { sinceMs: number; what: string } | undefined
  limitedAtMs: number
}

/** A block that waits longer is told, and a rate limit that held one up so lately. */
const [WAITING_MS, LIMITED_MS] = [1000, 3000]

export function createKafkaPipeline(components: {
  name: string
  /** What the pipeline decodes by. */
  keeper: PlanKeeper
  decode: Decode
  autoOffsetReset: 'earliest' | 'latest'
  catalog: Catalog
  intake: Intake
  ledger: SourceLedger
  world: World
  /** A backfill: of all that is assigned only this topic-partition is read, from its coverage up to `until`. */
  stretch?: Stretch
  /** Resolves when so many records and bytes more may be taken (`rate-limit.ts`). */
  limit?: (records: number, bytes: number) => Promise<void>
  onTrouble(reason: string | undefined): void
  onDecision(): void
  count(what: 'records' | 'dead' | 'filtered' | 'unknown-keys', by: number): void
}): KafkaPipeline {
  const { name, keeper, catalog, intake, ledger, world } = components
  const assigned = new Map<string, Assigned>()
  const needsDecision = new Map<string, string>()
  /** Those logs as they were when they were last looked at, and the coverage that they contradicted. */
  const contradicted = new Map<string, Contradiction>()
  const progress = new Map<string, Progress>()
  let source: KafkaSource | undefined

  /** The stretch that is read on: the last one of the latest incarnation that has coverage. */
  function keyOf(partition: TopicPartition, all: readonly Coverage[]): SourceKey {
    const current = components.stretch?.key.source ?? stretchesOf(partition, all).at(-1)?.source
    return { pipeline: name, source: current ?? kafkaSourceText(partition), partition: partition.partition }
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
      if (components.stretch && !isOfStretch(partition, components.stretch)) {
        positions.set(id, { at: 'none' })
        continue
      }
      progressOf(partition).logEnd = partition.logEnd
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

  function progressOf(partition: { topic: string; partition: number; logEnd: number }): Progress {
    const id = topicPartitionKey(partition)
    let known = progress.get(id)
    if (!known) {
      known = {
        logEnd: partition.logEnd,
        records: 0,
        dead: 0,
        bytes: 0,
        inHand: 0,
        waiting: undefined,
        limitedAtMs: Number.NEGATIVE_INFINITY,
      }
      progress.set(id, known)
    }
    return known
  }

  /**
   * Units of one topic-partition are decoded side by side and taken in their order: each stands where the one before it is to
   * end, and is decoded again in the rare case that it did not.
   */
  async function take(given: SourceUnit, before: Promise<Delivered> | undefined): Promise<Delivered> {
    const { stretch } = components
    if (stretch && given.startOffset >= Number(stretch.until))
      return { nextOffset: given.nextOffset, damage: undefined }
    const unit = stretch ? cutUnit(given, Number(stretch.until)) : given
    const own = progressOf(unit)
    own.logEnd = Math.max(own.logEnd, unit.logEnd)
    own.inHand += 1
    own.waiting ??= { sinceMs: world.clock.monotonicMs(), what: 'ingest.memory.max' }
    try {
      return await decodeInTurn(unit, own, before)
    } finally {
      own.inHand -= 1
      own.waiting = own.inHand > 0 ? { sinceMs: world.clock.monotonicMs(), what: 'ingest.memory.max' } : undefined
    }
  }

  async function decodeInTurn(
    unit: SourceUnit,
    own: Progress,
    before: Promise<Delivered> | undefined,
  ): Promise<Delivered> {
    let place = placeAhead(unit)
    if (!place) return { nextOffset: unit.nextOffset, damage: undefined }
    let plan = keeper.plan()
    // What waits for a rate limit waits with one unit in hand, not with all that were fetched.
    if (components.limit) await before
    const started = components.decode(plan, unit, place.from, rowSourceOf(place.entry.key.source), false)
    // It may fail while the one before is waited for.
    started.catch(() => {})
    const reached = (await before)?.nextOffset
    let result = await started
    if (components.limit && result.kind === 'decoded') {
      const sinceMs = world.clock.monotonicMs()
      await components.limit(result.records, result.valueBytes)
      if (world.clock.monotonicMs() - sinceMs > 5) own.limitedAtMs = world.clock.monotonicMs()
    }
    for (let isFinal = false, isFirst = true; ; isFirst = false) {
      const isVoid = reached !== undefined && reached < unit.startOffset
      const now = isVoid ? undefined : placeOf(unit)
      if (!now) {
        releasePieces(result)
        return { nextOffset: isVoid ? reached : unit.nextOffset, damage: undefined }
      }
      const isSame: boolean = now.entry === place.entry && now.from === place.from
      if (isSame && result.kind === 'decoded') {
        // Nothing is awaited from the check on: the rows and the advance go into one tick.
        append(result, unit, now)
        intake.added()
        return { nextOffset: result.nextOffset, damage: result.damage }
      }
      invariant('what is final needs nothing', !(isFinal && result.kind === 'needs'), { ...now.entry.key })
      isFinal = false
      if (result.kind === 'needs' && !(isFirst && keeper.plan().number !== plan.number)) {
        own.waiting = undefined
        // What cannot be had leaves the plan as it is: then the records go to the dead letters, and those behind them go on.
        isFinal = (await keeper.resolve(result)).number === plan.number
      }
      releasePieces(result)
      plan = keeper.plan()
      place = now
      result = await components.decode(plan, unit, now.from, rowSourceOf(now.entry.key.source), isFinal, true)
    }
  }

  /** Where the unit is to go on once those before it were taken. */
  function placeAhead(unit: SourceUnit): Place | undefined {
    const entry = entryOf(unit)
    const next = entry && ledger.next(entry.key)
    return next === undefined ? undefined : { entry: entry!, from: Math.max(unit.startOffset, Number(next)) }
  }

  function entryOf(unit: SourceUnit): Assigned | undefined {
    const entry = assigned.get(topicPartitionKey(unit))
    return entry?.partition.topicId === unit.topicId && entry.generation === generationOf(entry.key) ? entry : undefined
  }

  /** Where the unit goes on; undefined: it is of no use any more. */
  function placeOf(unit: SourceUnit): Place | undefined {
    const entry = entryOf(unit)
    const next = entry && ledger.next(entry.key)
    if (!entry || next === undefined) return undefined
    const from = Number(next)
    if (unit.startOffset > from) {
      world.log.warn('records beyond the next offset dropped', { ...entry.key, next: from, start: unit.startOffset })
      void source?.restart(unit)
      return undefined
    }
    // One that does not even say how far it goes is damaged from its beginning on.
    if (unit.nextOffset <= from && unit.nextOffset > unit.startOffset) return undefined
    return { entry, from }
  }

  function append(decoded: DecodedUnit, unit: SourceUnit, { entry, from }: Place): void {
    if (decoded.nextOffset <= from) return
    const { key, generation } = entry
    const origin: RowOrigin = { key, generation, range: { start: BigInt(from), end: BigInt(decoded.nextOffset) } }
    for (const { tableId, schemaId, batch } of decoded.pieces) {
      intake.tick.add(keeper.feed(tableId, schemaId), batch, origin)
    }
    const filtered = decoded.filtered + decoded.skipped
    intake.tick.advance(
      {
        ...key,
        range: origin.range,
        recordsIn: decoded.records + decoded.skipped,
        recordsDead: decoded.dead,
        recordsFiltered: filtered,
        logEnd: BigInt(unit.logEnd),
        caughtUp: decoded.nextOffset >= unit.logEnd,
      },
      generation,
    )
    ledger.took(key, BigInt(decoded.nextOffset))
    const own = progressOf(unit)
    own.logEnd = unit.logEnd
    own.records += decoded.records
    own.dead += decoded.dead
    own.bytes += decoded.valueBytes
    components.count('records', decoded.records)
    if (decoded.dead > 0) components.count('dead', decoded.dead)
    if (decoded.deadReason !== undefined) keeper.noteDead(unit.topic, decoded.deadReason)
    if (filtered > 0) components.count('filtered', filtered)
    if (decoded.unknownKeys > 0) components.count('unknown-keys', decoded.unknownKeys)
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
        const why = 'another process moved this source, or one with rows in the same commit'
        world.log.warn(`${why}; starting again from its coverage`, { ...key })
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
    partitions() {
      const now = world.clock.monotonicMs()
      return (source?.assignments() ?? []).flatMap((partition): PartitionView[] => {
        const id = topicPartitionKey(partition)
        const entry = assigned.get(id)
        const own = progress.get(id)
        if (!own) return []
        const decision = needsDecision.get(id)
        const isLimited = now - own.limitedAtMs < LIMITED_MS
        const waiting = own.waiting && now - own.waiting.sinceMs >= WAITING_MS ? own.waiting : undefined
        return [
          {
            topic: partition.topic,
            partition: partition.partition,
            source: entry?.key.source ?? contradicted.get(id)?.source ?? kafkaSourceText(partition),
            state: decision ? 'needs-decision' : waiting || isLimited ? 'waiting' : 'running',
            detail: decision ?? (isLimited ? 'waits at its rate limit' : waiting && `waits at ${waiting.what}`),
            logStart: partition.logStart,
            logEnd: Math.max(own.logEnd, partition.logEnd),
            position: entry && ledger.next(entry.key),
            committed: entry && ledger.coveredTo(sourceKeyText(entry.key)),
            records: own.records,
            dead: own.dead,
            bytes: own.bytes,
          },
        ]
      })
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
          progress.delete(topicPartitionKey(partition))
        }
        components.onDecision()
      },
      async block(block) {
        await take(block, undefined)
      },
      records: take,
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

function isOfStretch({ topic, partition }: TopicPartition, stretch: Stretch): boolean {
  return topic === stretch.topic && partition === stretch.key.partition
}
