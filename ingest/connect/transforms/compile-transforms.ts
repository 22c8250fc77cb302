/**
 * A chain of transforms made from its plans: one function from record to record, or to undefined for one that is dropped.
 *
 * Each transform is asked in turn; a predicate says which records it is for, and the others pass it unchanged. A record that one
 * refuses throws `TransformFailure` with the alias of that transform. Plans that no checked configuration has throw
 * `settings-invalid`.
 */
import { MillraceError } from '../../../schemas/errors.ts'
import type { TransformPlan } from '../../decoder/decode-plan.ts'
import type { ConnectRecord } from '../data/record.ts'
import { type Plugin, PREDICATES, pluginNamed, TRANSFORMS } from './plugins.ts'
import type { Predicate } from './predicates.ts'
import { SettingsProblem, settingValues } from './settings.ts'
import { type ChainContext, MapCopies, type Transform, TransformFailure } from './transform.ts'

/** 2026-01-01, where nobody says what time it is: two-digit years are those from 1946 to 2045. */
const SOME_DAY = 1_767_225_600_000

type Step = {
  readonly alias: string
  readonly type: string
  readonly transform: Transform
  readonly predicate: Predicate | undefined
  readonly negate: boolean
}

/** `nowMillis`: only for dates with two-digit years. */
export function compileTransforms(plans: readonly TransformPlan[], nowMillis = SOME_DAY): Transform {
  const chain: ChainContext = { nowMillis, maps: new MapCopies() }
  const steps: readonly Step[] = plans.map((plan) => ({
    alias: plan.name,
    type: plan.type,
    transform: made(TRANSFORMS, plan.name, plan.type, plan.settings, chain),
    predicate: plan.predicate && made(PREDICATES, plan.name, plan.predicate.type, plan.predicate.settings, chain),
    negate: plan.predicate?.negate ?? false,
  }))
  return (record) => {
    chain.maps.letGo()
    let current: ConnectRecord | undefined = record
    for (let i = 0; i < steps.length; i += 1) {
      const step = steps[i]
      try {
        if (step.predicate !== undefined && step.predicate(current) === step.negate) continue
        current = step.transform(current)
      } catch (cause) {
        if (!(cause instanceof TransformFailure)) throw cause
        throw new TransformFailure(cause.reason, cause.exception, step.alias, step.type)
      }
      if (current === undefined) return undefined
    }
    return current
  }
}

function made<T>(
  plugins: readonly Plugin<T>[],
  alias: string,
  type: string,
  texts: Readonly<Record<string, string>>,
  chain: ChainContext,
): T {
  const plugin = pluginNamed(plugins, type)
  if (plugin === undefined) throw new MillraceError('settings-invalid', `transform "${alias}": there is no ${type}`)
  try {
    return plugin.create(settingValues(plugin.settings, texts), chain)
  } catch (cause) {
    if (!(cause instanceof SettingsProblem)) throw cause
    throw new MillraceError('settings-invalid', `transform "${alias}" (${type}): ${cause.message}`, { cause })
  }
}
