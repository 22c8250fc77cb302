/**
 * What a pipeline decodes by: a plan made from its tables as they are, and made anew when a block needed something that it
 * did not have, or when somebody else changed a table.
 *
 *   needs ─┬▶ schemas   from the registry; while it is away, those who need one wait
 *          ├▶ topics    their tables, made from their records' schema or from what their first records show
 *          └▶ columns   by the table's policy: the next schema, fields to be skipped, or a refusal (dead letters)
 *
 * Blocks that ask for the same at the same moment get one answer. What was refused is asked for again when the table changes,
 * and every minute: a producer that was mended, or a schema that was registered late, needs no restart.
 *
 * A plan's number says whether anything changed: whoever gets the number back that it asked with cannot have what it needs.
 */
import type { World } from '../runtime/world.ts'
import { MillraceError } from '../schemas/errors.ts'
import { countLeaves } from '../schemas/evolution.ts'
import { type TableSchema, userColumns } from '../schemas/table-schema.ts'
import type { DecodeNeeds, DecodePlan, RegistrySchema, TablePlan, TransformPlan } from './decoder/decode-plan.ts'
import { refusalKey } from './decoder/fit-record.ts'
import type { TableFeed } from './open-tick.ts'
import { createTableFits, type TableFits } from './table-fits.ts'
import type { IngestTable } from './tables.ts'

export type PlanKeeper = {
  plan(): DecodePlan
  /**
   * Makes what is needed where that can be, and gives the plan as it is then: under the same number as before when nothing
   * of it can be had. Calls may run side by side; each is answered when its own needs were looked at. Throws `shutting-down`.
   */
  resolve(needs: DecodeNeeds): Promise<DecodePlan>
  /** Of a piece that was decoded by a plan of this keeper, dead letters included. */
  feed(tableId: number, schemaId: number): TableFeed
  /** A block had dead letters, this is why the first of them: health tells where a table takes nothing that differs. */
  noteDead(topic: string, reason: string): void
  /** Whoever waits for what is away is let go. */
  stop(): void
}

/** How records are read; without it JSON without a schema. */
export type RecordFormat = Pick<DecodePlan, 'key' | 'value' | 'transforms' | 'headersColumn' | 'keyColumns'>

/** A schema by its id in the registry; throws `unavailable` errors while that is away. */
export type FindSchema = (
  id: number,
  options: { readonly isKey: boolean; readonly topic: string; readonly signal: AbortSignal },
) => Promise<
  { readonly kind: 'schema'; readonly schema: RegistrySchema } | { readonly kind: 'refused'; readonly reason: string }
>

const JSON_RECORDS: RecordFormat = {
  key: undefined,
  value: { format: 'json', envelope: false },
  transforms: [] satisfies readonly TransformPlan[],
  headersColumn: undefined,
  keyColumns: undefined,
}

/** `isLapsed`: asked for again when somebody needs it; until then health goes on telling it. */
type RefusedId = { readonly topic: string; readonly reason: string; readonly atMs: number; readonly isLapsed: boolean }

const AGAIN_MS = 60_000
const TOLD_MS = 120_000
const BACK_OFF_MS = [100, 500, 1000, 2000]

let plans = 0

/** Unique in the process. */
export function nextPlanNumber(): number {
  plans += 1
  return plans
}

