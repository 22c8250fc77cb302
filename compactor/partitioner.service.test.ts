// Every row of a rewrite comes out of exactly one table partition, whatever its partition value looks like.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table } from '../lake/catalog/catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { quoteName } from '../lake/file-mapping.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createPartitioner } from './partitioner.ts'

let folder: string
let engine: Engine

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-partitioner-'))
  engine = createEngine({
    world: createTestWorld(),
    settings: {
      name: 'partitioner',
      mode: 'compaction',
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [folder],
    },
  })
})

afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true, force: true })
})

const NAMES = ['', "it's", '..', 'a/b', '\0', 'a\0b', 'a\0c', "\0' OR 1=1 --", 'é😀\0', 'NULL', null]

test.each([{ partition: ['name'] }, { partition: ['truncate(3, name)'] }, { partition: ['bucket(3, name)'] }])(
  '$partition',
  async ({ partition }) => {
    const columns = [
      { name: 'name', type: { kind: 'string' }, required: false },
      { name: 'id', type: { kind: 'int' }, required: true },
    ] as const
    const declared = { name: 't', columns, partition, sort: [], eventTime: undefined }
    const defined = defineTable(declared, 'file:///lake/t')
    const schema = { schemaId: 0, columns: defined.columns ?? [] }
    const table: Table = {
      ...defined,
      tableId: 1,
      schemas: [schema],
      version: 0n,
      metadataLocation: undefined,
      lastFieldId: 17,
    }
    const values = NAMES.map((name, id) => {
      const sql = name === null ? 'NULL' : `decode(from_hex('${Buffer.from(name).toString('hex')}'))`
      return `(${sql}, ${id})`
    })
    const relation = `SELECT * FROM (VALUES ${values.join(', ')}) AS rows(${quoteName('name')}, id)`
    const partitioner = createPartitioner({ engine, table, schema, name: 'p', workFolder: folder })
    try {
      const found: number[] = []
      for (const { fromSql } of await partitioner.load(relation)) {
        for (const { id } of await engine.run(`SELECT id FROM ${fromSql}`)) found.push(Number(id))
      }
      expect(found.sort((a, b) => a - b)).toEqual(NAMES.map((_, id) => id))
    } finally {
      await partitioner.drop()
    }
  },
)
