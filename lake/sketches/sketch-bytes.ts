/**
 * The frame around every sketch, of both kinds. Whoever reads a sketch checks it before believing a number of it (ADR 32).
 *
 *   offset  bytes
 *   0       1      version: 1
 *   1       1      kind: 'H' distinct values, 'Q' quantiles
 *   2       1      'H': precision, 'Q': bits of a bin within a power of two
 *   3       1      'H': form, 0 codes, 1 registers; 'Q': 0
 *   4       4      CRC-32 (of zlib, PNG, gzip) of all other bytes, little endian
 *   8       …      the body, see hll.ts and quantile.ts
 *
 * What can be wrong with bytes from a column: not a sketch at all, one of the other kind, one of a later version, damaged.
 * Each is an error that says which.
 */
import { crc32 } from 'node:zlib'
import { MillraceError } from '../../schemas/errors.ts'

export const SKETCH_VERSION = 1
export const HEADER_BYTES = 8

export type SketchKind = 'H' | 'Q'

const KIND_NAMES = { H: 'a sketch of distinct values', Q: 'a sketch of quantiles' } as const
const KIND_BYTES = { H: 0x48, Q: 0x51 } as const

/** Room for a body of this size, with its header but for the checksum, which `seal` adds. */
export function newSketch(kind: SketchKind, parameter: number, form: number, bodyBytes: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + bodyBytes)
  bytes[0] = SKETCH_VERSION
  bytes[1] = KIND_BYTES[kind]
  bytes[2] = parameter
  bytes[3] = form
  return bytes
}

export function seal(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(4, checksumOf(bytes), true)
  return bytes
}

/** Throws unless these are the bytes of an undamaged sketch of this kind that this version can read. */
export function checkSketch(bytes: Uint8Array, kind: SketchKind): void {
  if (bytes.length < HEADER_BYTES) {
    throw sketchError(`expected ${KIND_NAMES[kind]}, found ${bytes.length} bytes, too few for one`)
  }
  const isKnown = bytes[1] === KIND_BYTES.H || bytes[1] === KIND_BYTES.Q
  if (!isKnown) throw sketchError(`expected ${KIND_NAMES[kind]}, found bytes that are not a sketch`)
  if (bytes[0] !== SKETCH_VERSION) {
    throw sketchError(
      `expected a sketch of version ${SKETCH_VERSION}, found version ${bytes[0]}: written by a later release, or damaged`,
    )
  }
  const stored = bytes[4] | (bytes[5] << 8) | (bytes[6] << 16) | (bytes[7] << 24)
  if (stored >>> 0 !== checksumOf(bytes)) throw damaged('its checksum does not fit its bytes')
  if (bytes[1] !== KIND_BYTES[kind]) {
    const other = kind === 'H' ? 'Q' : 'H'
    throw sketchError(`expected ${KIND_NAMES[kind]}, found ${KIND_NAMES[other]}`)
  }
}

/** There are few different headers, and 10,000 sketches that are merged have mostly one: half of the calls are saved. */
let lastHeader = -1
let lastHeaderCrc = 0

function checksumOf(bytes: Uint8Array): number {
  const header = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (bytes[3] << 24)
  if (header !== lastHeader) {
    lastHeaderCrc = crc32(bytes.subarray(0, 4))
    lastHeader = header
  }
  return crc32(bytes.subarray(HEADER_BYTES), lastHeaderCrc)
}

export function damaged(why: string): MillraceError {
  return sketchError(`the sketch is damaged: ${why}`)
}

export function sketchError(message: string): MillraceError {
  return new MillraceError('query-invalid', message)
}
