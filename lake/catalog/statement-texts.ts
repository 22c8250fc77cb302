/**
 * What the dialects' statements about many rows share: each is a constant of its module and put into words once.
 */
export function createTexts(): <S extends object>(statement: S, make: (statement: S) => string) => string {
  const texts = new WeakMap<object, string>()
  return (statement, make) => {
    const known = texts.get(statement)
    if (known !== undefined) return known
    const text = make(statement)
    texts.set(statement, text)
    return text
  }
}

export function changed({ numAffectedRows = 0n }: { readonly numAffectedRows?: bigint }): number {
  return Number(numAffectedRows)
}

export function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ')
}
