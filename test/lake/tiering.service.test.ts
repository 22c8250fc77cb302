// Old files move to the cold store with their bytes unchanged; and two compactors on one lake do each other no harm.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { check } from './check-lake.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS, s3Yaml } from './open-lake.ts'

const TABLES = `
tables:
  trips:
    columns: { id: long required, city: string, fare: "decimal(9,2)" }
    partition: [city]
    sort: [id]
`
const CITIES = ['Oslo', 'São Paulo', null] as const
const ANSWER = `SELECT count(*)::INTEGER AS rows, sum(id)::INTEGER AS ids, sum(fare)::VARCHAR AS fare,
  count(DISTINCT (_source, _partition, _offset))::INTEGER AS places, count(DISTINCT city)::INTEGER AS cities FROM rows`

function lines(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) =>
    JSON.stringify({ id: first + i, city: CITIES[(first + i) % 3], fare: '0.10' }),
  )
}

function expected(rows: number) {
  const ids = (rows * (rows - 1)) / 2
  return { rows, ids, fare: (rows / 10).toFixed(2), places: rows, cities: 2 }
}

let server: S3Server
beforeAll(async () => {
  server = await startS3Server()
})
afterAll(async () => {
  await server?.stop()
})

test('files move to the cold store, answers stay, local copies go', async () => {
  const bucket = await server.bucket(`tiering-${process.pid}`)
  const cold = `s3://${bucket}/cold`
  const lake = await openLake(`${SMALL_STEPS}\ntiering.after: 0 ms\n${s3Yaml(server, { cold })}\n${TABLES}`)
  try {
    await lake.millrace.start('ingest')
    const producer = createProducer(lake.millrace, 'trips', 'p')
    await producer.send(lines(0, 90))
    await lake.startCompactor()
    await producer.send(lines(90, 60))
    await allCold(lake, cold)
    const { there, referredTo } = await lake.settled(['trips'])
    expect(there).toEqual(referredTo)
    const { files, segments } = await lake.live('trips')
    expect(segments).toEqual([])
    expect(files.filter((path) => !path.startsWith(`${cold}/`))).toEqual([])
    // Metadata stays where the table lives; data files and what is left of them do not.
    const local = there.filter((path) => path.startsWith('file://'))
    expect(local.filter((path) => /\/trips-[0-9a-f]{8}\/(data|segments)\//.test(path))).toEqual([])
    expect(there.filter((path) => path.startsWith(`${cold}/`)).sort()).toEqual([...files].sort())
    expect((await lake.rows('trips', ANSWER))[0]).toEqual(expected(150))
    // Checksums moved with the files.
    expect(await check(lake, true)).toMatchObject({ findings: [], deep: { unproven: 0 } })
  } finally {
    await lake.close()
  }
})

async function allCold(lake: Lake, cold: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const seen = await lake.live('trips').catch(() => undefined)
    if (seen && seen.segments.length === 0 && seen.files.every((path) => path.startsWith(`${cold}/`))) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('files did not move to the cold store')
}

test('two compactors share a lake: every answer in between and the last one are right', async () => {
  const lake = await openLake(`${SMALL_STEPS}\n${TABLES}`)
  try {
    await lake.millrace.start('ingest')
    const producer = createProducer(lake.millrace, 'trips', 'p')
    await producer.send(lines(0, 6))
    await Promise.all([lake.startCompactor(), lake.startCompactor()])
    for (let request = 0; request < 25; request++) {
      await producer.send(lines(producer.next, 6))
      expect((await lake.rows('trips', ANSWER))[0]).toEqual(expected(producer.next))
    }
    const { there, referredTo } = await lake.settled(['trips'])
    expect(there).toEqual(referredTo)
    expect((await lake.rows('trips', ANSWER))[0]).toEqual(expected(156))
  } finally {
    await lake.close()
  }
})
