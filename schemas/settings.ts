/**
 * The settings of a process, complete and checked: what `loadSettings` of `runtime/load-settings.ts` returns. Every
 * duration is in milliseconds, every size in bytes; folders are absolute. Keys as people write them, their defaults and
 * bounds are in `settings-leaves.ts`; `toSettings` is the one place that says which becomes which.
 */

import type { LeafValue } from './settings-leaf.ts'
import { type LEAVES, TABLE_LEAVES } from './settings-leaves.ts'
import type { PIPELINE_LEAVES } from './settings-pipelines.ts'
import type { DeclaredColumn } from './settings-tables.ts'

export type { Token, TokenLimits, TokenRight } from './settings-tokens.ts'

type ValuesOf<Leaves> = { readonly [Path in keyof Leaves]: LeafValue<Leaves[Path]> }
export type SettingsValues = ValuesOf<typeof LEAVES>
export type TableValues = ValuesOf<typeof TABLE_LEAVES>
export type PipelineValues = ValuesOf<typeof PIPELINE_LEAVES>

export type TableSettings = {
  readonly name: string
  /** Undefined: inferred from the first records. */
  readonly columns: readonly DeclaredColumn[] | undefined
  readonly partition: readonly string[]
  readonly sort: readonly string[]
  readonly eventTime: string | undefined
  /** Undefined: the usual ones. */
  readonly time?: { readonly earliest: string; readonly aheadMs: number } | undefined
  readonly infer: { readonly records: number; readonly timestamps: boolean; readonly nested: 'json' | 'struct' }
  readonly evolution: EvolutionPolicy
  readonly columnsMax: number
}

export type EvolutionPolicy = 'evolve' | 'freeze' | 'fail'

export type PipelineSettings = {
  readonly name: string
  readonly topics: readonly string[]
  /** Every record goes to every one of these. */
  readonly tables: readonly string[]
  readonly format: 'json'
  readonly autoOffsetReset: 'earliest' | 'latest'
  /** A second, in each ingest process; undefined: no limit. */
  readonly rate: { readonly rowsMax: number | undefined; readonly bytesMax: number | undefined }
}

export type ListenAddress = { readonly host: string; readonly port: number }

export type Settings = ReturnType<typeof toSettings>

export type Places = {
  /** Absolute paths. */
  readonly data: string
  readonly catalogUrl: string
  readonly lakeRoot: string
  readonly cacheFolder: string
}

