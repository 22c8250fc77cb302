/**
 * How many threads the database has: one while only small statements run, all of them while a large one does.
 *
 * A second thread gains nothing on a statement that reads one or two row groups, and costs: measured on two cores, a group-by
 * over 100,000 rows took 7.5 ms of processor time with two threads and 5.4 ms with one, a look-up 17 ms and 10 ms. Statements that
 * run beside each other have a thread each in any case: that of the pool that started them.
 *
 * After the last large one the threads stay a while: large ones come in series.
 */
export type EngineThreads = {
  /** Resolves when all threads are there; call what it gives, once, at the statement's end. */
  wide(): Promise<() => void>
}

const STAY_MS = 300

export function createEngineThreads(threadsMax: number, set: (threads: number) => Promise<unknown>): EngineThreads {
  let running = 0
  let current = 1
  let timer: NodeJS.Timeout | undefined
  /** One change after the other. */
  let changing: Promise<unknown> = Promise.resolve()

  function change(): Promise<unknown> {
    changing = changing.then(async () => {
      const wanted = running > 0 ? threadsMax : 1
      if (wanted === current) return
      // A statement runs with fewer threads as well: what goes wrong here fails nothing.
      await set(wanted).then(
        () => {
          current = wanted
        },
        () => {},
      )
    })
    return changing
  }

  return {
    async wide() {
      running += 1
      clearTimeout(timer)
      if (current !== threadsMax) await change()
      return () => {
        running -= 1
        if (running > 0) return
        timer = setTimeout(change, STAY_MS)
        timer.unref()
      }
    },
  }
}
