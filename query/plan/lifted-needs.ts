/**
 * What statements of one shape need of their tables, asked once: the filters of another one are those of the first with its own
 * values in them.
 *
 *   first     a shape is seen: asked as usual
 *   second    two probes are asked, the same statement with other values in its lifted places. Every filter value that is one
 *             of a probe's becomes a slot. When both probes come out the same, slots for values, no value decides anything but
 *             these slots: the shape is known. Otherwise it never is, and each of its statements is asked as before
 *   later     the statement's own values fill the slots; one that does not fit for sure (`lifted-values.ts`) is asked as before
 *
 * A filter too few excludes less than could be; a wrong one would lose rows. Hence probes differ in every value, contradict
 * nothing, and anything that comes of a value in another way (a prefix, a range, a rounding) makes the two unequal.
 */
import type { FilterValue } from '../../lake/parquet/prune.ts'
import type { ColumnType } from '../../schemas/column-type.ts'
import { createRecent } from '../run/recent.ts'
import {
  classOfText,
  type LiftedParameter,
  type LiftedPlace,
  type Lifting,
  type Probe,
  probeSql,
  probeValue,
  type Shape,
} from '../statement/lifted-literals.ts'
import { filterValueOf, type LiftedValue } from './lifted-values.ts'

export type LiftedStatement = Lifting & {
  readonly shape: Shape
  /** The shape, and the literals that are not lifted. */
  readonly key: string
}

type Params = readonly unknown[] | Readonly<Record<string, unknown>>

export type LiftedNeeds<Needs> = {
  /** undefined: ask about the statement itself. `context`: what the needs depend on besides. */
  of(
    lifted: LiftedStatement,
    sql: string,
    params: Params,
    context: unknown,
    ask: (sql: string, params: Params) => Promise<Needs>,
  ): Promise<Needs | undefined>
}

const SHAPES_KEPT_MAX = 1000
const KEY_LENGTH_MAX = 20_000

class Slot {
  readonly index: number
  readonly type: ColumnType
  constructor(index: number, type: ColumnType) {
    this.index = index
    this.type = type
  }
}

type Known<Needs> = 'seen' | 'never' | { readonly template: Needs }

export function createLiftedNeeds<Needs>(): LiftedNeeds<Needs> {
  const shapes = createRecent<Known<Needs>>(SHAPES_KEPT_MAX)

  async function learn(
    { shape, places }: LiftedStatement,
    sql: string,
    params: Params,
    parameters: readonly (LiftedParameter & LiftedValue)[],
    values: readonly LiftedValue[],
    ask: (sql: string, params: Params) => Promise<Needs>,
  ): Promise<Known<Needs>> {
    const roles = [...places, ...parameters].map(({ role }) => role)
    const templates: Needs[] = []
    for (const probe of [0, 1] as const) {
      const probes = values.map((value, index) => probeOf(value, roles[index], index, probe))
      const texts = probes.flatMap((each) => (each === undefined ? [] : [each.value]))
      if (texts.length < probes.length || texts.some((text) => sql.includes(text))) return 'never'
      const probed = probeSql(sql, shape, places, texts)
      const needs = await ask(probed, withParameters(params, parameters, texts.slice(places.length)))
      templates.push(
        mapValues(needs, (type, value) => {
          const index = probes.findIndex((each) => isSame(filterValueOf(each!, type), value))
          return index < 0 ? value : new Slot(index, type)
        }),
      )
    }
    return canonical(templates[0]) === canonical(templates[1]) ? { template: templates[0] } : 'never'
  }

  return {
    async of(lifted, sql, params, context, ask) {
      const { lifting, rest } = liftParameters(lifted.parameters, params)
      const values = [...lifted.places.map((place) => literalValue(lifted.shape, place)), ...lifting]
      if (values.length === 0) return undefined
      const key = canonical([lifted.key, context, lifting.map((each) => [each.name, each.class]), rest])
      if (key.length > KEY_LENGTH_MAX) return undefined
      const known = shapes.get(key)
      if (known === undefined) {
        shapes.set(key, 'seen')
        return undefined
      }
      if (known === 'never') return undefined
      const learned =
        known === 'seen' ? await learn(lifted, sql, params, lifting, values, ask).catch(() => 'never' as const) : known
      if (learned !== known) shapes.set(key, learned)
      if (learned === 'never' || learned === 'seen') return undefined
      let fits = true
      const needs = mapValues(learned.template, (_, value) => {
        if (!(value instanceof Slot)) return value
        const own = filterValueOf(values[value.index], value.type)
        if (own === undefined) fits = false
        return own
      })
      return fits ? needs : undefined
    },
  }
}

