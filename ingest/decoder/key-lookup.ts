/**
 * Column names as bytes. `"name":` as JSON writers usually write it is kept as little-endian words, so that a key is
 * compared four bytes at a time; `find` answers which column a decoded key names, by hash, or -1.
 *
 *   "user_id":   →   `"use`, `r_id`, `id":`     the last word ends with the key and may overlap the one before
 */
export type KeyLookup = {
  /** Bytes of `"name":`, never less than 4; 0 where the name would need an escape. */
  readonly lengths: Int32Array
  /** The words of column i are `words[wordStarts[i], wordStarts[i + 1])`. */
  readonly words: Int32Array
  readonly wordStarts: Int32Array
  find(key: Uint8Array, start: number, end: number): number
}

const WORD = 4

export function createKeyLookup(names: readonly (string | undefined)[]): KeyLookup {
  const plain = names.map((name) => Buffer.from(name ?? '', 'utf8'))
  const written = names.map((name) =>
    Buffer.from(name && JSON.stringify(name) === `"${name}"` ? `"${name}":` : '', 'utf8'),
  )
  const wordStarts = new Int32Array(names.length + 1)
  written.forEach((key, index) => {
    wordStarts[index + 1] = wordStarts[index] + Math.ceil(key.length / WORD)
  })
  const words = new Int32Array(wordStarts[names.length])
  written.forEach((key, index) => {
    const count = wordStarts[index + 1] - wordStarts[index]
    for (let word = 0; word < count; word += 1) {
      words[wordStarts[index] + word] = key.readInt32LE(word < count - 1 ? word * WORD : key.length - WORD)
    }
  })
  let size = 4
  while (size < names.length * 4) size *= 2
  const slots = new Int32Array(size).fill(-1)
  for (let index = 0; index < names.length; index += 1) {
    // A column that no key names.
    if (names[index] === undefined) continue
    let slot = hash(plain[index], 0, plain[index].length) & (size - 1)
    while (slots[slot] >= 0) slot = (slot + 1) & (size - 1)
    slots[slot] = index
  }

  function find(key: Uint8Array, start: number, end: number): number {
    let slot = hash(key, start, end) & (size - 1)
    for (;;) {
      const index = slots[slot]
      if (index < 0) return -1
      const name = plain[index]
      if (name.length === end - start) {
        let same = 0
        while (same < name.length && name[same] === key[start + same]) same += 1
        if (same === name.length) return index
      }
      slot = (slot + 1) & (size - 1)
    }
  }

  return { lengths: Int32Array.from(written, (key) => key.length), words, wordStarts, find }
}

function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5
  for (let at = start; at < end; at += 1) value = Math.imul(value ^ bytes[at], 0x01000193)
  return (value ^ (value >>> 15)) >>> 0
}
