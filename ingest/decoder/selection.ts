/**
 * Which writer each record of a block has, and where the bytes for it lie: looked up once for a block, before anything is
 * decoded, because a schema that the plan lacks must be asked for first.
 */
import { schemaIdHeaderProblem } from '../formats/schema-id-header.ts'
import type { RecordBlock } from '../kafka/kafka-source.ts'
import type { DecodeFailure } from './decoder.ts'
import {
  bodyEnd,
  bodyStart,
  NO_VALUE,
  UNKNOWN_SCHEMA,
  UNREADABLE,
  unknownId,
  type Writer,
  type Writers,
  writerFailure,
} from './writers.ts'

export type Selection = {
  readonly writers: Writers
  index: Int32Array
  starts: Int32Array
  ends: Int32Array
  /** Of records whose writer cannot be told. */
  failures: Map<number, DecodeFailure>
  /** Ids that the plan lacks. */
  unknown: Set<number>
}

export function createSelection(writers: Writers): Selection {
  const none = new Int32Array(0)
  return { writers, index: none, starts: none, ends: none, failures: new Map(), unknown: new Set() }
}

export function select(
  selection: Selection,
  block: RecordBlock,
  first: number,
  starts: Int32Array,
  ends: Int32Array,
): void {
  const { writers, failures, unknown } = selection
  const { bytes, count } = block
  failures.clear()
  unknown.clear()
  if (selection.index.length < count) selection.index = new Int32Array(Math.max(count, 1024))
  const isKey = starts === block.keyStarts
  if (writers.isOne) {
    // Filled with 0 from the start.
    selection.starts = starts
    selection.ends = ends
    return
  }
  if (selection.starts.length < count) {
    selection.starts = new Int32Array(selection.index.length)
    selection.ends = new Int32Array(selection.index.length)
  }
  for (let at = first; at < count; at += 1) {
    if (starts[at] < 0) {
      selection.index[at] = NO_VALUE
      continue
    }
    const headerProblem = writers.isFramed ? schemaIdHeaderProblem(block, at, isKey) : undefined
    if (headerProblem !== undefined) {
      selection.index[at] = UNREADABLE
      failures.set(at, { reason: headerProblem, column: undefined })
      continue
    }
    const writer = writers.select(bytes, starts[at], ends[at])
    selection.index[at] = writer
    selection.starts[at] = bodyStart
    selection.ends[at] = bodyEnd
    if (writer === UNREADABLE) failures.set(at, writerFailure)
    else if (writer === UNKNOWN_SCHEMA) {
      unknown.add(unknownId)
      failures.set(at, {
        reason: `unknown schema id ${unknownId}: the registry did not give it`,
        column: undefined,
        kind: 'schema',
      })
    }
  }
}

/** The writers that records of this block have. */
export function writersIn({ writers, index }: Selection, block: RecordBlock, first: number): Writer[] {
  if (writers.isOne) return [writers.list[0]]
  const seen = new Set<number>()
  for (let at = first; at < block.count; at += 1) if (index[at] >= 0) seen.add(index[at])
  return [...seen].map((each) => writers.list[each])
}
