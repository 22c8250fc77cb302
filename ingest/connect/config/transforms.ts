/**
 * `transforms`, `transforms.<name>.*`, `predicates`, `predicates.<name>.*` as plans for the decoder. What a transform's own
 * settings must be is checked by those who compile it, handed in as `checkTransforms`.
 */
import type { TransformPlan } from '../../decoder/decode-plan.ts'
import { isTrue, listOf } from './config-value.ts'
import type { Findings } from './findings.ts'

/** Of one transform: what is wrong, with the setting's name (without its prefix) where it is about one. */
export type TransformProblem = {
  readonly transform: string
  readonly setting: string | undefined
  readonly message: string
}
export type CheckTransforms = (plans: readonly TransformPlan[]) => readonly TransformProblem[]

type Predicate = NonNullable<TransformPlan['predicate']>

export function readTransforms(findings: Findings, check: CheckTransforms): readonly TransformPlan[] {
  const predicates = readPredicates(findings)
  const names = namesIn(findings, 'transforms')
  const plans = names.flatMap((name): TransformPlan[] => {
    const settings = settingsOf(findings, `transforms.${name}.`)
    const { type, predicate: predicateName, negate, ...own } = settings
    if (type === undefined || type.trim() === '') {
      findings.error(
        `transforms.${name}.type`,
        `Missing required configuration "transforms.${name}.type" which has no default value.`,
      )
      return []
    }
    const predicate = predicateName === undefined ? undefined : predicates.get(predicateName.trim())
    if (predicateName !== undefined && predicate === undefined) {
      findings.invalid(`transforms.${name}.predicate`, 'expected the name of one of predicates')
    }
    if (negate !== undefined && !/^(?:true|false)$/i.test(negate.trim())) {
      findings.invalid(`transforms.${name}.negate`, 'Expected value to be either true or false')
    }
    const isNegated = negate !== undefined && isTrue(negate)
    return [
      {
        name,
        type: type.trim(),
        settings: own,
        ...(predicate ? { predicate: { ...predicate, negate: isNegated } } : {}),
      },
    ]
  })
  for (const { transform, setting, message } of check(plans)) {
    findings.error(
      setting === undefined ? `transforms.${transform}.type` : `transforms.${transform}.${setting}`,
      message,
    )
  }
  return plans
}

function readPredicates(findings: Findings): ReadonlyMap<string, Omit<Predicate, 'negate'>> {
  const predicates = new Map<string, Omit<Predicate, 'negate'>>()
  for (const name of namesIn(findings, 'predicates')) {
    const { type, ...settings } = settingsOf(findings, `predicates.${name}.`)
    if (type === undefined || type.trim() === '') {
      findings.error(
        `predicates.${name}.type`,
        `Missing required configuration "predicates.${name}.type" which has no default value.`,
      )
      continue
    }
    predicates.set(name, { type: type.trim(), settings })
  }
  return predicates
}

function namesIn(findings: Findings, property: string): readonly string[] {
  const names = listOf(findings.read(property) ?? '')
  if (new Set(names).size < names.length) findings.invalid(property, 'Duplicate alias provided.')
  return [...new Set(names)]
}

function settingsOf(findings: Findings, prefix: string): Record<string, string> {
  return Object.fromEntries(
    findings.names(prefix).map((name) => [name.slice(prefix.length), findings.read(name) ?? '']),
  )
}
