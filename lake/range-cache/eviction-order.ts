/**
 * Which file goes next when there is no room: by how long ago it was used and by what it would cost to fetch again. Pure.
 *
 * A file's credit is a floor, which is where the last eviction stood, and its own cost per byte: bytes once, and a request as
 * much as `REQUEST_BYTES` (20 ms at 50 MB/s). The least credit goes and raises the floor. So what is used again stands above
 * what is not, at the same cost the longest unused goes first, and a file of many small ranges outstays a large one that comes
 * in one GET for some turns of the cache, not for ever (GreedyDual-Size).
 *
 * Files that are held are not in the order. A heap; entries of what was used again or taken out are passed over, and cleared
 * away when they are more than the rest.
 */
export type RefetchCost = { readonly bytes: number; readonly requests: number }

export type EvictionOrder<Item> = {
  /** Used just now, and held by nobody. */
  add(item: Item, cost: RefetchCost): void
  remove(item: Item): void
  /** Takes out the one that goes next, of those that may. */
  next(mayGo: (item: Item) => boolean): Item | undefined
}

const REQUEST_BYTES = 1 << 20
/** In turns of the cache: what costs more than this is kept no longer. */
const COST_MAX = 16
const CLEAR_AT = 64

type Entry<Item> = { readonly item: Item; readonly credit: number; readonly number: number }

export function createEvictionOrder<Item>(): EvictionOrder<Item> {
  const current = new Map<Item, Entry<Item>>()
  let heap: Entry<Item>[] = []
  let floor = 0
  let numbers = 0

  function push(entry: Entry<Item>): void {
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!goesBefore(heap[at], heap[parent])) return
      ;[heap[at], heap[parent]] = [heap[parent], heap[at]]
      at = parent
    }
  }

  function pop(): Entry<Item> | undefined {
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    heap[0] = last
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      let least = at
      if (left < heap.length && goesBefore(heap[left], heap[least])) least = left
      if (right < heap.length && goesBefore(heap[right], heap[least])) least = right
      if (least === at) return first
      ;[heap[at], heap[least]] = [heap[least], heap[at]]
      at = least
    }
  }

  function clear(): void {
    if (heap.length < CLEAR_AT || heap.length < 2 * current.size) return
    heap = []
    for (const entry of current.values()) push(entry)
  }

  return {
    add(item, { bytes, requests }) {
      const cost = Math.min(COST_MAX, 1 + (requests * REQUEST_BYTES) / Math.max(1, bytes))
      const entry = { item, credit: floor + cost, number: numbers++ }
      current.set(item, entry)
      push(entry)
      clear()
    },
    remove(item) {
      current.delete(item)
    },
    next(mayGo) {
      const passed: Entry<Item>[] = []
      let found: Entry<Item> | undefined
      for (let entry = pop(); entry; entry = pop()) {
        if (current.get(entry.item) !== entry) continue
        if (mayGo(entry.item)) {
          found = entry
          break
        }
        passed.push(entry)
      }
      for (const entry of passed) push(entry)
      if (!found) return undefined
      current.delete(found.item)
      floor = Math.max(floor, found.credit)
      return found.item
    },
  }
}

function goesBefore<Item>(a: Entry<Item>, b: Entry<Item>): boolean {
  return a.credit < b.credit || (a.credit === b.credit && a.number < b.number)
}
