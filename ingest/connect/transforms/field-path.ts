/**
 * The place of a field. Syntax `V1`: the name of a field at the top, whatever is in it. `V2`: names with dots between; a name
 * with dots in it stands between backticks, and a backtick before a dot inside them is written with a backslash.
 *
 *   a.b            field b of a
 *   `a.b`.c        field c of "a.b"
 */
import type { ConnectField, ConnectSchema } from '../data/schema.ts'
import { type ConnectMap, type ConnectValue, isMap, Struct } from '../data/values.ts'
import { SettingsProblem } from './settings.ts'
import { describe, refuse, requireFields } from './transform.ts'

export type FieldPath = readonly string[]

/** Throws `SettingsProblem` for backticks that do not pair. */
export function fieldPath(text: string, isNested: boolean): FieldPath {
  if (!isNested) return [text]
  const steps: string[] = []
  let at = 0
  while (at < text.length) {
    const [step, next] = text[at] === '`' ? quotedStep(text, at) : plainStep(text, at)
    steps.push(step)
    at = next
  }
  if (text.endsWith('.')) steps.push('')
  return steps
}

function plainStep(text: string, at: number): [step: string, next: number] {
  const dot = text.indexOf('.', at)
  return dot < 0 ? [text.slice(at), text.length] : [text.slice(at, dot), dot + 1]
}

/** Its closing backtick is one before a dot or at the end; others belong to the name. */
function quotedStep(text: string, opening: number): [step: string, next: number] {
  let step = ''
  let start = opening + 1
  for (let at = text.indexOf('`', start); at >= 0; at = text.indexOf('`', at + 1)) {
    const isEscaped = text[at - 1] === '\\'
    if (at === text.length - 1) {
      if (isEscaped) break
      return [step + text.slice(start, at), text.length]
    }
    if (text[at + 1] !== '.') continue
    if (!isEscaped) return [step + text.slice(start, at), at + 2]
    step += `${text.slice(start, at - 1)}\``
    start = at + 1
  }
  throw new SettingsProblem(`field "${text}": the backtick at ${opening} has no partner before a dot or at the end`)
}

export function fieldAt(schema: ConnectSchema, path: FieldPath): ConnectField | undefined {
  let field: ConnectField | undefined
  let inner = schema
  for (const step of path) {
    requireFields(inner)
    field = inner.field(step)
    if (field === undefined) return undefined
    inner = field.schema
  }
  return field
}

export function structValueAt(struct: Struct, path: FieldPath, withDefaults: boolean): ConnectValue {
  let current = struct
  for (let i = 0; i < path.length; i += 1) {
    const field = current.schema.field(path[i])
    if (field === undefined) return null
    const isLast = i === path.length - 1
    const value = isLast && !withDefaults ? current.values[field.index] : current.get(field)
    if (isLast || value === null) return value
    if (!(value instanceof Struct)) return refuse('data', `field "${path[i]}" is ${describe(value)}, not a struct`)
    current = value
  }
  return null
}

export function mapValueAt(map: ConnectMap, path: FieldPath): ConnectValue {
  let current: ConnectValue = map
  for (let i = 0; i < path.length; i += 1) {
    if (current === null) return null
    if (!isMap(current)) return refuse('data', `field "${path[i - 1]}" is ${describe(current)}, not a map`)
    current = current.get(path[i]) ?? null
  }
  return current
}
