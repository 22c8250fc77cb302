/**
 * The Thrift compact protocol, as far as Parquet's footers and page headers use it.
 *
 * A struct is a row of fields, each with a header byte `delta(4) type(4)` (delta 0: the field id follows as a zigzag
 * varint), closed by a zero byte. Integers are zigzag varints, binaries a varint length and the bytes, lists a byte
 * `size(4) type(4)` (size 15: the size follows as a varint). Booleans as fields live in the type nibble.
 *
 * The reader believes nothing: every length is checked against the bytes left, nesting has a maximum, and whatever is
 * wrong throws `file-damaged`. Integers are JavaScript numbers; one beyond 2^53 is damage too (no size or position of a
 * real file is that large), except where a field is skipped.
 */
import { MillraceError } from '../../schemas/errors.ts'

export const THRIFT = {
  stop: 0,
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  map: 11,
  struct: 12,
  uuid: 13,
} as const

const NESTING_MAX = 32
const utf8 = new TextDecoder('utf-8')
const utf8Encoder = new TextEncoder()

export function thriftDamage(what: string): MillraceError {
  return new MillraceError('file-damaged', `parquet metadata is damaged: ${what}`)
}

export class ThriftReader {
  readonly bytes: Uint8Array
  position: number
  #nesting = 0

  constructor(bytes: Uint8Array, position = 0) {
    this.bytes = bytes
    this.position = position
  }

  byte(): number {
    if (this.position >= this.bytes.length) throw thriftDamage('it ends in the middle of a field')
    return this.bytes[this.position++]
  }

  /** Unsigned varint of at most 64 bits; more than 2^53 is damage. */
  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw thriftDamage('a number is beyond 2^53')
        return value
      }
      scale *= 128
    }
    throw thriftDamage('a number is longer than ten bytes')
  }

  zigzag(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  integer(type: number): number {
    if (type === THRIFT.byte) return (this.byte() << 24) >> 24
    if (type === THRIFT.i16 || type === THRIFT.i32 || type === THRIFT.i64) return this.zigzag()
    throw thriftDamage(`a whole number was expected, found type ${type}`)
  }

  boolean(type: number): boolean {
    if (type === THRIFT.true) return true
    if (type === THRIFT.false) return false
    throw thriftDamage(`a boolean was expected, found type ${type}`)
  }

  binary(type: number): Uint8Array {
    if (type !== THRIFT.binary) throw thriftDamage(`bytes were expected, found type ${type}`)
    const length = this.varint()
    if (length > this.bytes.length - this.position) throw thriftDamage('a text is longer than the metadata')
    const value = this.bytes.subarray(this.position, this.position + length)
    this.position += length
    return value
  }

  text(type: number): string {
    return utf8.decode(this.binary(type))
  }

  /** Calls `field` once a field; it must read the value (or `skip` it). */
  struct(type: number, field: (id: number, type: number) => void): void {
    if (type !== THRIFT.struct) throw thriftDamage(`a struct was expected, found type ${type}`)
    if (++this.#nesting > NESTING_MAX) throw thriftDamage('it is nested too deeply')
    let id = 0
    for (;;) {
      const header = this.byte()
      if (header === 0) break
      const delta = header >> 4
      id = delta === 0 ? this.zigzag() : id + delta
      field(id, header & 15)
    }
    this.#nesting--
  }

  /** Calls `element` once an element with the elements' type. */
  list(type: number, element: (type: number) => void): void {
    if (type !== THRIFT.list && type !== THRIFT.set) throw thriftDamage(`a list was expected, found type ${type}`)
    if (++this.#nesting > NESTING_MAX) throw thriftDamage('it is nested too deeply')
    const header = this.byte()
    const elementType = header & 15
    const size = header >> 4 === 15 ? this.varint() : header >> 4
    // Each element takes one byte at least, so a damaged size can't keep us busy.
    if (size > this.bytes.length - this.position) throw thriftDamage('a list is longer than the metadata')
    for (let i = 0; i < size; i++) element(elementType)
    this.#nesting--
  }

  skip(type: number): void {
    switch (type) {
      case THRIFT.true:
      case THRIFT.false:
        return
      case THRIFT.byte:
        this.byte()
        return
      case THRIFT.i16:
      case THRIFT.i32:
      case THRIFT.i64:
        this.#skipVarint()
        return
      case THRIFT.double:
        this.#skipBytes(8)
        return
      case THRIFT.uuid:
        this.#skipBytes(16)
        return
      case THRIFT.binary:
        this.binary(type)
        return
      case THRIFT.list:
      case THRIFT.set:
        this.list(type, (elementType) => this.#skipElement(elementType))
        return
      case THRIFT.map:
        this.#skipMap()
        return
      case THRIFT.struct:
        this.struct(type, (_id, fieldType) => this.skip(fieldType))
        return
      default:
        throw thriftDamage(`there is no field type ${type}`)
    }
  }

  /** The value as it stands, unread. Of a boolean field nothing: its value is its type. */
  raw(type: number): Uint8Array {
    const start = this.position
    this.skip(type)
    return this.bytes.subarray(start, this.position)
  }

  /** In lists and maps a boolean takes a byte of its own. */
  #skipElement(type: number): void {
    if (type === THRIFT.true || type === THRIFT.false) this.byte()
    else this.skip(type)
  }

  #skipMap(): void {
    if (++this.#nesting > NESTING_MAX) throw thriftDamage('it is nested too deeply')
    const size = this.varint()
    if (size > this.bytes.length - this.position) throw thriftDamage('a map is longer than the metadata')
    if (size > 0) {
      const types = this.byte()
      for (let i = 0; i < size; i++) {
        this.#skipElement(types >> 4)
        this.#skipElement(types & 15)
      }
    }
    this.#nesting--
  }

  #skipVarint(): void {
    for (let i = 0; i < 10; i++) if (this.byte() < 0x80) return
    throw thriftDamage('a number is longer than ten bytes')
  }

  #skipBytes(count: number): void {
    if (count > this.bytes.length - this.position) throw thriftDamage('it ends in the middle of a field')
    this.position += count
  }
}

