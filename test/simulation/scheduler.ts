/**
 * The one scheduler of a simulated world. Everything that takes time (a request on its way, an answer on its way back, a
 * sleep, a fault) is an entry in one queue, ordered by simulated time and, at the same time, by a draw from the seed. One
 * entry runs, then everything it made ready inside the processes runs until each of them waits for the world again; only
 * then is the next entry taken. Nothing else moves: no timer, thread or file of the real machine takes part, so a seed
 * gives one history, however busy the machine is.
 *
 * Every entry that runs goes into a running hash with its time, actor, kind and arguments: two runs of one seed must end
 * with the same hash, else something from outside got in.
 */
import { seededRandom } from '../../runtime/test-world.ts'
import type { Random } from '../../runtime/world.ts'

/** What may be done about an entry when its turn comes: run it, forget it, or leave it to whoever held it back. */
export type Verdict = 'run' | 'drop' | 'held back'

export type Entry = {
  atMs: number
  tie: number
  order: number
  readonly actor: string
  readonly kind: string
  readonly detail: string
  readonly run: () => void
  /** Asked when the entry's turn comes; the gate of a process holds back or drops what is meant for it. */
  readonly gate: ((entry: Entry) => Verdict) | undefined
  cancelled: boolean
}

export type Scheduler = {
  readonly random: Random
  nowMs(): number
  /** Entries run so far. */
  steps(): number
  after(delayMs: number, actor: string, kind: string, detail: string, run: () => void, gate?: Entry['gate']): Entry
  /** An entry that was held back takes its turn again, soon. */
  again(entry: Entry): void
  /** Written into the hash (and the trace) at this moment, without an entry of its own. */
  note(actor: string, kind: string, detail: string): void
  /** Runs entries until `done` holds, nothing is left, or the time is over. */
  runUntil(done: () => boolean, untilMs: number): Promise<'done' | 'idle' | 'time over'>
  hash(): string
}

/** A history that does not end is a bug of the simulation or of what it runs. */
const STEPS_MAX = 400_000

export function createScheduler(seed: number, trace?: (line: string) => void): Scheduler {
  const random = seededRandom(seed)
  const heap: Entry[] = []
  let nowMs = 0
  let order = 0
  let steps = 0
  let hashHigh = 0x811c9dc5
  let hashLow = 0x01000193

  function mix(text: string): void {
    for (let i = 0; i < text.length; i += 1) {
      const code = text.charCodeAt(i)
      hashHigh = Math.imul(hashHigh ^ code, 0x01000193)
      hashLow = Math.imul(hashLow ^ (code + i), 0x85ebca6b)
      hashLow ^= hashLow >>> 13
    }
  }

  function note(actor: string, kind: string, detail: string): void {
    const line = `${nowMs.toFixed(3)} ${actor} ${kind} ${detail}`
    mix(line)
    trace?.(line)
  }

  function push(entry: Entry): void {
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(entry, heap[parent])) break
      heap[at] = heap[parent]
      at = parent
    }
    heap[at] = entry
  }

  function pop(): Entry | undefined {
    const first = heap[0]
    const last = heap.pop()
    if (!first || !last || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child += 1
      if (!isBefore(heap[child], last)) break
      heap[at] = heap[child]
      at = child
    }
    heap[at] = last
    return first
  }

  return {
    random,
    nowMs: () => nowMs,
    steps: () => steps,
    note,
    after(delayMs, actor, kind, detail, run, gate) {
      order += 1
      const entry: Entry = {
        atMs: nowMs + Math.max(0, delayMs),
        tie: random.float(),
        order,
        actor,
        kind,
        detail,
        run,
        gate,
        cancelled: false,
      }
      push(entry)
      return entry
    },
    again(entry) {
      entry.atMs = nowMs + random.float()
      entry.tie = random.float()
      push(entry)
    },
    async runUntil(done, untilMs) {
      await turn()
      while (!done()) {
        const entry = pop()
        if (!entry) return 'idle'
        if (entry.cancelled) continue
        if (entry.atMs > untilMs) {
          push(entry)
          nowMs = untilMs
          return 'time over'
        }
        if (entry.atMs > nowMs) nowMs = entry.atMs
        if (entry.gate && entry.gate(entry) !== 'run') continue
        steps += 1
        if (steps > STEPS_MAX) throw new Error(`the history does not end: ${steps} steps at ${nowMs} ms`)
        note(entry.actor, entry.kind, entry.detail)
        entry.run()
        await turn()
      }
      return 'done'
    },
    hash: () => (hashHigh >>> 0).toString(16).padStart(8, '0') + (hashLow >>> 0).toString(16).padStart(8, '0'),
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs
  if (a.tie !== b.tie) return a.tie < b.tie
  return a.order < b.order
}

/** All promise callbacks that are due run before an immediate does; nothing in a simulated world waits for anything else. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
