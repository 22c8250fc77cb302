/**
 * The scalar types of Kafka's wire protocol, written and read over plain buffers: big-endian integers, compact strings
 * and arrays (length + 1 as an unsigned varint, 0 = null) and tagged fields. Requests here are small; records are never
 * read with this (see `record-batch.ts`).
 *
 * A reader that runs past its end throws a RangeError: the reply was cut or is of another version.
 */
export class WireWriter {
  #buffer: Buffer
  #length = 0

  constructor(capacity = 512) {
    this.#buffer = Buffer.allocUnsafe(capacity)
  }

  /** What was written; a view, valid until the writer is used again. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }
  get length(): number {
    return this.#length
  }
  int8(value: number): this {
    this.#reserve(1)
    this.#length = this.#buffer.writeInt8(value, this.#length)
    return this
  }
  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0)
  }
  int16(value: number): this {
    this.#reserve(2)
    this.#length = this.#buffer.writeInt16BE(value, this.#length)
    return this
  }
  int32(value: number): this {
    this.#reserve(4)
    this.#length = this.#buffer.writeInt32BE(value, this.#length)
    return this
  }
  int64(value: number | bigint): this {
    this.#reserve(8)
    this.#length = this.#buffer.writeBigInt64BE(BigInt(value), this.#length)
    return this
  }
  unsignedVarint(value: number): this {
    this.#reserve(5)
    let rest = value >>> 0
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#buffer[this.#length++] = rest
    return this
  }
  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }
  compactString(value: string | null): this {
    return this.compactBytes(value === null ? null : Buffer.from(value, 'utf8'))
  }
  compactBytes(value: Uint8Array | null): this {
    if (value === null) return this.unsignedVarint(0)
    return this.unsignedVarint(value.length + 1).raw(value)
  }
  /** Of the old encoding: int16 length, -1 = null. */
  string(value: string | null): this {
    if (value === null) return this.int16(-1)
    const bytes = Buffer.from(value, 'utf8')
    return this.int16(bytes.length).raw(bytes)
  }
  /** Of the old encoding: int32 length, -1 = null. */
  byteArray(value: Uint8Array | null): this {
    if (value === null) return this.int32(-1)
    return this.int32(value.length).raw(value)
  }
  uuid(value: string): this {
    return this.raw(Buffer.from(value.replaceAll('-', ''), 'hex'))
  }
  compactArray<T>(entries: readonly T[], write: (entry: T) => void): this {
    this.unsignedVarint(entries.length + 1)
    for (const entry of entries) write(entry)
    return this
  }
  array<T>(entries: readonly T[], write: (entry: T) => void): this {
    this.int32(entries.length)
    for (const entry of entries) write(entry)
    return this
  }
  noTags(): this {
    return this.unsignedVarint(0)
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}

export class WireReader {
  readonly buffer: Buffer
  position: number
  readonly end: number

  constructor(buffer: Buffer, position = 0, end = buffer.length) {
    this.buffer = buffer
    this.position = position
    this.end = end
  }

  get remaining(): number {
    return this.end - this.position
  }
  int8(): number {
    return this.buffer.readInt8(this.#take(1))
  }
  boolean(): boolean {
    return this.int8() !== 0
  }
  int16(): number {
    return this.buffer.readInt16BE(this.#take(2))
  }
  int32(): number {
    return this.buffer.readInt32BE(this.#take(4))
  }
  int64(): bigint {
    return this.buffer.readBigInt64BE(this.#take(8))
  }
  /** An int64 that is an offset or a time: below 2^53. */
  int53(): number {
    const position = this.#take(8)
    return this.buffer.readInt32BE(position) * 0x1_0000_0000 + this.buffer.readUInt32BE(position + 4)
  }
  unsignedVarint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.buffer[this.#take(1)]
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new RangeError('varint of more than five bytes')
  }
  /** Start of the next `length` bytes, which are passed. */
  skip(length: number): number {
    return this.#take(length)
  }
  compactString(): string {
    return this.compactNullableString() ?? ''
  }
  compactNullableString(): string | null {
    const length = this.unsignedVarint() - 1
    if (length < 0) return null
    const start = this.#take(length)
    return this.buffer.toString('utf8', start, start + length)
  }
  compactBytes(): Buffer {
    const length = Math.max(this.unsignedVarint() - 1, 0)
    const start = this.#take(length)
    return this.buffer.subarray(start, start + length)
  }
  string(): string | null {
    const length = this.int16()
    if (length < 0) return null
    const start = this.#take(length)
    return this.buffer.toString('utf8', start, start + length)
  }
  uuid(): string {
    const start = this.#take(16)
    const hex = this.buffer.toString('hex', start, start + 16)
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
  compactArray<T>(read: () => T): T[] {
    return this.#entries(this.unsignedVarint() - 1, read)
  }
  array<T>(read: () => T): T[] {
    return this.#entries(this.int32(), read)
  }
  skipTags(): void {
    for (let left = this.unsignedVarint(); left > 0; left--) {
      this.unsignedVarint()
      this.#take(this.unsignedVarint())
    }
  }

  #entries<T>(count: number, read: () => T): T[] {
    // Every entry has at least one byte: a count beyond that is nonsense, not a reason to allocate.
    if (count > this.remaining) throw new RangeError(`array of ${count} entries in ${this.remaining} bytes`)
    const entries: T[] = []
    for (let index = 0; index < count; index++) entries.push(read())
    return entries
  }
  #take(length: number): number {
    const start = this.position
    if (length < 0 || start + length > this.end)
      throw new RangeError(`reply ends ${start + length - this.end} bytes early`)
    this.position = start + length
    return start
  }
}
