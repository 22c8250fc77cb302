/**
 * Which live segments of a table become one, when there are as many as there may be (ADR 18). Pure.
 *
 *   oldest … │ large │ large │ small │ small │ small │ newest        the run on the right, newest first
 *
 * Only a run of the newest may be merged: the result comes behind all others, and segments of a source stay in commit order.
 * So a segment left out keeps all older ones of its sources out as well. The run grows to older segments as long as enough is
 * not yet won, or the next one is no larger than all taken so far: small ones are copied a few times, large ones seldom.
 */

import type { NewSegment, Segment } from '../lake/catalog/catalog.ts'
import { mergedSources } from '../lake/catalog/segment-merge.ts'
import { compareBounds, decodeBound } from '../lake/iceberg/bounds.ts'
import { leavesOf } from '../lake/parquet/nested-levels.ts'
import type { Field } from '../schemas/column-type.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import type { TableSchema } from '../schemas/table-schema.ts'

export type MergeLimits = {
  /** Bytes of all inputs together. */
  readonly bytesMax: number
  /** Sources of the merged segment. */
  readonly sourcesMax: number
  /** As many segments fewer are enough. */
  readonly winMin: number
}

/** Oldest first; fewer than two when nothing can be merged. `isForeign`: of another process, which merges its own. */
export function planMerge(
  live: readonly Segment[],
  isForeign: (segment: Segment) => boolean,
  limits: MergeLimits,
): Segment[] {
  const newestFirst = [...live].sort((a, b) => b.segmentId - a.segmentId)
  const blocked = new Set<string>()
  const sources = new Set<string>()
  const taken: Segment[] = []
  let bytes = 0
  for (const segment of newestFirst) {
    const keys = segment.sources.map(sourceKeyText)
    if (isForeign(segment) || keys.some((key) => blocked.has(key))) {
      for (const key of keys) blocked.add(key)
      continue
    }
    const isEnough = taken.length > limits.winMin && segment.bytes > bytes
    const isTooMuch = bytes + segment.bytes > limits.bytesMax
    const isOther = taken.length > 0 && segment.schemaId !== taken[0].schemaId
    for (const key of keys) sources.add(key)
    if (isEnough || isTooMuch || isOther || sources.size > limits.sourcesMax) break
    taken.push(segment)
    bytes += segment.bytes
  }
  return taken.reverse()
}

const TOUCHED_MAX = 64
const HOURS_PER_DAY = 24

/** What the catalog keeps of the merged file, as far as its inputs tell: they are in commit order. */
export function mergedFacts(
  inputs: readonly NewSegment[],
  schema: TableSchema,
): Pick<NewSegment, 'rowCount' | 'bounds' | 'sources' | 'touched'> {
  return {
    rowCount: inputs.reduce((sum, { rowCount }) => sum + rowCount, 0),
    bounds: leafColumns(schema).flatMap(({ fieldId, type }) => {
      const each = inputs.flatMap(({ bounds, rowCount }) => {
        const found = bounds.find((column) => column.fieldId === fieldId)
        return found ? [{ rowCount, bounds: found }] : []
      })
      // Of a file that a rebuild took from an older release nothing is known, and so nothing of the whole.
      if (each.length < inputs.length) return []
      const nullCount = each.reduce((sum, { bounds }) => sum + bounds.nullCount, 0)
      const edge = (side: 'lower' | 'upper') => {
        let best: { bytes: Uint8Array; value: NonNullable<ReturnType<typeof decodeBound>> } | undefined
        for (const { bounds, rowCount } of each) {
          if (bounds.nullCount === rowCount) continue
          const value = decodeBound(type, bounds[side])
          // Values without a bound: nothing is known of the whole either.
          if (value === undefined) return undefined
          const order = best === undefined ? 0 : compareBounds(type, value, best.value)
          if (best === undefined || (side === 'lower' ? order < 0 : order > 0)) best = { bytes: bounds[side]!, value }
        }
        return best?.bytes
      }
      return [{ fieldId, nullCount, lower: edge('lower'), upper: edge('upper') }]
    }),
    sources: mergedSources(inputs.map(({ sources }) => sources)),
    touched: mergedTouched(inputs.map(({ touched }) => touched)),
  }
}

/** Lists and maps have no bounds. */
function leafColumns({ columns }: TableSchema): readonly Field[] {
  return columns.flatMap((column) => leavesOf(column).flatMap(({ field, isRepeated }) => (isRepeated ? [] : [field])))
}

function mergedTouched(all: readonly NewSegment['touched'][]): NewSegment['touched'] {
  if (all.some(({ grain }) => grain === 'all')) return { grain: 'all', values: [] }
  if (all.every(({ grain }) => grain === 'hour')) {
    const hours = distinct(all.flatMap(({ values }) => values))
    if (hours.length <= TOUCHED_MAX) return { grain: 'hour', values: hours }
  }
  const days = distinct(
    all.flatMap(({ grain, values }) =>
      grain === 'day' ? values : values.map((hour) => Math.floor(hour / HOURS_PER_DAY)),
    ),
  )
  return days.length <= TOUCHED_MAX ? { grain: 'day', values: days } : { grain: 'all', values: [] }
}

function distinct(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b)
}
