/**
 * What lies between the stretches in which a topic-partition was consumed (ADR 27), told by a rebuild. Only the stretch that
 * begins last is read on: a gap before it was skipped, is a backfill that had not come to its end, or brought rows whose files
 * are lost. Who asked for what is known by the catalog alone, so people are told how to have the gap read. Pure.
 */
import { type Coverage, sourceKeyText } from '../../schemas/coverage.ts'
import { byStart, endOf, incarnationOf, rowSourceOf, startOf, uncovered } from '../../schemas/kafka-source-text.ts'

const SHOWN_MAX = 5

export function betweenStretches(coverage: readonly Coverage[]): string[] {
  return stretchesIn(coverage).flatMap((stretches) => {
    const hulls = stretches.map((each) => ({ start: startOf(each), end: endOf(each) }))
    const gaps = uncovered({ start: hulls[0].start, end: hulls[hulls.length - 1].start }, hulls)
    if (gaps.length === 0) return []
    const { pipeline, source, partition } = stretches[0]
    const shown = gaps.slice(0, SHOWN_MAX).map((gap) => `[${gap.start}, ${gap.end})`)
    return [
      `offsets ${shown.join(', ')} of ${rowSourceOf(source)}/${partition} are between its stretches: skipped, not filled in yet, or lost. Nobody reads them by himself: millrace offsets backfill --pipeline ${pipeline} does`,
    ]
  })
}

/** Of each topic-partition of Kafka the stretch that is read on. */
export function readOn(coverage: readonly Coverage[]): Coverage[] {
  return stretchesIn(coverage).map((stretches) => stretches[stretches.length - 1])
}

/** By topic-partition and pipeline: stretches of the newest incarnation, in the order of where they begin. */
function stretchesIn(coverage: readonly Coverage[]): Coverage[][] {
  const kafka = coverage.filter(({ source }) => source.startsWith('kafka:'))
  const plain = (each: Coverage) => sourceKeyText({ ...each, source: rowSourceOf(each.source).replace(/#\d+$/, '') })
  return [...Map.groupBy(kafka, plain).values()].map((all) => {
    const newest = Math.max(...all.map(({ source }) => incarnationOf(source)))
    return all.filter(({ source }) => incarnationOf(source) === newest).sort(byStart)
  })
}
