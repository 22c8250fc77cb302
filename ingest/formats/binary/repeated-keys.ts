/**
 * Keys that stand twice in one map: the last one counts, as in the maps of most languages. All entries are written first; where
 * a key repeats, which is rare, the earlier entry is taken out by moving the later ones forward.
 */
import type { ColumnBuilder } from '../../decoder/column-builder.ts'

/** Up to here keys are compared two by two. */
const FEW_KEYS = 12

/** Entries [first, last) of a map's children; gives the new last. */
export function dropRepeatedKeys(map: ColumnBuilder, first: number, last: number): number {
  const keys = map.children[0]
  if (last - first < 2 || (keys.width === -1 && last - first <= FEW_KEYS && areDistinct(keys, first, last))) return last
  const seen = new Set<string>()
  const isRepeated = new Uint8Array(last - first)
  for (let slot = last - 1; slot >= first; slot -= 1) {
    const key = keyText(keys, slot)
    if (seen.has(key)) isRepeated[slot - first] = 1
    else seen.add(key)
  }
  if (seen.size === last - first) return last
  let to = first
  for (let slot = first; slot < last; slot += 1) {
    if (isRepeated[slot - first] === 1) continue
    if (to !== slot) for (const child of map.children) moveSlot(child, slot, to)
    to += 1
  }
  return to
}

function areDistinct({ data, offsets }: ColumnBuilder, first: number, last: number): boolean {
  for (let one = first + 1; one < last; one += 1) {
    const from = offsets[one]
    const length = offsets[one + 1] - from
    for (let other = first; other < one; other += 1) {
      const begin = offsets[other]
      if (offsets[other + 1] - begin !== length) continue
      let same = 0
      while (same < length && data[from + same] === data[begin + same]) same += 1
      if (same === length) return false
    }
  }
  return true
}

/** Bytes as text of one character each. */
function keyText({ width, data, offsets, column }: ColumnBuilder, slot: number): string {
  if (width === 0) return String((data[slot >> 3] >> (slot & 7)) & 1)
  const [from, to] = width === -1 ? [offsets[slot], offsets[slot + 1]] : [slot * width, (slot + 1) * width]
  if (to < from) throw new Error(`keys of "${column.name}" are of no kind that a key can have`)
  return Buffer.from(data.buffer, data.byteOffset + from, to - from).toString('latin1')
}

/** `to` is before `from`; slots are moved in ascending order, none is skipped but those that are dropped. */
function moveSlot(builder: ColumnBuilder, from: number, to: number): void {
  const { width, offsets, int32, children } = builder
  if (builder.hasNulls) {
    const bit = 1 << (to & 7)
    if ((builder.validity[from >> 3] >> (from & 7)) & 1) builder.validity[to >> 3] |= bit
    else builder.validity[to >> 3] &= ~bit
  }
  if (width > 0) {
    const words = width >> 2
    for (let word = 0; word < words; word += 1) int32[to * words + word] = int32[from * words + word]
  } else if (width === 0) builder.setBoolean(to, ((builder.data[from >> 3] >> (from & 7)) & 1) === 1)
  else if (!builder.hasOffsets) for (const child of children) moveSlot(child, from, to)
  else {
    const start = offsets[from]
    const length = offsets[from + 1] - start
    const target = offsets[to]
    if (width === -1) builder.data.copyWithin(target, start, start + length)
    else {
      for (let index = 0; index < length && start !== target; index += 1) {
        for (const child of children) moveSlot(child, start + index, target + index)
      }
    }
    offsets[to + 1] = target + length
  }
}
