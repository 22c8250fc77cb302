/**
 * What the catalog's rows and the tables' metadata say of each other: schemas, totals, coverage, balance, and who stands
 * still. Pure. G-1 and G-2 in numbers:
 *
 *   rows of a table     snapshot rows + rows of live segments
 *   records in          = rows + dead letters + filtered, over every group of pipelines and tables that feed each other; letters
 *                       that were replayed or discarded are records in of a source of their own, and have left the dead ones. A
 *                       catalog that was made again knows how many left, not which are still in files: then either is balanced
 *   coverage            holds a snapshot's checkpoint and the ranges of live segments, none of which overlap
 */
import type { Coverage, OffsetRange, SourceKey } from '../../schemas/coverage.ts'
import { LETTERS_SOURCE, sourceKeyText } from '../../schemas/coverage.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import type { CatalogInspection, InspectedTable } from '../catalog/inspection.ts'
import { CATALOG, type Finding } from './finding.ts'
import type { TableReferences } from './read-references.ts'

export type StillnessSettings = { readonly writerSilentMs: number; readonly readerSilentMs: number }

const HTTP_SOURCE = 'http:'
const HTTP_PIPELINE = /^http:/
/** HTTP producers that are idle for longer leave the coverage, and their counts with them. */
const HTTP_KEPT_MICROS = 7n * 24n * 3_600_000_000n
/** Silence beyond this many times the setting is no matter of load any more. */
export const SILENCE_FACTOR = 3

type Place = Pick<Finding, 'path' | 'what' | 'table' | 'referredBy'>

function damage(
  kind: Finding['kind'],
  place: Place,
  expected: string | undefined,
  found: string,
  advice: string,
): Finding {
  return { kind, severity: 'damage', ...place, expected, found, advice }
}

const REPORT = 'please report it with this line: a bug, or a catalog that does not belong to this bucket'

/** Of one table: its schemas, totals and ranges. */
export function tableFindings(
  inspected: InspectedTable,
  read: Pick<TableReferences, 'metadata' | 'snapshotRows' | 'checkpoint'>,
  coverage: readonly Coverage[],
): Finding[] {
  return [
    ...schemaFindings(inspected, read),
    ...totalFindings(inspected, read),
    ...rangeFindings(inspected, read.checkpoint ?? [], coverage),
  ]
}

function schemaFindings(
  { table, segments }: InspectedTable,
  { metadata }: Pick<TableReferences, 'metadata'>,
): Finding[] {
  const findings: Finding[] = []
  const known = new Set(table.schemas.map(({ schemaId }) => schemaId))
  for (const { path, schemaId } of segments) {
    if (known.has(schemaId)) continue
    const place = { path, what: 'segment', table: table.name, referredBy: CATALOG } as const
    findings.push(damage('dangling', place, `one of schemas ${[...known].join(', ')}`, `schema ${schemaId}`, REPORT))
  }
  if (!metadata || table.metadataLocation === undefined) return findings
  const place = { path: table.metadataLocation, what: 'metadata', table: table.name, referredBy: CATALOG } as const
  if (metadata.location !== table.location) {
    findings.push(damage('altered', place, `location ${table.location}`, `location ${metadata.location}`, REPORT))
  }
  const schemaIds = [metadata.currentSchemaId, ...metadata.snapshots.map((snapshot) => snapshot.schemaId)]
  const unknown = schemaIds.find((schemaId) => !known.has(schemaId))
  if (unknown !== undefined) {
    findings.push(damage('dangling', place, `one of schemas ${[...known].join(', ')}`, `schema ${unknown}`, REPORT))
  }
  return findings
}

function totalFindings(
  { table, snapshotRows: committed, lastSnapshot }: InspectedTable,
  { metadata, snapshotRows }: Pick<TableReferences, 'metadata' | 'snapshotRows'>,
): Finding[] {
  const path = table.metadataLocation
  if (path === undefined || !metadata) return []
  const place = { path, what: 'metadata', table: table.name, referredBy: CATALOG } as const
  const findings: Finding[] = []
  const stated = metadata.currentSnapshot?.summary['total-records']
  if (snapshotRows !== undefined && stated !== undefined && stated !== String(snapshotRows)) {
    findings.push(damage('unbalanced', place, `${stated} rows, as its summary says`, `${snapshotRows} rows`, REPORT))
  }
  if (snapshotRows !== undefined && committed !== snapshotRows) {
    findings.push(
      damage('unbalanced', place, `${committed} rows, as the catalog says`, `${snapshotRows} in its manifests`, REPORT),
    )
  }
  if (lastSnapshot && lastSnapshot.metadataLocation !== path) {
    findings.push(damage('dangling', place, `the last commit's ${lastSnapshot.metadataLocation}`, path, REPORT))
  }
  return findings
}

