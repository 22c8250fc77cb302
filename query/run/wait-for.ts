/**
 * Reading your own writes: a query waits until its tables have what the caller wrote.
 *
 *   version   that a write over HTTP was answered with
 *   offsets   of records in Kafka, as the broker gave them to whoever produced them: until the coverage of the pipeline that
 *             reads the topic into the table holds each of them. Coverage and rows are committed together, so the query then
 *             sees what became of the record: a row, a dead letter, or nothing when a filter left it out
 *
 * All who wait share one loop that looks at the catalog. Who waits takes no place among the running queries; how many may
 * is bounded (`overloaded`). The wait ends with the query's time, with an error that says what did not come.
 *
 * A topic that was made anew, or goes on elsewhere after a decision, has several sources in coverage: the one that the
 * pipeline reads now counts.
 */
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { PipelineFacts } from '../../lake/catalog/pipeline-facts.ts'
import type { World } from '../../runtime/world.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { byStart, endOf, incarnationOf, rowSourceOf, startOf, topicOf } from '../../schemas/kafka-source-text.ts'

export type OffsetWait = { readonly topic: string; readonly partition: number; readonly offset: bigint }
export type TableWait = { readonly version: bigint | undefined; readonly offsets: readonly OffsetWait[] }
export type WaitFor = ReadonlyMap<string, TableWait>

export type Waiting = {
  /** Resolves when all of it is there. Throws `query-timeout`, `overloaded`, `request-invalid`, `value-out-of-range`. */
  until(wanted: WaitFor, signal: AbortSignal): Promise<void>
  readonly waiting: number
}

/** What the catalog says at one look. */
export type WaitView = {
  readonly versions: ReadonlyMap<string, bigint>
  /** undefined: nobody waits for offsets. */
  readonly facts: PipelineFacts | undefined
}

const LOOK_MS = 50
const WAITERS_MAX = 1000
const MISSING_TOLD_MAX = 5

