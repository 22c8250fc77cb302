// kill -9 of the compactor at every crash point (G-1, G-2, PROTOCOL 6): the answer stays the same while it is dead and after
// a restart, and once the sweep has run the lake's folder and the cold bucket hold exactly what metadata and catalog list.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { crashPointsInSource } from './crash-points.ts'
import { createProducer, type Lake, openLake, type Producer, SMALL_STEPS, s3Yaml } from './open-lake.ts'

const POINTS = [
  'catalog/snapshot-after-commit',
  'catalog/snapshot-before-commit',
  'compactor/after-cold-file',
  'compactor/after-data-file',
  'compactor/after-local-file',
  'compactor/after-snapshot-commit',
  'compactor/before-snapshot-commit',
  'iceberg/after-checkpoint',
  'iceberg/after-manifest',
  'iceberg/after-manifest-list',
  'iceberg/after-metadata',
  'sweep/after-dead-files',
  'sweep/before-orphans',
]

const ANSWER = `SELECT count(*) AS rows, sum(id) AS ids, sum(amount) AS amount,
  count(DISTINCT (_source, _partition, _offset)) AS places, min(_offset) AS first, max(_offset) AS last FROM rows`
const ROWS_A_ROUND = 30

const TABLES = `
tables:
  clicks:
    columns: { id: long required, name: string, amount: "decimal(10,2)" }
    partition: ["bucket(2, id)"]
    sort: [id]
`

let server: S3Server
beforeAll(async () => {
  server = await startS3Server()
})
afterAll(async () => {
  await server?.stop()
})

test('every crash point of the compactor in the source is one of these', () => {
  const others = crashPointsInSource().filter((name) => !/^(?:ingest\/|rebuild\/|catalog\/(?:merge|tick)-)/.test(name))
  expect(others).toEqual(POINTS)
})

const PLACES = [
  { place: 'on local disk with a cold bucket', points: POINTS },
  {
    place: 'in a bucket',
    points: [
      ...POINTS.filter((name) => name !== 'compactor/after-cold-file'),
      // An append writes two data files and commits: what comes after belongs to a merge.
      'compactor/after-data-file:3',
      'compactor/before-snapshot-commit:2',
      'catalog/snapshot-before-commit:2',
      'compactor/after-snapshot-commit:2',
    ],
  },
] as const

describe.each(PLACES)('a compactor killed $place', ({ place, points }) => {
  let lake: Lake
  let producer: Producer
  beforeAll(async () => {
    const bucket = await server.bucket(`crash-${process.pid}-${place.length}`)
    const root = `s3://${bucket}/millrace`
    const where = s3Yaml(server, place === 'in a bucket' ? { root } : { cold: root })
    lake = await openLake(`${SMALL_STEPS}\ntiering.after: 0 ms\n${where}\n${TABLES}`)
    await lake.millrace.start('ingest')
    producer = createProducer(lake.millrace, 'clicks', 'p1')
  })
  afterAll(async () => {
    await lake?.close()
  })

  async function sendRound(): Promise<void> {
    for (let part = 0; part < 2; part++) {
      const first = producer.next
      const ids = Array.from({ length: ROWS_A_ROUND / 2 }, (_, i) => first + i)
      await producer.send(ids.map((id) => JSON.stringify({ id, name: `n${id}`, amount: `${id}.25` })))
    }
  }

  function expected() {
    const rows = producer.next
    const ids = (rows * (rows - 1)) / 2
    return {
      rows: BigInt(rows),
      ids: String(ids),
      amount: (ids + rows * 0.25).toFixed(2),
      places: BigInt(rows),
      first: 0n,
      last: BigInt(rows - 1),
    }
  }

  async function answer() {
    const [row] = await lake.rows('clicks', ANSWER)
    return { ...row, ids: String(row.ids), amount: String(row.amount) }
  }

  test.each(points)('at %s', { timeout: 180_000 }, async (point) => {
    await sendRound()
    // Orphans must lie there before a sweep can be killed in front of them.
    if (point === 'sweep/before-orphans') {
      await lake.killCompactorAt('compactor/after-data-file')
      lake.endSilenceOfDeadCompactors()
    }
    await lake.killCompactorAt(point)
    lake.endSilenceOfDeadCompactors()
    expect(await answer()).toEqual(expected())

    const again = await lake.startCompactor()
    const { there, referredTo } = await lake.settled(['clicks'])
    expect(there).toEqual(referredTo)
    expect(await answer()).toEqual(expected())
    await again.stop()
    expect(await answer()).toEqual(expected())
  })
})
