/**
 * Bytes of request bodies that may be in memory at once (G-6). What does not fit is refused (`tryTake`) or waits its
 * turn (`take`); whoever took bytes gives them back, some of them early when the body turns out to be smaller.
 * One body always fits, however small the budget.
 */
export type ByteBudget = {
  tryTake(bytes: number): boolean
  /** In order of asking. */
  take(bytes: number): Promise<void>
  give(bytes: number): void
  readonly taken: number
}

export function createByteBudget(bytesMax: number): ByteBudget {
  let taken = 0
  let waiting: { readonly bytes: number; readonly start: () => void }[] = []

  const fits = (bytes: number) => taken === 0 || taken + bytes <= bytesMax

  return {
    tryTake(bytes) {
      if (waiting.length > 0 || !fits(bytes)) return false
      taken += bytes
      return true
    },
    async take(bytes) {
      if (this.tryTake(bytes)) return
      await new Promise<void>((resolve) => waiting.push({ bytes, start: resolve }))
    },
    give(bytes) {
      taken -= bytes
      let started = 0
      for (; started < waiting.length && fits(waiting[started].bytes); started += 1) {
        taken += waiting[started].bytes
        waiting[started].start()
      }
      if (started > 0) waiting = waiting.slice(started)
    },
    get taken() {
      return taken
    },
  }
}
