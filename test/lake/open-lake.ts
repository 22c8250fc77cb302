/**
 * A lake as tests look at it: Millrace's services as processes of their own (harness), or started inside the test where a
 * process would only cost time; and the lake read directly, past every service: what the catalog says is live, through the
 * product's own file mapping, and which files lie there.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { partitionText } from '../../compactor/plan.ts'
import { startCompactor } from '../../compactor/service.ts'
import type { Catalog, Table } from '../../lake/catalog/catalog.ts'
import { openCatalog } from '../../lake/catalog/open-catalog.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { type MappedFile, relationSql } from '../../lake/file-mapping.ts'
import { reachablePaths, readLiveFiles, readMetadata } from '../../lake/iceberg/read.ts'
import { FILE_SCHEME, localFileOf } from '../../lake/object-store/object-path.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import { openLakeStore } from '../../lake/open-lake-store.ts'
import { readLocalFooter } from '../../lake/parquet/footer-file.ts'
import { loadSettingsWithOrigin } from '../../runtime/load-settings.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { World } from '../../runtime/world.ts'
import type { Settings } from '../../schemas/settings.ts'
import { freePort } from '../harness/free-port.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { type StartedProcess, startProcess } from '../harness/processes.ts'
import type { S3Server } from '../harness/s3-server.ts'
import { withoutGrace } from './without-grace.ts'

export type Row = Readonly<Record<string, unknown>>

export type Lake = {
  readonly millrace: Millrace
  readonly settings: Settings
  readonly world: World
  readonly catalog: Catalog
  readonly store: ObjectStore
  /** Where this table lies, and what is current of it. */
  table(name: string): Promise<Table>
  /** `sql` over `rows`: the table's snapshot and live segments at one version. */
  rows(name: string, sql: string): Promise<readonly Row[]>
  /** Live segments and data files of a table. */
  live(name: string): Promise<{ readonly segments: readonly string[]; readonly files: readonly string[] }>
  /** A compactor that is a process of its own and kills itself at this crash point; resolves when it is dead. */
  killCompactorAt(point: string): Promise<void>
  /** The dead compactors' silence and leases are over: nothing that lives is touched, and no test waits for a clock. */
  endSilenceOfDeadCompactors(): void
  /** A compactor inside this process; stopped with the lake when the test does not. */
  startCompactor(): Promise<{ stop(): Promise<void> }>
  /** Every file under the lake's root and under the cold store. */
  filesThere(): Promise<string[]>
  /** Every file that metadata or live segments refer to. */
  filesReferredTo(): Promise<string[]>
  /** Waits until no table has a live segment, and no file lies there that nothing refers to; then compares exactly. */
  settled(names: readonly string[], withinMs?: number): Promise<{ there: string[]; referredTo: string[] }>
  /** Waits until no table has a live segment, nor two files in one table partition. */
  merged(names: readonly string[], withinMs?: number): Promise<void>
  close(): Promise<void>
}

const COMPACTOR_PROCESS = join(import.meta.dirname, 'compactor-process.ts')
const KILLED_WITHIN_MS = 60_000

export const SMALL_STEPS = `
flush.interval.ms: 50
snapshot.age.ms: 100 ms
snapshot.keep.max: 3
compaction.interval.ms: 100
compaction.files.min: 2
compaction.memory: 256 MiB
sweep.interval.ms: 200 ms
sweep.writer-silent.ms: 60 s
leases.ms: 30 s
log.level: warn
`

export type LakeOptions = {
  /** Removed files and old snapshots stay for other engines as settings say. Default: they may go at once. */
  readonly grace?: boolean
}

