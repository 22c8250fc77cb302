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
}

export type SourceLedger = {
  /** 0 for a source never seen. */
  generation(keyText: string): number
  /** Next offset to take, or undefined when the coverage must be read first. */
  next(key: SourceKey): bigint | undefined
  took(key: SourceKey, next: bigint): void
  /** Start again from the coverage's end, under a new generation. */
  reload(key: SourceKey, next: bigint): void
  /** The catalog said that the source's coverage is elsewhere. */
  becameStale(key: SourceKey, coverage: Coverage | undefined): void
  /** Ignored when the source has a newer generation. */
  committed(key: SourceKey, generation: number, end: bigint): void
  coveredTo(keyText: string): bigint | undefined
  /** Everything taken is committed. */
  isSettled(key: SourceKey): boolean
  forget(key: SourceKey): void
}

export function coverageEnd(coverage: Coverage | undefined): bigint | undefined {
  return coverage?.ranges.at(-1)?.end
}

export function createSourceLedger(): SourceLedger {
  const entries = new Map<string, Entry>()

  function entry(key: SourceKey): Entry {
    const keyText = sourceKeyText(key)
    let found = entries.get(keyText)
    if (!found) {
      found = { key, generation: 1, next: undefined, committed: undefined }
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
    reload(key, next) {
      const found = entry(key)
      found.generation += 1
      found.next = next
      found.committed = next
    },
    becameStale(key, coverage) {
      const found = entry(key)
      found.generation += 1
      found.next = undefined
      found.committed = coverageEnd(coverage)
    },
    committed(key, generation, end) {
      const found = entry(key)
      if (found.generation !== generation) return
      found.committed = end
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