/** Grows as it writes; fields of a struct must come in ascending order of their ids. */
export class ThriftWriter {
  #bytes: Uint8Array
  #length = 0
  #lastField = 0
  readonly #outer: number[] = []

  constructor(bytesExpected = 8192) {
    this.#bytes = new Uint8Array(bytesExpected)
  }

  /** The bytes written so far; valid until the next write. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #room(count: number): void {
    if (this.#length + count <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count))
    grown.set(this.bytes)
    this.#bytes = grown
  }

  #byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#length++] = value
  }

  #varint(value: number): void {
    this.#room(10)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#length++] = rest
  }

  #zigzag(value: number): void {
    this.#varint(value >= 0 ? value * 2 : -value * 2 - 1)
  }

  #header(id: number, type: number): void {
    const delta = id - this.#lastField
    if (delta > 0 && delta < 16) this.#byte((delta << 4) | type)
    else {
      this.#byte(type)
      this.#zigzag(id)
    }
    this.#lastField = id
  }

  beginStruct(): void {
    this.#outer.push(this.#lastField)
    this.#lastField = 0
  }

  endStruct(): void {
    this.#byte(0)
    this.#lastField = this.#outer.pop() ?? 0
  }

  structField(id: number, write: () => void): void {
    this.#header(id, THRIFT.struct)
    this.beginStruct()
    write()
    this.endStruct()
  }

  byteField(id: number, value: number): void {
    this.#header(id, THRIFT.byte)
    this.#byte(value)
  }

  i16Field(id: number, value: number): void {
    this.#header(id, THRIFT.i16)
    this.#zigzag(value)
  }

  i32Field(id: number, value: number): void {
    this.#header(id, THRIFT.i32)
    this.#zigzag(value)
  }

  i64Field(id: number, value: number): void {
    this.#header(id, THRIFT.i64)
    this.#zigzag(value)
  }

  booleanField(id: number, value: boolean): void {
    this.#header(id, value ? THRIFT.true : THRIFT.false)
  }

  binaryField(id: number, value: Uint8Array): void {
    this.#header(id, THRIFT.binary)
    this.#binary(value)
  }

  /** A value that `ThriftReader.raw` gave, under its type. */
  rawField(id: number, type: number, value: Uint8Array): void {
    this.#header(id, type)
    this.#append(value)
  }

  #append(value: Uint8Array): void {
    this.#room(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  textField(id: number, value: string): void {
    this.binaryField(id, utf8Encoder.encode(value))
  }

  #binary(value: Uint8Array): void {
    this.#varint(value.length)
    this.#append(value)
  }

  #listHeader(id: number, type: number, size: number): void {
    this.#header(id, THRIFT.list)
    if (size < 15) this.#byte((size << 4) | type)
    else {
      this.#byte(0xf0 | type)
      this.#varint(size)
    }
  }

  structListField<T>(id: number, items: readonly T[], write: (item: T, index: number) => void): void {
    this.#listHeader(id, THRIFT.struct, items.length)
    items.forEach((item, index) => {
      this.beginStruct()
      write(item, index)
      this.endStruct()
    })
  }

  i32ListField(id: number, items: readonly number[]): void {
    this.#listHeader(id, THRIFT.i32, items.length)
    for (const item of items) this.#zigzag(item)
  }

  textListField(id: number, items: readonly string[]): void {
    this.#listHeader(id, THRIFT.binary, items.length)
    for (const item of items) this.#binary(utf8Encoder.encode(item))
  }
}
