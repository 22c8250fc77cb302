/**
 * A bounded map that lets the least recently used entry go first: for what is the same every time a dashboard asks.
 */
export type Recent<Value> = {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
}

export function createRecent<Value>(entriesMax: number): Recent<Value> {
  const entries = new Map<string, Value>()
  return {
    get(key) {
      const value = entries.get(key)
      if (value === undefined) return undefined
      entries.delete(key)
      entries.set(key, value)
      return value
    },
    set(key, value) {
      entries.delete(key)
      entries.set(key, value)
      if (entries.size <= entriesMax) return
      for (const oldest of entries.keys()) {
        entries.delete(oldest)
        return
      }
    },
  }
}
