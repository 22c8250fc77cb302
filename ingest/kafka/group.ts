/**
 * Membership in a consumer group, by the classic protocol with everything given up at a rebalance:
 *
 *   coordinator ─▶ join ─▶ (leader: split) ─▶ sync ─▶ assigned ─▶ heartbeats … a change ─▶ revoked, awaited ─▶ join
 *
 * `revoked` is awaited before this member joins again, so what it holds is committed before another member starts: the
 * broker waits up to the rebalance timeout for that. If it takes longer, or this process was frozen, the group has moved
 * on without us; the coverage in the catalog, not the group, is what keeps rows from coming twice.
 *
 * Everything is retried for ever, with back-off; the owner hears of trouble and of its end. If we stop here, the group
 * gives our topic-partitions away after the session timeout, or at once after `leave`.
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { BrokerLink } from './client.ts'
import type { Cluster } from './cluster.ts'
import { KAFKA_ERRORS, kafkaErrorText } from './error-codes.ts'
import {
  type AssignedTopic,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  GROUP_PROTOCOL,
  splitEvenly,
} from './group-protocol.ts'
import {
  type JoinReply,
  type Membership,
  requestCoordinator,
  requestHeartbeat,
  requestJoin,
  requestLeave,
  requestOffsetCommit,
  requestSync,
} from './requests.ts'

export type GroupTimes = {
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly heartbeatMs: number
  readonly retryMs: number
  readonly retryMaxMs: number
}

export type GroupHandlers = {
  /** Not awaited: it may take long, and heartbeats go on. Aborted when the assignment is given up. */
  assigned(topics: readonly AssignedTopic[], signal: AbortSignal): void
  /** Awaited before this member joins again. */
  revoked(): Promise<void>
  trouble(reason: string | undefined): void
}

export type Group = {
  /** Returns when closed, and `revoked` was awaited. */
  run(): Promise<void>
  /** What topics there are now: the leader splits anew where that differs from its last split. */
  noteTopics(partitionCounts: ReadonlyMap<string, number>): void
  commit(positions: readonly { topic: string; partition: number; offset: number }[]): Promise<void>
  close(): Promise<void>
}

type Joined = { readonly membership: Membership; readonly isLeader: boolean; readonly topics: AssignedTopic[] }

/** A join is answered when all members came, which may take the whole rebalance timeout. */
const JOIN_MARGIN_MS = 10_000
const LEAVE_TIMEOUT_MS = 2_000
const ROUTINE_PAUSE_MS = 20
const ATTEMPTS_QUIET = 4

