// Rows written under one schema after the other, structs, lists and maps among them, read back through the mapping of files
// and through a compaction, are those of a plain model: what was added is NULL, what was dropped never comes back (G-8).
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table } from '../lake/catalog/catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { type MappedFile, quoteName, quoteText, relationSql, SCHEMA_ID_KEY } from '../lake/file-mapping.ts'
import type { DataFile } from '../lake/iceberg/iceberg.ts'
import { createLocalObjectStore } from '../lake/object-store/local.ts'
import { localFileOf } from '../lake/object-store/object-path.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import { leavesOf } from '../lake/parquet/nested-levels.ts'
import { type SampleValue, sampleVector } from '../lake/parquet/sample-batches.ts'
import { anyNestedType, anyValueOf, sampleOf } from '../lake/parquet/sample-nested.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { assignFieldIds, type ColumnType, childFields, type Field, withChildFields } from '../schemas/column-type.ts'
import { type Column, FIRST_USER_FIELD_ID, HIDDEN_COLUMNS, type TableSchema } from '../schemas/table-schema.ts'
import { createRewriter } from './rewrite.ts'

let folder: string
let engine: Engine
let store: ObjectStore
let files = 0
const world = createTestWorld({ sleepAdvances: true })

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-nested-rewrite-'))
  await mkdir(join(folder, 'work'))
  await mkdir(join(folder, 'lake'))
  store = createLocalObjectStore({ root: `file://${folder}/lake`, world })
  engine = createEngine({
    world,
    settings: {
      name: 'rewrite',
      mode: 'compaction',
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [join(folder, 'work'), join(folder, 'lake')],
    },
  })
})
afterAll(async () => {
  await engine?.close()
  await store?.close()
  await rm(folder, { recursive: true, force: true })
})

/** What happens to a type from one schema to the next, by a random number at each place. */
type Change = { next(below: number): number; id: number }

function changedType(type: ColumnType, change: Change, isKey = false): ColumnType {
  if (type.kind === 'int' && change.next(3) === 0) return { kind: 'long' }
  if (type.kind === 'float' && change.next(3) === 0) return { kind: 'double' }
  if (type.kind === 'decimal' && !isKey && change.next(3) === 0) {
    return { ...type, precision: Math.min(38, type.precision + 5) }
  }
  if (type.kind === 'struct') return { kind: 'struct', fields: changedFields(type.fields, change) }
  return withChildFields(
    type,
    childFields(type).map((field) => ({ ...field, type: changedType(field.type, change, field.name === 'key') })),
  )
}

function changedFields(fields: readonly Field[], change: Change): readonly Field[] {
  const changed = fields.map((field) => ({ ...field, type: changedType(field.type, change) }))
  const what = change.next(8)
  const at = change.next(changed.length)
  const added = (name: string): Field => {
    const fresh = { fieldId: 0, name, type: ADDED[change.next(ADDED.length)], required: false }
    const { fields, next } = assignFieldIds([fresh], change.id)
    change.id = next
    return fields[0]
  }
  const isNew = (name: string) => !changed.some((field) => field.name.toLowerCase() === name.toLowerCase())
  const name = NEW_NAMES[change.next(NEW_NAMES.length)]
  if (what === 0 && isNew(name)) changed.splice(at, 0, added(name))
  else if (what === 1 && changed.length > 1) changed.splice(at, 1)
  // Dropped and added again under its old name: another field.
  else if (what === 2) changed.splice(at, 1, added(changed[at].name))
  else if (what === 3 && isNew(name)) changed[at] = { ...changed[at], name }
  else if (what === 4) changed.reverse()
  else if (what === 5) changed[at] = { ...changed[at], required: false }
  return changed
}

const NEW_NAMES = ['new', 'a', 'x.y', 'key', 'it "is"']
const ADDED: readonly ColumnType[] = [
  { kind: 'string' },
  { kind: 'int' },
  { kind: 'struct', fields: [{ fieldId: 0, name: 'deep', type: { kind: 'long' }, required: false }] },
  { kind: 'list', element: { fieldId: 0, name: 'element', type: { kind: 'string' }, required: false } },
]

