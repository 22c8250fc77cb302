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
  /** Up to where files of committed ticks record the source; undefined when none does. */
  recorded: bigint | undefined
  /** The same once the ticks in flight are committed. */
  recordedNext: bigint | undefined
}

export type SourceLedger = {
  /** 0 for a source never seen. */
  generation(keyText: string): number
  /** Next offset to take, or undefined when the coverage must be read first. */
  next(key: SourceKey): bigint | undefined
  took(key: SourceKey, next: bigint): void
  /** Start again from the coverage's end, under a new generation. `recorded`: see `recordedEnd`. */
  reload(key: SourceKey, next: bigint, recorded?: bigint): void
  /** The catalog said that the source's coverage is elsewhere. */
  becameStale(key: SourceKey, coverage: Coverage | undefined): void
  /** Ignored when the source has a newer generation. `recorded`: a file of the tick records the source. */
  committed(key: SourceKey, generation: number, end: bigint, recorded?: boolean): void
  /**
   * Where the record of an advance begins that a file is about to hold: where the files' record ended, at most at its
   * start. `inFlight`: ticks before it are not committed yet, and counted as if they were.
   */
  recordedFrom(keyText: string, start: bigint, inFlight: boolean): bigint
  /** A file of a tick in flight records the source up to here. */
  willRecord(keyText: string, generation: number, end: bigint): void
  /** False when the record would have a hole before `recordedFrom`: a tick before it came without the files it had. */
  isRecordWhole(keyText: string, recordedFrom: bigint): boolean
  coveredTo(keyText: string): bigint | undefined
  /** Everything taken is committed. */
  isSettled(key: SourceKey): boolean
  forget(key: SourceKey): void
}

export function coverageEnd(coverage: Coverage | undefined): bigint | undefined {
  return coverage?.ranges.at(-1)?.end
}

/** Up to where the bucket's own files record a source; a source without any coverage yet begins where it begins. */
export function recordedEnd(coverage: Coverage | undefined): bigint | undefined {
  if (coverage?.recordedEnd !== undefined) return coverage.recordedEnd
  const [only] = coverage?.ranges ?? []
  return coverage?.ranges.length === 1 && only.start === only.end ? only.start : undefined
}

export function createSourceLedger(): SourceLedger {
  const entries = new Map<string, Entry>()

  function entry(key: SourceKey): Entry {
    const keyText = sourceKeyText(key)
    let found = entries.get(keyText)
    if (!found) {
      found = {
        key,
        generation: 1,
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
      found.generation += 1
      found.next = next
      found.committed = next
      found.recorded = recorded
      found.recordedNext = recorded
    },
    becameStale(key, coverage) {
      const found = entry(key)
      found.generation += 1
      found.next = undefined
      found.committed = coverageEnd(coverage)
      found.recorded = recordedEnd(coverage)
      found.recordedNext = found.recorded
    },
    committed(key, generation, end, recorded = false) {
      const found = entry(key)
      if (found.generation !== generation) return
      found.committed = end
      if (!recorded) return
      found.recorded = end
      if (found.recordedNext === undefined || found.recordedNext < end) found.recordedNext = end
    },
    recordedFrom(keyText, start, inFlight) {
      const found = entries.get(keyText)
      const before = inFlight ? found?.recordedNext : found?.recorded
      return before !== undefined && before < start ? before : start
    },
    willRecord(keyText, generation, end) {
      const found = entries.get(keyText)
      if (found?.generation !== generation) return
      if (found.recordedNext === undefined || found.recordedNext < end) found.recordedNext = end
    },
    isRecordWhole(keyText, recordedFrom) {
      const recorded = entries.get(keyText)?.recorded
      return recorded === undefined || recordedFrom <= recorded
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
      found.generation += 1
      found.next = undefined
    },
  }
}