export function createGroup(components: {
  groupId: string
  topics: readonly string[]
  times: GroupTimes
  cluster: Cluster
  world: World
  handlers: GroupHandlers
}): Group {
  const { groupId, topics, times, cluster, world, handlers } = components
  const closing = new AbortController()
  let memberId = ''
  let coordinator: BrokerLink | undefined
  let joined: Joined | undefined
  let splitIsStale = false
  /** Of the last split this member made as the leader. */
  let splitCounts: ReadonlyMap<string, number> | undefined
  let running: Promise<void> | undefined
  let wake = new AbortController()

  async function coordinatorLink(): Promise<BrokerLink> {
    if (coordinator?.isOpen()) return coordinator
    const found = await requestCoordinator(await cluster.anyLink(), groupId)
    if (found.errorCode !== KAFKA_ERRORS.none) throw groupError('coordinator', found.errorCode)
    const address = { host: found.host, port: found.port }
    coordinator = await cluster.ownLink(address, times.rebalanceTimeoutMs + JOIN_MARGIN_MS)
    return coordinator
  }

  function dropCoordinator(): void {
    coordinator?.close()
    coordinator = undefined
  }

  /** What an error code of the coordinator means for us; throws when it is to be tried again later. */
  function note(what: string, errorCode: number): void {
    if (errorCode === KAFKA_ERRORS.none) return
    if (errorCode === KAFKA_ERRORS.unknownMemberId || errorCode === KAFKA_ERRORS.fencedInstanceId) memberId = ''
    if (errorCode === KAFKA_ERRORS.notCoordinator || errorCode === KAFKA_ERRORS.coordinatorNotAvailable) {
      dropCoordinator()
    }
    throw groupError(what, errorCode)
  }

  async function join(): Promise<Joined> {
    const link = await coordinatorLink()
    splitIsStale = false
    splitCounts = undefined
    let reply = await joinOnce(link)
    if (reply.errorCode === KAFKA_ERRORS.memberIdRequired) {
      memberId = reply.memberId
      reply = await joinOnce(link)
    }
    note('join', reply.errorCode)
    memberId = reply.memberId
    const membership = { groupId, generation: reply.generation, memberId }
    const isLeader = reply.leader === memberId
    const split = isLeader ? await splitAmong(reply) : []
    const synced = await requestSync(link, membership, GROUP_PROTOCOL, split)
    note('sync', synced.errorCode)
    return { membership, isLeader, topics: decodeAssignment(synced.assignment) }
  }

  function joinOnce(link: BrokerLink): Promise<JoinReply> {
    const { sessionTimeoutMs, rebalanceTimeoutMs } = times
    return requestJoin(link, {
      groupId,
      memberId,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocol: GROUP_PROTOCOL,
      metadata: encodeSubscription(topics),
    })
  }

  async function splitAmong(reply: JoinReply): Promise<{ memberId: string; assignment: Buffer }[]> {
    const members = reply.members.map((each) => ({
      memberId: each.memberId,
      topics: decodeSubscription(each.metadata),
    }))
    const wanted = [...new Set([...topics, ...members.flatMap((each) => each.topics)])]
    const states = await cluster.refresh(wanted)
    const counts = new Map([...states].map(([topic, state]) => [topic, state.partitions.size]))
    splitCounts = counts
    return [...splitEvenly(members, counts)].map(([id, given]) => ({
      memberId: id,
      assignment: encodeAssignment(given),
    }))
  }

  /** Returns when the assignment is over; throws for what is worth a back-off. */
  async function heartbeats(of: Joined): Promise<void> {
    while (!closing.signal.aborted) {
      await pauseFor(times.heartbeatMs)
      if (closing.signal.aborted || (splitIsStale && of.isLeader)) return
      const errorCode = await requestHeartbeat(await coordinatorLink(), of.membership)
      if (errorCode === KAFKA_ERRORS.rebalanceInProgress || errorCode === KAFKA_ERRORS.illegalGeneration) return
      note('heartbeat', errorCode)
      handlers.trouble(undefined)
    }
  }

  /** Broker trouble during membership: heartbeats go on being tried until the session is surely over. */
  async function hold(of: Joined): Promise<void> {
    let lastAnswerMs = world.clock.monotonicMs()
    let delayMs = times.retryMs
    while (!closing.signal.aborted) {
      const begunMs = world.clock.monotonicMs()
      try {
        await heartbeats(of)
        return
      } catch (error) {
        if (closing.signal.aborted || memberId === '') return
        // Heartbeats that were answered in between start the count anew.
        const now = world.clock.monotonicMs()
        if (now - begunMs > times.heartbeatMs * 2) {
          lastAnswerMs = begunMs
          delayMs = times.retryMs
        }
        handlers.trouble(messageOf(error))
        if (now - lastAnswerMs > times.sessionTimeoutMs) return
        await pauseFor(delayMs)
        delayMs = Math.min(delayMs * 2, times.heartbeatMs)
      }
    }
  }

  async function pauseFor(ms: number): Promise<void> {
    wake = new AbortController()
    const stop = AbortSignal.any([closing.signal, wake.signal])
    await world.clock.sleep(ms, stop).catch(() => {})
  }

  async function membership(): Promise<void> {
    let delayMs = times.retryMs
    let attempts = 0
    while (!closing.signal.aborted) {
      try {
        joined = await join()
      } catch (error) {
        if (closing.signal.aborted) break
        if (!isRoutine(error)) {
          if (!(error instanceof MillraceError && error.facts.errorCode !== undefined)) dropCoordinator()
          attempts += 1
          // A broker that just started loads its groups first: no trouble unless it lasts.
          if (!isLoading(error) || attempts > ATTEMPTS_QUIET) {
            handlers.trouble(messageOf(error))
            world.log.warn('cannot join the consumer group yet', { groupId, reason: messageOf(error) })
          }
          await world.clock.sleep(delayMs * (0.75 + world.random.float() / 2), closing.signal).catch(() => {})
          delayMs = Math.min(delayMs * 2, times.retryMaxMs)
        } else await world.clock.sleep(ROUTINE_PAUSE_MS, closing.signal).catch(() => {})
        continue
      }
      delayMs = times.retryMs
      attempts = 0
      handlers.trouble(undefined)
      world.log.info('joined the consumer group', {
        groupId,
        generation: joined.membership.generation,
        assigned: joined.topics,
      })
      const assignment = new AbortController()
      handlers.assigned(joined.topics, assignment.signal)
      await hold(joined)
      assignment.abort()
      await handlers.revoked()
      joined = undefined
    }
  }

  return {
    run() {
      running ??= membership()
      return running
    },
    noteTopics(partitionCounts) {
      if (splitCounts === undefined || !joined?.isLeader) return
      const known = splitCounts
      if (topics.every((topic) => known.get(topic) === partitionCounts.get(topic))) return
      splitIsStale = true
      wake.abort()
    },
    async commit(positions) {
      const membership = joined?.membership
      if (membership === undefined || positions.length === 0) return
      const errorCode = await requestOffsetCommit(await coordinatorLink(), membership, positions)
      // Advisory: a rebalance in between is no matter.
      if (errorCode !== KAFKA_ERRORS.none) world.log.debug('group offsets not written', { groupId, errorCode })
    },
    async close() {
      closing.abort()
      // A join may wait for other members: nobody waits for it any more.
      if (joined === undefined) dropCoordinator()
      await running
      if (memberId === '') return
      await Promise.race([leave(), world.clock.sleep(LEAVE_TIMEOUT_MS)])
      dropCoordinator()
    },
  }

  async function leave(): Promise<void> {
    try {
      await requestLeave(await coordinatorLink(), { groupId, generation: -1, memberId })
    } catch (error) {
      world.log.debug('the group will notice by its session timeout that we left', {
        groupId,
        reason: messageOf(error),
      })
    }
  }
}

/** Part of every rebalance: try again at once, no trouble. */
function isRoutine(error: unknown): boolean {
  return hasCode(error, [
    KAFKA_ERRORS.rebalanceInProgress,
    KAFKA_ERRORS.unknownMemberId,
    KAFKA_ERRORS.illegalGeneration,
    KAFKA_ERRORS.memberIdRequired,
  ])
}

function isLoading(error: unknown): boolean {
  return hasCode(error, [
    KAFKA_ERRORS.coordinatorLoading,
    KAFKA_ERRORS.coordinatorNotAvailable,
    KAFKA_ERRORS.notCoordinator,
  ])
}

function hasCode(error: unknown, codes: readonly unknown[]): boolean {
  return error instanceof MillraceError && codes.includes(error.facts.errorCode)
}

function groupError(what: string, errorCode: number): MillraceError {
  return new MillraceError('broker-unavailable', `consumer group ${what}: ${kafkaErrorText(errorCode)}`, {
    facts: { errorCode },
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
