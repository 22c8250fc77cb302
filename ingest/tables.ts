/**
 * The tables this process writes to. A table with declared columns is created at once, one without waits for its first
 * records: they are the sample its schema is inferred from, and then it is fixed. Each table has its dead letters
 * beside it. Two processes may create a table at the same moment: the catalog lets one win, the other takes its schema.
 */

import type { Catalog, NewTable, Table } from '../lake/catalog/catalog.ts'
import { defineDeadLetters, defineTable, EVENT_TIME_PROPERTY, type TableDeclaration } from '../lake/table-definition.ts'
import type { World } from '../runtime/world.ts'
import { type ColumnType, formatColumnType, sameColumnType } from '../schemas/column-type.ts'
import { isMillraceError, MillraceError } from '../schemas/errors.ts'
import { DEAD_LETTERS_SUFFIX, userColumns } from '../schemas/table-schema.ts'
import type { Decoder } from './decoder/decoder.ts'
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
}

export type IngestTables = {
  /** Throws `undefined-table` for a name that is neither declared nor in the catalog. */
  open(name: string): Promise<IngestTable>
  /** Tables that exist in the catalog so far, dead letters included. */
  tableIds(names: readonly string[]): number[]
}

export type InferColumns = (
  records: Iterable<Sample>,
  options: { timestamps: boolean },
) => readonly { readonly name: string; readonly type: ColumnType; readonly required: boolean }[]

const NOT_DECLARED = { partition: [], sort: [], eventTime: undefined }

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
  const opened = new Map<string, Promise<IngestTable>>()
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

  function newLocation(name: string): string {
    // A table made anew under an old name must never meet the old one's files.
    return `${components.lakeRoot}/${name}-${world.random.uuid().slice(0, 8)}`
  }

  function readyTable(table: Table): ReadyTable | undefined {
    const schema = table.schemas.at(-1)
    if (!schema) return undefined
    return { feed: feedOf(table), decoder: createDecoder(schema) }
  }

  async function openTable(name: string): Promise<IngestTable> {
    // Own names only: `constructor` is a table nobody declared.
    const declaration = Object.hasOwn(declared, name) ? declared[name] : undefined
    let table = await catalog.findTable(name)
    if (!table && !declaration) {
      throw new MillraceError(
        'undefined-table',
        `there is no table "${name}"; declare it under "tables" in the settings`,
      )
    }
    const deadLetters = feedOf(
      await createOrFind(defineDeadLetters(name, newLocation(`${name}${DEAD_LETTERS_SUFFIX}`))),
    )
    if (declaration?.columns) {
      table = await createOrFind(defineTable({ name, ...declaration, columns: declaration.columns }, newLocation(name)))
      checkDeclared(table, declaration.columns)
    } else if (table) {
      checkPlace(table, components.lakeRoot)
      ids.set(table.name, table.tableId)
    }
    let ready = table && readyTable(table)
    const inference = createInference(name, declaration, async (columns) => {
      const made = await createOrFind(
        defineTable({ ...(declaration ?? NOT_DECLARED), name, columns }, newLocation(name)),
      )
      ready = readyTable(made)
    })
    return {
      name,
      deadLetters,
      get ready() {
        return ready
      },
      async learn(samples) {
        if (!ready) await inference(samples)
      },
    }
  }

  /** Collects samples for up to a second, or until there are enough, then makes the table once. */
  function createInference(
    name: string,
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
      const columns = distinctNames(inferColumns(collected, { timestamps: declaration?.inferTimestamps ?? true }))
      collected = []
      if (columns.length === 0) return
      await make(columns)
      world.log.info('schema inferred and fixed', {
        table: name,
        columns: columns.map((column) => `${column.name} ${formatColumnType(column.type)}`),
      })
    }

    return (samples) => {
      // Copied: the caller's buffers may be reused while we wait for more.
      for (const sample of samples.slice(0, enough - collected.length)) collected.push(sample.slice())
      // Samples that said nothing end their round, and the next ones begin another.
      round ??= settle().finally(() => {
        round = undefined
      })
      if (collected.length >= enough) full?.()
      return round
    }
  }

  return {
    open(name) {
      let table = opened.get(name)
      if (!table) {
        table = openTable(name)
        opened.set(name, table)
        table.catch(() => opened.delete(name))
      }
      return table
    },
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

/** Changing a table's columns is not possible yet: settings that differ from the table are refused, not half obeyed. */
function checkDeclared(table: Table, columns: NonNullable<DeclaredTable['columns']>): void {
  const existing = userColumns(table.schemas.at(-1)!)
  const same =
    existing.length === columns.length &&
    existing.every(
      (column, index) =>
        column.name === columns[index].name &&
        column.required === columns[index].required &&
        sameColumnType(column.type, columns[index].type),
    )
  if (same) return
  const show = (list: readonly { name: string; type: ColumnType; required: boolean }[]) =>
    list.map(({ name, type, required }) => `${name} ${formatColumnType(type)}${required ? ' required' : ''}`).join(', ')
  throw new MillraceError(
    'settings-invalid',
    `table "${table.name}" exists with other columns than the settings declare: it has (${show(existing)}), declared are (${show(columns)})`,
  )
}
