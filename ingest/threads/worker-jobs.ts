/**
 * What a worker does with a message: decodes and seals, one job after the other, and answers. No clock, no files, no sockets:
 * whatever it needs is in the job. A job that throws is a bug; it is told, and the others go on.
 */
import { isMillraceError } from '../../schemas/errors.ts'
import type { BlockDecoder, CreateBlockDecoder, DecodeNeeds } from '../decoder/decode-plan.ts'
import { decodeUnit } from './decode-unit.ts'
import type { DecodedAway, DecodeJob, ErrorFacts, FromWorker, Place, SealJob, ToWorker } from './messages.ts'
import { type SealedSegment, sealSegment } from './seal-segment.ts'
import { SharedBatch, shareBatch, sharedBytes } from './shared-batch.ts'

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
    const decoded = decodeUnit(decoder, { ...question, unit: { ...fetched, batches: bytes } }, unpackedBytesMax)
    if (decoded.kind === 'needs') return decoded
    const needed = decoded.pieces.reduce((sum, { batch }) => sum + sharedBytes(batch), 0)
    const overflow = needed > into.length ? new SharedArrayBuffer(needed) : undefined
    const memory = overflow ?? memoryOf(into)
    let at = 0
    const pieces = decoded.pieces.map(({ tableId, schemaId, batch }) => {
      const layout = shareBatch(batch, memory, (overflow ? 0 : into.start) + at)
      const piece = { tableId, schemaId, rowCount: batch.rowCount, at, layout }
      at += sharedBytes(batch)
      return piece
    })
    return { ...decoded, pieces, bytes: at, overflow, damage: decoded.damage && errorFacts(decoded.damage) }
  }

  function seal({ schema, pieces, ...question }: SealJob): SealedSegment {
    const batches = pieces.map((piece) =>
      piece.kind === 'own'
        ? piece.batch
        : new SharedBatch(schema, { ...piece, memory: memoryOf(piece.place), start: piece.place.start }),
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