export function toSettings(
  values: SettingsValues,
  places: Places,
  tables: ReadonlyMap<string, TableValues>,
  pipelines: ReadonlyMap<string, PipelineValues>,
) {
  return {
    /** Absolute folder. */
    data: places.data,
    singleMachine: values['single-machine'],
    /** `sqlite:<absolute path>` or `postgres://…`, which may carry a password. */
    catalog: { url: places.catalogUrl, connectionsMax: values['catalog.connections.max'] },
    /** `file:///absolute/folder` or `s3://bucket/prefix`, without a slash at the end. */
    lake: { root: places.lakeRoot },
    storage: {
      s3: {
        endpoint: values['storage.s3.endpoint'],
        region: values['storage.s3.region'],
        accessKeyId: values['storage.s3.access-key-id'],
        secretAccessKey: values['storage.s3.secret-access-key'],
        pathStyle: values['storage.s3.path-style'],
      },
      /** `s3://bucket/prefix`, without a slash at the end. */
      cold: values['storage.cold']?.replace(/\/+$/, ''),
      /** 0: none. */
      copiesBytes: values['storage.copies.bytes'],
    },
    tiering: { afterMs: values['tiering.after'] },
    listen: {
      ingest: listenAddress(values['listen.ingest']),
      compactor: listenAddress(values['listen.compactor']),
      query: listenAddress(values['listen.query']),
    },
    tls: { cert: values['tls.cert'], key: values['tls.key'] },
    tokens: values.tokens,
    kafka: {
      bootstrap: values['kafka.bootstrap'],
      clientId: values['kafka.client-id'],
      group: values['kafka.group'],
      security: {
        protocol: values['kafka.security.protocol'],
        mechanism: values['kafka.security.mechanism'],
        username: values['kafka.security.username'],
        password: values['kafka.security.password'],
        /** Absolute path of a PEM file. */
        ca: values['kafka.security.ca'],
        cert: values['kafka.security.cert'],
        key: values['kafka.security.key'],
        keyPassword: values['kafka.security.key-password'],
        oauth: {
          endpoint: values['kafka.security.oauth.endpoint'],
          clientId: values['kafka.security.oauth.client-id'],
          clientSecret: values['kafka.security.oauth.client-secret'],
          scope: values['kafka.security.oauth.scope'],
          ca: values['kafka.security.oauth.ca'],
        },
      },
      fetchBytesMax: values['kafka.fetch.bytes.max'],
      autoOffsetReset: values['kafka.auto.offset.reset'],
      topicsRefreshMs: values['kafka.topics.refresh.ms'],
      sessionTimeoutMs: values['kafka.session.timeout.ms'],
      heartbeatMs: Math.min(1000, Math.floor(values['kafka.session.timeout.ms'] / 4)),
    },
    /** In the order of the file; references to secrets are unread. */
    connectors: values.connectors,
    connect: { secretsFolders: values['connect.secrets.folders'] },
    flush: {
      intervalMs: values['flush.interval.ms'],
      bytes: values['flush.bytes'],
      rows: values['flush.rows'],
    },
    segments: { liveMax: values['segments.live.max'] },
    ingest: {
      threads: values['ingest.threads'],
      memoryMax: values['ingest.memory.max'],
      recordBytesMax: values['ingest.record.bytes.max'],
      requestBytesMax: values['ingest.request.bytes.max'],
      requestRowsMax: values['ingest.request.rows.max'],
      requestsMax: values['ingest.requests.max'],
    },
    snapshot: {
      bytes: values['snapshot.bytes'],
      ageMs: values['snapshot.age.ms'],
      minAgeMs: values['snapshot.min-age'],
      keepMax: values['snapshot.keep.max'],
      manifestsMax: values['snapshot.manifests.max'],
    },
    compaction: {
      targetBytes: values['compaction.target.bytes'],
      filesMin: values['compaction.files.min'],
      memoryBytes: values['compaction.memory'],
      threads: values['compaction.threads'],
      intervalMs: values['compaction.interval.ms'],
    },
    partitions: { perCommitMax: values['partitions.per.commit.max'] },
    timeTravel: { fineMs: values['time-travel.fine'] },
    query: {
      memoryBytes: values['query.memory'],
      threads: values['query.threads'],
      timeoutMs: values['query.timeout.ms'],
      rowsMax: values['query.rows.max'],
      resultBytesMax: values['query.result.bytes.max'],
      resultCacheBytes: values['query.result-cache.bytes'],
      unpackedBytes: values['query.unpacked.bytes'],
      concurrentMax: values['query.concurrent.max'],
      batchConcurrentMax: values['query.batch.concurrent.max'],
      userConcurrentMax: values['query.user.concurrent.max'],
      userQueueMax: values['query.user.queue.max'],
      queueMax: values['query.queue.max'],
      scanBytesMax: values['query.scan.bytes.max'],
      spillBytes: values['query.spill.bytes'],
      /** Absolute folder. */
      cache: { folder: places.cacheFolder, bytes: values['query.cache.bytes'] },
      fetchConcurrency: values['query.fetch.concurrency'],
    },
    shutdownMs: values['shutdown.ms'],
    leasesMs: values['leases.ms'],
    sweep: {
      intervalMs: values['sweep.interval.ms'],
      writerSilentMs: values['sweep.writer-silent.ms'],
      readerSilentMs: values['sweep.reader-silent.ms'],
    },
    log: { level: values['log.level'] },
    tables: [...tables].map(
      ([name, table]): TableSettings => ({
        name,
        columns: table.columns,
        partition: table.partition,
        sort: table.sort,
        eventTime: table['event-time'],
        time: timeOf(table),
        infer: {
          records: table['infer.records'],
          timestamps: table['infer.timestamps'],
          nested: table['infer.nested'],
        },
        evolution: table.evolution ?? (table.columns ? 'freeze' : 'evolve'),
        columnsMax: table['columns-max'],
      }),
    ),
    pipelines: [...pipelines].map(
      ([name, pipeline]): PipelineSettings => ({
        name,
        topics: pipeline.topics,
        tables: pipeline.tables,
        format: pipeline.format,
        autoOffsetReset: pipeline['auto-offset-reset'] ?? values['kafka.auto.offset.reset'],
        rate: { rowsMax: pipeline['rate.rows.max'] || undefined, bytesMax: pipeline['rate.bytes.max'] || undefined },
      }),
    ),
  }
}

function timeOf(table: TableValues): TableSettings['time'] {
  const [earliest, aheadMs] = [table['time.earliest'], table['time.ahead']]
  const isUsual = earliest === TABLE_LEAVES['time.earliest'].fallback && aheadMs === TABLE_LEAVES['time.ahead'].fallback
  return isUsual ? undefined : { earliest, aheadMs }
}

/** `[::1]:8080` → host `::1`; `*` means every address of the machine. */
export function listenAddress(text: string): ListenAddress {
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon).replace(/^\[|\]$/g, '')
  return { host: host === '*' ? '0.0.0.0' : host, port: Number(text.slice(colon + 1)) }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

export type { DeclaredColumn } from './settings-tables.ts'
