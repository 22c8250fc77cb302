/**
 * Blocks of records → pieces, on this thread: one decoder for each plan in use, made when it is first needed.
 */
import type { World } from '../runtime/world.ts'
import type { BlockDecoder, CreateBlockDecoder, DecodedBlock, DecodeNeeds, DecodePlan } from './decoder/decode-plan.ts'
import type { RecordBlock } from './kafka/kafka-source.ts'

/** The records from offset `from` on. `isFinal`: see `BlockDecoder.decode`. Rejects only for bugs. */
export type DecodeBlock = (
  plan: DecodePlan,
  block: RecordBlock,
  from: number,
  source: string,
  isFinal: boolean,
) => Promise<DecodedBlock | DecodeNeeds>

export function createDecodeBlock(components: { world: World; createBlockDecoder: CreateBlockDecoder }): DecodeBlock {
  const { world, createBlockDecoder } = components
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

  return async (plan, block, from, source, isFinal) => {
    const arrived = Number(world.clock.nowMicros())
    return decoderOf(plan).decode(block, firstFrom(block, from), source, arrived, isFinal)
  }
}

/** Index of the first record at or behind the offset. */
export function firstFrom(block: RecordBlock, from: number): number {
  let first = 0
  while (first < block.count && block.offsets[first] < from) first += 1
  return first
}
