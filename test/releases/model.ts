/**
 * What a catalog must hold after processes have worked on it, from their reports alone, and what it does hold, in the same
 * shape: two values that are equal or not.
 *
 * Forgotten paths are a set: two sweeps at once may both have deleted a file, which is no error.
 */
import type { Catalog } from '../../lake/catalog/catalog.ts'
import type { Report } from './reports.ts'

export type TableState = {
  readonly version: number
  readonly metadataLocation: string | undefined
  readonly live: readonly string[]
  readonly liveRows: number
  readonly schemas: number
  readonly known: readonly string[]
}

export type SourceState = {
  readonly end: number
  readonly recordsIn: number
  readonly recordsDead: number
  readonly recordsFiltered: number
}

export type LakeState = {
  readonly tables: Readonly<Record<string, TableState>>
  readonly sources: Readonly<Record<string, SourceState>>
}

/** `schemasAtFirst` of every table. Throws when reports contradict each other: an offset twice, a segment consumed or merged twice. */
export function expectedState(
  tables: readonly string[],
  schemasAtFirst: number,
  reports: readonly Report[],
): LakeState {
  const of = <Kind extends Report['kind']>(kind: Kind) =>
    reports.filter((report): report is Extract<Report, { kind: Kind }> => report.kind === kind)
  const ticks = of('tick')
  const snapshots = of('snapshot')
  const forgotten = new Set(of('forgotten').flatMap(({ paths }) => paths))

  const states = tables.map((table): [string, TableState] => {
    const merges = of('merge').filter((merge) => merge.table === table)
    const sealed = ticks.flatMap((tick) => tick.segments).filter((segment) => segment.table === table)
    const segments = [...sealed, ...merges]
    const ofTable = snapshots.filter((snapshot) => snapshot.table === table)
    const consumed = [...ofTable.flatMap((snapshot) => snapshot.consumed), ...merges.flatMap((merge) => merge.inputs)]
    requireDistinct(
      segments.map(({ path }) => path),
      'segments committed',
    )
    requireDistinct(consumed, 'segments consumed')
    const gone = new Set(consumed)
    const live = segments.filter(({ path }) => !gone.has(path))
    const replaced = new Set(ofTable.flatMap((snapshot) => snapshot.removed))
    requireDistinct([...replaced], 'metadata replaced')
    const current = ofTable.map(({ metadataLocation }) => metadataLocation).filter((path) => !replaced.has(path))
    if (current.length > 1) throw new Error(`${table}: ${current.length} chains of snapshots`)
    const removed = [...consumed, ...replaced].filter((path) => !forgotten.has(path))
    return [
      table,
      {
        version: segments.length + ofTable.length,
        metadataLocation: current[0],
        live: live.map(({ path }) => path).sort(),
        liveRows: live.reduce((sum, { rows }) => sum + rows, 0),
        schemas: schemasAtFirst + of('schema').filter((each) => each.table === table).length,
        known: [...new Set([...live.map(({ path }) => path), ...removed, ...current])].sort(),
      },
    ]
  })

  const sources = [...Map.groupBy(ticks, ({ source }) => source)].map(([source, own]): [string, SourceState] => {
    let end = 0
    for (const tick of own.toSorted((a, b) => a.start - b.start)) {
      if (tick.start !== end) throw new Error(`${source}: a tick from ${tick.start} where ${end} was the end`)
      end = tick.end
    }
    const sum = (what: 'dead' | 'filtered') => own.reduce((total, tick) => total + tick[what], 0)
    return [source, { end, recordsIn: end, recordsDead: sum('dead'), recordsFiltered: sum('filtered') }]
  })
  return { tables: Object.fromEntries(states), sources: Object.fromEntries(sources) }
}

export async function foundState(catalog: Catalog, tables: readonly string[]): Promise<LakeState> {
  const states: [string, TableState][] = []
  for (const version of await catalog.readTables(tables)) {
    states.push([
      version.table.name,
      {
        version: Number(version.version),
        metadataLocation: version.metadataLocation,
        live: version.segments.map(({ path }) => path).sort(),
        liveRows: version.segments.reduce((sum, { rowCount }) => sum + rowCount, 0),
        schemas: version.table.schemas.length,
        known: [...(await catalog.knownPaths(version.table.tableId))].sort(),
      },
    ])
  }
  const sources = (await catalog.coverage('p')).map((each): [string, SourceState] => [
    each.source,
    {
      end: Number(each.ranges.at(-1)?.end),
      recordsIn: Number(each.recordsIn),
      recordsDead: Number(each.recordsDead),
      recordsFiltered: Number(each.recordsFiltered),
    },
  ])
  return { tables: Object.fromEntries(states), sources: Object.fromEntries(sources) }
}

function requireDistinct(paths: readonly string[], what: string): void {
  if (new Set(paths).size !== paths.length) throw new Error(`${what}: one path twice`)
}
