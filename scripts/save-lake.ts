/**
 * Saves a small but complete lake of this release, so that later releases can be held to opening it: every object of its
 * bucket, its catalog and what it answers, as `test/fixtures/lakes/<version>/lake.zst` and `expected.json`.
 *
 *   node scripts/save-lake.ts <version> [folder]
 *
 * Real services make it (Kafka, S3, ingest, compactor, query); what happens is told in `test/releases/lake-story.ts`.
 * Times in the catalog are moved back so that the newest is the first instant of 2026: a catalog's clock never runs
 * backwards, and a fixture must not stop the clock of whoever opens it.
 *
 * In a work tree of an older release this file, `lake-story.ts` and `archive.ts` are all that has to be put there.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { openObjectStore } from '../lake/object-store/open.ts'
import { createLog } from '../runtime/log.ts'
import { createSystemWorld } from '../runtime/system-world.ts'
import { parseColumnType } from '../schemas/column-type.ts'
import type { Column } from '../schemas/table-schema.ts'
import { startKafka } from '../test/harness/kafka.ts'
import { createMillrace, type Millrace } from '../test/harness/millrace.ts'
import { createProducer } from '../test/harness/produce.ts'
import { startS3Server } from '../test/harness/s3-server.ts'
import { packFiles } from '../test/releases/archive.ts'
import {
  type Expected,
  ICEBERG_QUESTION,
  KEY,
  PARTITIONS,
  PRODUCER,
  QUESTIONS,
  ROOT,
  recordOf,
  STAGES,
  TOPIC,
  tablesYaml,
} from '../test/releases/lake-story.ts'

const BYTES_MAX = 300 * 1024
const NEWEST_MICROS = 1_767_225_600_000_000n
const WITHIN_MS = 60_000
/** Widened, renamed and added columns by field id: what a stage has beside the columns of the one before. */
const RENAMED: Readonly<Record<string, string>> = { title: 'name' }

const [version, target = join(import.meta.dirname, '..', 'test', 'fixtures', 'lakes', version ?? '')] =
  process.argv.slice(2)
if (version === undefined) {
  process.stderr.write('usage: node scripts/save-lake.ts <version> [folder]\n')
  process.exit(2)
}

const world = createSystemWorld({ log: createLog({ level: 'error' }) })
const server = await startS3Server()
await server.bucket(ROOT.split('/')[2])
await using kafka = await startKafka()
await kafka.createTopic(TOPIC, PARTITIONS)
const producer = await createProducer(kafka.bootstrap)

const common = `
lake.root: ${ROOT}
storage.s3.endpoint: ${server.endpoint}
storage.s3.region: ${server.region}
storage.s3.access-key-id: ${server.accessKeyId}
storage.s3.secret-access-key: ${server.secretAccessKey}
storage.s3.path-style: true
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 1 s
snapshot.age.ms: 100 ms
compaction.interval.ms: 100
compaction.files.min: 2
pipelines:
  feed: { topics: [${TOPIC}], tables: [samples] }
`
const millrace = await createMillrace({ settings: '' })
const places = readFileSync(millrace.configFile, 'utf8')
const useStage = (stage: number) => writeFileSync(millrace.configFile, `${places}${common}${tablesYaml(stage)}`)
const catalogFile = join(millrace.folder, 'data', 'catalog.sqlite')

let nextId = 0
let producerNext = 0

async function send(count: number, stage: number): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const records = Array.from({ length: count }, () => ({
      value: Buffer.from(recordOf(nextId++, stage)) as Buffer | null,
    }))
    // A tombstone: consumed, and no row.
    await producer.send(TOPIC, partition, [...records, { value: null }])
  }
}

async function post(table: string, lines: readonly string[], headers: Readonly<Record<string, string>>) {
  const { status, body } = await millrace.ingest(table, lines.join('\n'), { query: '?errors=dead-letter', headers })
  if (status !== 200) throw new Error(`${table}: ${status} ${JSON.stringify(body)}`)
  return body
}

async function postAsProducer(count: number, stage: number): Promise<void> {
  const lines = Array.from({ length: count }, () => recordOf(nextId++, stage))
  await post('samples', lines, { 'millrace-producer': PRODUCER, 'millrace-sequence': String(producerNext) })
  producerNext += count
}

