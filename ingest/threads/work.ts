/**
 * Decoding and sealing, wherever they are done: `worker-pool.ts` on worker threads, `createInlineWork` on the thread that asks.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { World } from '../../runtime/world.ts'
import type { BlockDecoder, CreateBlockDecoder, DecodePlan } from '../decoder/decode-plan.ts'
import { createReplyPool, type ReplyPool } from '../kafka/reply-memory.ts'
import type { Decode } from '../kafka-pipeline.ts'
import { decodeUnit } from './decode-unit.ts'
import { type SealedSegment, type SealQuestion, sealSegment, type WritePieces } from './seal-segment.ts'

export type IngestWork = {
  decode: Decode
  seal(question: SealQuestion): Promise<SealedSegment>
  /** Memory of fetch replies from which `decode` takes its bytes best. */
  replies(bytesKeptMax: number): ReplyPool
  /** Of fetch replies, of rows being decoded, and of rows that are not given back. */
  readonly bytesHeld: number
  /** Of these the replies. */
  readonly fetchedBytes: number
  close(): Promise<void>
}

/** A batch that unpacks to more is damaged. */
export const UNPACKED_BYTES_MAX = 256 * 1024 * 1024

export type WorkParts = {
  readonly world: World
  readonly createBlockDecoder: CreateBlockDecoder
}

/** @param room resolves when so many bytes more may be held */
export function createInlineWork({
  world,
  createBlockDecoder,
  room,
  write,
  turn = nextTurn,
}: WorkParts & {
  room(bytes: number): Promise<void>
  /** Another format of segments, and no pauses: for simulations. */
  write?: WritePieces
  turn?(): Promise<unknown>
}): IngestWork {
  /** The newest plan's decoder of each pipeline. */
  const decoders = new Map<string, { readonly number: number; readonly decoder: BlockDecoder }>()

  function decoderOf(plan: DecodePlan): BlockDecoder {
    let entry = decoders.get(plan.pipeline)
    if (entry?.number !== plan.number) {
      entry = { number: plan.number, decoder: createBlockDecoder(plan) }
      decoders.set(plan.pipeline, entry)
    }
    return entry.decoder
  }

  return {
    async decode(plan, unit, from, source, isFinal, hasTurn = false) {
      if (!hasTurn) await room(0)
      // Sockets and timers have their turn between units.
      await turn()
      const arrivedMicros = Number(world.clock.nowMicros())
      return decodeUnit(decoderOf(plan), { unit, from, source, arrivedMicros, isFinal }, UNPACKED_BYTES_MAX)
    },
    seal: async (question) => sealSegment(question, write),
    replies: createReplyPool,
    bytesHeld: 0,
    fetchedBytes: 0,
    async close() {},
  }
}
