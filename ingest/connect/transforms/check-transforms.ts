/**
 * The `transforms…` and `predicates…` properties of a connector: what each setting is, its value and its errors, in the form of
 * Kafka Connect's REST API (`/connector-plugins/…/config/validate`), and the plans that they make.
 *
 *   transforms=a,b   transforms.a.type=…   transforms.a.<setting>=…   transforms.a.predicate=p   transforms.a.negate=true
 *   predicates=p     predicates.p.type=…   predicates.p.<setting>=…
 *
 * `configs` is what Connect's validation says. Some mistakes it finds only when a task starts (InsertField without any field, a
 * predicate that is not defined): those are in `problems`, and a configuration with either kind must not be taken.
 */
import type { TransformPlan } from '../../decoder/decode-plan.ts'
import { type Plugin, PREDICATES, pluginNamed, TRANSFORMS } from './plugins.ts'
import { readSetting, type Setting, SettingsProblem, settingText, settingValues } from './settings.ts'
import { MapCopies } from './transform.ts'

/** `definition` and `value` as the REST API shows them. */
export type ConfigInfo = {
  readonly definition: {
    readonly name: string
    readonly type: string
    readonly required: boolean
    readonly default_value: string | null
    readonly importance: string
    readonly documentation: string
    readonly group: string | null
    readonly width: string
    readonly display_name: string
    readonly dependents: readonly string[]
    readonly order_in_group: number
  }
  readonly value: {
    readonly name: string
    readonly value: string | null
    readonly recommended_values: readonly string[]
    readonly errors: readonly string[]
    readonly visible: boolean
  }
}

export type CheckedTransforms = {
  readonly configs: readonly ConfigInfo[]
  /** `Transforms: a`, `Predicates: p`, in order. */
  readonly groups: readonly string[]
  readonly problems: readonly { readonly name: string; readonly message: string }[]
  /** Empty when anything is wrong. */
  readonly plans: readonly TransformPlan[]
}

/** The version of Connect whose behaviour ours is. */
export const PLUGIN_VERSION = '4.3.1'

type Kind = {
  readonly list: 'transforms' | 'predicates'
  readonly group: string
  readonly label: string
  readonly plugins: readonly Plugin<unknown>[]
  readonly common: readonly Setting[]
}

const PREDICATE: Setting = {
  name: 'predicate',
  type: 'STRING',
  defaultValue: null,
  importance: 'MEDIUM',
  documentation: 'Alias of the predicate that says which records the transform is for.',
}
const NEGATE: Setting = {
  name: 'negate',
  type: 'BOOLEAN',
  defaultValue: false,
  importance: 'MEDIUM',
  documentation: 'The transform is for the records that the predicate does not name.',
}

const KINDS: readonly Kind[] = [
  {
    list: 'transforms',
    group: 'Transforms',
    label: 'Transformation',
    plugins: TRANSFORMS,
    common: [PREDICATE, NEGATE],
  },
  { list: 'predicates', group: 'Predicates', label: 'Predicate', plugins: PREDICATES, common: [] },
]

type Properties = Readonly<Record<string, string>>

export function checkTransforms(properties: Properties): CheckedTransforms {
  const configs: ConfigInfo[] = []
  const groups: string[] = []
  const problems: { name: string; message: string }[] = []
  for (const kind of KINDS) {
    for (const alias of aliasesOf(properties, kind.list)) {
      groups.push(`${kind.group}: ${alias}`)
      configs.push(...checkAlias(properties, kind, alias))
    }
  }
  if (configs.every(({ value }) => value.errors.length === 0)) problems.push(...problemsTogether(properties))
  const isSound = problems.length === 0 && configs.every(({ value }) => value.errors.length === 0)
  return { configs, groups, problems, plans: isSound ? plansOf(properties) : [] }
}

function aliasesOf(properties: Properties, list: Kind['list']): readonly string[] {
  const text = properties[list]?.trim() ?? ''
  return text === '' ? [] : [...new Set(text.split(/\s*,\s*/))]
}

function checkAlias(properties: Properties, kind: Kind, alias: string): readonly ConfigInfo[] {
  const prefix = `${kind.list}.${alias}.`
  const group = `${kind.group}: ${alias}`
  const type = properties[`${prefix}type`]
  const plugin = type === undefined ? undefined : pluginNamed(kind.plugins, type.trim())
  const kindWord = kind.label.toLowerCase()
  const own: readonly Setting[] = [
    {
      name: 'type',
      type: 'STRING',
      defaultValue: undefined,
      importance: 'HIGH',
      documentation: `Class of the ${kindWord} "${alias}".`,
    },
    {
      name: 'plugin.version',
      type: 'STRING',
      defaultValue: plugin === undefined ? null : PLUGIN_VERSION,
      importance: 'HIGH',
      documentation: `Version of the ${kindWord} "${alias}"; there is one only.`,
    },
  ]
  const infos = own.map((setting, order) => {
    const info = infoOf(setting, properties[prefix + setting.name], { prefix, group, order })
    return { definition: { ...info.definition, width: 'LONG' }, value: info.value }
  })
  infos[0] = typeInfo(infos[0], properties, kind, alias, plugin)
  infos[1] = {
    definition: { ...infos[1].definition, display_name: `${kind.label} version for ${alias}` },
    value: { ...infos[1].value, recommended_values: plugin ? [PLUGIN_VERSION] : [] },
  }
  if (plugin === undefined) return infos
  const settings = [...kind.common, ...plugin.settings].toSorted(byRank)
  return [
    ...infos,
    ...settings.map((setting, i) =>
      infoOf(setting, properties[prefix + setting.name], { prefix, group, order: i + own.length }),
    ),
  ]
}

