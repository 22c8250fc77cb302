/**
 * What a pipeline decodes by: a plan made from its tables as they are, and made anew when a block needed something that it
 * did not have.
 *
 * A table with declared columns is there from the start. One without learns from the first records of its topics: their
 * values are the sample that its schema is inferred from, and then it is fixed.
 */
import { MillraceError } from '../schemas/errors.ts'
import type { TableSchema } from '../schemas/table-schema.ts'
import type { DecodeNeeds, DecodePlan, TablePlan } from './decoder/decode-plan.ts'
import type { TableFeed } from './open-tick.ts'
import type { IngestTable } from './tables.ts'

export type PlanKeeper = {
  plan(): DecodePlan
  /**
   * Makes what is needed where that can be, and gives the plan as it is then: under the same number as before when nothing
   * of it can be had. Calls may run side by side; each is answered when its own needs were looked at.
   */
  resolve(needs: DecodeNeeds): Promise<DecodePlan>
  /** Of a piece that was decoded by a plan of this keeper, dead letters included. */
  feed(tableId: number, schemaId: number): TableFeed
}

let plans = 0

/** Unique in the process. */
export function nextPlanNumber(): number {
  plans += 1
  return plans
}

export function createSchemaKeeper(components: {
  pipeline: string
  topics: readonly string[]
  tables: readonly IngestTable[]
  recordBytesMax: number
}): PlanKeeper {
  const { pipeline, topics, tables, recordBytesMax } = components
  const feeds = new Map<string, TableFeed>()
  let plan = makePlan()

  function makePlan(): DecodePlan {
    for (const { deadLetters, ready } of tables) {
      for (const feed of ready ? [deadLetters, ready.feed] : [deadLetters]) {
        feeds.set(`${feed.table.tableId}/${feed.schemaId}`, feed)
      }
    }
    const names = tables.map(({ name }) => name)
    return {
      number: nextPlanNumber(),
      pipeline,
      key: undefined,
      value: { format: 'json', envelope: false },
      transforms: [],
      headersColumn: undefined,
      keyColumns: undefined,
      routes: Object.fromEntries(topics.map((topic) => [topic, names])),
      tables: Object.fromEntries(tables.map((table) => [table.name, tablePlan(table)])),
      schemas: {},
      refusedSchemas: {},
      recordBytesMax,
    }
  }

  return {
    plan: () => plan,
    async resolve(needs) {
      const samples = needs.topics.flatMap((topic) => topic.samples)
      const unready = tables.filter(({ ready }) => !ready)
      await Promise.all(unready.map((table) => table.learn(samples)))
      // Another call may have made the plan meanwhile.
      const isNew = tables.some(({ name, ready }) => ready && plan.tables[name].schema === undefined)
      if (isNew) plan = makePlan()
      return plan
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
  }
}

function tablePlan({ name, ready, deadLetters }: IngestTable): TablePlan {
  return {
    tableId: ready?.feed.table.tableId ?? 0,
    name,
    schema: ready && schemaOf(ready.feed),
    deadLetters: { tableId: deadLetters.table.tableId, schema: schemaOf(deadLetters) },
    ignoredKeys: [],
    evolution: 'freeze',
  }
}

function schemaOf({ table, schemaId }: TableFeed): TableSchema {
  const schema = table.schemas.find((each) => each.schemaId === schemaId)
  if (!schema) throw new MillraceError('internal', `table "${table.name}" has no schema ${schemaId}`)
  return schema
}
