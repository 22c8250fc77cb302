/** Starts steady-producer.ts and hears what it sent. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export type SteadyOptions = {
  readonly bootstrap: string
  readonly topic: string
  readonly partitions: number
  /** Records a second. */
  readonly rate: number
  readonly seconds: number
  readonly firstIndex: number
  /** Event time is the moment of production. */
  readonly timeIsNow: boolean
}

export type SteadyMessage =
  | { readonly kind: 'sent'; readonly at: number; readonly count: number }
  | { readonly kind: 'end'; readonly sent: number; readonly seconds: number }

export type SteadyProducer = {
  /** Grows while it runs, in order of time. */
  readonly ticks: readonly { readonly at: number; readonly count: number }[]
  /** Records sent and seconds taken, once it has ended. */
  readonly ended: Promise<{ readonly sent: number; readonly seconds: number }>
  stop(): void
}

export function startSteadyProducer(options: SteadyOptions): SteadyProducer {
  const child = fork(join(import.meta.dirname, 'steady-producer.ts'), [JSON.stringify(options)])
  const ticks: { at: number; count: number }[] = []
  let end: { sent: number; seconds: number } | undefined
  child.on('message', (message) => {
    const told = message as SteadyMessage
    if (told.kind === 'sent') ticks.push({ at: told.at, count: told.count })
    else end = { sent: told.sent, seconds: told.seconds }
  })
  const ended = once(child, 'exit').then(([code]) => {
    if (end === undefined) throw new Error(`the producer ended with code ${code}`)
    return end
  })
  ended.catch(() => {})
  return {
    ticks,
    ended,
    stop() {
      if (child.connected) child.send('stop')
    },
  }
}
