/**
 * Faults on purpose, for tests: a request that never reaches the store (`fail-before`), one that does its work but whose
 * answer is lost (`fail-after`: the outcome of a write is then unknown to the caller), or one that takes its time (`delay`).
 * Chances come from the world's seeded randomness, so that a run can be replayed.
 */
import type { World } from '../../runtime/world.ts'
import type { StoreVerb } from './count.ts'
import type { ObjectStore } from './object-store.ts'
import { storeUnavailable } from './store-errors.ts'

export type FaultRule = {
  readonly kind: 'fail-before' | 'fail-after' | 'delay'
  /** Default: every verb. */
  readonly verbs?: readonly StoreVerb[]
  /** Default: every path. For a deletion, any of its paths. */
  readonly path?: RegExp
  /** How often it strikes at most. Default: always. */
  readonly times?: number
  /** Chance of each request that fits, 0 to 1. Default 1. */
  readonly chance?: number
  readonly delayMs?: number
  /** For `fail-before` and `fail-after`; default `store-unavailable`. */
  readonly error?: (path: string) => Error
}

export type FaultyObjectStore = ObjectStore & {
  /** Rules from now on; their counts start anew. */
  setFaults(rules: readonly FaultRule[]): void
  /** How many requests were hit so far. */
  readonly struck: () => number
}

type ArmedRule = { readonly rule: FaultRule; left: number }

export function injectFaults(
  store: ObjectStore,
  world: Pick<World, 'clock' | 'random'>,
  rules: readonly FaultRule[] = [],
): FaultyObjectStore {
  let armed = arm(rules)
  let struck = 0

  function strike(kind: FaultRule['kind'], verb: StoreVerb, paths: readonly string[]): FaultRule | undefined {
    for (const each of armed) {
      const { rule } = each
      if (rule.kind !== kind || each.left <= 0) continue
      if (rule.verbs && !rule.verbs.includes(verb)) continue
      if (rule.path && !paths.some((path) => rule.path?.test(path))) continue
      if (rule.chance !== undefined && world.random.float() >= rule.chance) continue
      each.left--
      struck++
      return rule
    }
    return undefined
  }

  async function before(verb: StoreVerb, paths: readonly string[], signal?: AbortSignal): Promise<void> {
    const delay = strike('delay', verb, paths)
    if (delay) await world.clock.sleep(delay.delayMs ?? 0, signal)
    const failure = strike('fail-before', verb, paths)
    if (failure) throw errorOf(failure, paths[0], 'failed on purpose before the request')
  }

  function after(verb: StoreVerb, paths: readonly string[]): void {
    const failure = strike('fail-after', verb, paths)
    if (failure) throw errorOf(failure, paths[0], 'its answer was lost on purpose')
  }

  async function around<T>(verb: StoreVerb, paths: readonly string[], work: () => Promise<T>, signal?: AbortSignal) {
    await before(verb, paths, signal)
    const result = await work()
    after(verb, paths)
    return result
  }

  return {
    root: store.root,
    setFaults(next) {
      armed = arm(next)
    },
    struck: () => struck,
    put: (path, bytes, condition) => around('put', [path], () => store.put(path, bytes, condition)),
    putFile: (path, localFile, condition) => around('put', [path], () => store.putFile(path, localFile, condition)),
    get: (path, options) => around('get', [path], () => store.get(path, options), options?.signal),
    head: (path) => around('head', [path], () => store.head(path)),
    async *list(prefix) {
      await before('list', [prefix])
      for await (const info of store.list(prefix)) {
        yield info
        // A page that did not come, somewhere in the middle.
        after('list', [prefix])
      }
    },
    delete: (paths) => around('delete', paths, () => store.delete(paths)),
    close: () => store.close(),
  }
}

function arm(rules: readonly FaultRule[]): ArmedRule[] {
  return rules.map((rule) => ({ rule, left: rule.times ?? Number.POSITIVE_INFINITY }))
}

function errorOf(rule: FaultRule, path: string | undefined, what: string): Error {
  return rule.error?.(path ?? '') ?? storeUnavailable(path ?? '', what)
}
