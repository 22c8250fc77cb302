/**
 * The entries of the one map that is being read: which key came before, so that of a key that comes twice the last entry stays.
 *
 *   first pass    every entry goes into the next slot; a key met again marks the earlier entry as replaced
 *   second pass   only when there is one: the entries that were replaced are skipped
 *
 * Keys are compared as values of the map's key type, as their bytes in the builder: a few one by one, more through a table of
 * slots by hash.
 */
import type { ColumnBuilder } from './column-builder.ts'

const COMPARED_MAX = 8

/** Why a value cannot go where it should. */
export type Refusal = { readonly reason: string; readonly column: string }

export class MapEntries {
  /** Entries written. */
  count = 0
  private keys: ColumnBuilder | undefined
  private first = 0
  /** Position + 1 of an entry, by the hash of its key; 0: free. */
  private table = new Int32Array(64)
  private replaced: Set<number> | undefined
  private refusals: Map<number, Refusal> | undefined
  private isSecondPass = false

  begin(keys: ColumnBuilder, slot: number): void {
    this.keys = keys
    this.first = slot
    this.count = 0
    this.replaced = undefined
    this.refusals = undefined
    this.isSecondPass = false
  }

  get hasReplaced(): boolean {
    return this.replaced !== undefined
  }

  /** Begins the second pass. */
  keepLast(): void {
    this.count = 0
    this.isSecondPass = true
  }

  isReplaced(number: number): boolean {
    return this.isSecondPass && this.replaced?.has(number) === true
  }

  /** The next entry has its key in `slot`. */
  add(slot: number): void {
    this.count += 1
    if (this.isSecondPass) return
    const earlier = this.findAndPut(slot)
    if (earlier < 0) return
    this.replaced ??= new Set()
    // In the first pass every entry has its own slot, in order.
    this.replaced.add(earlier - this.first)
    this.refusals?.delete(earlier - this.first)
  }

  refused(number: number, refusal: Refusal): void {
    this.refusals ??= new Map()
    this.refusals.set(number, refusal)
  }

  firstRefusal(): Refusal | undefined {
    return this.refusals?.values().next().value
  }

  /** The slot of an equal key, or -1; `slot` is found from now on. */
  private findAndPut(slot: number): number {
    const keys = this.keys!
    const index = this.count - 1
    if (index < COMPARED_MAX) {
      // From the end: of equal ones the one written last counts.
      for (let other = slot - 1; other >= this.first; other -= 1) if (sameSlot(keys, other, slot)) return other
      return -1
    }
    if (index === COMPARED_MAX || index * 2 >= this.table.length) this.fillTable(index)
    return this.put(slot)
  }

  private fillTable(entries: number): void {
    let size = this.table.length
    while (size < entries * 4) size *= 2
    if (size === this.table.length) this.table.fill(0)
    else this.table = new Int32Array(size)
    for (let index = 0; index < entries; index += 1) this.put(this.first + index)
  }

  private put(slot: number): number {
    const keys = this.keys!
    const mask = this.table.length - 1
    let place = hashSlot(keys, slot) & mask
    for (;;) {
      const found = this.table[place] - 1
      if (found < 0) {
        this.table[place] = slot - this.first + 1
        return -1
      }
      if (sameSlot(keys, this.first + found, slot)) {
        this.table[place] = slot - this.first + 1
        return this.first + found
      }
      place = (place + 1) & mask
    }
  }
}

function sameSlot(keys: ColumnBuilder, a: number, b: number): boolean {
  const { data, offsets, width } = keys
  if (width === 0) return ((data[a >> 3] >> (a & 7)) & 1) === ((data[b >> 3] >> (b & 7)) & 1)
  const startA = width < 0 ? offsets[a] : a * width
  const startB = width < 0 ? offsets[b] : b * width
  const length = width < 0 ? offsets[a + 1] - startA : width
  if (width < 0 && offsets[b + 1] - startB !== length) return false
  for (let index = 0; index < length; index += 1) if (data[startA + index] !== data[startB + index]) return false
  return true
}

function hashSlot(keys: ColumnBuilder, slot: number): number {
  const { data, offsets, width } = keys
  if (width === 0) return (data[slot >> 3] >> (slot & 7)) & 1
  const start = width < 0 ? offsets[slot] : slot * width
  const end = width < 0 ? offsets[slot + 1] : start + width
  let value = 0x811c9dc5
  for (let at = start; at < end; at += 1) value = Math.imul(value ^ data[at], 0x01000193)
  return (value ^ (value >>> 15)) >>> 0
}
