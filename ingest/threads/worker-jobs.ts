/**
 * What a worker does with a message: decodes and seals, one job after the other, and answers. No clock, no files, no sockets:
 * whatever it needs is in the job. A job that throws is a bug; it is told, and the others go on.
 */
import { isMillraceError } from '../../schemas/errors.ts'
import type { BlockDecoder, CreateBlockDecoder, DecodedPiece, DecodeNeeds } from '../decoder/decode-plan.ts'
import { sealInto } from '../decoder/seal-memory.ts'
import { decodeUnit } from './decode-unit.ts'
import type { DecodedAway, DecodeJob, ErrorFacts, FromWorker, Place, SealJob, ToWorker } from './messages.ts'
import { type SealedSegment, sealSegment } from './seal-segment.ts'
import { SharedBatch, SharedStretch, shareBatch, sharedBytes } from './shared-batch.ts'

type Answer = FromWorker['answers'][number]

export function createWorkerJobs(components: {
  arena: SharedArrayBuffer
  unpackedBytesMax: number
  createBlockDecoder: CreateBlockDecoder
}): (message: ToWorker, answer: (answer: Answer) => void) => void {
  const { arena, unpackedBytesMax, createBlockDecoder } = components
  const decoders = new Map<number, BlockDecoder>()

  const memoryOf = ({ memory }: Pick<Place, 'memory'>) => memory ?? arena

  function decode({ plan, fetched, batches, into, ...question }: DecodeJob): DecodedAway | DecodeNeeds {
    const decoder = decoders.get(plan)
    if (!decoder) throw new Error(`plan ${plan} was not told`)
    const bytes = new Uint8Array(memoryOf(batches), batches.start, batches.length)
    const place = new SharedStretch(memoryOf(into), into.start, into.length)
    const decoded = sealInto(
      (length) => place.take(length),
      () => decodeUnit(decoder, { ...question, unit: { ...fetched, batches: bytes } }, unpackedBytesMax),
    )
    if (decoded.kind === 'needs') return decoded
    const damage = decoded.damage && errorFacts(decoded.damage)
    const pieces = placed(decoded.pieces, place)
    if (pieces) return { ...decoded, pieces, bytes: place.at - into.start, overflow: undefined, damage }
    const needed = decoded.pieces.reduce((sum, { batch }) => sum + sharedBytes(batch), 0)
    const overflow = new SharedArrayBuffer(needed)
    const all = placed(decoded.pieces, new SharedStretch(overflow, 0, needed)) ?? []
    return { ...decoded, pieces: all, bytes: needed, overflow, damage }
  }

  function seal({ schema, pieces, ...question }: SealJob): SealedSegment {
    const batches = pieces.map((piece) =>
      piece.kind === 'own' ? piece.batch : new SharedBatch(schema, { ...piece, memory: memoryOf(piece) }),
    )
    return sealSegment({ ...question, pieces: batches })
  }

  function answerTo(job: DecodeJob | SealJob): Answer {
    const { id } = job
    try {
      return job.kind === 'decode'
        ? { kind: 'decoded', id, result: decode(job) }
        : { kind: 'sealed', id, result: seal(job) }
    } catch (error) {
      return { kind: 'failed', id, error: errorFacts(error) }
    }
  }

  return ({ plans, forget, jobs }, answer) => {
    for (const plan of plans) decoders.set(plan.number, createBlockDecoder(plan))
    for (const number of forget) decoders.delete(number)
    for (const job of jobs) answer(answerTo(job))
  }
}

function placed(pieces: readonly DecodedPiece[], stretch: SharedStretch): DecodedAway['pieces'] | undefined {
  const all: DecodedAway['pieces'][number][] = []
  for (const { tableId, schemaId, batch } of pieces) {
    const layout = shareBatch(batch, stretch)
    if (!layout) return undefined
    all.push({ tableId, schemaId, rowCount: batch.rowCount, layout })
  }
  return all
}

export function errorFacts(error: unknown): ErrorFacts {
  if (isMillraceError(error)) {
    return { code: error.code, message: error.message, facts: plainFacts(error.facts), stack: error.stack }
  }
  const isError = error instanceof Error
  return {
    code: undefined,
    message: isError ? error.message : String(error),
    facts: {},
    stack: isError ? error.stack : undefined,
  }
}

/** What a message can carry of them. */
function plainFacts(facts: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const isPlain = (value: unknown) => ['string', 'number', 'boolean', 'bigint'].includes(typeof value)
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [name, isPlain(value) ? value : String(value)]),
  )
}
