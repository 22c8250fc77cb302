/**
 * The cache's bytes: reserved before they are fetched, given back when a file's last holder is gone. What a pinned file
 * holds after it was retired still counts, because it is still on the disk.
 */
import { MillraceError } from '../../schemas/errors.ts'

export type Space = {
  usedBytes(): number
  /** Evicts until it fits; `overloaded` when it can't. */
  reserve(bytes: number): void
  /** Without evicting. */
  tryReserve(bytes: number): boolean
  giveBack(bytes: number): void
}

export function createSpace(options: {
  readonly bytesMax: number
  readonly setting: string
  /** False when nothing is left to evict. */
  readonly evict: () => boolean
}): Space {
  const { bytesMax, setting, evict } = options
  let used = 0

  function tryReserve(bytes: number): boolean {
    if (used + bytes > bytesMax) return false
    used += bytes
    return true
  }

  return {
    usedBytes: () => used,
    tryReserve,
    reserve(bytes) {
      // What could never fit must not empty the cache for nothing.
      let canEvict = bytes <= bytesMax
      while (!tryReserve(bytes)) {
        canEvict &&= evict()
        if (canEvict) continue
        throw new MillraceError(
          'overloaded',
          `${bytes} bytes do not fit in the cache: ${used} of ${bytesMax} are held by running queries; raise ${setting}`,
          { facts: { bytes, used, bytesMax, setting } },
        )
      }
    },
    giveBack(bytes) {
      used -= bytes
    },
  }
}
