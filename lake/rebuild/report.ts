/**
 * What a rebuild did, or would do: as text for a human, and as one JSON object for a program. Long lists are cut in the text,
 * never in the JSON.
 */
import type { Coverage } from '../../schemas/coverage.ts'
import { readOn } from './between-stretches.ts'
import type { Problem } from './draft.ts'
import type { RebuildResult } from './rebuild.ts'
import type { LeftOut } from './tick-plan.ts'

const SHOWN_MAX = 20

/** Something is lost, broken, or waits for a human. */
export function needsAttention({ plan }: RebuildResult): boolean {
  return plan.problems.length > 0 || plan.leftOut.some(({ isHeld }) => isHeld)
}

export function reportJson({ plan, isChanged, isDryRun, knownTables }: RebuildResult): string {
  const report = {
    dry_run: isDryRun,
    changed: isChanged,
    known_tables: knownTables,
    tables: plan.tables.map((table) => ({
      name: table.name,
      table_id: table.tableId,
      location: table.location,
      version: String(table.version),
      schemas: table.shape.schemas.length,
      metadata: table.metadata?.path ?? null,
      lease_epoch: table.leaseEpoch,
      snapshot_rows: table.metadata?.snapshotRows ?? 0,
      segments_added: table.added.map(({ file }) => ({ path: file.path, rows: file.rowCount })),
      segments_ended: table.endedSegmentIds.length,
      dead_files: table.deadPaths.length,
      changed: table.isChanged,
    })),
    rows: plan.rows,
    coverage: plan.coverage.map(coverageJson),
    left_out: plan.leftOut.map(({ path, table, rows, reason, detail, isHeld }) => ({
      path,
      table,
      rows,
      reason,
      detail,
      kept: isHeld,
    })),
    problems: plan.problems,
    notes: plan.notes,
  }
  return `${JSON.stringify(report, null, 2)}\n`
}

function coverageJson({ pipeline, source, partition, ranges }: Coverage) {
  return { pipeline, source, partition, ranges: ranges.map(({ start, end }) => [String(start), String(end)]) }
}

export function reportText(result: RebuildResult): string {
  const { plan, isChanged, isDryRun } = result
  const lines: string[] = []
  if (isDryRun) lines.push('This is a dry run: nothing was changed.')
  for (const table of plan.tables) {
    const rows = table.added.reduce((sum, { file }) => sum + file.rowCount, 0)
    const snapshot = table.metadata ? `snapshot of ${table.metadata.snapshotRows} rows` : 'no snapshot'
    const segments = `${table.added.length} segments with ${rows} rows become live`
    lines.push(`${table.name} (id ${table.tableId}): version ${table.version}, ${snapshot}, ${segments}`)
  }
  const reads = readOn(plan.coverage)
  for (const { pipeline, source, partition, ranges } of reads.slice(0, SHOWN_MAX)) {
    const holes = ranges.length > 1 ? `, with ${ranges.length - 1} holes that no file covers` : ''
    lines.push(`${pipeline}: ${source}/${partition} is read on from offset ${ranges.at(-1)?.end ?? 0n}${holes}`)
  }
  if (reads.length > SHOWN_MAX) lines.push(`and ${reads.length - SHOWN_MAX} more topic-partitions`)
  lines.push(...leftOutLines(plan.leftOut))
  for (const note of plan.notes) lines.push(`note: ${note}`)
  for (const problem of plan.problems) lines.push(...problemLines(problem))
  if (plan.tables.length === 0) lines.push('There is no table in this bucket.')
  else if (!isChanged) lines.push('The catalog says what the bucket says already.')
  else if (!isDryRun) lines.push('The catalog is rebuilt. Start ingest and compactor again.')
  if (needsAttention(result)) lines.push('Something needs a human: see above.')
  return `${lines.join('\n')}\n`
}

function leftOutLines(leftOut: readonly LeftOut[]): string[] {
  const lines: string[] = []
  for (const [reason, files] of Map.groupBy(leftOut, (each) => each.reason)) {
    const rows = files.reduce((sum, each) => sum + each.rows, 0)
    const fate = files[0].isHeld ? 'the files stay' : 'the files go with the sweep'
    lines.push(`left out, ${reason}: ${files.length} segments with ${rows} rows; ${fate}`)
    for (const { path, detail } of files.slice(0, SHOWN_MAX)) lines.push(`  ${path}: ${detail}`)
    if (files.length > SHOWN_MAX) lines.push(`  and ${files.length - SHOWN_MAX} more (--json lists all)`)
  }
  return lines
}

function problemLines({ kind, text, paths }: Problem): string[] {
  const shown = paths.slice(0, SHOWN_MAX).map((path) => `  ${path}`)
  return [`${kind}: ${text}`, ...shown, ...(paths.length > SHOWN_MAX ? [`  and ${paths.length - SHOWN_MAX} more`] : [])]
}
