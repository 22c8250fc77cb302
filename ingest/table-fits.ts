/**
 * What became of the record schemas that were asked about, for one table as it is: settled (decode with what is there), with
 * fields to be skipped, or refused with the reason. All of it is forgotten when the table gets another schema, and a refusal
 * after a minute, so that whoever still needs it asks again. `state` moves only when an answer did.
 *
 *               wider or further fields          what does not fit
 *   evolve      become columns                   refused
 *   freeze      further ones are skipped         refused, wider ones too
 *   fail        refused                          refused
 *
 * Records without a schema are not refused for what one of them has: their keys are looked at one by one, and a value that
 * does not fit its column is that record's dead letter.
 */
import type { World } from '../runtime/world.ts'
import { formatPath } from '../schemas/column-path.ts'
import { describeChanges, type EvolutionPlan, type IgnoredField } from '../schemas/evolution.ts'
import type { RecordSchema } from '../schemas/record-schema.ts'
import { IGNORED } from './declared-columns.ts'
import { SCHEMALESS } from './decoder/new-fields.ts'
import type { IngestTable } from './tables.ts'

export type TableFits = {
  /** Changes the table if its policy says so; afterwards one of the lists below has the answer. */
  settle(record: RecordSchema): Promise<void>
  /** Paths of fields that are not asked for again. */
  ignored(): readonly string[]
  settled(): readonly string[]
  refused(): ReadonlyMap<string, string>
  /** Why records were not taken lately: also while it is being asked for again. */
  reasons(): readonly string[]
  /** So many odd fields that no more are looked at. */
  isOverfull(): boolean
  /** Another number when any of them changed. */
  state(): number
}

const REFUSED_MS = 60_000
const TOLD_MS = 120_000
const IGNORED_MAX = 1000
const SETTLED_MAX = 1000

export function createTableFits(components: { table: IngestTable; world: World }): TableFits {
  const { table, world } = components
  const ignored = new Set<string>()
  const settled = new Set<string>()
  /** `isLapsed`: not in plans any more, so that whoever needs it asks again; until then health goes on telling it. */
  const refused = new Map<string, { readonly reason: string; readonly atMs: number; readonly isLapsed: boolean }>()
  let schemaId = table.ready?.feed.schemaId
  let state = 0
  let isFullSaid = false

  /** What was found for another schema of the table, and refusals that are old. */
  function forget(): void {
    const current = table.ready?.feed.schemaId
    if (current !== schemaId) {
      schemaId = current
      if (ignored.size + settled.size + refused.size > 0) state += 1
      ignored.clear()
      settled.clear()
      refused.clear()
    }
    const now = world.clock.monotonicMs()
    for (const [name, refusal] of refused) {
      const ageMs = now - refusal.atMs
      if (ageMs < REFUSED_MS || (refusal.isLapsed && ageMs < TOLD_MS)) continue
      if (refusal.isLapsed) refused.delete(name)
      else refused.set(name, { ...refusal, isLapsed: true })
      state += 1
    }
  }

  function refuse(record: RecordSchema, reason: string): void {
    const before = refused.get(record.name)
    if (before?.reason !== reason || before.isLapsed) state += 1
    refused.set(record.name, { reason, atMs: world.clock.monotonicMs(), isLapsed: false })
  }

  function ignore(fields: readonly IgnoredField[]): void {
    for (const { path, why } of fields) {
      const name = formatPath(path)
      if (ignored.has(name) || ignored.size >= IGNORED_MAX) continue
      ignored.add(name)
      state += 1
      if (why === 'columns-max' && isFullSaid) continue
      isFullSaid ||= why === 'columns-max'
      world.log.warn('a field of records is skipped', { table: table.name, field: name, why: IGNORED[why] })
    }
  }

  async function evolve(record: RecordSchema): Promise<void> {
    let wanted = record
    for (;;) {
      const plan = await table.evolve(wanted, ({ kind }) => kind === 'evolve')
      forget()
      if (plan.kind !== 'refused') {
        if (plan.kind === 'evolve') {
          const change = describeChanges(plan.changes)
          world.log.info('columns changed by records', { table: table.name, change, by: record.name })
        }
        ignore(plan.ignored)
        remember(record)
        return
      }
      if (record.name !== SCHEMALESS) return refuse(record, plan.reason)
      // Somebody else was first with another type: the other keys do not wait for this one.
      const fields = wanted.fields.filter(({ name }) => name !== plan.path[0])
      if (fields.length === wanted.fields.length) return refuse(record, plan.reason)
      wanted = { ...wanted, fields }
    }
  }

  async function compare(record: RecordSchema, reasonOf: (plan: EvolutionPlan) => string | undefined): Promise<void> {
    const plan = await table.evolve(record, () => false)
    forget()
    const reason = reasonOf(plan)
    if (reason === undefined) remember(record)
    else refuse(record, reason)
  }

  function remember(record: RecordSchema): void {
    if (refused.delete(record.name)) state += 1
    if (record.name === SCHEMALESS || settled.has(record.name)) return
    settled.add(record.name)
    state += 1
    for (const oldest of settled) {
      if (settled.size <= SETTLED_MAX) break
      settled.delete(oldest)
    }
  }

  return {
    async settle(record) {
      if (table.evolution === 'evolve') await evolve(record)
      else if (table.evolution === 'freeze') await compare(record, (plan) => frozen(table.name, record, plan))
      else await compare(record, (plan) => different(table.name, record, plan))
    },
    ignored: () => [...ignored],
    settled: () => [...settled],
    refused: () =>
      new Map([...refused].flatMap(([name, { reason, isLapsed }]) => (isLapsed ? [] : [[name, reason] as const]))),
    reasons: () => [...new Set([...refused.values()].map(({ reason }) => reason))],
    isOverfull: () => ignored.size >= IGNORED_MAX,
    state() {
      forget()
      return state
    },
  }
}

function frozen(table: string, record: RecordSchema, plan: EvolutionPlan): string | undefined {
  if (plan.kind === 'refused') return plan.reason
  if (plan.kind === 'same') return undefined
  const wider = plan.changes.filter(({ kind }) => kind === 'widen')
  if (wider.length === 0) return undefined
  return `table "${table}" is frozen (evolution: freeze), ${record.name} would have ${describeChanges(wider)}: send what fits, or change it by hand (millrace columns)`
}

function different(table: string, record: RecordSchema, plan: EvolutionPlan): string | undefined {
  if (plan.kind === 'refused') return plan.reason
  const changes = plan.kind === 'evolve' ? describeChanges(plan.changes) : ''
  const skipped = plan.ignored.map(({ path }) => `skipped ${formatPath(path)}`).join(', ')
  const text = [changes, skipped].filter((each) => each !== '').join(', ')
  if (text === '') return undefined
  return `table "${table}" takes nothing that differs (evolution: fail), ${record.name} would have ${text}`
}
