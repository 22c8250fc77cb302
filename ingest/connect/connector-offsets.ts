/**
 * Offsets of a connector over the REST API: where its coverage ends, per topic-partition, and moving that while it is stopped.
 *
 * What became rows does not become rows again: a move back reads only what was never consumed, unless duplicates are allowed in
 * words. The reply says what was done to each topic-partition that did not simply go where it was sent.
 */
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { Connector } from '../../lake/catalog/connectors.ts'
import type { MovedOffsets, Offsets } from '../../lake/catalog/offset-moves.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import { endOf, stretchesOf, topicOf } from '../../schemas/kafka-source-text.ts'
import type { AssignedPartition } from '../kafka/kafka-source.ts'
import { topicPattern } from './config/check-connector.ts'
import type { ConnectorConfig } from './config/connector-config.ts'
import type { ConnectorOffsets } from './rest/connect-api.ts'
import type { OffsetRequest } from './rest/request-bodies.ts'
import { badRequest } from './rest/rest-errors.ts'

const WHY = 'Kafka Connect REST API'

export function createConnectorOffsets(components: {
  catalog: Pick<Catalog, 'coverage'> & Pick<Offsets, 'moveOffsets'>
  configOf: (connector: Connector) => ConnectorConfig
  /** Those that exist, with where their logs begin and end; asked of the connector's own brokers. */
  placeEnds: (
    config: ConnectorConfig,
    places: readonly { readonly topic: string; readonly partition: number }[],
  ) => Promise<readonly AssignedPartition[]>
  autoOffsetReset: 'earliest' | 'latest'
}): ConnectorOffsets {
  const { catalog, configOf, placeEnds, autoOffsetReset } = components

  async function read(name: string) {
    return newestOf(await catalog.coverage(name)).map(({ topic, partition, coverage }) => ({
      topic,
      partition,
      offset: endOf(coverage),
    }))
  }

  return {
    read,
    async alter(connector, wanted, { allowDuplicates, requestedBy }) {
      const config = configOf(connector)
      const requests: readonly OffsetRequest[] =
        wanted === 'all'
          ? (await read(connector.name)).map(({ topic, partition }) => ({ topic, partition, offset: undefined }))
          : wanted
      const done = wanted === 'all' ? 'reset' : 'altered'
      if (requests.length === 0) return `The offsets for this connector have been ${done} successfully`
      for (const { topic } of requests) checkReads(config, topic)
      const ends = await placeEnds(config, requests)
      const targets = requests.map((request) =>
        targetOf(request, ends, config.consumer.autoOffsetReset ?? autoOffsetReset),
      )
      const moved = await catalog.moveOffsets(connector.name, targets, { requestedBy, why: WHY, allowDuplicates })
      const told = moved.flatMap((each) => tell(each, targets))
      const base = `The offsets for this connector have been ${done} successfully`
      return told.length === 0 ? base : `${base}, except as follows:\n${told.join('\n')}`
    },
  }
}

function checkReads({ name, topics }: ConnectorConfig, topic: string): void {
  const reads = topics.kind === 'list' ? topics.names.includes(topic) : topicPattern(topics.pattern).test(topic)
  if (!reads) throw badRequest(`connector ${name} does not read topic ${topic.slice(0, 250)}`)
}

function targetOf(
  { topic, partition, offset }: OffsetRequest,
  ends: readonly AssignedPartition[],
  reset: 'earliest' | 'latest',
) {
  const found = ends.find((each) => each.topic === topic && each.partition === partition)
  if (!found) throw badRequest(`topic-partition ${topic}/${partition} does not exist, or has no leader now`)
  const { topicId, logStart, logEnd } = found
  const at = offset ?? BigInt(reset === 'earliest' ? logStart : logEnd)
  if (at > BigInt(logEnd)) throw badRequest(`offset ${at} is past the end ${logEnd} of ${topic}/${partition}`)
  if (offset !== undefined && at < BigInt(logStart)) {
    throw badRequest(`offset ${at} is before the start ${logStart} of ${topic}/${partition}`)
  }
  return { topic, topicId, partition, offset: at, logStart: BigInt(logStart) }
}

/** What is not what was asked for in so many words. */
function tell(
  { topic, partition, kind, range }: MovedOffsets,
  targets: readonly { topic: string; partition: number; offset: bigint }[],
): readonly string[] {
  const place = `${topic}/${partition}`
  const target = targets.find((each) => each.topic === topic && each.partition === partition)
  if (kind === 'none') {
    if (target === undefined || target.offset >= range.end) return []
    return [
      `${place}: offsets before ${range.end} became rows already and are not read again; allowDuplicates=true reads them a second time`,
    ]
  }
  if (kind === 'backfill') {
    return [
      `${place}: of what lies before, only [${range.start}, ${range.end}) was never consumed and is read; allowDuplicates=true reads the rest a second time`,
    ]
  }
  return []
}

/** Of each topic-partition the stretch that is read on; of a recreated topic that of the newest coverage. */
export function newestOf(
  all: readonly Coverage[],
): readonly { readonly topic: string; readonly partition: number; readonly coverage: Coverage }[] {
  const newest = new Map<string, { topic: string; partition: number; coverage: Coverage }>()
  for (const { source, partition } of all) {
    const topic = topicOf(source)
    const topicId = /^kafka:[^:]+:([0-9a-f-]+)/.exec(source)?.[1]
    if (topic === undefined || topicId === undefined) continue
    const coverage = stretchesOf({ topic, topicId, partition }, all).at(-1)
    const known = newest.get(`${topic}/${partition}`)
    if (!coverage || (known && (known.coverage.caughtUpAt ?? 0n) >= (coverage.caughtUpAt ?? 0n))) continue
    newest.set(`${topic}/${partition}`, { topic, partition, coverage })
  }
  return [...newest.values()].sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  )
}
