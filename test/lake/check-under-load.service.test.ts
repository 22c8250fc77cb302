// `millrace check` beside running services: segments come, snapshots are committed, files are merged, expire and are swept at
// once, and a sound lake stays without finding in every look.
import { expect, test } from 'vitest'
import { check, checkCommand, inspect, tripLines } from './check-lake.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS } from './open-lake.ts'

const LOOKS = 20
const TABLES = `
segments.live.max: 10
tables:
  trips:
    columns: { id: long required, city: string, fare: "decimal(9,2)", note: string }
    partition: [city]
    sort: [id]
  visits:
    columns: { id: long required, city: string }
`

test('twenty looks at a lake under load find nothing', async () => {
  // Removed files go as soon as no reader's row holds them, and only three snapshots stay.
  const lake = await openLake(`${SMALL_STEPS}${TABLES}`)
  const stopping = new AbortController()
  try {
    await lake.millrace.start('ingest')
    const compactors = [await lake.startCompactor(), await lake.startCompactor()]
    const sent = { trips: 0, visits: 0 }
    const load = (['trips', 'visits'] as const).map(async (name) => {
      const producer = createProducer(lake.millrace, name, 'p')
      while (!stopping.signal.aborted) {
        await producer.send([...tripLines(producer.next, 9), '{"id":"no number"}'], '?errors=dead-letter')
        sent[name] = producer.next
      }
    })
    let version = 0n
    for (let look = 0; look < LOOKS; look++) {
      version = await versionAfter(lake, version + 3n)
      const report = await check(lake, look % 4 === 3)
      expect(report.findings, `look ${look}`).toEqual([])
      expect(report.unknown).toBe(0)
    }
    const { code, output } = await checkCommand(lake, '--deep')
    expect(code, output).toBe(0)
    stopping.abort()
    await Promise.all(load)
    for (const { stop } of compactors) await stop()
    expect((await check(lake, true)).findings).toEqual([])
    expect(sent.trips).toBeGreaterThan(0)
    // No reader's row is left behind.
    expect((await inspect(lake)).readers.filter(({ readerId }) => readerId.startsWith('check-'))).toEqual([])
  } finally {
    stopping.abort()
    await lake.close()
  }
})

/** The load goes on between any two looks. */
async function versionAfter(lake: Lake, least: bigint): Promise<bigint> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const { version } = await lake.table('trips')
    if (version >= least) return version
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('no load')
}