/** The model: a value of a field then, as one of the same field now. */
function asNow(value: SampleValue, then: Field, now: Field): SampleValue {
  if (value === null) return null
  const [from, to] = [then.type, now.type]
  if (from.kind === 'struct' && to.kind === 'struct') {
    return Object.fromEntries(
      to.fields.map((field) => {
        const before = from.fields.find(({ fieldId }) => fieldId === field.fieldId)
        return [field.name, before ? asNow((value as Record<string, SampleValue>)[before.name], before, field) : null]
      }),
    )
  }
  if (from.kind === 'list' && to.kind === 'list') {
    return (value as readonly SampleValue[]).map((each) => asNow(each, from.element, to.element))
  }
  if (from.kind === 'map' && to.kind === 'map') {
    return (value as readonly (readonly SampleValue[])[]).map(([key, each]) => [
      asNow(key, from.key, to.key),
      asNow(each, from.value, to.value),
    ])
  }
  return from.kind === 'int' && to.kind === 'long' ? BigInt(value as number) : value
}

const hidden: Record<string, (row: number) => SampleValue> = {
  _source: () => 'http:nested',
  _partition: () => 0,
  _offset: (row) => BigInt(row),
  _timestamp: () => null,
  _arrived: () => 1_700_000_000_000_000n,
}

/** Of leaves outside lists and maps; readers leave out files by them. */
function expectNullCounts(file: DataFile, columns: readonly Column[], rows: readonly SampleValue[][]): void {
  for (const [i, column] of columns.entries()) {
    for (const { field, path, isRepeated } of leavesOf(column)) {
      const nulls = rows.filter((row) => !isRepeated && valueAt(row[i], path.slice(1)) === null).length
      const counts = [file.nullCounts.get(field.fieldId), file.lowerBounds.has(field.fieldId)]
      const hasBounds = nulls < rows.length && ['int', 'long', 'uuid'].includes(field.type.kind)
      if (isRepeated) expect(counts).toEqual([undefined, false])
      else if (hasBounds) expect(counts).toEqual([nulls, true])
      else expect(counts[0]).toBe(nulls)
    }
  }
}

function valueAt(value: SampleValue, path: readonly string[]): SampleValue {
  if (value === null || path.length === 0) return value
  return valueAt((value as Record<string, SampleValue>)[path[0]], path.slice(1))
}

async function writeSegment(location: string, schema: TableSchema, columns: readonly SampleValue[][], first: number) {
  const rowCount = columns[0].length
  const vectors = schema.columns.map((column, i) => {
    const own = columns[i] ?? Array.from({ length: rowCount }, (_, row) => hidden[column.name](first + row))
    return sampleVector(column, own)
  })
  const { bytes } = writeParquet(
    { schema, rowCount, vectors },
    { compression: 'zstd', level: 1, rowGroupRows: 7, keyValues: { [SCHEMA_ID_KEY]: String(schema.schemaId) } },
  )
  files += 1
  const path = `${location}/segments/${files}.parquet`
  const localFile = localFileOf(path)
  await mkdir(join(localFile, '..'), { recursive: true })
  await writeFile(localFile, bytes)
  return { path, localFile, footer: await readLocalFooter(localFile) } satisfies MappedFile
}

function tableOf(schemas: readonly TableSchema[], lastFieldId: number): Table {
  return {
    tableId: 1,
    name: 'nested',
    location: `file://${folder}/lake/nested`,
    schemas,
    partition: [],
    sort: [{ fieldId: 3, descending: true, nullsFirst: false }],
    properties: {},
    version: 0n,
    metadataLocation: undefined,
    metadataChecksum: undefined,
    lastFieldId,
  }
}

const anyHistory = fc.record({
  types: fc.tuple(anyNestedType(3), anyNestedType(3)),
  steps: fc.array(fc.array(fc.nat(), { minLength: 40, maxLength: 40 }), { minLength: 1, maxLength: 4 }),
})

