/** At most `max` tasks at a time; the others wait in order. */
export type Limiter = <T>(task: () => Promise<T>) => Promise<T>

export function createLimiter(max: number): Limiter {
  let running = 0
  const waiting: (() => void)[] = []
  return async (task) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await task()
    } finally {
      // The place goes straight to the next one, so nobody can overtake.
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