export async function openLake(yaml: string, { grace = false }: LakeOptions = {}): Promise<Lake> {
  const millrace = await createMillrace({ settings: yaml })
  const { settings: loaded, secrets } = loadSettingsWithOrigin({ file: millrace.configFile, set: [] })
  const settings = grace ? loaded : withoutGrace(loaded)
  const log = createLog({ level: 'error', fields: { service: 'test' }, secrets: [...secrets] })
  const world = createSystemWorld({ log, crashAt: '' })
  const catalog = await openCatalog({ url: settings.catalog.url, world })
  const store = openLakeStore(settings, world)
  const scratch = await mkdtemp(join(tmpdir(), 'millrace-lake-test-'))
  const compactors: { stop(): Promise<void> }[] = []
  const local = settings.lake.root.startsWith(FILE_SCHEME) ? [localFileOf(settings.lake.root)] : []
  const engine: Engine = createEngine({
    world,
    settings: {
      name: 'test',
      mode: 'query',
      memoryBytes: 512 * 1024 ** 2,
      threads: 2,
      spillFolder: join(scratch, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [scratch, ...local],
    },
  })
  const fetched = new Map<string, Promise<MappedFile>>()

  function mapped(path: string, bytes: number): Promise<MappedFile> {
    let file = fetched.get(path)
    if (!file) {
      file = open(path, bytes)
      fetched.set(path, file)
    }
    return file
  }

  async function open(path: string, bytes: number): Promise<MappedFile> {
    // A copy in any case: a sweep may take the file away while the test still reads.
    const localFile = join(scratch, `${fetched.size}-${path.slice(path.lastIndexOf('/') + 1)}`)
    await writeFile(localFile, (await store.get(path)).bytes)
    return { path, localFile, footer: await readLocalFooter(localFile, bytes) }
  }

  async function filesOf(name: string) {
    const [version] = await catalog.readTables([name])
    const metadata = version.metadataLocation ? await readMetadata(store, version.metadataLocation) : undefined
    return { version, files: metadata ? await readLiveFiles(store, metadata) : [] }
  }

  /** Reads again when a file went away between the catalog's answer and its bytes: this test holds no reader's row. */
  async function rows(name: string, sql: string): Promise<readonly Row[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { version, files } = await filesOf(name)
        const inputs = await Promise.all([...version.segments, ...files].map(({ path, bytes }) => mapped(path, bytes)))
        const { schemas } = version.table
        return await engine.run(`WITH rows AS (${relationSql(inputs, schemas, schemas.at(-1)!.columns)}) ${sql}`)
      } catch (error) {
        if (attempt === 20 || !(error instanceof Error && 'code' in error && error.code === 'file-missing')) throw error
        fetched.clear()
      }
    }
  }

  async function filesThere(): Promise<string[]> {
    const paths: string[] = []
    for (const root of [settings.lake.root, settings.storage.cold]) {
      if (root === undefined) continue
      for await (const { path } of store.list(`${root}/`)) paths.push(path)
    }
    return paths.sort()
  }

  async function filesReferredTo(): Promise<string[]> {
    const paths = new Set<string>()
    for (const { name } of await catalog.listTables()) {
      const [version] = await catalog.readTables([name])
      for (const segment of version.segments) paths.add(segment.path)
      if (version.metadataLocation === undefined) continue
      for (const path of await reachablePaths(store, version.metadataLocation)) paths.add(path)
    }
    return [...paths].sort()
  }

  return {
    millrace,
    settings,
    world,
    catalog,
    store,
    rows,
    filesThere,
    filesReferredTo,
    async table(name) {
      const table = await catalog.findTable(name)
      if (!table) throw new Error(`no table ${name}`)
      return table
    },
    async live(name) {
      const { version, files } = await filesOf(name)
      return { segments: version.segments.map(({ path }) => path), files: files.map(({ path }) => path) }
    },
    async killCompactorAt(point) {
      const compactor: StartedProcess = await startProcess({
        name: `compactor to be killed at ${point}`,
        command: process.execPath,
        args: [
          COMPACTOR_PROCESS,
          'compactor',
          ...['--config', millrace.configFile, '--set', `listen.compactor=127.0.0.1:${await freePort()}`],
        ],
        env: { MILLRACE_CRASH_AT: point },
      })
      let gaveUp = false
      const giveUp = setTimeout(() => {
        gaveUp = true
        void compactor.kill()
      }, KILLED_WITHIN_MS)
      const { signal } = await compactor.exited
      clearTimeout(giveUp)
      if (signal === 'SIGKILL' && !gaveUp) return
      throw new Error(`the compactor did not come by ${point}:\n${compactor.output()}`)
    },
    endSilenceOfDeadCompactors() {
      const database = new DatabaseSync(settings.catalog.url.replace(/^sqlite:/, ''), { timeout: 10_000 })
      try {
        database.exec(`UPDATE writers SET heartbeat_at = 1 WHERE kind = 'compactor' AND fenced_at IS NULL`)
        database.exec('UPDATE leases SET until = 0')
      } finally {
        database.close()
      }
    },
    async startCompactor() {
      const port = { ...settings.listen.compactor, port: 0 }
      const started = await startCompactor({
        settings: { ...settings, listen: { ...settings.listen, compactor: port } },
        world,
      })
      let stopped: Promise<void> | undefined
      const stop = () => {
        stopped ??= started.stop()
        return stopped
      }
      compactors.push({ stop })
      return { stop }
    },
    async settled(names, withinMs = 60_000) {
      const deadline = performance.now() + withinMs
      for (;;) {
        let there: string[] = []
        let referredTo: string[] = []
        let waiting = ''
        try {
          const live = (await catalog.readTables(names)).filter(({ segments }) => segments.length > 0)
          waiting = live.map(({ table }) => table.name).join(', ')
          referredTo = await filesReferredTo()
          there = await filesThere()
        } catch (error) {
          // Metadata or a list went away while it was read: look again.
          waiting = String(error)
        }
        if (waiting === '' && there.join() === referredTo.join()) return { there, referredTo }
        if (performance.now() > deadline) {
          if (waiting !== '') throw new Error(`not settled within ${withinMs} ms: ${waiting}`)
          return { there, referredTo }
        }
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    async merged(names, withinMs = 60_000) {
      const deadline = performance.now() + withinMs
      for (;;) {
        const waiting: string[] = []
        for (const name of names) {
          const { version, files } = await filesOf(name)
          const partitions = new Set(files.map(partitionText))
          if (version.segments.length > 0 || partitions.size < files.length) waiting.push(name)
        }
        if (waiting.length === 0) return
        if (performance.now() > deadline) throw new Error(`not merged within ${withinMs} ms: ${waiting.join(', ')}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    async close() {
      await Promise.all(compactors.map((each) => each.stop()))
      await engine.close()
      await store.close()
      await catalog.close()
      await millrace.close()
      await rm(scratch, { recursive: true, force: true })
    },
  }
}

/** Settings of a lake in a bucket of the test's S3 server. */
export function s3Yaml(server: S3Server, place: { root?: string; cold?: string }): string {
  return [
    ...(place.root === undefined ? [] : [`lake.root: ${place.root}`]),
    ...(place.cold === undefined ? [] : [`storage.cold: ${place.cold}`]),
    `storage.s3.endpoint: ${server.endpoint}`,
    `storage.s3.region: ${server.region}`,
    `storage.s3.access-key-id: ${server.accessKeyId}`,
    `storage.s3.secret-access-key: ${server.secretAccessKey}`,
    'storage.s3.path-style: true',
  ].join('\n')
}

export type Producer = {
  /** Sends rows under the next sequence number, again and again until they are committed; gives the answer. */
  send(lines: readonly string[], query?: string): Promise<Record<string, unknown>>
  readonly next: number
}

const PATIENCE_MS = 60_000

/** A client as the documentation tells one to be: one sequence, the same request again whenever the answer is missing. */
export function createProducer(
  millrace: Millrace,
  table: string,
  id: string,
  whenAway?: () => Promise<void>,
): Producer {
  let next = 0
  return {
    async send(lines, query = '') {
      const patienceEnds = Date.now() + PATIENCE_MS
      let last: unknown
      for (;;) {
        try {
          const { status, body } = await millrace.ingest(table, lines.join('\n'), {
            query,
            headers: { 'millrace-producer': id, 'millrace-sequence': String(next) },
          })
          if (status === 200) {
            next += lines.length
            return body
          }
          if (status < 500 && status !== 409 && status !== 429) throw new RefusedError(status, body)
          last = `${status} ${JSON.stringify(body)}`
        } catch (error) {
          if (error instanceof RefusedError) throw error
          last = error
        }
        if (Date.now() > patienceEnds) throw new Error(`${table}: no answer at sequence ${next}; at last: ${last}`)
        await whenAway?.()
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    get next() {
      return next
    },
  }
}

class RefusedError extends Error {
  constructor(status: number, body: unknown) {
    super(`refused: ${status} ${JSON.stringify(body)}`)
    this.name = 'RefusedError'
  }
}