function literalValue({ literals }: Shape, { literal, isNegative }: LiftedPlace): LiftedValue {
  const { class: literalClass, value } = literals[literal]
  return { class: literalClass, value, isNegative }
}

function probeOf(
  { class: given, isNegative }: LiftedValue,
  role: LiftedPlace['role'],
  index: number,
  probe: Probe,
): LiftedValue | undefined {
  const like = given.kind === 'double' ? ({ kind: 'decimal', before: 6, after: 3 } as const) : given
  const value = probeValue(like, role, index, probe)
  return value === undefined ? undefined : { class: given, value, isNegative }
}

/** Parameters that are lifted, with their values; and all others as they are. */
function liftParameters(parameters: readonly LiftedParameter[], params: Params) {
  const given = Array.isArray(params)
    ? new Map(params.map((value, index): [string, unknown] => [String(index + 1), value]))
    : new Map(Object.entries(params))
  const lifting: (LiftedParameter & LiftedValue)[] = []
  for (const parameter of parameters) {
    const literalClass = classOfParameter(given.get(parameter.name))
    if (literalClass === undefined) continue
    const value = String(given.get(parameter.name))
    const isNegative = literalClass.kind !== 'text' && value.startsWith('-')
    lifting.push({ ...parameter, class: literalClass, value: isNegative ? value.slice(1) : value, isNegative })
    given.delete(parameter.name)
  }
  return { lifting, rest: [...given] }
}

function classOfParameter(value: unknown): LiftedValue['class'] | undefined {
  if (typeof value === 'string') return classOfText(value)
  if (typeof value !== 'number' || Object.is(value, -0) || !Number.isFinite(value)) return undefined
  if (Number.isSafeInteger(value)) return { kind: 'integer', bits: 32 }
  return { kind: 'double' }
}

function withParameters(params: Params, lifting: readonly (LiftedParameter & LiftedValue)[], texts: readonly string[]) {
  const changed: [string, unknown][] = lifting.map(({ name, class: given, isNegative }, index) => {
    const isText = given.kind !== 'integer' && given.kind !== 'double'
    return [name, isText ? texts[index] : Number(isNegative ? `-${texts[index]}` : texts[index])]
  })
  if (!Array.isArray(params)) return { ...params, ...Object.fromEntries(changed) }
  const list: unknown[] = [...params]
  for (const [name, value] of changed) list[Number(name) - 1] = value
  return list
}

/** A copy in which every value that is compared with a column of a type is replaced. */
function mapValues<T>(whole: T, replace: (type: ColumnType, value: FilterValue | Slot) => unknown): T {
  const copy = (value: unknown): unknown => {
    if (value instanceof Map) return new Map([...value].map(([key, each]) => [key, copy(each)]))
    if (value instanceof Set) return new Set(value)
    if (Array.isArray(value)) return value.map(copy)
    if (value === null || typeof value !== 'object' || value instanceof Uint8Array || value instanceof Slot)
      return value
    const entries = Object.entries(value)
    const { type } = value as { type?: ColumnType }
    if (typeof type !== 'object' || type === null) {
      return Object.fromEntries(entries.map(([name, each]) => [name, copy(each)]))
    }
    return Object.fromEntries(
      entries.map(([name, each]) => {
        if (name === 'value') return [name, replace(type, each as FilterValue)]
        if (name === 'values') return [name, (each as FilterValue[]).map((one) => replace(type, one))]
        return [name, name === 'type' ? each : copy(each)]
      }),
    )
  }
  return copy(whole) as T
}

function isSame(a: FilterValue | undefined, b: unknown): boolean {
  return a !== undefined && typeof a === typeof b && Object.is(a, b)
}

/** Everything in it as text; sets in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (each instanceof Map) return { map: [...each] }
    if (each instanceof Set) return { set: [...each].map(String).sort() }
    if (each instanceof Slot) return { slot: each.index, type: each.type }
    if (typeof each === 'bigint') return `${each}n`
    if (each instanceof Uint8Array) return Buffer.from(each).toString('hex')
    return each
  })
}