type Waiter = {
  readonly wanted: WaitFor
  missing: readonly string[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export function createWaiting({ catalog, world }: { catalog: Catalog; world: World }): Waiting {
  const waiters = new Set<Waiter>()
  let isLooking = false

  async function look(): Promise<void> {
    isLooking = true
    try {
      while (waiters.size > 0) {
        const asked = [...waiters]
        const needsOffsets = asked.some(({ wanted }) => hasOffsets(wanted))
        const startedMs = world.clock.monotonicMs()
        const view = {
          versions: await catalog.versions(),
          facts: needsOffsets ? await catalog.pipelineFacts() : undefined,
        }
        for (const waiter of asked) settle(waiter, view)
        if (waiters.size > 0) {
          // A catalog that takes long to answer is not asked without pause.
          const tookMs = world.clock.monotonicMs() - startedMs
          await world.clock.sleep(Math.max(LOOK_MS, tookMs * 4))
        }
      }
    } catch (error) {
      for (const waiter of waiters) waiter.reject(error)
      waiters.clear()
    } finally {
      isLooking = false
    }
  }

  function settle(waiter: Waiter, view: WaitView): void {
    try {
      waiter.missing = missingOf(waiter.wanted, view)
      if (waiter.missing.length > 0) return
      waiters.delete(waiter)
      waiter.resolve()
    } catch (error) {
      waiters.delete(waiter)
      waiter.reject(error)
    }
  }

  return {
    get waiting() {
      return waiters.size
    },
    async until(wanted, signal) {
      if (wanted.size === 0) return
      signal.throwIfAborted()
      if (waiters.size >= WAITERS_MAX) {
        throw new MillraceError('overloaded', `${waiters.size} queries wait for what was written; try again later`)
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const waiter: Waiter = { wanted, missing: [], resolve, reject }
      waiters.add(waiter)
      const onAbort = () => {
        waiters.delete(waiter)
        reject(
          isMillraceError(signal.reason, 'query-timeout') ? notThere(waiter.missing, signal.reason) : signal.reason,
        )
      }
      signal.addEventListener('abort', onAbort, { once: true })
      if (!isLooking) void look()
      try {
        await promise
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    },
  }
}

function hasOffsets(wanted: WaitFor): boolean {
  return [...wanted.values()].some(({ offsets }) => offsets.length > 0)
}

function notThere(missing: readonly string[], cause: MillraceError): MillraceError {
  const told = missing.slice(0, MISSING_TOLD_MAX).join('; ')
  const rest = missing.length > MISSING_TOLD_MAX ? `; and ${missing.length - MISSING_TOLD_MAX} more` : ''
  return new MillraceError('query-timeout', `wait_for: what was waited for did not come in time: ${told}${rest}`, {
    cause,
    facts: { waited: true },
  })
}

/** What is not there yet, in words. A table that is not known is let through: reading it says so. */
export function missingOf(wanted: WaitFor, { versions, facts }: WaitView): string[] {
  const missing: string[] = []
  for (const [table, { version, offsets }] of wanted) {
    const current = versions.get(table)
    if (current === undefined) continue
    if (version !== undefined && current < version) {
      missing.push(`table "${table}" has version ${current}, expected ${version}`)
    }
    if (facts === undefined) continue
    for (const offset of offsets) {
      const fault = missingOffset(table, offset, facts)
      if (fault !== undefined) missing.push(fault)
    }
  }
  return missing
}

function missingOffset(
  table: string,
  { topic, partition, offset }: OffsetWait,
  facts: PipelineFacts,
): string | undefined {
  const bindings = facts.bindings.filter((binding) => binding.table === table)
  const pipelines = bindings.filter((binding) => binding.topic === topic).map(({ pipeline }) => pipeline)
  if (pipelines.length === 0) {
    // Rows over HTTP have a binding without a topic.
    const topics = [...new Set(bindings.map((binding) => binding.topic).filter((name) => name !== ''))]
    const found = topics.length === 0 ? 'none' : topics.slice(0, 20).join(', ')
    throw new MillraceError(
      'request-invalid',
      `wait_for: no pipeline reads topic "${topic}" into table "${table}"; topics: ${found}`,
    )
  }
  const place = `${topic}/${partition}`
  const stretches = pipelines.flatMap((pipeline) => currentStretches(pipeline, topic, partition, facts))
  const isCovered = stretches.some(({ ranges }) => ranges.some(({ start, end }) => start <= offset && offset < end))
  if (isCovered) return undefined
  if (stretches.length === 0) return `nothing of ${place} was consumed yet, expected offset ${offset}`
  const [firstStretch] = [...stretches].sort(byStart)
  const first = startOf(firstStretch)
  if (offset < first) {
    throw new MillraceError(
      'value-out-of-range',
      `wait_for: offset ${offset} of ${place} is before ${first}, where "${table}" begins to be read`,
    )
  }
  const end = endOf([...stretches].sort(byStart)[stretches.length - 1])
  return offset < end
    ? `offset ${offset} of ${place} lies in what was skipped`
    : `${place} is consumed up to ${end}, expected offset ${offset}`
}

/** Coverage of what the pipeline reads of this topic-partition now, without topics of the same name that went before. */
function currentStretches(pipeline: string, topic: string, partition: number, facts: PipelineFacts): Coverage[] {
  const own = facts.coverage.filter(
    (each) => each.pipeline === pipeline && each.partition === partition && topicOf(each.source) === topic,
  )
  const status = facts.partitions.find(
    (each) => each.pipeline === pipeline && each.topic === topic && each.partition === partition,
  )
  const current = (status && topicIdOf(status.source)) ?? newestTopicId(own)
  const ofTopic = own.filter(({ source }) => topicIdOf(source) === current)
  const newest = Math.max(1, ...ofTopic.map(({ source }) => incarnationOf(source)))
  return ofTopic.filter(({ source }) => incarnationOf(source) === newest)
}

function topicIdOf(source: string): string | undefined {
  return /^kafka:[^:]+:([^#@]*)/.exec(rowSourceOf(source))?.[1]
}

/** Before anybody told which one is read: the one that was last seen at its log's end. */
function newestTopicId(coverage: readonly Coverage[]): string | undefined {
  const at = ({ caughtUpAt }: Coverage) => caughtUpAt ?? -1n
  const newest = coverage.reduce<Coverage | undefined>((a, b) => (a === undefined || at(b) > at(a) ? b : a), undefined)
  return newest && topicIdOf(newest.source)
}
