/**
 * The tables this process writes to. A table with declared columns is created at once, one without waits for its first
 * records: their schema is the table's, or they are the sample it is inferred from. Each table has its dead letters beside it.
 *
 * Columns change while rows come in: by records (`evolve`), by settings at the start, by humans and other processes
 * (`refresh`, every second or two). Two processes may create a table or change it at the same moment: the catalog lets one
 * win, the other takes what it made.
 */

import type { Catalog, NewTable, Table } from '../lake/catalog/catalog.ts'
import { changeColumns } from '../lake/change-columns.ts'
import { defineDeadLetters, defineTable, EVENT_TIME_PROPERTY, type TableDeclaration } from '../lake/table-definition.ts'
import type { World } from '../runtime/world.ts'
import { type ColumnType, formatColumnType } from '../schemas/column-type.ts'
import { isMillraceError, MillraceError } from '../schemas/errors.ts'
import { type EvolutionPlan, evolvingTable, planEvolution } from '../schemas/evolution.ts'
import type { RecordSchema } from '../schemas/record-schema.ts'
import type { EvolutionPolicy } from '../schemas/settings.ts'
import { type Column, DEAD_LETTER_COLUMNS, DEAD_LETTERS_SUFFIX, userColumns } from '../schemas/table-schema.ts'
import { columnsOfRecord, takeOverDeclared } from './declared-columns.ts'
import type { Decoder } from './decoder/decoder.ts'
import type { InferOptions } from './decoder/infer-schema.ts'
import { SCHEMALESS } from './decoder/new-fields.ts'
import type { TableFeed } from './open-tick.ts'

export type DeclaredTable = {
  /** undefined: inferred from the first records. */
  readonly columns:
    | readonly { readonly name: string; readonly type: ColumnType; readonly required: boolean }[]
    | undefined
  readonly partition: readonly string[]
  readonly sort: readonly string[]
  readonly eventTime: string | undefined
  readonly time?: TableDeclaration['time']
  readonly inferRecords: number
  readonly inferTimestamps: boolean
  /** What objects and arrays become; json by default. */
  readonly inferNested?: 'json' | 'struct' | undefined
  /** Default: `evolve` without declared columns, `freeze` with. */
  readonly evolution?: EvolutionPolicy
  readonly columnsMax?: number
}

/** Bytes of one record, for inference. */
export type Sample = Uint8Array

export type ReadyTable = {
  readonly feed: TableFeed
  readonly decoder: Decoder
}

export type IngestTable = {
  readonly name: string
  readonly deadLetters: TableFeed
  /** undefined while the schema is not known. */
  readonly ready: ReadyTable | undefined
  /**
   * Samples for a table whose schema is not known; resolves when it is, or when the samples so far say nothing
   * (all of them broken) and `ready` is still undefined.
   */
  learn(samples: readonly Sample[]): Promise<void>
  /** The same for records that have a schema: the table gets its columns. */
  make(record: RecordSchema): Promise<void>
  readonly evolution: EvolutionPolicy
  readonly columnsMax: number
  /** Of keys without a schema. */
  readonly inferTimestamps: boolean
  readonly inferNested?: 'json' | 'struct' | undefined
  /** What records of this schema would change, as the catalog has the table now; done at once when `apply` says so. */
  evolve(record: RecordSchema, apply: (plan: EvolutionPlan) => boolean): Promise<EvolutionPlan>
}

export type IngestTables = {
  /**
   * Throws `undefined-table` for a name that is neither declared nor in the catalog. `declaration`: of a table that the settings
   * do not declare.
   */
  open(name: string, declaration?: DeclaredTable): Promise<IngestTable>
  /** Takes over what others changed since. */
  refresh(): Promise<void>
  /** A table as somebody has just read it. */
  adopt(table: Table): void
  /** Tables that exist in the catalog so far, dead letters included. */
  tableIds(names: readonly string[]): number[]
}

export type InferColumns = (
  records: Iterable<Sample>,
  options: InferOptions,
) => readonly { readonly name: string; readonly type: ColumnType; readonly required: boolean }[]

const NOT_DECLARED = { partition: [], sort: [], eventTime: undefined }

export const COLUMNS_MAX_DEFAULT = 1000

/** How long the first record of an undeclared table waits for more of them. */
const SAMPLE_WAIT_MS = 1000

