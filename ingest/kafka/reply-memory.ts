/**
 * Memory of fetch replies, used again once every topic-partition in a reply was delivered. Without it each reply leaves
 * megabytes outside the heap, which the garbage collector sees late. A few are kept; larger than usual ones are not.
 */
import type { ReplyMemory } from './client.ts'

const KEPT_MAX = 4

export type HeldReply = {
  readonly memory: ReplyMemory
  hold(): void
  release(): void
}

export type ReplyPool = { take(): HeldReply }

export function createReplyPool(bytesKeptMax: number): ReplyPool {
  const free: Buffer[] = []

  function take(): HeldReply {
    let buffer: Buffer | undefined
    let holders = 1
    return {
      memory(length) {
        const index = free.findIndex((each) => each.length >= length)
        // In steps, so that replies of nearly the same size fit.
        buffer =
          index >= 0
            ? free.splice(index, 1)[0]
            : Buffer.allocUnsafeSlow(Math.max(65_536, 2 ** Math.ceil(Math.log2(length))))
        return buffer.subarray(0, length)
      },
      hold() {
        holders += 1
      },
      release() {
        holders -= 1
        if (holders > 0 || buffer === undefined || buffer.length > bytesKeptMax) return
        free.push(buffer)
        if (free.length > KEPT_MAX) free.sort((a, b) => b.length - a.length).pop()
        buffer = undefined
      },
    }
  }
  return { take }
}
