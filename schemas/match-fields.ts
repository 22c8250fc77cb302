/**
 * Which field of a table a field of the records is. Evolution and decoders ask the same question, here: a field that
 * evolution takes for new must not be one that a decoder fills.
 *
 *   1. the same `sourceId` (a Protobuf number, an Avro `field-id`), whatever it is called
 *   2. the same name
 *   3. a name that the table's field had before it was renamed (`formerNames`)
 *   4. one of the record's field's `aliases` (earlier names), against names and former names
 *   5. the same name but for upper and lower case, since a table has no two such columns
 *
 * A field of the table is taken once, in the order of these rules and then of the record's fields. A name does not match where
 * both have a `sourceId` of one message and they differ: that is another field under a name used again. Numbers of different
 * messages (`numberedIn`), which may feed one table side by side, say nothing of each other. Hidden columns are never found.
 *
 * Fields inside a struct are matched among themselves; the element of a list and the key and value of a map by their place.
 */
import type { Field } from './column-type.ts'
import type { RecordField } from './record-schema.ts'
import { FIRST_USER_FIELD_ID } from './table-schema.ts'

/** Names that are equal when folded cannot be columns of one table. */
export function foldName(name: string): string {
  return name.toLowerCase()
}

/** Field numbers of a message are below. */
const NUMBERS = 2 ** 29

/** The `sourceId` of a field that has this number in the message of this full name. */
export function numberedIn(message: string, number: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < message.length; at += 1) hash = Math.imul(hash ^ message.charCodeAt(at), 0x01000193)
  // 24 bits beside the number's 29 are a safe integer.
  return ((hash ^ (hash >>> 24)) & 0xffffff) * NUMBERS + number
}

function isOfOneMessage(a: number, b: number): boolean {
  return Math.floor(a / NUMBERS) === Math.floor(b / NUMBERS)
}

/** For each of the record's fields the position of the table's field, or -1. */
export function matchFields(records: readonly RecordField[], table: readonly Field[]): Int32Array {
  const matched = new Int32Array(records.length).fill(-1)
  const taken = new Uint8Array(table.length)
  const lookup = lookupOf(table)

  function claim(positionsOf: (record: RecordField) => readonly (number | undefined)[]): void {
    for (const [index, record] of records.entries()) {
      if (matched[index] >= 0) continue
      for (const position of positionsOf(record)) {
        if (position === undefined || taken[position] === 1) continue
        matched[index] = position
        taken[position] = 1
        break
      }
    }
  }

  const named = (names: ReadonlyMap<string, number>, name: string, { sourceId }: RecordField) => {
    const position = names.get(name)
    if (position === undefined || sourceId === undefined) return position
    const own = table[position].sourceId
    return own === undefined || own === sourceId || !isOfOneMessage(own, sourceId) ? position : undefined
  }
  claim(({ sourceId }) => (sourceId === undefined ? [] : [lookup.bySourceId.get(sourceId)]))
  claim((record) => [named(lookup.byName, record.name, record)])
  claim((record) => [named(lookup.byFormerName, record.name, record)])
  claim((record) => (record.aliases ?? []).map((alias) => named(lookup.byName, alias, record)))
  claim((record) => (record.aliases ?? []).map((alias) => named(lookup.byFormerName, alias, record)))
  claim((record) => [named(lookup.byFoldedName, foldName(record.name), record)])
  return matched
}

/**
 * Names under which records without a schema bring values → the position of the table's field: its own name, and former names
 * that no other field has now.
 */
export function keysOfFields(table: readonly Field[]): ReadonlyMap<string, number> {
  const { byName, byFormerName } = lookupOf(table)
  return new Map([...byFormerName, ...byName])
}

function lookupOf(table: readonly Field[]) {
  const bySourceId = new Map<number, number>()
  const byName = new Map<string, number>()
  const byFormerName = new Map<string, number>()
  const byFoldedName = new Map<string, number>()
  for (const [position, { fieldId, name, sourceId, formerNames = [] }] of table.entries()) {
    if (fieldId > 0 && fieldId < FIRST_USER_FIELD_ID) continue
    byName.set(name, position)
    byFoldedName.set(foldName(name), position)
    if (sourceId !== undefined) bySourceId.set(sourceId, position)
    for (const former of formerNames) if (!byFormerName.has(former)) byFormerName.set(former, position)
  }
  return { bySourceId, byName, byFormerName, byFoldedName }
}