function schemasOf({ types, steps }: { types: readonly ColumnType[]; steps: readonly number[][] }) {
  const declared = types.map((type, i): Field => ({ fieldId: 0, name: `c${i}`, type, required: i === 0 }))
  const first = assignFieldIds(declared, FIRST_USER_FIELD_ID)
  let columns: readonly Column[] = first.fields
  let id = first.next
  const schemas: TableSchema[] = [{ schemaId: 0, columns: [...columns, ...HIDDEN_COLUMNS] }]
  for (const numbers of steps) {
    let at = 0
    const change: Change = { id, next: (below) => numbers[at++ % numbers.length] % below }
    columns = columns.map((column) => ({ ...column, type: changedType(column.type, change) }))
    id = change.id
    schemas.push({ schemaId: schemas.length, columns: [...columns, ...HIDDEN_COLUMNS] })
  }
  return { schemas, lastFieldId: id - 1 }
}

test('any history of schemas: the rows of all files are those of the model, before and after a rewrite', async () => {
  const connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
  const read = async (sql: string) => (await connection.runAndReadAll(sql)).getRows().map((row) => row.map(sampleOf))
  await fc.assert(
    fc.asyncProperty(
      anyHistory.map(schemasOf).chain(({ schemas, lastFieldId }) =>
        fc.record({
          schemas: fc.constant(schemas),
          lastFieldId: fc.constant(lastFieldId),
          batches: fc.tuple(
            ...schemas.map(({ columns }) =>
              fc.array(fc.tuple(anyValueOf(columns[0]), anyValueOf(columns[1])), { minLength: 1, maxLength: 12 }),
            ),
          ),
        }),
      ),
      async ({ schemas, lastFieldId, batches }) => {
        const table = tableOf(schemas, lastFieldId)
        const now = schemas[schemas.length - 1]
        const inputs: MappedFile[] = []
        const expected: SampleValue[][] = []
        for (const [i, rows] of batches.entries()) {
          const columns = [0, 1].map((at) => rows.map((row) => row[at]))
          inputs.push(await writeSegment(table.location, schemas[i], columns, expected.length))
          for (const row of rows) {
            expected.push([0, 1].map((at) => asNow(row[at], schemas[i].columns[at], now.columns[at])))
          }
        }
        const names = now.columns.slice(0, 2).map(({ name }) => quoteName(name))
        const relation = relationSql(inputs, schemas, now.columns)
        expect(await read(`SELECT ${names.join(', ')} FROM (${relation}) ORDER BY _offset`)).toEqual(expected)

        const writer = { writerId: world.random.uuid(), epoch: 1n } as never
        const workFolder = join(folder, 'work')
        const rewriter = createRewriter({
          engine,
          store,
          world,
          writer,
          workFolder,
          partitionsMax: 10,
          memoryBytes: 256 * 1024 ** 2,
          threads: 1,
        })
        const rowsExpected = expected.length
        const { files: outputs } = await rewriter.rewrite({
          table,
          inputs,
          rowsExpected,
          partition: undefined,
          mayLieBeside: true,
        })
        const [file] = outputs
        expect(file.sortOrderId).toBe(1)
        expectNullCounts(file, now.columns.slice(0, 2), expected)
        const path = localFileOf(file.path)
        const found = await read(`SELECT ${names.join(', ')} FROM read_parquet(${quoteText(path)}) ORDER BY _offset`)
        expect(found).toEqual(expected)
        const again = { path: file.path, localFile: path, footer: await readLocalFooter(path) }
        const mapped = relationSql([again], schemas, now.columns)
        expect(mapped).toContain(`SELECT ${now.columns.map(({ name }) => quoteName(name)).join(', ')} FROM`)
        expect(await read(`SELECT ${names.join(', ')} FROM (${mapped}) ORDER BY _offset`)).toEqual(expected)
        await Promise.all([...inputs.map(({ localFile }) => rm(localFile)), rm(path)])
      },
    ),
    { numRuns: 60 },
  )
  connection.closeSync()
})
