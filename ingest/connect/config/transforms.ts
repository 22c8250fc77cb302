/**
 * What the checks of transforms and predicates give (`connect/transforms/check-transforms.ts`), as far as a configuration is
 * concerned: definitions and values in the REST API's form, what is wrong, and plans for the decoder.
 */
import type { TransformPlan } from '../../decoder/decode-plan.ts'
import type { ConfigProperties } from './config-value.ts'
import type { Findings } from './findings.ts'

export type CheckedTransforms = {
  readonly configs: readonly {
    readonly definition: Readonly<Record<string, unknown>> & { readonly name: string }
    readonly value: { readonly name: string; readonly value: string | null; readonly errors: readonly string[] }
  }[]
  readonly groups: readonly string[]
  /** Found only when everything else is sound. */
  readonly problems: readonly { readonly name: string; readonly message: string }[]
  /** Empty when anything is wrong. */
  readonly plans: readonly TransformPlan[]
}
export type CheckTransforms = (properties: ConfigProperties) => CheckedTransforms

/** Of a connector without transforms. */
export const NO_TRANSFORMS: CheckedTransforms = { configs: [], groups: [], problems: [], plans: [] }

export function noteTransforms(findings: Findings, checked: CheckedTransforms): void {
  for (const { value } of checked.configs) {
    findings.read(value.name)
    for (const message of value.errors) findings.error(value.name, message)
  }
  for (const { name, message } of checked.problems) findings.error(name, message)
  const unused = new Set(findings.unused())
  for (const name of [...findings.names('transforms.'), ...findings.names('predicates.')]) {
    if (!unused.has(name)) continue
    findings.read(name)
    findings.warn(name, `${name} is not known and has no effect`)
  }
}
