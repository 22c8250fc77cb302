// `millrace check` as people and scripts run it: what it prints, its exit codes, catalogs that are not there, no catalog, or
// older, and a lake whose processes were killed.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { bytesOf, check, checkCommand, lakeToCheck, MAIN, overwrite, tripLines } from './check-lake.ts'
import { createProducer, openLake, SMALL_STEPS } from './open-lake.ts'

test('one line a finding, what to do, and the exit code', async () => {
  const lake = await lakeToCheck()
  try {
    const [path] = (await lake.live('trips')).files
    const bytes = await bytesOf(lake, path)
    const altered = bytes.slice()
    altered[altered.length >> 1] ^= 4
    await overwrite(lake, path, altered)
    expect((await checkCommand(lake)).code).toBe(0)
    const { code, output } = await checkCommand(lake, '--deep')
    expect(code).toBe(1)
    const line = output.split('\n').find((each) => each.includes(path))
    expect(line).toMatch(/^altered {2}\S+ {2}\(data file; table trips; referred to by \S+\.avro; expected checksum /)
    expect(line).toContain('restore it')
    expect(output).toContain('the lake is not sound: 1 finding\n')
    expect(output).toContain('rows not counted: trips: some of its files are missing or altered\n')
    const json = await checkCommand(lake, '--deep', '--json', '--table', 'trips')
    expect(json.code).toBe(1)
    expect(JSON.parse(json.output)).toMatchObject({
      settings: { sound: true },
      lake: { sound: false, notices: [], findings: [{ kind: 'altered', what: 'data file', table: 'trips', path }] },
    })
    expect(await checkCommand(lake, '--deep', '--table', 'visits')).toMatchObject({ code: 0 })
    // Nobody listens, as behind `| head`: the lake is no sounder for it.
    const unheard = spawn(process.execPath, [MAIN, 'check', '--deep', '--config', lake.millrace.configFile])
    unheard.stdout.destroy()
    const [unheardCode] = await once(unheard, 'exit')
    expect(unheardCode).not.toBe(0)
    const lost = await checkCommand(lake, '--set', `catalog.url=sqlite:${lake.millrace.folder}/lost.db`)
    expect(lost).toMatchObject({ code: 1 })
    expect(lost.output).toMatch(/^missing {2}sqlite:\S+lost\.db {2}\(catalog; .*catalog rebuild/m)
    const unknown = await checkCommand(lake, '--table', 'nobody')
    expect(unknown).toMatchObject({ code: 2 })
    expect(unknown.output).toContain('there is no table "nobody"')
    // Nothing of its own is left behind.
    expect((await readdir(join(lake.millrace.folder, 'data'))).filter((name) => name.startsWith('check-'))).toEqual([])
  } finally {
    await lake.close()
  }
})

test('a lake whose processes were killed is sound; their leftovers are notices until the sweep', async () => {
  const lake = await lakeToCheck()
  try {
    const ingest = await lake.millrace.start('ingest', { crashAt: 'ingest/before-commit' })
    const producer = createProducer(lake.millrace, 'trips', 'q')
    const sent = producer.send(tripLines(0, 5)).catch(() => {})
    await ingest.exited
    await lake.killCompactorAt('compactor/before-snapshot-commit')
    const beside = await check(lake, true)
    expect(beside.findings).toEqual([])
    expect(beside.inFlight).toBeGreaterThan(5)
    await lake.catalog.fenceSilentWriters(0)
    const { code, output } = await checkCommand(lake, '--deep')
    expect(code).toBe(0)
    expect(output.match(/^notice: orphan .*: the sweep removes it$/gm)?.length).toBe(beside.inFlight)
    expect(output).toContain('the lake is sound\n')
    await lake.millrace.start('ingest')
    await sent
    expect((await check(lake, true)).findings.filter(({ severity }) => severity === 'damage')).toEqual([])
  } finally {
    await lake.close()
  }
})

test('an older copy of the catalog: the bucket is ahead', async () => {
  const lake = await lakeToCheck()
  try {
    const copy = join(lake.millrace.folder, 'copy.db')
    const database = new DatabaseSync(lake.settings.catalog.url.replace(/^sqlite:/, ''))
    database.exec(`VACUUM INTO '${copy}'`)
    database.close()
    const atCopy = ['--set', `catalog.url=sqlite:${copy}`]
    expect(await checkCommand(lake, ...atCopy)).toMatchObject({ code: 0 })
    const ingest = await lake.millrace.start('ingest')
    await createProducer(lake.millrace, 'trips', 'q').send(tripLines(0, 5))
    await ingest.stop()
    expect((await check(lake, true)).findings).toEqual([])
    const { code, output } = await checkCommand(lake, ...atCopy)
    expect(code).toBe(1)
    expect(output).toMatch(/^behind {2}the catalog {2}.*catalog rebuild/m)
  } finally {
    await lake.close()
  }
})

test('no catalog, no lake, no database, an older release', async () => {
  const lake = await openLake(SMALL_STEPS)
  try {
    await lake.catalog.createTable({
      name: 'trips',
      location: `${lake.settings.lake.root}/trips-1`,
      columns: undefined,
      partition: [],
      sort: [],
      properties: {},
    })
    const at = (name: string) => ['--set', `catalog.url=sqlite:${join(lake.millrace.folder, name)}`]
    const none = await checkCommand(lake, ...at('none.db'))
    expect(none).toMatchObject({ code: 0 })
    expect(none.output).toContain('the lake was not looked at: there is no catalog yet')
    await writeFile(join(lake.millrace.folder, 'text.db'), 'this is a text and has never been a database, '.repeat(200))
    const text = await checkCommand(lake, ...at('text.db'))
    expect(text).toMatchObject({ code: 1 })
    expect(text.output).toMatch(/^altered {2}sqlite:\S+text\.db {2}\(catalog; /m)
    expect(await checkCommand(lake, '--settings-only', ...at('text.db'))).toMatchObject({ code: 0 })

    const catalog = lake.settings.catalog.url.replace(/^sqlite:/, '')
    const database = new DatabaseSync(catalog)
    database.exec("CREATE TABLE kept AS SELECT * FROM migrations; DELETE FROM migrations WHERE name <> '0001-first'")
    const older = await checkCommand(lake)
    expect(older).toMatchObject({ code: 2 })
    expect(older.output).toContain('start a service of this one')
    database.exec('DELETE FROM migrations; INSERT INTO migrations SELECT * FROM kept; DROP TABLE kept')
    database.exec('UPDATE format SET minimum_reader = 99')
    const newer = await checkCommand(lake)
    expect(newer).toMatchObject({ code: 2 })
    expect(newer.output).toContain('run a newer Millrace')
    database.exec('UPDATE format SET minimum_reader = 1')
    database.close()

    // Another folder than the one the tables lie in.
    const moved = await checkCommand(lake, '--set', `lake.root=file://${lake.millrace.folder}/elsewhere`)
    expect(moved).toMatchObject({ code: 2 })
    expect(moved.output).toMatch(/not of one lake: table "trips" lies at \S+trips-1, lake.root is \S+elsewhere;/)
  } finally {
    await lake.close()
  }
})
