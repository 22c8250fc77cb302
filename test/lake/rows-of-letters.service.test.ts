/**
 * Which letters are rows already: found in data files and in live segments, on local disk and in a bucket, by exactly their places
 * (G-2 after a catalog was lost).
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openRowsOfLetters, placeText } from '../../lake/dead-letters/rows-of-letters.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import { FILE_SCHEME, localFileOf } from '../../lake/object-store/object-path.ts'
import { startS3Server } from '../harness/s3-server.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS, s3Yaml } from './open-lake.ts'

const TABLES = `
tables:
  trips:
    columns: { id: long required }
    sort: [id]
`

async function expectRowsFound(lake: Lake): Promise<void> {
  const workFolder = await mkdtemp(join(tmpdir(), 'millrace-rows-'))
  const root = lake.settings.lake.root
  const local = root.startsWith(FILE_SCHEME) ? [localFileOf(root)] : []
  const engine = createEngine({
    world: lake.world,
    settings: {
      name: 'letters',
      mode: 'query',
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
      spillFolder: join(workFolder, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [workFolder, ...local],
    },
  })
  let held = 0
  const readerRow = {
    hold: async () => {
      held += 1
      return () => {
        held -= 1
      }
    },
  }
  const parts = { ...lake, engine, readerRow, workFolder: join(workFolder, 'rows') }
  try {
    const ingest = await lake.millrace.start('ingest')
    const compactor = await lake.startCompactor()
    const producer = createProducer(lake.millrace, 'trips', 'p')
    const send = (from: number) => producer.send(Array.from({ length: 10 }, (_, each) => `{"id":${from - each}}`))
    await send(1000)
    await lake.settled(['trips'])
    await compactor.stop()
    await send(500)
    await ingest.stop()
    const live = await lake.live('trips')
    expect([live.files.length, live.segments.length]).toEqual([1, 1])

    const rows = await openRowsOfLetters({ ...parts, table: 'trips' })
    const at = (offset: bigint, source = 'http:p', partition = 0) => ({ source, partition, offset })
    const inFile = at(3n)
    const inSegment = at(17n)
    const others = [at(20n), at(3n, 'http:q'), at(17n, 'http:p', 1), at(-1n), at(2n ** 62n)]
    const found = async (...letters: Parameters<typeof rows.places>[0]) => [...(await rows.places(letters))].sort()
    expect(await found(inFile, ...others, inSegment)).toEqual([inFile, inSegment].map(placeText).sort())
    expect(await found(inSegment)).toEqual([placeText(inSegment)])
    expect(await found(...others)).toEqual([])
    expect(held).toBe(1)
    rows.close()
    expect(held).toBe(0)
    expect((await readdir(workFolder)).filter((name) => name.startsWith('rows'))).toEqual([])

    const nowhere = await openRowsOfLetters({ ...parts, table: 'no_such_table' })
    expect(await nowhere.places([inFile])).toEqual(new Set())
  } finally {
    await engine.close()
    await rm(workFolder, { recursive: true, force: true })
  }
}

test('on local disk', async () => {
  const lake = await openLake(`${SMALL_STEPS}\n${TABLES}`)
  try {
    await expectRowsFound(lake)
  } finally {
    await lake.close()
  }
})

test('in a bucket: files are fetched for the question and gone after it', async () => {
  const server = await startS3Server()
  try {
    const bucket = await server.bucket(`rows-of-letters-${process.pid}`)
    const lake = await openLake(`${SMALL_STEPS}\n${s3Yaml(server, { root: `s3://${bucket}/lake` })}\n${TABLES}`)
    try {
      await expectRowsFound(lake)
    } finally {
      await lake.close()
    }
  } finally {
    await server.stop()
  }
})
