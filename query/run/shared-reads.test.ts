// Reads of the catalog that queries share show all that was committed before the query came (G-4).
import { expect, test } from 'vitest'
import type { Catalog, TableVersions } from '../../lake/catalog/catalog.ts'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSharedReads } from './shared-reads.ts'

/** A catalog of one table whose reads end when they are told to. */
function slowCatalog(mark: () => string | undefined) {
  let version = 0n
  const started: { finish(): void }[] = []
  const catalog: Pick<Catalog, 'readTables' | 'changeMark'> = {
    changeMark: async () => mark(),
    readTables() {
      const seen = version
      return new Promise<TableVersions>((resolve) => {
        started.push({ finish: () => resolve([{ version: seen, readAt: 1_000n }] as never) })
      })
    },
  }
  return {
    catalog,
    started,
    commit: () => {
      version += 1n
    },
  }
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
const versionOf = async (reading: Promise<TableVersions>) => (await reading)[0].version

test('who comes while a read is under way waits for the next one, which all of them share', async () => {
  const { catalog, started, commit } = slowCatalog(() => undefined)
  const reads = createSharedReads({ catalog, world: createTestWorld() })
  const first = reads.readTables(['t'])
  await settle()
  commit()
  const later = [reads.readTables(['t']), reads.readTables(['t']), reads.readTables(['t'])]
  await settle()
  expect(started).toHaveLength(1)
  started[0].finish()
  expect(await versionOf(first)).toBe(0n)
  await settle()
  expect(started).toHaveLength(2)
  started[1].finish()
  expect(await Promise.all(later.map(versionOf))).toEqual([1n, 1n, 1n])
})

test('a read that fails fails for those who share it, and the next one is a new one', async () => {
  let fails = true
  let calls = 0
  const reads = createSharedReads({
    catalog: {
      changeMark: async () => 'm',
      async readTables() {
        calls += 1
        if (fails) throw new Error('away')
        return []
      },
    },
    world: createTestWorld(),
  })
  await expect(reads.readTables(['t'])).rejects.toThrow('away')
  fails = false
  expect(await reads.readTables(['t'])).toEqual([])
  expect(calls).toBe(2)
})

test('while nothing is committed the same read is answered again, later in time; a commit is seen at once', async () => {
  const world = createTestWorld()
  let mark = 'a'
  let calls = 0
  const catalog: Pick<Catalog, 'readTables' | 'changeMark'> = {
    changeMark: async () => mark,
    async readTables() {
      calls += 1
      return [{ version: BigInt(calls), readAt: 5_000_000n }] as never
    },
  }
  const reads = createSharedReads({ catalog, world })
  const [one] = await reads.readTables(['t'])
  const [two] = await reads.readTables(['t'])
  expect([one.version, two.version, calls]).toEqual([1n, 1n, 1])
  expect(two.readAt).toBeGreaterThanOrEqual(one.readAt)
  mark = 'b'
  expect(await versionOf(reads.readTables(['t']))).toBe(2n)
  expect(await versionOf(reads.readTables(['u']))).toBe(3n)
})

test('a commit between the mark and the read is never taken for unchanged', async () => {
  let mark = 1
  let version = 1n
  const catalog: Pick<Catalog, 'readTables' | 'changeMark'> = {
    changeMark: async () => String(mark),
    async readTables() {
      const read = [{ version, readAt: 0n }]
      // Lands right after the read.
      if (version === 1n) {
        version = 2n
        mark += 1
      }
      return read as never
    },
  }
  const reads = createSharedReads({ catalog, world: createTestWorld() })
  expect(await versionOf(reads.readTables(['t']))).toBe(1n)
  expect(await versionOf(reads.readTables(['t']))).toBe(2n)
})

test('the mark of a catalog in a file changes with commits of this process and of others, and not with reads', async ({
  onTestFinished,
}) => {
  const { mkdtempSync, rmSync } = await import('node:fs')
  const { join } = await import('node:path')
  const { tmpdir } = await import('node:os')
  const folder = mkdtempSync(join(tmpdir(), 'millrace-mark-'))
  const url = `sqlite:${join(folder, 'catalog.db')}`
  const own = await openCatalog({ url, world: createTestWorld() })
  const other = await openCatalog({ url, world: createTestWorld() })
  onTestFinished(async () => {
    await own.close()
    await other.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const table = (name: string) => ({
    name,
    location: `file:///lake/${name}`,
    columns: [],
    partition: [],
    sort: [],
    properties: {},
  })
  const marks = [await own.changeMark()]
  await own.listTables()
  expect(await own.changeMark()).toBe(marks[0])
  await own.createTable(table('a'))
  marks.push(await own.changeMark())
  await other.createTable(table('b'))
  marks.push(await own.changeMark())
  // Asked while a read is under way: of the time after it.
  const reading = own.listTables()
  const asked = own.changeMark()
  await other.createTable(table('c'))
  await reading
  await asked
  marks.push(await own.changeMark())
  expect(new Set(marks).size).toBe(4)
  expect(marks).not.toContain(undefined)

  const memory = await openCatalog({ url: 'sqlite::memory:', world: createTestWorld() })
  expect(await memory.changeMark()).toBeUndefined()
  await memory.close()
})
