/**
 * How many queries run and wait: `concurrentMax` at once, up to `queueMax` waiting in order of arrival; one more is
 * refused with `overloaded` (429, the client may come back). A waiter whose client leaves, leaves the queue.
 */
import { MillraceError } from '../../schemas/errors.ts'

export type Admission = {
  /** Resolves to what must be called, once, when the query is over. */
  enter(signal: AbortSignal): Promise<() => void>
  readonly running: number
  readonly waiting: number
}

type Waiter = { readonly admit: () => void }

export function createAdmission(limits: { readonly concurrentMax: number; readonly queueMax: number }): Admission {
  const queue: Waiter[] = []
  let running = 0

  function leave(): () => void {
    let left = false
    return () => {
      if (left) return
      left = true
      running--
      const next = queue.shift()
      if (next) {
        running++
        next.admit()
      }
    }
  }

  return {
    get running() {
      return running
    },
    get waiting() {
      return queue.length
    },
    async enter(signal) {
      signal.throwIfAborted()
      if (running < limits.concurrentMax) {
        running++
        return leave()
      }
      if (queue.length >= limits.queueMax) {
        throw new MillraceError('overloaded', `${running} queries run and ${queue.length} wait; try again later`, {
          facts: { running, waiting: queue.length },
        })
      }
      await new Promise<void>((resolve, reject) => {
        const waiter: Waiter = {
          admit() {
            signal.removeEventListener('abort', onAbort)
            resolve()
          },
        }
        const onAbort = () => {
          queue.splice(queue.indexOf(waiter), 1)
          reject(signal.reason)
        }
        signal.addEventListener('abort', onAbort, { once: true })
        queue.push(waiter)
      })
      return leave()
    },
  }
}
