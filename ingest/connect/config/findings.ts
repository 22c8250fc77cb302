/** Where the parts of a configuration collect what they find, and which properties they made use of. */
import { type ConfigFinding, type ConfigProperties, invalidValue } from './config-value.ts'
import { shownValue } from './secret-references.ts'

export type Findings = {
  /** The value as given; noted as used. */
  read(name: string): string | undefined
  /** Names that begin with the prefix, whether used or not. */
  names(prefix: string): readonly string[]
  error(name: string, message: string): void
  invalid(name: string, message: string): void
  warn(name: string, message: string): void
  readonly errors: readonly ConfigFinding[]
  readonly warnings: readonly ConfigFinding[]
  unused(): readonly string[]
}

export function createFindings(properties: ConfigProperties): Findings {
  const used = new Set<string>()
  const errors: ConfigFinding[] = []
  const warnings: ConfigFinding[] = []
  return {
    read(name) {
      used.add(name)
      return Object.hasOwn(properties, name) ? properties[name] : undefined
    },
    names: (prefix) => Object.keys(properties).filter((name) => name.startsWith(prefix)),
    error: (name, message) => void errors.push({ name, message }),
    invalid: (name, message) =>
      void errors.push(invalidValue(name, shownValue(name, properties[name] ?? 'null'), message)),
    warn: (name, message) => void warnings.push({ name, message }),
    errors,
    warnings,
    unused: () => Object.keys(properties).filter((name) => !used.has(name)),
  }
}