/** Everything sent so far is committed: as many records consumed as the logs hold. */
async function consumed(catalog: Catalog): Promise<void> {
  let expected = 0n
  for (let partition = 0; partition < PARTITIONS; partition += 1)
    expected += BigInt(await kafka.logEnd(TOPIC, partition))
  await until('records are consumed', async () => {
    const coverage = await catalog.coverage('feed')
    return coverage.reduce((sum, { ranges }) => sum + (ranges.at(-1)?.end ?? 0n), 0n) === expected
  })
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WITHIN_MS
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within ${WITHIN_MS} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function compactAll(catalog: Catalog): Promise<void> {
  const compactor = await millrace.start('compactor')
  await until('segments are in a snapshot', async () => {
    const names = (await catalog.listTables()).filter(({ schemas }) => schemas.length > 0).map(({ name }) => name)
    return (await catalog.readTables(names)).every(({ segments }) => segments.length === 0)
  })
  await compactor.stop()
}

/** The columns of a stage under the field ids of the stage before, with new ids for what is new. */
async function nextSchema(catalog: Catalog, stage: number): Promise<void> {
  const table = (await catalog.findTable('samples'))!
  const before = table.schemas.at(-1)!.columns
  let fieldId = table.lastFieldId
  const columns = STAGES[stage].map(([name, text]): Column => {
    const type = parseColumnType(text.replaceAll('"', '').replace(' required', ''))!
    const old = before.find((column) => column.name === name || column.name === RENAMED[name])
    const isKept = old && (old.type.kind === type.kind || name === 'whole')
    return { fieldId: isKept ? old.fieldId : ++fieldId, name, type, required: text.endsWith(' required') }
  })
  if (!(await catalog.addSchema(table.tableId, table.schemas.length, columns)))
    throw new Error('the schema was not taken')
}

async function makeLake(catalog: Catalog): Promise<Pick<Expected, 'iceberg' | 'keyed'>> {
  let ingest = await millrace.start('ingest')
  await send(12, 0)
  await postAsProducer(8, 0)
  const body = '{"id": 1, "text": "paid"}\n{"id": 2, "text": "später"}'
  const answer = await post('notes', [body], { 'idempotency-key': KEY })
  const keyed = { body, rows: Number(answer.rows), version: String(answer.version) }
  await consumed(catalog)
  await compactAll(catalog)

  await ingest.stop()
  await nextSchema(catalog, 1)
  useStage(1)
  ingest = await millrace.start('ingest')
  await send(8, 1)
  await consumed(catalog)
  await compactAll(catalog)
  const { metadataLocation } = (await catalog.findTable('samples'))!
  const iceberg = { metadataLocation: metadataLocation!, row: (await millrace.sql(ICEBERG_QUESTION)).data[0] }

  await ingest.stop()
  await nextSchema(catalog, 2)
  useStage(2)
  ingest = await millrace.start('ingest')
  await send(6, 2)
  await consumed(catalog)
  await postAsProducer(8, 2)
  await post('notes', ['{"id": 3, "text": null}'], {})
  await ingest.stop()
  return { iceberg, keyed }
}

async function expectedOf(catalog: Catalog, more: Pick<Expected, 'iceberg' | 'keyed'>): Promise<Expected> {
  const answers = []
  for (const sql of QUESTIONS) {
    const { columns, data } = await millrace.sql(sql)
    answers.push({ sql, columns, data })
  }
  const coverage = []
  for (const pipeline of ['feed', 'http:samples', 'http:notes']) {
    for (const each of await catalog.coverage(pipeline)) {
      coverage.push({
        pipeline,
        source: each.source,
        partition: each.partition,
        ranges: each.ranges.map(({ start, end }) => [String(start), String(end)] as const),
        recordsIn: String(each.recordsIn),
        recordsDead: String(each.recordsDead),
        recordsFiltered: String(each.recordsFiltered),
      })
    }
  }
  const names = (await catalog.listTables()).filter(({ schemas }) => schemas.length > 0).map(({ name }) => name)
  const tables = await catalog.readTables(names)
  return {
    release: version,
    answers,
    ...more,
    coverage,
    versions: Object.fromEntries(tables.map((each) => [each.table.name, String(each.version)])),
    liveSegments: Object.fromEntries(tables.map((each) => [each.table.name, each.segments.length])),
    producerNext,
  }
}

/** Every time in the catalog, moved by the same span. */
function moveTimes(file: string): void {
  const database = new DatabaseSync(file, { readBigInts: true })
  const { latest } = database.prepare('SELECT latest FROM clock').get() as { latest: bigint }
  const back = latest - NEWEST_MICROS
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
  for (const { name } of tables) {
    const columns = database.prepare(`SELECT name FROM pragma_table_info('${name}')`).all() as { name: string }[]
    for (const column of columns.map((each) => each.name)) {
      if (!column.endsWith('_at') && column !== 'latest' && column !== 'until') continue
      database.exec(`UPDATE "${name}" SET "${column}" = "${column}" - ${back} WHERE "${column}" > ${back}`)
    }
  }
  const commits = database.prepare('SELECT commit_id, answer_json FROM commits').all() as Record<string, string>[]
  for (const { commit_id, answer_json } of commits) {
    const answer = JSON.parse(answer_json) as { committedAt?: string }
    if (answer.committedAt === undefined) continue
    answer.committedAt = String(BigInt(answer.committedAt) - back)
    database.prepare('UPDATE commits SET answer_json = ? WHERE commit_id = ?').run(JSON.stringify(answer), commit_id)
  }
  database.close()
}

async function objectsOf(): Promise<Map<string, Uint8Array>> {
  const store = openObjectStore({ root: ROOT, world, s3: { ...server, pathStyle: true } })
  const objects = new Map<string, Uint8Array>()
  for await (const { path } of store.list(`${ROOT}/`)) objects.set(path, (await store.get(path)).bytes)
  await store.close()
  return objects
}

async function save(of: Millrace): Promise<void> {
  const catalog = await openCatalog({ url: `sqlite:${catalogFile}`, world })
  useStage(0)
  const query = await millrace.start('query')
  const expected = await expectedOf(catalog, await makeLake(catalog))
  await query.stop()
  await catalog.close()
  const copy = join(of.folder, 'copy.sqlite')
  const database = new DatabaseSync(catalogFile)
  database.exec(`VACUUM INTO '${copy}'`)
  database.close()
  moveTimes(copy)
  const files = new Map<string, Uint8Array>([['catalog.sqlite', readFileSync(copy)], ...(await objectsOf())])
  const packed = packFiles(files)
  process.stdout.write(`${files.size} files, ${packed.length} bytes packed\n`)
  if (packed.length > BYTES_MAX)
    throw new Error(`more than ${BYTES_MAX} bytes: a fixture stays in every clone for ever`)
  mkdirSync(target, { recursive: true })
  writeFileSync(join(target, 'lake.zst'), packed)
  writeFileSync(join(target, 'expected.json'), `${JSON.stringify(expected, null, 1)}\n`)
}

try {
  await save(millrace)
} finally {
  producer.close()
  await millrace.close()
  await server.stop()
  rmSync(millrace.folder, { recursive: true, force: true })
}
