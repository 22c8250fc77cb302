/**
 * A request's bytes as text and as JSON, taken strictly: what two programs might read differently is refused.
 *
 *   bytes        UTF-8 without faults (a byte order mark is left out)
 *   text         whole characters, no half surrogate pairs; no key is called `__proto__`
 *   nesting      at most `DEPTH_MAX`, told before anything recursive sees the value
 *   keys         each once in an object: JSON.parse takes the last, a proxy in front of us may have checked the first
 *   numbers      whole ones beyond 2^53 become bigint, digits as given; what no double holds (`1e400`) is refused
 *
 * The scan below looks at nothing but brackets, strings and commas; JSON.parse then says what else is wrong. All faults are
 * `request-invalid`.
 */
import { MillraceError } from '../../schemas/errors.ts'

const DEPTH_MAX = 64
const decoder = new TextDecoder('utf-8', { fatal: true })

export function strictText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new MillraceError('request-invalid', 'the body is not UTF-8', { cause })
  }
}

type SourceReviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown
// The source of a value is not in the compiler's library yet; it is in every engine that package.json asks for.
const parseWithSource = JSON.parse as (text: string, reviver: SourceReviver) => unknown

export function strictJson(text: string, what: string): unknown {
  checkNesting(text, what)
  let value: unknown
  try {
    value = parseWithSource(text, (_key, each, context) => {
      if (typeof each === 'string') checkText(each, what)
      return typeof each === 'number' ? exactNumber(each, context.source ?? '', what) : each
    })
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause
    throw new MillraceError('request-invalid', `${what}: expected JSON, found ${shortened(text)}`, { cause })
  }
  return value
}

/** Half of a character would silently become another one on its way. */
function checkText(text: string, what: string): void {
  if (!text.isWellFormed()) throw new MillraceError('request-invalid', `${what}: a text has half of a surrogate pair`)
}

function exactNumber(value: number, source: string, what: string): number | bigint {
  if (!Number.isFinite(value)) {
    throw new MillraceError('request-invalid', `${what}: the number ${shortened(source)} is too large for a double`)
  }
  const isWhole = /^-?\d+$/.test(source)
  return isWhole && !Number.isSafeInteger(value) ? BigInt(source) : value
}

function shortened(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`
}

type Level = { readonly keys: Set<string> | undefined; expectsKey: boolean }

function checkNesting(text: string, what: string): void {
  const levels: Level[] = []
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: {
        const end = endOfString(text, at)
        const level = levels.at(-1)
        if (level?.keys && level.expectsKey) addKey(level.keys, text.slice(at, end), what)
        at = end - 1
        break
      }
      case 0x7b:
      case 0x5b: {
        if (levels.length === DEPTH_MAX) {
          throw new MillraceError('request-invalid', `${what}: JSON is nested deeper than ${DEPTH_MAX} levels`)
        }
        const isObject = text.charCodeAt(at) === 0x7b
        levels.push({ keys: isObject ? new Set() : undefined, expectsKey: isObject })
        break
      }
      case 0x7d:
      case 0x5d:
        levels.pop()
        break
      case 0x3a: {
        const level = levels.at(-1)
        if (level) level.expectsKey = false
        break
      }
      case 0x2c: {
        const level = levels.at(-1)
        if (level) level.expectsKey = true
      }
    }
  }
}

/** After the closing quote; the end of the text when there is none. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0x5c) at++
    else if (code === 0x22) return at + 1
  }
  return text.length
}

function addKey(keys: Set<string>, literal: string, what: string): void {
  let key: unknown
  try {
    key = literal.includes('\\') ? JSON.parse(literal) : literal.slice(1, -1)
  } catch {
    // No JSON string: JSON.parse of the whole says so.
    return
  }
  checkText(String(key), what)
  // Objects that are made of it on the way would lose it.
  if (key === '__proto__') throw new MillraceError('request-invalid', `${what}: no key may be called __proto__`)
  if (keys.has(String(key)))
    throw new MillraceError('request-invalid', `${what}: the key ${shortened(literal)} is there twice`)
  keys.add(String(key))
}
