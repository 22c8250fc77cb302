/** How a pipeline fares, for its status over REST: the same numbers as SQL's `millrace.pipelines` and `millrace.partitions`. Pure. */
import type { PipelineFacts } from '../lake/catalog/pipeline-facts.ts'
import { type SystemRow, systemRows } from '../lake/pipeline-rows.ts'

export function pipelineMeasures(facts: PipelineFacts, pipeline: string): Readonly<Record<string, unknown>> {
  const { pipelines, partitions } = systemRows(facts, (name) => name === pipeline)
  const [own] = pipelines
  if (!own) return {}
  const { pipeline: _, topics: __, ...numbers } = plain(own)
  return { ...numbers, partition_status: partitions.map(plain).map(({ pipeline: ___, ...rest }) => rest) }
}

/** Numbers are numbers: offsets and counts are far below 2^53. */
function plain(row: SystemRow): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : (value ?? null)]),
  )
}