function typeInfo(
  info: ConfigInfo,
  properties: Properties,
  kind: Kind,
  alias: string,
  plugin: Plugin<unknown> | undefined,
): ConfigInfo {
  const prefix = `${kind.list}.${alias}.`
  const { name, value } = info.value
  const errors = [...info.value.errors]
  const known = value === null ? undefined : (plugin ?? pluginNamed<unknown>([...TRANSFORMS, ...PREDICATES], value))
  if (known !== undefined && plugin === undefined) errors.push(`${value} is no ${kind.label.toLowerCase()}.`)
  else if (value !== null && plugin === undefined) {
    errors.push(`Invalid value ${value} for configuration ${name}: Class ${value} could not be found.`)
  }
  if (
    kind.list === 'transforms' &&
    properties[`${prefix}negate`] !== undefined &&
    !(`${prefix}predicate` in properties)
  ) {
    errors.push(
      `Config '${prefix}negate' was provided but there is no config '${prefix}predicate' defining a predicate to be negated.`,
    )
  }
  return {
    definition: { ...info.definition, type: 'CLASS', display_name: `${kind.label} type for ${alias}` },
    value: {
      ...info.value,
      value: known?.className ?? null,
      recommended_values: kind.plugins.map(({ className }) => className),
      errors,
    },
  }
}

/** Required settings come first, then the more important, then by name. */
function byRank(a: Setting, b: Setting): number {
  const ranks = ['HIGH', 'MEDIUM', 'LOW']
  const isOptional = (setting: Setting) => (setting.defaultValue === undefined ? 0 : 1)
  return (
    isOptional(a) - isOptional(b) ||
    ranks.indexOf(a.importance) - ranks.indexOf(b.importance) ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  )
}

type Place = { readonly prefix: string; readonly group: string | null; readonly order: number }

function infoOf(setting: Setting, text: string | undefined, { prefix, group, order }: Place): ConfigInfo {
  const name = prefix + setting.name
  const { value, errors } = readSetting(setting, text, name)
  return {
    definition: {
      name,
      type: setting.type,
      required: setting.defaultValue === undefined,
      default_value: setting.defaultValue === undefined ? null : settingText(setting.defaultValue),
      importance: setting.importance,
      documentation: setting.documentation,
      group,
      width: 'NONE',
      display_name: setting.name,
      dependents: [],
      order_in_group: order,
    },
    value: { name, value: settingText(value), recommended_values: [], errors, visible: true },
  }
}

/** `/connector-plugins/{class}/config`; undefined: there is no such transform or predicate. */
export function pluginDefinitions(className: string): readonly ConfigInfo['definition'][] | undefined {
  const plugin = pluginNamed<unknown>([...TRANSFORMS, ...PREDICATES], className)
  return plugin?.settings.map(
    (setting) => infoOf(setting, undefined, { prefix: '', group: null, order: -1 }).definition,
  )
}

function problemsTogether(properties: Properties): { name: string; message: string }[] {
  const problems: { name: string; message: string }[] = []
  const predicates = aliasesOf(properties, 'predicates')
  for (const kind of KINDS) {
    for (const alias of aliasesOf(properties, kind.list)) {
      const prefix = `${kind.list}.${alias}.`
      const plugin = pluginNamed(kind.plugins, properties[`${prefix}type`].trim())
      try {
        plugin?.create(settingValues(plugin.settings, settingsOf(properties, prefix)), {
          nowMillis: 0,
          maps: new MapCopies(),
        })
      } catch (cause) {
        if (!(cause instanceof SettingsProblem)) throw cause
        problems.push({ name: `${prefix}type`, message: cause.message })
      }
      const predicate = kind.list === 'transforms' ? properties[`${prefix}predicate`] : undefined
      if (predicate !== undefined && !predicates.includes(predicate)) {
        problems.push({ name: `${prefix}predicate`, message: `predicates has no "${predicate}"` })
      }
    }
  }
  return problems
}

function settingsOf(properties: Properties, prefix: string): Record<string, string> {
  const own = Object.entries(properties).filter(([name]) => name.startsWith(prefix))
  const settings = Object.fromEntries(own.map(([name, text]) => [name.slice(prefix.length), text]))
  delete settings.type
  delete settings['plugin.version']
  delete settings.predicate
  delete settings.negate
  return settings
}

function plansOf(properties: Properties): readonly TransformPlan[] {
  return aliasesOf(properties, 'transforms').map((name) => {
    const prefix = `transforms.${name}.`
    const plan = { name, type: properties[`${prefix}type`].trim(), settings: settingsOf(properties, prefix) }
    const alias = properties[`${prefix}predicate`]
    if (alias === undefined) return plan
    const predicate = {
      type: properties[`predicates.${alias}.type`].trim(),
      settings: settingsOf(properties, `predicates.${alias}.`),
      negate: properties[`${prefix}negate`]?.toLowerCase() === 'true',
    }
    return { ...plan, predicate }
  })
}
