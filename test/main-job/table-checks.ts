/** Questions every test of the main job asks of a table: is each record there once, with nothing missing between. */
import { expect } from 'vitest'
import type { KafkaAdmin } from '../harness/kafka-admin.ts'
import type { Millrace } from '../harness/millrace.ts'

/** Of a plain topic without bad records: `_source, _partition, _offset` unique and gap-free up to the log's end. */
export async function expectEveryOffsetOnce(
  millrace: Millrace,
  kafka: KafkaAdmin,
  options: { table: string; topic: string; partitions: number },
): Promise<void> {
  const { table, topic, partitions } = options
  const { data } = await millrace.sql(`
    SELECT _partition, count(*), count(DISTINCT _offset), min(_offset), max(_offset), count(DISTINCT _source)
    FROM ${table} WHERE _source LIKE 'kafka:${topic}:%' GROUP BY _partition ORDER BY _partition`)
  const ends = await Promise.all(Array.from({ length: partitions }, (_, each) => kafka.logEnd(topic, each)))
  const found = data.map((row) => row.map(Number))
  const wanted = ends.flatMap((end, each) => (end === 0 ? [] : [[each, end, end, 0, end - 1, 1]]))
  expect(found).toEqual(wanted)
}

/** A generator of numbers in [0, 1) that a seed repeats. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
