/** The catalog on SQLite: the conformance suite in memory and on a file with several connections, and what only SQLite has. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { Catalog } from './catalog.ts'
import { describeCatalog } from './conformance.ts'
import { openCatalog } from './open-catalog.ts'

describeCatalog('SQLite in memory', async () => {
  let shared: Promise<Catalog> | undefined
  return {
    open: (world) => {
      shared ??= openCatalog({ url: 'sqlite::memory:', world })
      return shared
    },
    close: async () => (await shared)?.close(),
  }
})

describeCatalog('SQLite file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-catalog-'))
  const opened: Catalog[] = []
  return {
    async open(world) {
      const catalog = await openCatalog({ url: `sqlite:${join(folder, 'catalog.db')}`, world })
      opened.push(catalog)
      return catalog
    },
    async close() {
      for (const catalog of opened) await catalog.close()
      await rm(folder, { recursive: true })
    },
  }
})

async function withFile(work: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-catalog-'))
  try {
    await work(join(folder, 'catalog.db'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('a catalog of a newer format is refused by both numbers', () =>
  withFile(async (path) => {
    const world = createTestWorld({ sleepAdvances: true })
    await (await openCatalog({ url: `sqlite:${path}`, world })).close()
    const file = new DatabaseSync(path)
    file.exec('UPDATE format SET minimum_reader = 2, minimum_writer = 3')
    file.close()
    await expect(openCatalog({ url: `sqlite:${path}`, world })).rejects.toMatchObject({
      code: 'format-too-new',
      facts: { minimumReader: 2, minimumWriter: 3, speaks: 1 },
    })
  }))

test('a write lock held elsewhere gives catalog-busy in bounded time, reads go on, and the next try works', () =>
  withFile(async (path) => {
    const world = createTestWorld({ sleepAdvances: true })
    const catalog = await openCatalog({ url: `sqlite:${path}`, world, busyMs: 500 })
    const holder = new DatabaseSync(path)
    holder.exec('BEGIN IMMEDIATE')
    await expect(catalog.registerWriter('ingest')).rejects.toMatchObject({ code: 'catalog-busy' })
    expect(await catalog.listTables()).toEqual([])
    holder.exec('ROLLBACK')
    holder.close()
    expect(await catalog.registerWriter('ingest')).toMatchObject({ epoch: 1 })
    await catalog.close()
  }))

test('urls that name no file are refused', async () => {
  for (const url of ['sqlite:', 'postgres://x', '/tmp/x', 'sqlite://host/x']) {
    await expect(openCatalog({ url, world: createTestWorld() })).rejects.toMatchObject({ code: 'settings-invalid' })
  }
})
