/**
 * Every transform and predicate of ours against Kafka Connect's own, running in its JVM: the same settings and records, by chance
 * and by hand, give the same records (values by Java class, schemas, headers, topic), are dropped alike, or are refused with the
 * same exception. MILLRACE_TRANSFORMS_SEED repeats a run.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compileTransforms } from '../../ingest/connect/transforms/compile-transforms.ts'
import { TransformFailure } from '../../ingest/connect/transforms/transform.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { askConnect } from '../harness/connect-runtime.ts'
import { type Case, handPicked, randomCases } from './cases.ts'
import { encodeRecord, type Json, withoutOrder } from './encode.ts'
import { randomOf } from './random-data.ts'

const PROGRAM = join(import.meta.dirname, 'ConnectOracle.java')
/** More to search for longer. */
const ROUNDS = Number(process.env.MILLRACE_TRANSFORMS_ROUNDS ?? 60)
const RECORDS_EACH = 6
/** Beyond the years ±287,000: `docs/reference/transforms.md`. */
const STATED_DIFFERENCE = 'the time is out of range'

type Outcome = { readonly [name: string]: Json }
type Answer = { readonly configError?: string; readonly records?: readonly Outcome[] }

test('transforms do what those of Kafka Connect do', async () => {
  const seed = Number(process.env.MILLRACE_TRANSFORMS_SEED ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`seed: MILLRACE_TRANSFORMS_SEED=${seed}`)
  const random = randomOf(seed)
  const cases = [...handPicked(random), ...randomCases(random, ROUNDS, RECORDS_EACH)]
  const nowMillis = Date.now()
  const answers = (await askConnect(PROGRAM, cases.map(question))) as readonly Answer[]
  const differences: unknown[] = []
  const counts = new Map<string, number>()
  cases.forEach((each, i) => {
    const ours = answerOf(each, nowMillis)
    const theirs = answers[i]
    if ((theirs.configError === undefined) !== (ours.configError === undefined)) {
      differences.push({ plans: each.plans, ours: ours.configError ?? 'taken', theirs: theirs.configError ?? 'taken' })
      return
    }
    theirs.records?.forEach((record, at) => {
      const outcome = 'error' in record ? 'refused' : 'dropped' in record ? 'dropped' : 'made'
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
      const { message, ...expected } = record
      const { reason, ...made } = ours.records![at]
      if (reason === STATED_DIFFERENCE) return
      const [mine, wanted] = [withoutOrder(made), withoutOrder(expected)]
      if (JSON.stringify(sorted(mine)) === JSON.stringify(sorted(wanted))) return
      differences.push({
        plans: each.plans,
        record: encodeRecord(each.records[at], 'text'),
        ours: ours.records?.[at],
        theirs: record,
      })
    })
  })
  console.log(`${cases.length} configurations; records ${JSON.stringify(Object.fromEntries(counts))}`)
  expect(differences.length, JSON.stringify(differences.slice(0, 5), null, 1)).toBe(0)
  expect(counts.get('made')).toBeGreaterThan(1000)
  expect(counts.get('refused')).toBeGreaterThan(300)
})

function question({ plans, records }: Case): unknown {
  return {
    steps: plans.map(({ type, settings, predicate }) => ({ type, settings, ...(predicate ? { predicate } : {}) })),
    records: records.map((record) => encodeRecord(record, 'text')),
  }
}

function answerOf({ plans, records }: Case, nowMillis: number): { configError?: string; records?: Outcome[] } {
  try {
    const transform = compileTransforms(plans, nowMillis)
    return {
      records: records.map((record): Outcome => {
        try {
          const made = transform(record)
          return made === undefined ? { dropped: true } : encodeRecord(made, 'bits')
        } catch (cause) {
          if (cause instanceof TransformFailure) return { error: cause.exception, reason: cause.reason }
          throw cause
        }
      }),
    }
  } catch (cause) {
    if (isMillraceError(cause, 'settings-invalid')) return { configError: cause.message }
    throw cause
  }
}

function sorted(json: Json): Json {
  if (Array.isArray(json)) return json.map(sorted)
  if (typeof json !== 'object' || json === null) return json
  return Object.fromEntries(
    Object.entries(json)
      .map(([name, each]) => [name, sorted(each)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}
