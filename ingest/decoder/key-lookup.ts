/**
 * Column names as bytes: `bytes[starts[i], starts[i + 1])` is `"name":` as JSON writers usually write it (empty where
 * the name would need an escape), and `find` answers which column a decoded key names, by hash, or -1.
 */
export type KeyLookup = {
  readonly bytes: Uint8Array
  readonly starts: Int32Array
  find(key: Uint8Array, start: number, end: number): number
}

export function createKeyLookup(names: readonly string[]): KeyLookup {
  const plain = names.map((name) => Buffer.from(name, 'utf8'))
  const written = names.map((name, index) =>
    JSON.stringify(name) === `"${name}"`
      ? Buffer.from(`${JSON.stringify(name)}:`, 'utf8')
      : plain[index].subarray(0, 0),
  )
  const starts = new Int32Array(names.length + 1)
  for (let index = 0; index < names.length; index += 1) starts[index + 1] = starts[index] + written[index].length
  let size = 4
  while (size < names.length * 4) size *= 2
  const slots = new Int32Array(size).fill(-1)
  for (let index = 0; index < names.length; index += 1) {
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

  return { bytes: Buffer.concat(written), starts, find }
}

function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5
  for (let at = start; at < end; at += 1) value = Math.imul(value ^ bytes[at], 0x01000193)
  return (value ^ (value >>> 15)) >>> 0
}
