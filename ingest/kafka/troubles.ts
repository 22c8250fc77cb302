/** What is wrong at present, by where; the owner hears of it only when the whole changes. */
export type Troubles = {
  set(where: string, reason: string | undefined): void
  /** All whose place begins so. */
  clear(prefix: string): void
}

export function createTroubles(tell: (reason: string | undefined) => void): Troubles {
  const reasons = new Map<string, string>()
  let told: string | undefined

  function tellChange(): void {
    const reason = reasons.size === 0 ? undefined : [...new Set(reasons.values())].join('; ')
    if (reason === told) return
    told = reason
    tell(reason)
  }
  return {
    set(where, reason) {
      if (reason === undefined) reasons.delete(where)
      else reasons.set(where, reason)
      tellChange()
    },
    clear(prefix) {
      for (const where of reasons.keys()) if (where.startsWith(prefix)) reasons.delete(where)
      tellChange()
    },
  }
}
