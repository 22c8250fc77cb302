/**
 * What this process knows of its sources between two reads of the catalog: the next offset each one will take, and the
 * generation under which it took what is not committed yet. The catalog's coverage is the truth; on every assignment
 * and every stale answer the entry is made anew from it, under a higher generation.
 */
import type { Coverage, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'

type Entry = {
  readonly key: SourceKey
  generation: number
  /** Taken so far, committed or not. undefined: unknown until `reload`. */
  next: bigint | undefined
  committed: bigint | undefined
  /** What files of committed ticks record of the source; undefined when nobody knows. */
  recorded: FilesRecord | undefined
  /** The same once the ticks in flight are committed. */
  recordedNext: FilesRecord | undefined
}

/** Up to where the bucket's own files record a source, and whether any does: at its beginning none does yet. */
export type FilesRecord = { readonly end: bigint; readonly isBegun: boolean }

export type SourceLedger = {
  /** 0 for a source never seen. */
  generation(keyText: string): number
  /** Next offset to take, or undefined when the coverage must be read first. */
  next(key: SourceKey): bigint | undefined
  took(key: SourceKey, next: bigint): void
  /** Start again from the coverage's end, under a new generation. `recorded`: see `filesRecord`. */
  reload(key: SourceKey, next: bigint, recorded?: FilesRecord): void
  /** The catalog said that the source's coverage is elsewhere. */
  becameStale(key: SourceKey, coverage: Coverage | undefined): void
  /** Ignored when the source has a newer generation. `recorded`: a file of the tick records the source. */
  committed(key: SourceKey, generation: number, end: bigint, recorded?: boolean): void
  /**
   * Where the record of an advance begins that a file is about to hold: where the files' record ended, at most at its
   * start. `isFirst`: nothing is recorded before it. `inFlight`: ticks before it are not committed yet, and counted as if
   * they were.
   */
  recordFrom(keyText: string, start: bigint, inFlight: boolean): { recordedFrom: bigint; isFirst: boolean }
  /** A file of a tick in flight records the source up to here. */
  willRecord(keyText: string, generation: number, end: bigint): void
  /** False when the record would have a hole before `recordedFrom`: a tick before it came without the files it had. */
  isRecordWhole(keyText: string, recordedFrom: bigint): boolean
  coveredTo(keyText: string): bigint | undefined
  /** Everything taken is committed. */
  isSettled(key: SourceKey): boolean
  forget(key: SourceKey): void
  /** Out of memory, unless rows taken under its generation are not committed: then false. It is reloaded when it comes back. */
  drop(key: SourceKey): boolean
  readonly size: number
}

export function coverageEnd(coverage: Coverage | undefined): bigint | undefined {
  return coverage?.ranges.at(-1)?.end
}

/** Of a source without coverage nothing is recorded: Kafka's begin where their coverage does, HTTP producers at 0. */
export function filesRecord(coverage: Coverage | undefined): FilesRecord | undefined {
  if (!coverage) return { end: 0n, isBegun: false }
  if (coverage.recordedEnd !== undefined) return { end: coverage.recordedEnd, isBegun: true }
  const [only] = coverage.ranges
  return coverage.ranges.length === 1 && only.start === only.end ? { end: only.start, isBegun: false } : undefined
}

export function createSourceLedger(): SourceLedger {
  const entries = new Map<string, Entry>()
  /** Of all sources together: an entry that was dropped and made again never meets rows of its earlier life. */
  let generations = 0
  const nextGeneration = () => {
    generations += 1
    return generations
  }

  function entry(key: SourceKey): Entry {
    const keyText = sourceKeyText(key)
    let found = entries.get(keyText)
    if (!found) {
      found = {
        key,
        generation: nextGeneration(),
        next: undefined,
        committed: undefined,
        recorded: undefined,
        recordedNext: undefined,
      }
      entries.set(keyText, found)
    }
    return found
  }

  return {
    generation: (keyText) => entries.get(keyText)?.generation ?? 0,
    next: (key) => entry(key).next,
    took(key, next) {
      entry(key).next = next
    },
    reload(key, next, recorded) {
      const found = entry(key)
      found.generation = nextGeneration()
      found.next = next
      found.committed = next
      found.recorded = recorded
      found.recordedNext = recorded
    },
    becameStale(key, coverage) {
      const found = entry(key)
      found.generation = nextGeneration()
      found.next = undefined
      found.committed = coverageEnd(coverage)
      found.recorded = filesRecord(coverage)
      found.recordedNext = found.recorded
    },
    committed(key, generation, end, recorded = false) {
      const found = entry(key)
      if (found.generation !== generation) return
      found.committed = end
      if (!recorded) return
      found.recorded = { end, isBegun: true }
      if (isBehind(found.recordedNext, end)) found.recordedNext = found.recorded
    },
    recordFrom(keyText, start, inFlight) {
      const found = entries.get(keyText)
      const before = inFlight ? found?.recordedNext : found?.recorded
      return {
        recordedFrom: before !== undefined && before.end < start ? before.end : start,
        isFirst: before !== undefined && !before.isBegun && before.end <= start,
      }
    },
    willRecord(keyText, generation, end) {
      const found = entries.get(keyText)
      if (found?.generation !== generation) return
      if (isBehind(found.recordedNext, end)) found.recordedNext = { end, isBegun: true }
    },
    isRecordWhole(keyText, recordedFrom) {
      const recorded = entries.get(keyText)?.recorded
      return recorded === undefined || recordedFrom <= recorded.end
    },
    coveredTo: (keyText) => entries.get(keyText)?.committed,
    isSettled(key) {
      const found = entries.get(sourceKeyText(key))
      return found?.next !== undefined && found.next === found.committed
    },
    forget(key) {
      const found = entries.get(sourceKeyText(key))
      if (!found) return
      // The entry stays for its generation: rows taken before may still sit in a sealed tick.
      found.generation = nextGeneration()
      found.next = undefined
    },
    drop(key) {
      const found = entries.get(sourceKeyText(key))
      if (found && found.next !== undefined && found.next !== found.committed) return false
      entries.delete(sourceKeyText(key))
      return true
    },
    get size() {
      return entries.size
    },
  }
}

function isBehind(record: FilesRecord | undefined, end: bigint): boolean {
  return record === undefined || !record.isBegun || record.end < end
}