export function createIngestTables(components: {
  catalog: Catalog
  world: World
  lakeRoot: string
  declared: Readonly<Record<string, DeclaredTable>>
  createDecoder: (schema: Table['schemas'][number]) => Decoder
  inferColumns: InferColumns
  /** Called after a table came into being here, so that pipelines can be bound to it. */
  onCreated(name: string): void
}): IngestTables {
  const { catalog, world, declared, createDecoder, inferColumns } = components
  const opened = new Map<string, { readonly declaration: string | undefined; readonly table: Promise<IngestTable> }>()
  /** Of those that are open, by table id: how each takes over a schema that it has not. */
  const adopters = new Map<number, { readonly name: string; adopt(table: Table): void; schemas(): number }[]>()
  const ids = new Map<string, number>()

  async function createOrFind(definition: NewTable): Promise<Table> {
    const existing = await catalog.findTable(definition.name)
    const table = existing ?? (await create(definition))
    checkPlace(table, components.lakeRoot)
    ids.set(table.name, table.tableId)
    if (!existing) components.onCreated(table.name)
    return table
  }

  async function create(definition: NewTable): Promise<Table> {
    try {
      return await catalog.createTable(definition)
    } catch (error) {
      if (!isMillraceError(error, 'already-exists')) throw error
      const winner = await catalog.findTable(definition.name)
      if (!winner) throw error
      return winner
    }
  }

  /** A table of dead letters that an earlier release made gets the columns of this one; of two who add them one does. */
  async function withAllLetterColumns(table: Table): Promise<Table> {
    const own = userColumns(table.schemas.at(-1)!)
    const missing = DEAD_LETTER_COLUMNS.filter(({ fieldId }) => !own.some((column) => column.fieldId === fieldId))
    if (missing.length === 0) return table
    await catalog.addSchema(table.tableId, table.schemas.length, [...own, ...missing])
    return catalog.getTable(table.tableId)
  }

  function newLocation(name: string): string {
    // A table made anew under an old name must never meet the old one's files.
    return `${components.lakeRoot}/${name}-${world.random.uuid().slice(0, 8)}`
  }

  function readyTable(table: Table): ReadyTable | undefined {
    const schema = table.schemas.at(-1)
    if (!schema) return undefined
    return { feed: feedOf(table), decoder: createDecoder(schema) }
  }

  async function openTable(name: string, given: DeclaredTable | undefined): Promise<IngestTable> {
    // Own names only: `constructor` is a table nobody declared.
    const declaration = given ?? (Object.hasOwn(declared, name) ? declared[name] : undefined)
    const columnsMax = declaration?.columnsMax ?? COLUMNS_MAX_DEFAULT
    let table = await catalog.findTable(name)
    if (!table && !declaration) {
      throw new MillraceError(
        'undefined-table',
        `there is no table "${name}"; declare it under "tables" in the settings`,
      )
    }
    const letters = await createOrFind(defineDeadLetters(name, newLocation(`${name}${DEAD_LETTERS_SUFFIX}`)))
    const deadLetters = feedOf(await withAllLetterColumns(letters))
    if (declaration?.columns) {
      const { columns } = declaration
      table = await createOrFind(defineTable({ name, ...declaration, columns }, newLocation(name)))
      table = await takeOverDeclared({ catalog, log: world.log, columnsMax }, table, columns)
    } else if (table) {
      checkPlace(table, components.lakeRoot)
      ids.set(table.name, table.tableId)
    }
    let current: Table | undefined
    let ready: ReadyTable | undefined
    function adopt(next: Table): void {
      if (current && next.schemas.length <= current.schemas.length) return
      const isFirst = current === undefined
      current = next
      ready = readyTable(next)
      if (!isFirst) return
      const adopter = { name, adopt, schemas: () => current?.schemas.length ?? 0 }
      adopters.set(next.tableId, [...(adopters.get(next.tableId) ?? []), adopter])
    }
    if (table) adopt(table)
    const make = async (columns: readonly Omit<Column, 'fieldId'>[]) => {
      adopt(await createOrFind(defineTable({ ...(declaration ?? NOT_DECLARED), name, columns }, newLocation(name))))
      world.log.info('table has its columns from its first records', {
        table: name,
        columns: columns.map((column) => `${column.name} ${formatColumnType(column.type)}`),
      })
    }
    const inference = createInference(declaration, make)
    return {
      name,
      deadLetters,
      evolution: declaration?.evolution ?? (declaration?.columns ? 'freeze' : 'evolve'),
      columnsMax,
      inferTimestamps: declaration?.inferTimestamps ?? true,
      inferNested: declaration?.inferNested,
      get ready() {
        return ready
      },
      async learn(samples) {
        if (!ready) await inference(samples)
      },
      async make(record) {
        if (ready) return
        const columns = columnsOfRecord(name, record, columnsMax)
        if (columns.length > 0) await make(columns)
      },
      async evolve(record, apply) {
        let plan: EvolutionPlan = { kind: 'same', ignored: [] }
        const changed = await changeColumns(catalog, name, (found) => {
          plan = planEvolution(evolvingTable(found), record, { columnsMax, areKeys: record.name === SCHEMALESS })
          return plan.kind === 'evolve' && apply(plan) ? plan.columns : undefined
        })
        adoptTable(changed)
        return plan
      },
    }
  }

  function adoptTable(table: Table): void {
    for (const { adopt } of adopters.get(table.tableId) ?? []) adopt(table)
  }

  /** Declared otherwise than before, by a connector that was changed or by another one. */
  async function openAgain(before: Promise<IngestTable>, declaration: DeclaredTable): Promise<IngestTable> {
    const table = await before
    const { columns, columnsMax = COLUMNS_MAX_DEFAULT } = declaration
    if (!table.ready) return openTable(table.name, declaration)
    if (columns) {
      adoptTable(await takeOverDeclared({ catalog, log: world.log, columnsMax }, table.ready.feed.table, columns))
    }
    return table
  }

  /** Collects samples for up to a second, or until there are enough, then makes the table once. */
  function createInference(
    declaration: DeclaredTable | undefined,
    make: (columns: ReturnType<InferColumns>) => Promise<void>,
  ): (samples: readonly Sample[]) => Promise<void> {
    const enough = declaration?.inferRecords ?? 1000
    let collected: Sample[] = []
    let round: Promise<void> | undefined
    let full: (() => void) | undefined

    async function settle(): Promise<void> {
      const until = new Promise<void>((resolve) => {
        full = resolve
      })
      if (collected.length < enough) await Promise.race([until, world.clock.sleep(SAMPLE_WAIT_MS)])
      const columns = distinctNames(
        inferColumns(collected, {
          timestamps: declaration?.inferTimestamps ?? true,
          nested: declaration?.inferNested ?? 'json',
        }),
      )
      collected = []
      if (columns.length > 0) await make(columns)
    }

    return (samples) => {
      // Copied: the caller's buffers may be reused while we wait for more.
      for (const sample of samples.slice(0, enough - collected.length)) collected.push(new Uint8Array(sample))
      // Samples that said nothing end their round, and the next ones begin another.
      round ??= settle().finally(() => {
        round = undefined
      })
      if (collected.length >= enough) full?.()
      return round
    }
  }

  return {
    open(name, declaration) {
      const before = opened.get(name)
      const text = declaration && JSON.stringify(declaration)
      if (before && (declaration === undefined || before.declaration === text)) return before.table
      const table = before && declaration ? openAgain(before.table, declaration) : openTable(name, declaration)
      const entry = { declaration: text, table }
      opened.set(name, entry)
      table.catch(() => {
        if (opened.get(name) === entry) opened.delete(name)
      })
      return table
    },
    async refresh() {
      if (adopters.size === 0) return
      const counts = await catalog.schemaCounts()
      for (const [tableId, all] of adopters) {
        const known = Math.min(...all.map(({ schemas }) => schemas()))
        if ((counts.get(tableId) ?? 0) <= known) continue
        const table = await catalog.findTable(all[0].name)
        if (table?.tableId === tableId) adoptTable(table)
      }
    },
    adopt: adoptTable,
    tableIds: (names) =>
      names
        .flatMap((name) => [ids.get(name), ids.get(`${name}${DEAD_LETTERS_SUFFIX}`)])
        .filter((id) => id !== undefined),
  }
}

/**
 * SQL knows no upper and lower case in names: of keys that differ in nothing else only the first becomes a column, the
 * others are unknown keys.
 */
export function distinctNames<C extends { readonly name: string }>(columns: readonly C[]): C[] {
  const seen = new Set<string>()
  return columns.filter(({ name }) => {
    const folded = name.toLowerCase()
    return !seen.has(folded) && seen.add(folded)
  })
}

export function feedOf(table: Table): TableFeed {
  const eventTime = table.properties[EVENT_TIME_PROPERTY]
  return {
    table,
    schemaId: table.schemas.at(-1)?.schemaId ?? 0,
    eventTimeFieldId: eventTime === undefined ? undefined : Number(eventTime),
  }
}

/** A table's location is fixed for its life: another `lake.root` does not move it, and nothing could be written there. */
function checkPlace({ name, location }: Table, lakeRoot: string): void {
  if (location.startsWith(`${lakeRoot}/`)) return
  throw new MillraceError(
    'settings-invalid',
    `table "${name}" lies in ${location}, which is not under lake.root ${lakeRoot}: set lake.root to where its files are`,
    { facts: { table: name, location } },
  )
}
