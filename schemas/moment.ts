/**
 * A moment as people write it for a command: `2026-01-31`, `2026-01-31T10:00:00Z`, `2026-01-31 10:00+02:00`; UTC where nothing else
 * is said. Strict, where `Date.parse` is not: it takes 31 February for 3 March, `2026-01-31 junk` for the first of June, and a
 * time without a zone for one of this machine's; with `discard --until` records would be gone by it.
 */
import { MillraceError } from './errors.ts'

const SHAPE = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,6}))?(Z|[+-]\d\d:?\d\d)?)?$/

/** Microseconds since 1970. Throws `request-invalid` that names what the text was meant for. */
export function parseMoment(name: string, text: string): bigint {
  const refuse = () =>
    new MillraceError('request-invalid', `${name}: expected a moment such as 2026-01-31T10:00:00Z, found ${text}`)
  const found = SHAPE.exec(text)
  if (!found) throw refuse()
  const [, day, minute = '00:00', second = ':00', fraction = '', zone = 'Z'] = found
  const local = Date.parse(`${day}T${minute}${second}Z`)
  const offset = zone === 'Z' ? 0 : Date.parse(`1970-01-01T00:00:00${zone.replace(/^(...):?/, '$1:')}`)
  if (Number.isNaN(local + offset) || new Date(local).toISOString() !== `${day}T${minute}${second}.000Z`) throw refuse()
  return BigInt(local + offset) * 1000n + BigInt(fraction.padEnd(6, '0'))
}
