/**
 * What a property of a connector is (its definition) and what was found there (its value and errors), as Kafka Connect's
 * REST API tells both; texts are parsed the way its `ConfigDef` does, with its messages, since people and programs know them.
 */
export type ConfigType = 'BOOLEAN' | 'STRING' | 'INT' | 'SHORT' | 'LONG' | 'LIST' | 'CLASS' | 'PASSWORD'
export type ConfigImportance = 'HIGH' | 'MEDIUM' | 'LOW'

export type ConfigDefinition = {
  readonly name: string
  readonly type: ConfigType
  /** undefined: there is none, and it is not needed. */
  readonly fallback?: string
  readonly required?: boolean
  readonly importance: ConfigImportance
  readonly documentation: string
  readonly group: string
  readonly displayName: string
  readonly allowed?: readonly string[]
  readonly min?: number
  readonly max?: number
}

export type ConfigProperties = Readonly<Record<string, string>>

/** Of one property: what is wrong, and what is only worth telling. */
export type ConfigFinding = { readonly name: string; readonly message: string }

export type ConfigReport = {
  readonly values: readonly ConfigValue[]
  readonly errors: readonly ConfigFinding[]
  readonly warnings: readonly ConfigFinding[]
}

export type ConfigValue = {
  readonly definition: ConfigDefinition
  /** As given, else the default. References to secrets stay references. */
  readonly value: string | null
  readonly errors: readonly string[]
}

export function invalidValue(name: string, value: string, message: string): ConfigFinding {
  return { name, message: `Invalid value ${value} for configuration ${name}: ${message}` }
}

/** What is wrong with a text for its definition; undefined: nothing. */
export function textProblem(definition: ConfigDefinition, text: string): string | undefined {
  switch (definition.type) {
    case 'BOOLEAN':
      return /^(?:true|false)$/i.test(text.trim()) ? undefined : 'Expected value to be either true or false'
    case 'INT':
    case 'SHORT':
    case 'LONG':
      return numberProblem(definition, text)
    case 'STRING':
      if (definition.allowed && !definition.allowed.includes(text)) {
        return `String must be one of: ${definition.allowed.join(', ')}`
      }
      return undefined
    default:
      return undefined
  }
}

const BOUNDS = { INT: 2n ** 31n, SHORT: 2n ** 15n, LONG: 2n ** 63n } as const

function numberProblem(definition: ConfigDefinition, text: string): string | undefined {
  const type = definition.type as keyof typeof BOUNDS
  if (!/^[+-]?\d{1,20}$/.test(text.trim())) return `Not a number of type ${type}`
  const value = BigInt(text.trim().replace(/^\+/, ''))
  if (value >= BOUNDS[type] || value < -BOUNDS[type]) return `Not a number of type ${type}`
  if (definition.min !== undefined && value < BigInt(definition.min)) return `Value must be at least ${definition.min}`
  if (definition.max !== undefined && value > BigInt(definition.max))
    return `Value must be no more than ${definition.max}`
  return undefined
}

/** Parsed texts; `textProblem` was asked before. */
export function isTrue(text: string): boolean {
  return text.trim().toLowerCase() === 'true'
}

export function listOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
