/**
 * The two bit-packed layouts of Parquet, written from typed arrays:
 *
 *   hybrid (levels, dictionary indices)   runs of `varint(count << 1) value` or `varint(groups << 1 | 1) groups × 8 values`
 *   delta (DELTA_BINARY_PACKED)           `varint 128, varint 4, varint count, zigzag first`, then blocks of 128 deltas:
 *                                         `zigzag smallest delta, 4 × width byte, 4 × 32 packed (delta - smallest)`
 *
 * Deltas are doubles, exact because callers only pass values within ±2^51.
 */

/** A run shorter than this stays bit-packed: its header would cost more than it saves. */
const RUN_MIN = 32
const BLOCK = 128
const MINI_BLOCK = 32
const TWO_32 = 4294967296

export class ByteSink {
  bytes: Uint8Array
  length = 0

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity)
  }

  get written(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  /** Room for `more` bytes. What was written stays where it is for those who hold it. */
  reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(this.length + more, this.bytes.length * 2))
    grown.set(this.written)
    this.bytes = grown
  }

  /** Empty again; lets go of its memory when that is more than `keptMax` bytes. */
  clear(keptMax: number): void {
    this.length = 0
    if (this.bytes.length > keptMax) this.bytes = new Uint8Array(keptMax >> 8)
  }

  varint(value: number): void {
    let rest = value
    while (rest >= 128) {
      this.bytes[this.length++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.bytes[this.length++] = rest
  }

  zigzag(value: number): void {
    this.varint(value >= 0 ? value * 2 : -value * 2 - 1)
  }

  append(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }
}

export function bitWidthOf(largest: number): number {
  return 32 - Math.clz32(largest)
}

/** Bytes that `writeHybrid` may need for `count` values of `width` bits. */
export function hybridBytesMax(count: number, width: number): number {
  return Math.ceil((count * width) / 8) + (count >> 1) + 64
}

export function writeHybrid(sink: ByteSink, values: Int32Array, from: number, to: number, width: number): void {
  let i = from
  while (i < to) {
    const run = runLength(values, i, to)
    if (run >= RUN_MIN) {
      sink.varint(run * 2)
      for (let shift = 0; shift < width; shift += 8) sink.bytes[sink.length++] = values[i] >>> shift
      i += run
      continue
    }
    let literalEnd = i + run
    while (literalEnd < to) {
      const next = runLength(values, literalEnd, to)
      if (next >= RUN_MIN) break
      literalEnd += next
    }
    // Only the last run of a page may be padded: earlier ones take values of the coming run to fill their group of 8.
    const groups = (literalEnd - i + 7) >> 3
    const end = Math.min(to, i + groups * 8)
    sink.varint(groups * 2 + 1)
    packBits(sink, values, i, end, width, groups * width)
    i = end
  }
}

function runLength(values: Int32Array, from: number, to: number): number {
  const value = values[from]
  let i = from + 1
  while (i < to && values[i] === value) i++
  return i - from
}

function packBits(sink: ByteSink, values: Int32Array, from: number, to: number, width: number, byteCount: number) {
  const bytes = sink.bytes
  let out = sink.length
  const outEnd = out + byteCount
  let held = 0
  let bits = 0
  for (let i = from; i < to; i++) {
    held |= values[i] << bits
    bits += width
    while (bits >= 8) {
      bytes[out++] = held
      held >>>= 8
      bits -= 8
    }
  }
  if (bits > 0) bytes[out++] = held
  while (out < outEnd) bytes[out++] = 0
  sink.length = outEnd
}

/** Definition levels of `rows` rows: 1 where the validity bit is set. Levels are bits, as Arrow's validity is. */
export function writeLevels(
  sink: ByteSink,
  validity: Uint8Array | undefined,
  from: number,
  to: number,
  valid: number,
): void {
  const rows = to - from
  if (validity === undefined || valid === rows || valid === 0) {
    sink.varint(rows * 2)
    sink.bytes[sink.length++] = valid === 0 ? 0 : 1
    return
  }
  const groups = (rows + 7) >> 3
  sink.varint(groups * 2 + 1)
  copyBits(validity, from, to, sink.bytes, sink.length)
  sink.length += groups
}

/** Bits `[from, to)` of `source` to byte position `out` of `target`, padded with zero bits. */
export function copyBits(source: Uint8Array, from: number, to: number, target: Uint8Array, out: number): void {
  const rows = to - from
  const groups = (rows + 7) >> 3
  const shift = from & 7
  const first = from >> 3
  if (shift === 0) target.set(source.subarray(first, first + groups), out)
  else {
    for (let i = 0; i < groups; i++) {
      target[out + i] = (source[first + i] >> shift) | ((source[first + i + 1] ?? 0) << (8 - shift))
    }
  }
  if (rows & 7) target[out + groups - 1] &= (1 << (rows & 7)) - 1
}

export function countBits(bits: Uint8Array, from: number, to: number): number {
  let count = 0
  let i = from
  for (; i < to && (i & 7) !== 0; i++) count += (bits[i >> 3] >> (i & 7)) & 1
  for (; i + 8 <= to; i += 8) count += BITS_SET[bits[i >> 3]]
  for (; i < to; i++) count += (bits[i >> 3] >> (i & 7)) & 1
  return count
}

const BITS_SET = new Uint8Array(256)
for (let i = 1; i < 256; i++) BITS_SET[i] = BITS_SET[i >> 1] + (i & 1)

export function deltaBytesMax(count: number): number {
  // Up to 53 bits a value, blocks padded to their full 128, 15 bytes of head a block.
  return 32 + Math.ceil(count / BLOCK + 1) * (15 + BLOCK * 7)
}

const deltas = new Float64Array(BLOCK)

/** Values must lie within ±2^51. */
export function writeDelta(sink: ByteSink, values: Float64Array | Int32Array, from: number, to: number): void {
  const count = to - from
  sink.varint(BLOCK)
  sink.varint(BLOCK / MINI_BLOCK)
  sink.varint(count)
  sink.zigzag(count === 0 ? 0 : values[from])
  let previous = values[from]
  for (let start = from + 1; start < to; start += BLOCK) {
    const size = Math.min(BLOCK, to - start)
    let smallest = Number.POSITIVE_INFINITY
    for (let i = 0; i < size; i++) {
      const value = values[start + i]
      const delta = value - previous
      previous = value
      deltas[i] = delta
      if (delta < smallest) smallest = delta
    }
    sink.zigzag(smallest)
    writeMiniBlocks(sink, size, smallest)
  }
}

function writeMiniBlocks(sink: ByteSink, size: number, smallest: number): void {
  const widthsAt = sink.length
  sink.length += BLOCK / MINI_BLOCK
  for (let mini = 0; mini < BLOCK / MINI_BLOCK; mini++) {
    const begin = mini * MINI_BLOCK
    const end = Math.min(size, begin + MINI_BLOCK)
    let largest = 0
    for (let i = begin; i < end; i++) {
      deltas[i] -= smallest
      if (deltas[i] > largest) largest = deltas[i]
    }
    const width =
      begin >= end ? 0 : largest < TWO_32 ? bitWidthOf(largest) : 32 + bitWidthOf(Math.floor(largest / TWO_32))
    sink.bytes[widthsAt + mini] = width
    if (width > 0) packDeltas(sink, begin, end, width)
  }
}

function packDeltas(sink: ByteSink, begin: number, end: number, width: number): void {
  const bytes = sink.bytes
  let out = sink.length
  const outEnd = out + (MINI_BLOCK / 8) * width
  let held = 0
  let bits = 0
  if (width <= 24) {
    for (let i = begin; i < end; i++) {
      held |= deltas[i] << bits
      bits += width
      while (bits >= 8) {
        bytes[out++] = held
        held >>>= 8
        bits -= 8
      }
    }
  } else {
    // Wider than one 32-bit register allows beside seven held bits: sixteen bits at a time.
    for (let i = begin; i < end; i++) {
      let rest = deltas[i]
      for (let left = width; left > 0; left -= 16) {
        held |= (rest % 65536) << bits
        rest = Math.floor(rest / 65536)
        bits += Math.min(16, left)
        while (bits >= 8) {
          bytes[out++] = held
          held >>>= 8
          bits -= 8
        }
      }
    }
  }
  if (bits > 0) bytes[out++] = held
  while (out < outEnd) bytes[out++] = 0
  sink.length = outEnd
}