export function createSchemaKeeper(components: {
  pipeline: string
  /** Routed to all of `tables` from the start. */
  topics: readonly string[]
  tables: readonly IngestTable[]
  recordBytesMax: number
  world: World
  format?: RecordFormat
  /** Tables of a topic that has no route; none: its records cannot be kept, and are dead letters of nobody. */
  openTopic?: (topic: string) => Promise<readonly IngestTable[]>
  findSchema?: FindSchema
  /** Why a table does not take records, or the registry no schema; empty when all is well. */
  onRefused?: (reasons: readonly string[]) => void
  /** Something is away (reason) or back (undefined). */
  onTrouble?: (reason: string | undefined) => void
}): PlanKeeper {
  const { pipeline, recordBytesMax, world, format = JSON_RECORDS } = components
  const feeds = new Map<string, TableFeed>()
  const routes = new Map<string, readonly string[]>(
    components.topics.map((topic) => [topic, components.tables.map(({ name }) => name)]),
  )
  const tables = new Map<string, { readonly table: IngestTable; readonly fits: TableFits }>()
  const schemas = new Map<number, RegistrySchema>()
  const refusedIds = new Map<number, RefusedId>()
  /** By topic, of tables that take nothing that differs. */
  const different = new Map<string, { readonly reason: string; readonly atMs: number }>()
  const underWay = new Map<string, Promise<void>>()
  const stopping = new AbortController()
  /** Grows with everything that a plan is made of. */
  let state = 0
  let told = ''
  for (const table of components.tables) addTable(table)
  let made = makePlan()

  function addTable(table: IngestTable): void {
    if (tables.has(table.name)) return
    tables.set(table.name, { table, fits: createTableFits({ table, world }) })
    state += 1
  }

  function makePlan(): { readonly plan: DecodePlan; readonly state: number; readonly versions: string } {
    const tablePlans: Record<string, TablePlan> = {}
    const refusedSchemas: Record<string, string> = {}
    for (const { table, fits } of tables.values()) {
      const { deadLetters, ready } = table
      for (const feed of ready ? [deadLetters, ready.feed] : [deadLetters]) {
        feeds.set(`${feed.table.tableId}/${feed.schemaId}`, feed)
      }
      tablePlans[table.name] = tablePlan(table, fits)
      for (const [schema, reason] of fits.refused()) refusedSchemas[refusalKey(table.name, schema)] = reason
    }
    for (const [id, { reason, isLapsed }] of refusedIds) if (!isLapsed) refusedSchemas[id] = reason
    tell()
    const plan: DecodePlan = {
      number: nextPlanNumber(),
      pipeline,
      ...format,
      routes: Object.fromEntries(routes),
      tables: tablePlans,
      schemas: Object.fromEntries(schemas),
      refusedSchemas,
      recordBytesMax,
    }
    return { plan, state, versions: versionsOf() }
  }

  function versionsOf(): string {
    let text = ''
    for (const { table, fits } of tables.values()) text += `${table.ready?.feed.schemaId ?? ''}/${fits.state()};`
    return text
  }

  /** Health names topic, table and reason. */
  function tell(): void {
    const reasons = [...refusedIds.values()].map(({ topic, reason }) => `topic ${topic}: ${reason}`)
    for (const [topic, { reason }] of different) reasons.push(`topic ${topic}: ${reason}`)
    for (const { table, fits } of tables.values()) {
      const topics = [...routes].filter(([, fed]) => fed.includes(table.name)).map(([topic]) => topic)
      for (const reason of fits.reasons())
        reasons.push(`topic ${topics.join(', ')} into table ${table.name}: ${reason}`)
    }
    const text = reasons.join('\n')
    if (text === told) return
    if (reasons.length > 0) world.log.warn('records that cannot be taken become dead letters', { pipeline, reasons })
    told = text
    components.onRefused?.(reasons)
  }

  function expireIds(): void {
    const now = world.clock.monotonicMs()
    for (const [id, refusal] of refusedIds) {
      const ageMs = now - refusal.atMs
      if (ageMs < AGAIN_MS || (refusal.isLapsed && ageMs < TOLD_MS)) continue
      if (refusal.isLapsed) refusedIds.delete(id)
      else refusedIds.set(id, { ...refusal, isLapsed: true })
      state += 1
    }
  }

  function expireDifferent(): void {
    const oldest = world.clock.monotonicMs() - TOLD_MS
    for (const [topic, { atMs }] of different) if (atMs < oldest) different.delete(topic)
    tell()
  }

  function currentPlan(): DecodePlan {
    if (different.size > 0) expireDifferent()
    if (refusedIds.size > 0) expireIds()
    if (made.state !== state || made.versions !== versionsOf()) made = makePlan()
    return made.plan
  }

  /** One at a time for each `what`; those who come meanwhile share its end. */
  function shared(what: string, run: () => Promise<void>): Promise<void> {
    let running = underWay.get(what)
    if (!running) {
      running = untilAvailable(run).finally(() => underWay.delete(what))
      // Whoever shares it hears of it.
      running.catch(() => {})
      underWay.set(what, running)
    }
    return running
  }

  async function untilAvailable(run: () => Promise<void>): Promise<void> {
    for (let failures = 0; ; failures += 1) {
      if (stopping.signal.aborted) throw new MillraceError('shutting-down', `pipeline "${pipeline}" stops`)
      try {
        await run()
        if (failures > 0) components.onTrouble?.(undefined)
        return
      } catch (error) {
        if (!(error instanceof MillraceError) || error.kind !== 'unavailable') throw error
        components.onTrouble?.(error.message)
        const delay = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)]
        await world.clock.sleep(delay, stopping.signal).catch(() => {})
      }
    }
  }

  async function getSchema({ id, isKey, topic }: DecodeNeeds['schemas'][number]): Promise<void> {
    if (schemas.has(id) || refusedIds.get(id)?.isLapsed === false) return
    const answer = (await components.findSchema?.(id, { isKey, topic, signal: stopping.signal })) ?? {
      kind: 'refused',
      reason: `schema id ${id}: this pipeline has no schema registry`,
    }
    refusedIds.delete(id)
    if (answer.kind === 'schema') schemas.set(id, answer.schema)
    else refusedIds.set(id, { topic, reason: answer.reason, atMs: world.clock.monotonicMs(), isLapsed: false })
    state += 1
  }

  async function openTopic(topic: string): Promise<void> {
    if (routes.has(topic) || !components.openTopic) return
    const fed = await components.openTopic(topic)
    for (const table of fed) addTable(table)
    routes.set(
      topic,
      fed.map(({ name }) => name),
    )
    state += 1
  }

  async function prepareTopic({ topic, fields, samples }: DecodeNeeds['topics'][number]): Promise<void> {
    await shared(`topic ${topic}`, () => openTopic(topic))
    const fed = (routes.get(topic) ?? []).flatMap((name) => tables.get(name) ?? [])
    for (const { table } of fed) {
      if (table.ready) continue
      // Samples of several blocks are looked at together: this is not one call for all.
      if (fields.length === 0) await untilAvailable(() => table.learn(samples))
      else await shared(`make ${table.name}`, () => table.make({ name: `records of topic ${topic}`, fields }))
    }
  }

  async function changeColumns(need: DecodeNeeds['columns'][number]): Promise<void> {
    const fits = tables.get(need.table)?.fits
    if (!fits) return
    const record = { name: need.schemaName, fields: need.fields }
    await shared(`columns ${need.table} ${need.schemaName} ${JSON.stringify(need.fields)}`, () => fits.settle(record))
  }

  return {
    plan: currentPlan,
    async resolve(needs) {
      await Promise.all([
        ...needs.schemas.map((need) => shared(`schema ${need.id}`, () => getSchema(need))),
        ...needs.topics.map(prepareTopic),
        ...needs.columns.map(changeColumns),
      ])
      if (stopping.signal.aborted) throw new MillraceError('shutting-down', `pipeline "${pipeline}" stops`)
      return currentPlan()
    },
    feed(tableId, schemaId) {
      const feed = feeds.get(`${tableId}/${schemaId}`)
      if (!feed)
        throw new MillraceError(
          'internal',
          `no plan of pipeline "${pipeline}" had table ${tableId} with schema ${schemaId}`,
        )
      return feed
    },
    noteDead(topic, reason) {
      const fed = (routes.get(topic) ?? []).map((name) => tables.get(name)?.table)
      if (!fed.some((table) => table?.evolution === 'fail')) return
      different.set(topic, { reason, atMs: world.clock.monotonicMs() })
      tell()
    },
    stop: () => stopping.abort(),
  }
}

function tablePlan(
  { name, ready, deadLetters, evolution, columnsMax, inferTimestamps, inferNested }: IngestTable,
  fits: TableFits,
): TablePlan {
  const schema = ready && schemaOf(ready.feed)
  return {
    tableId: ready?.feed.table.tableId ?? 0,
    name,
    schema,
    deadLetters: { tableId: deadLetters.table.tableId, schema: schemaOf(deadLetters) },
    ignoredKeys: fits.ignored(),
    isFull: fits.isOverfull() || (schema !== undefined && countLeaves(userColumns(schema)) >= columnsMax),
    settledSchemas: fits.settled(),
    evolution,
    inference: { timestamps: inferTimestamps, nested: inferNested ?? 'json' },
  }
}

function schemaOf({ table, schemaId }: TableFeed): TableSchema {
  const schema = table.schemas.find((each) => each.schemaId === schemaId)
  if (!schema) throw new MillraceError('internal', `table "${table.name}" has no schema ${schemaId}`)
  return schema
}