/** A snapshot's ranges lie within what was consumed, and no live segment repeats one of them. */
function rangeFindings(
  { table, segments }: InspectedTable,
  checkpoint: readonly Coverage[],
  coverage: readonly Coverage[],
): Finding[] {
  const findings: Finding[] = []
  const consumed = new Map(coverage.map((each) => [sourceKeyText(each), each.ranges]))
  const taken = new Map<string, OffsetRange[]>()
  for (const source of checkpoint) {
    // A producer that was idle for long leaves the coverage.
    if (source.source.startsWith(HTTP_SOURCE)) continue
    const key = sourceKeyText(source)
    taken.set(key, [...source.ranges])
    const outside = source.ranges.find((range) => !isWithin(range, consumed.get(key) ?? []))
    if (!outside) continue
    const place = { path: sourceText(source), what: 'pipeline', table: table.name, referredBy: 'the snapshot' } as const
    findings.push(
      damage(
        'behind',
        place,
        `offsets ${rangeText(outside)} in the catalog's coverage`,
        rangesText(consumed.get(key) ?? []),
        'the catalog is older than the snapshot: see "millrace catalog rebuild"',
      ),
    )
  }
  for (const { path, sources } of segments) {
    for (const { range, rows, ...key } of sources) {
      const place = { path, what: 'segment', table: table.name, referredBy: CATALOG } as const
      const text = sourceKeyText(key)
      const others = taken.get(text) ?? []
      if (!isWithin(range, consumed.get(text) ?? []) && !key.source.startsWith(HTTP_SOURCE)) {
        const found = `${sourceText(key)} ${rangeText(range)}`
        findings.push(
          damage('dangling', place, `offsets within ${rangesText(consumed.get(text) ?? [])}`, found, REPORT),
        )
      }
      const other = rows === 0 ? undefined : others.find((each) => each.start < range.end && range.start < each.end)
      if (other) {
        const found = `${rangeText(range)} beside ${rangeText(other)}`
        findings.push(damage('overlapping', place, `offsets of ${sourceText(key)} once`, found, REPORT))
      }
      if (rows > 0) others.push(range)
      taken.set(text, others)
    }
  }
  return findings
}

function isWithin(range: OffsetRange, ranges: readonly OffsetRange[]): boolean {
  if (range.start === range.end) return true
  return ranges.some(({ start, end }) => start <= range.start && range.end <= end)
}

function rangeText({ start, end }: OffsetRange): string {
  return `[${start}, ${end})`
}

function rangesText(ranges: readonly OffsetRange[]): string {
  return ranges.length === 0 ? 'none' : ranges.map(rangeText).join(' ')
}

function sourceText({ pipeline, source, partition }: SourceKey): string {
  return `${pipeline} ${source}/${partition}`
}

type Group = { readonly pipelines: readonly string[]; readonly tables: readonly InspectedTable[] }

/** Records in = rows + dead letters + filtered; and of every source no more records than offsets. */
export function balanceFindings({ tables, coverage, bindings, readAt }: CatalogInspection): Finding[] {
  const findings = coverage.flatMap(countFindings)
  for (const { pipelines, tables: fed } of feedingGroups(tables, bindings)) {
    const plain = fed.filter(({ table }) => !isDeadLetters(table.name))
    if (!isCountable(pipelines, plain, bindings)) continue
    const own = coverage.filter(({ pipeline }) => pipelines.includes(pipeline))
    const sum = (count: (each: Coverage) => bigint) => own.reduce((total, each) => total + count(each), 0n)
    const letters = fed.filter(({ table }) => isDeadLetters(table.name))
    const left = letters.reduce((total, { masked }) => total + BigInt(masked.rows), 0n)
    // Left before the catalog was made again: nobody knows their masks, and a rewrite has left some of them out or none.
    const everLeft = sum(({ source, recordsIn }) => (source.startsWith(LETTERS_SOURCE) ? recordsIn : 0n))
    const unknown = everLeft > left ? everLeft - left : 0n
    const dead = sum((each) => each.recordsDead)
    const rows = sum((each) => each.recordsIn) - dead - sum((each) => each.recordsFiltered)
    const forgotten =
      pipelines.some((pipeline) => HTTP_PIPELINE.test(pipeline)) &&
      fed.some(({ createdAt }) => createdAt < readAt - HTTP_KEPT_MICROS)
    for (const [what, expected, some, fewer] of [
      ['rows', rows, plain, 0n],
      ['dead letters', dead - left, letters, unknown],
    ] as const) {
      const found = some.reduce((total, each) => total + rowsOf(each), 0n)
      if ((found <= expected && found >= expected - fewer) || (forgotten && found > expected)) continue
      const names = some.map(({ table }) => table.name).join(', ')
      findings.push({
        kind: 'unbalanced',
        severity: 'damage',
        path: `pipeline ${pipelines.join(', ')}`,
        what: 'pipeline',
        table: names === '' ? undefined : names,
        referredBy: CATALOG,
        expected: `${expected} ${what}: records in without ${what === 'rows' ? 'dead and filtered' : 'rows and filtered'} ones`,
        found: `${found}`,
        advice: found < expected ? `rows are lost; ${REPORT}` : `rows are there twice; ${REPORT}`,
      })
    }
  }
  return findings
}

