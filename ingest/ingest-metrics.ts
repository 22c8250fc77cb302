/**
 * What ingest counts: records per pipeline and outcome, commits, segments, and what the hidden columns cost.
 */
import type { Metrics } from '../runtime/metrics.ts'
import type { FlushedTick } from './flusher.ts'

export type CountedWhat = 'records' | 'dead' | 'filtered' | 'unknown-keys'

export type IngestMetrics = {
  count(pipeline: string, what: CountedWhat, by: number): void
  committed(tick: FlushedTick): void
  merged(segments: number): void
  letters(pipeline: string, action: 'replay' | 'discard', letters: number): void
}

export function createIngestMetrics(metrics: Metrics): IngestMetrics {
  const records = metrics.counter({
    name: 'ingest_records_total',
    help: 'Records taken, by pipeline; what: records, dead, filtered, or unknown-keys (keys without a column).',
    labels: ['pipeline', 'what'],
  })
  const ticks = metrics.counter({ name: 'flush_ticks_total', help: 'Flush ticks committed.' })
  const rows = metrics.counter({ name: 'flush_rows_total', help: 'Rows committed, dead letters included.' })
  const segments = metrics.counter({ name: 'segments_total', help: 'Segments committed.' })
  const bytes = metrics.counter({ name: 'segment_bytes_total', help: 'Bytes of committed segments.' })
  const merged = metrics.counter({ name: 'segments_merged_total', help: 'Live segments merged at segments.live.max.' })
  const letters = metrics.counter({
    name: 'dead_letters_left_total',
    help: 'Dead letters that left by a human: action replay or discard.',
    labels: ['pipeline', 'action'],
  })
  return {
    letters: (pipeline, action, count) => letters.add(count, { pipeline, action }),
    merged: (count) => merged.add(count),
    count: (pipeline, what, by) => records.add(by, { pipeline, what }),
    committed(tick) {
      ticks.add()
      rows.add(tick.rowCount)
      segments.add(tick.segments.length)
      bytes.add(tick.segments.reduce((sum, segment) => sum + segment.bytes, 0))
    },
  }
}
