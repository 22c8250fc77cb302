/**
 * The settings in force as texts, for people: what each is, what it would be by default, who gave it, what it means. What is
 * secret is masked, wherever it stands.
 */
import { withoutPassword } from '../schemas/url-password.ts'
import type { LoadedSettings, TakenSetting } from './load-settings.ts'
import { isSecretKey, MASK, SECRET_LENGTH_MIN } from './log.ts'

export type SettingRow = {
  readonly name: string
  /** undefined: it has none. */
  readonly value: string | undefined
  readonly default_value: string | undefined
  /** Where it was given; undefined: it is the default. */
  readonly source: string | undefined
  readonly description: string
}

export function settingRowsOf({
  taken,
  given,
  secrets,
}: Pick<LoadedSettings, 'taken' | 'given' | 'secrets'>): SettingRow[] {
  const masked = (text: string | undefined) =>
    text === undefined ? undefined : withoutSecrets(withoutPassword(text), secrets)
  return taken.map((setting) => {
    const { path, leaf } = setting
    return {
      name: path,
      value: masked(valueText(setting)),
      default_value: textOf(leaf.fallbackText),
      source: given.get(path),
      description: leaf.description,
    }
  })
}

/** A duration or size as it was written: `500 ms` says more than 500. */
function valueText({ leaf, value, written }: TakenSetting): string | undefined {
  if (written === undefined) return textOf(leaf.fallbackText)
  if (leaf.secret) return MASK
  return textOf(typeof value === 'string' ? value : written)
}

function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'object') {
    return JSON.stringify(value, (key, each: unknown) => (isSecretKey(key) && typeof each === 'string' ? MASK : each))
  }
  return String(value)
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  if (secrets.includes(text)) return MASK
  return secrets
    .filter((secret) => secret.length >= SECRET_LENGTH_MIN)
    .reduce((shown, secret) => shown.replaceAll(secret, MASK), text)
}