function countFindings(source: Coverage): Finding[] {
  const { recordsIn, recordsDead, recordsFiltered, ranges } = source
  const offsets = ranges.reduce((sum, { start, end }) => sum + end - start, 0n)
  const place = { path: sourceText(source), what: 'pipeline', table: undefined, referredBy: CATALOG } as const
  const findings: Finding[] = []
  if (recordsIn > offsets) {
    findings.push(damage('unbalanced', place, `at most ${offsets} records in as many offsets`, `${recordsIn}`, REPORT))
  }
  if (recordsDead + recordsFiltered > recordsIn) {
    const found = `${recordsDead} dead and ${recordsFiltered} filtered ones`
    findings.push(damage('unbalanced', place, `at most ${recordsIn} records`, found, REPORT))
  }
  return findings
}

function isDeadLetters(name: string): boolean {
  return name.endsWith(DEAD_LETTERS_SUFFIX)
}

/** Without those that are masked, though files still hold them. */
function rowsOf({ snapshotRows, segments, masked }: InspectedTable): bigint {
  return BigInt(segments.reduce((sum, { rowCount }) => sum + rowCount, snapshotRows) - masked.held)
}

/** Every record of a pipeline goes to each of its tables: the counts only tell where that is one. */
function isCountable(
  pipelines: readonly string[],
  tables: readonly InspectedTable[],
  bindings: CatalogInspection['bindings'],
): boolean {
  const ids = new Set(tables.map(({ table }) => table.tableId))
  return pipelines.every(
    (pipeline) => bindings.filter((each) => each.pipeline === pipeline && ids.has(each.tableId)).length === 1,
  )
}

/** Pipelines and tables that are bound to each other, directly or through others. */
function feedingGroups(tables: readonly InspectedTable[], bindings: CatalogInspection['bindings']): Group[] {
  const groups: { pipelines: Set<string>; ids: Set<number> }[] = []
  for (const { pipeline, tableId } of bindings) {
    const joined = { pipelines: new Set([pipeline]), ids: new Set([tableId]) }
    for (const group of groups.filter(({ pipelines, ids }) => pipelines.has(pipeline) || ids.has(tableId))) {
      for (const each of group.pipelines) joined.pipelines.add(each)
      for (const each of group.ids) joined.ids.add(each)
      groups.splice(groups.indexOf(group), 1)
    }
    groups.push(joined)
  }
  return groups.map(({ pipelines, ids }) => ({
    pipelines: [...pipelines].sort(),
    tables: tables.filter(({ table }) => ids.has(table.tableId)),
  }))
}

/** Who has been silent for so long that the sweep should have noticed; it is no damage, but nobody works there. */
export function stillnessFindings(
  { writers, readers, tables, readAt }: CatalogInspection,
  settings: StillnessSettings,
): Finding[] {
  const silentFor = (since: bigint) => Math.floor(Number((readAt - since) / 1000n))
  const notice = (path: string, what: Finding['what'], expectedMs: number, foundMs: number): Finding => ({
    kind: 'stuck',
    severity: 'notice',
    path,
    what,
    table: undefined,
    referredBy: CATALOG,
    expected: `a sign of life, or the end of it, within ${Math.round(expectedMs / 1000)} s`,
    found: `silence for ${Math.round(foundMs / 1000)} s`,
    advice: 'its process died or hangs, and no sweep has noticed: is a compactor running?',
  })
  const findings: Finding[] = []
  const live = new Set<string>()
  for (const { writerId, kind, heartbeatAt, fencedAt } of writers) {
    if (fencedAt !== undefined) continue
    live.add(writerId)
    const silentMs = silentFor(heartbeatAt)
    const longestMs = settings.writerSilentMs * SILENCE_FACTOR
    if (silentMs > longestMs) findings.push(notice(`${kind} ${writerId}`, 'writer', longestMs, silentMs))
  }
  const oldest = new Map<string, bigint>()
  for (const { readerId, seenAt } of readers) {
    if (seenAt < (oldest.get(readerId) ?? seenAt + 1n)) oldest.set(readerId, seenAt)
  }
  for (const [readerId, seenAt] of oldest) {
    const silentMs = silentFor(seenAt)
    const longestMs = settings.readerSilentMs * SILENCE_FACTOR
    if (silentMs > longestMs) findings.push(notice(readerId, 'reader', longestMs, silentMs))
  }
  for (const { table, lease } of tables) {
    if (
      !lease ||
      lease.holder === '' ||
      live.has(lease.holder) ||
      writers.some((each) => each.writerId === lease.holder)
    ) {
      continue
    }
    findings.push({
      kind: 'dangling',
      severity: 'notice',
      path: `lease of ${table.name}`,
      what: 'lease',
      table: table.name,
      referredBy: CATALOG,
      expected: 'a holder that the catalog knows',
      found: lease.holder,
      advice: 'the next compactor takes it over',
    })
  }
  return findings
}
