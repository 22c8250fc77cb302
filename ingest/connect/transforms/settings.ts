/**
 * Settings of transforms and predicates: what each is, and the value that a text gives, read as Kafka's `ConfigDef` reads it:
 * blanks around it do not count, a list is split at commas, `true` and `false` in any case, nothing else.
 */
export type SettingType = 'STRING' | 'LIST' | 'BOOLEAN' | 'INT'
export type SettingValue = string | boolean | number | readonly string[] | null

export type Setting = {
  readonly name: string
  readonly type: SettingType
  /** undefined: there is none, the setting is required. */
  readonly defaultValue: SettingValue | undefined
  readonly importance: 'HIGH' | 'MEDIUM' | 'LOW'
  readonly documentation: string
  /** What is wrong with the value (null also when it is missing or no value at all); undefined: nothing. */
  readonly problem?: (value: SettingValue) => string | undefined
}

/** Of a plugin, by name: all settings parsed, defaults filled in. */
export type SettingValues = {
  text(name: string): string | undefined
  list(name: string): readonly string[]
  flag(name: string): boolean
  number(name: string): number | undefined
}

/** What only the settings together show; `message` says what to change. */
export class SettingsProblem extends Error {}

export type SettingReading = { readonly value: SettingValue; readonly errors: readonly string[] }

/** `label`: the name with its prefix, for what is wrong with the text itself; what is wrong with the value names it without. */
export function readSetting(setting: Setting, text: string | undefined, label = setting.name): SettingReading {
  const errors: string[] = []
  let value: SettingValue = null
  if (text === undefined) {
    if (setting.defaultValue === undefined) {
      errors.push(`Missing required configuration "${label}" which has no default value.`)
    } else {
      value = setting.defaultValue
    }
  } else {
    const parsed = parseSetting(setting.type, text)
    if (typeof parsed === 'object' && parsed !== null && 'problem' in parsed) {
      errors.push(`Invalid value ${text} for configuration ${label}: ${parsed.problem}`)
    } else {
      value = parsed
    }
  }
  const problem = setting.problem?.(value)
  if (problem !== undefined) errors.push(problem)
  return { value, errors }
}

function parseSetting(type: SettingType, text: string): SettingValue | { readonly problem: string } {
  const trimmed = text.trim()
  switch (type) {
    case 'STRING':
      return trimmed
    case 'LIST':
      return trimmed === '' ? [] : trimmed.split(/[ \t\n\v\f\r]*,[ \t\n\v\f\r]*/)
    case 'BOOLEAN':
      if (/^true$/i.test(trimmed)) return true
      return /^false$/i.test(trimmed) ? false : { problem: 'Expected value to be either true or false' }
    case 'INT': {
      const value = /^[+-]?\d{1,10}$/.test(trimmed) ? Number(trimmed) : Number.NaN
      return (value | 0) === value ? value : { problem: 'Not a number of type INT' }
    }
  }
}

/** As the REST API shows it; null: none. */
export function settingText(value: SettingValue): string | null {
  if (value === null) return null
  return typeof value === 'object' ? value.join(',') : String(value)
}

/** Throws `SettingsProblem` for the first setting that is wrong. */
export function settingValues(settings: readonly Setting[], texts: Readonly<Record<string, string>>): SettingValues {
  const values = new Map<string, SettingValue>()
  for (const setting of settings) {
    const { value, errors } = readSetting(setting, texts[setting.name])
    if (errors.length > 0) throw new SettingsProblem(errors[0])
    values.set(setting.name, value)
  }
  return {
    text(name) {
      const value = values.get(name)
      return typeof value === 'string' ? value : undefined
    },
    list(name) {
      const value = values.get(name)
      return Array.isArray(value) ? value : []
    },
    flag: (name) => values.get(name) === true,
    number(name) {
      const value = values.get(name)
      return typeof value === 'number' ? value : undefined
    },
  }
}

type Shape = Partial<Pick<Setting, 'defaultValue' | 'importance' | 'problem'>>

export function textSetting(name: string, documentation: string, shape: Shape = {}): Setting {
  return { name, type: 'STRING', defaultValue: undefined, importance: 'MEDIUM', documentation, ...shape }
}

export function listSetting(name: string, documentation: string, shape: Shape = {}): Setting {
  return { name, type: 'LIST', defaultValue: undefined, importance: 'HIGH', documentation, ...shape }
}

export const REPLACE_NULL: Setting = {
  name: 'replace.null.with.default',
  type: 'BOOLEAN',
  defaultValue: true,
  importance: 'MEDIUM',
  documentation: 'A field that is null and whose schema has a default gets the default (true), or stays null (false).',
}

export function invalid(name: string, value: SettingValue, message: string): string {
  const shown = Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
  return `Invalid value ${shown} for configuration ${name}: ${message}`
}

export function oneOf(name: string, allowed: readonly string[]): (value: SettingValue) => string | undefined {
  return (value) =>
    typeof value === 'string' && allowed.includes(value)
      ? undefined
      : invalid(name, value, `String must be one of: ${allowed.join(', ')}`)
}

/** Each once, none empty; at least one unless the empty list is allowed. */
export function distinct(name: string, isEmptyAllowed: boolean): (value: SettingValue) => string | undefined {
  return (value) => {
    if (!Array.isArray(value)) return `Configuration '${name}' values must not be null.`
    if (value.length === 0 && !isEmptyAllowed) {
      return `Configuration '${name}' must not be empty. Valid values include: any non-empty value`
    }
    if (new Set(value).size < value.length) return `Configuration '${name}' values must not be duplicated.`
    return value.includes('') ? `Configuration '${name}' values must not be empty.` : undefined
  }
}

export function filledList(name: string): (value: SettingValue) => string | undefined {
  return (value) => (Array.isArray(value) && value.length > 0 ? undefined : invalid(name, value, 'Empty list'))
}

export function filledText(name: string): (value: SettingValue) => string | undefined {
  return (value) => (value === '' ? invalid(name, value, 'String must be non-empty') : undefined)
}

/** `String.split(":")`: empty parts at the end are dropped. */
export function splitAtColons(text: string): string[] {
  const parts = text.split(':')
  if (text === '') return parts
  while (parts.length > 0 && parts.at(-1) === '') parts.pop()
  return parts
}
