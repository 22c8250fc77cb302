/**
 * The envelope of Connect's JsonConverter (`schemas.enable`): `{"schema": …, "payload": …}` in each record.
 *
 * Nearly always the schema is byte for byte the one of the record before, and stands first: then finding the payload is one
 * comparison. Else the object's keys are looked for, in any order; as for JsonConverter there are exactly these two.
 */
import {
  kindOfValue,
  problem,
  scanProblem,
  scanProblemAt,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
} from '../../decoder/scan-json.ts'

/** Positions of what `splitEnvelope` found. */
export let schemaStart = 0
export let schemaEnd = 0
export let payloadStart = 0
export let payloadEnd = 0
/** Why it returned false. */
export let envelopeProblem = ''

const SCHEMA = Buffer.from('{"schema":')
const PAYLOAD = Buffer.from(',"payload":')

/**
 * Whether the record begins with this schema, and where its payload would be then. What lies there is not looked at: if no
 * value can be read from it, `splitEnvelope` has to say where the payload really is.
 */
export function hasSchema(schema: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const at = start + SCHEMA.length
  const after = at + schema.length
  const payload = after + PAYLOAD.length
  if (payload >= end || bytes[end - 1] !== 0x7d) return false
  if (!isAt(SCHEMA, bytes, start) || !isAt(PAYLOAD, bytes, after)) return false
  if (Buffer.compare(bytes.subarray(at, after), schema) !== 0) return false
  schemaStart = at
  schemaEnd = after
  payloadStart = payload
  payloadEnd = end - 1
  return true
}

function isAt(text: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < text.length; index += 1) if (bytes[at + index] !== text[index]) return false
  return true
}

export function splitEnvelope(bytes: Uint8Array, start: number, end: number): boolean {
  schemaStart = -1
  payloadStart = -1
  let position = skipSpace(bytes, start, end)
  if (position >= end) return no('malformed JSON: empty record at byte 0')
  const whole = skipValue(bytes, position, end, 0)
  const after = whole < 0 ? -1 : skipSpace(bytes, whole, end)
  if (after >= 0 && after < end) problem('more text after the value', after)
  if (after < end) return no(`malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}`)
  if (bytes[position] !== 0x7b) {
    return no(
      `expected an envelope {"schema", "payload"}, found ${kindOfValue(bytes[position])} at byte ${position - start}`,
    )
  }
  // Well-formed: only keys and values are to be told apart.
  position = skipSpace(bytes, position + 1, end)
  while (bytes[position] === 0x22) {
    const quote = skipString(bytes, position + 1, end)
    const key = JSON.parse(Buffer.from(bytes.subarray(position, quote + 1)).toString()) as string
    const value = skipColon(bytes, quote + 1, end)
    const stop = skipValue(bytes, value, end, 1)
    if (key === 'schema') {
      schemaStart = value
      schemaEnd = stop
    } else if (key === 'payload') {
      payloadStart = value
      payloadEnd = stop
    } else return no(`expected an envelope {"schema", "payload"}, found another key at byte ${position - start}`)
    position = skipSpace(bytes, stop, end)
    if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1, end)
  }
  if (schemaStart >= 0 && payloadStart >= 0) return true
  return no(`expected an envelope {"schema", "payload"}, found no "${schemaStart < 0 ? 'schema' : 'payload'}"`)
}

function no(text: string): false {
  envelopeProblem = text
  return false
}
