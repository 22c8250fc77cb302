/**
 * Every setting of `millrace.yaml`: path, meaning, default and bounds. `flush.interval.ms: 500` and the same nested are
 * one thing. `docs/reference/settings.md` and `docs/reference/millrace.schema.json` are made from this list
 * (`millrace settings schema`, tested to be up to date).
 */
import { connectorsLeaf } from './settings-connectors.ts'
import { KAFKA_CLIENT_LEAVES } from './settings-kafka.ts'
import { bytes, choice, duration, flag, integer, integerOrAuto, list, optionalText, text } from './settings-leaf.ts'
import { QUERY_LEAVES } from './settings-query.ts'
import { columnsLeaf, DATE_TEXT, PARTITION_TEXT, SORT_TEXT } from './settings-tables.ts'
import { tokensLeaf } from './settings-tokens.ts'

const KiB = 1024
const MiB = 1024 ** 2
const GiB = 1024 ** 3
const TiB = 1024 ** 4
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const LISTEN = {
  expected: 'an address and port such as "127.0.0.1:8080" (port 0: any free one)',
  pattern: /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+|\*):\d{1,5}$/,
}
const S3_URL = /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/.*)?$/

export const LEAVES = {
  data: text({
    description:
      'Folder for everything that Millrace keeps on this machine: the embedded catalog, the local lake, caches.',
    fallback: './.millrace',
    expected: 'a folder',
    isPath: true,
  }),
  'single-machine': flag({
    description:
      'Says that all Millrace processes run on this machine, so that local bytes may go with a shared catalog.',
    fallback: false,
  }),
  'catalog.url': optionalText({
    description:
      'Where the catalog is: which files are live, which offsets were consumed. SQLite: a file on a local disk, for the processes of one machine. PostgreSQL: for several machines, with an s3:// lake; "?sslmode=verify-full" encrypts (without it nothing does), "&sslrootcert=<file>" says whom to trust. The password is never shown. What was acknowledged survives the loss of the database server only with synchronous replication, which is the server\'s setting.',
    fallbackText: 'sqlite:<data>/catalog.sqlite',
    expected: '"sqlite:<path>" or "postgres://user:password@host:port/database"',
    pattern: /^(?:sqlite:.+|postgres(?:ql)?:\/\/.+)$/,
  }),
  'catalog.connections.max': integer({
    description: 'Connections that each process keeps to a PostgreSQL catalog.',
    fallback: 8,
    min: 2,
    max: 100,
  }),
  'lake.root': optionalText({
    description: 'Where the bytes of tables are: a local folder, or an S3 bucket with a prefix.',
    fallbackText: '<data>/lake',
    expected: 'a folder, "file:///folder" or "s3://bucket/prefix"',
    pattern: /^(?:s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/.*)?|file:\/\/\/.+|(?![a-zA-Z][a-zA-Z0-9+.-]*:\/\/).+)$/,
  }),
  'storage.s3.endpoint': optionalText({
    description: 'Address of the S3 service, for services other than AWS.',
    fallbackText: 'the AWS endpoint of the region',
    expected: 'an http:// or https:// address',
    pattern: /^https?:\/\/[^\s/]+/,
  }),
  'storage.s3.region': text({ description: 'Region of the bucket.', fallback: 'us-east-1', expected: 'a region name' }),
  'storage.s3.access-key-id': optionalText({
    description: 'Access key; without it the usual AWS sources are asked (environment, profile, role).',
    secret: true,
  }),
  'storage.s3.secret-access-key': optionalText({ description: 'Secret that belongs to the access key.', secret: true }),
  'storage.s3.path-style': flag({
    description:
      'Put the bucket into the path of the address instead of its host name. Most services other than AWS need it.',
    fallback: false,
  }),
  'storage.cold': optionalText({
    description: 'Where files older than `tiering.after` move to, in the one-machine mode. Without it they stay local.',
    expected: '"s3://bucket/prefix"',
    pattern: S3_URL,
  }),
  'storage.copies.bytes': bytes({
    description:
      'With a lake in S3: disk for copies of new files that ingest and compactor leave in `query.cache.folder` for the query service of the same machine, so that it need not fetch them. `millrace up` sets 1 GiB when nothing else is said.',
    fallback: 0,
    min: 0,
    max: 1024 * TiB,
  }),
  'tiering.after': duration({
    description:
      'Age at which files move to `storage.cold`; with a shared lake, how long copies of new files outstay what the cache fetched.',
    fallback: 7 * DAY,
    min: 0,
    max: 36_500 * DAY,
  }),
  'listen.ingest': text({ description: 'Address of the ingest service.', fallback: '127.0.0.1:8081', ...LISTEN }),
  'listen.compactor': text({ description: 'Address of the compactor service.', fallback: '127.0.0.1:8082', ...LISTEN }),
  'listen.query': text({ description: 'Address of the query service.', fallback: '127.0.0.1:8080', ...LISTEN }),
  'tls.cert': optionalText({
    description: 'PEM file with the certificate that all listeners show. `millrace tls create` makes one.',
    isPath: true,
  }),
  'tls.key': optionalText({ description: 'PEM file with the private key of the certificate.', isPath: true }),
  tokens: tokensLeaf,
  'kafka.bootstrap': list({
    description: 'Brokers to start from.',
    fallback: [],
    expected: 'host:port',
    pattern: /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/,
    max: 100,
  }),
  'kafka.client-id': text({ description: 'Name that brokers see in their log and quotas.', fallback: 'millrace' }),
  'kafka.group': text({ description: 'Consumer group that all ingest processes share.', fallback: 'millrace' }),
  'kafka.security.protocol': choice({
    description: 'How to talk to the brokers.',
    choices: ['plaintext', 'ssl', 'sasl_ssl', 'sasl_plaintext'],
    fallback: 'plaintext',
  }),
  'kafka.security.mechanism': choice({
    description: 'SASL mechanism, for the protocols that begin with sasl.',
    choices: ['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer'],
    fallback: 'plain',
  }),
  'kafka.security.username': optionalText({ description: 'SASL user name.' }),
  'kafka.security.password': optionalText({ description: 'SASL password.', secret: true }),
  'kafka.security.ca': optionalText({
    description: 'PEM file of the authority that signed the brokers’ certificates; without it the well-known ones.',
    isPath: true,
  }),
  ...KAFKA_CLIENT_LEAVES,
  'kafka.fetch.bytes.max': bytes({
    description: 'Largest reply to one fetch request.',
    fallback: 16 * MiB,
    min: 64 * KiB,
    max: GiB,
  }),
  'kafka.auto.offset.reset': choice({
    description: 'Where a topic-partition starts that has no coverage yet.',
    choices: ['earliest', 'latest'],
    fallback: 'earliest',
  }),
  'kafka.topics.refresh.ms': duration({
    description: 'How often to look for new topic-partitions.',
    fallback: 30 * SECOND,
    min: 100,
    max: HOUR,
  }),
  'kafka.session.timeout.ms': duration({
    description:
      'Silence after which the group gives the topic-partitions of an ingest process to others. Brokers refuse less than their `group.min.session.timeout.ms` (6 s).',
    fallback: 10 * SECOND,
    min: 500,
    max: 30 * MINUTE,
  }),
  connectors: connectorsLeaf,
  'connect.secrets.folders': list({
    description:
      'Folders, absolute, whose files a connector may refer to for its secrets. Without any, no file is read.',
    fallback: [],
    expected: 'an absolute folder',
    pattern: /^\/[^\0]+$/,
    max: 100,
  }),
  'flush.interval.ms': duration({
    description: 'Longest time between two flush ticks; a row is visible about this long after it arrived.',
    fallback: 500,
    min: 10,
    max: HOUR,
  }),
  'flush.bytes': bytes({
    description: 'Bytes of decoded rows at which a flush tick happens at once.',
    fallback: 64 * MiB,
    min: 64 * KiB,
    max: 4 * GiB,
  }),
  'flush.rows': integer({
    description: 'Rows of one table at which a flush tick happens at once.',
    fallback: 1_000_000,
    min: 1,
    max: 100_000_000,
  }),
  'segments.live.max': integer({
    description:
      'Live segments of a table. Above half of it ingest flushes less often; at it, it merges its own segments first.',
    fallback: 200,
    min: 4,
    max: 100_000,
  }),
  'ingest.threads': integerOrAuto({
    description:
      'Worker threads of ingest that unpack and decode records and write segments. `auto`: one less than cores, 2 of two cores, at least 1, at most 8. 0: all of it on the main thread.',
    min: 0,
    max: 64,
  }),
  'ingest.memory.max': bytes({
    description:
      'Bytes that ingest holds in memory: fetched records that wait, and rows until they are committed. At it, sources pause; nothing is dropped.',
    fallback: 64 * MiB,
    min: 8 * MiB,
    max: TiB,
  }),
  'ingest.record.bytes.max': bytes({
    description: 'Largest record; a larger one becomes a dead letter.',
    fallback: MiB,
    min: 16,
    max: 256 * MiB,
  }),
  'ingest.request.bytes.max': bytes({
    description: 'Largest body of one HTTP ingest request, unpacked.',
    fallback: 64 * MiB,
    min: KiB,
    max: GiB,
  }),
  'ingest.request.rows.max': integer({
    description: 'Most rows of one HTTP ingest request: a million short ones are decoded in about half a second.',
    fallback: 1_000_000,
    min: 1,
    max: 100_000_000,
  }),
  'ingest.requests.max': integer({
    description: 'HTTP ingest requests at work at once; more are answered 429.',
    fallback: 256,
    min: 1,
    max: 100_000,
  }),
  'snapshot.bytes': bytes({
    description: 'Bytes of live segments at which the compactor commits a snapshot.',
    fallback: 128 * MiB,
    min: 1,
    max: TiB,
  }),
  'snapshot.age.ms': duration({
    description: 'Age of the oldest live segment at which the compactor commits a snapshot.',
    fallback: 60 * SECOND,
    min: 100,
    max: 30 * DAY,
  }),
  'snapshot.min-age': duration({
    description:
      'Age at which a snapshot leaves the metadata, and how long its files then still stay in the store for other engines that read them, whatever the number of snapshots.',
    fallback: HOUR,
    min: 0,
    max: 3650 * DAY,
  }),
  'snapshot.keep.max': integer({
    description:
      'Most snapshots that the metadata lists, so that it stays small: the oldest beyond it leave it even when younger than `snapshot.min-age`, and their files stay for that long all the same. Tagged snapshots stay beside them.',
    fallback: 100,
    min: 1,
    max: 100_000,
  }),
  'snapshot.manifests.max': integer({
    description: 'Manifests in a snapshot before they are merged.',
    fallback: 100,
    min: 1,
    max: 100_000,
  }),
  'compaction.target.bytes': bytes({
    description: 'Size that data files grow to.',
    fallback: 256 * MiB,
    min: 64 * KiB,
    max: 16 * GiB,
  }),
  'compaction.files.min': integer({
    description: 'Small files of one table partition that are merged at once, at least.',
    fallback: 8,
    min: 2,
    max: 10_000,
  }),
  'compaction.memory': bytes({
    description: 'Memory of the compactor’s engine; beyond it, sorting spills to disk.',
    fallback: GiB,
    min: 64 * MiB,
    max: 16 * TiB,
  }),
  'compaction.threads': integer({ description: 'Threads of the compactor’s engine.', fallback: 2, min: 1, max: 1024 }),
  'compaction.interval.ms': duration({
    description: 'How often the compactor looks for work.',
    fallback: SECOND,
    min: 10,
    max: HOUR,
  }),
  'partitions.per.commit.max': integer({
    description:
      'Table partitions that one rewrite writes files for, those with most rows first; rows of the others are kept in one file beside the partitioning until there are more of them.',
    fallback: 200,
    min: 1,
    max: 100_000,
  }),
  'time-travel.fine': duration({
    description: 'How far back every single version of a table can be queried; beyond it, snapshots.',
    fallback: 10 * MINUTE,
    min: 0,
    max: 30 * DAY,
  }),
  ...QUERY_LEAVES,
  'shutdown.ms': duration({
    description: 'Time a process takes to stop in order after SIGTERM: seal, commit, drain.',
    fallback: 10 * SECOND,
    min: 100,
    max: HOUR,
  }),
  'leases.ms': duration({
    description: 'How long a compactor that fell silent keeps its right to commit a table’s snapshots.',
    fallback: 15 * SECOND,
    min: 500,
    max: HOUR,
  }),
  'sweep.interval.ms': duration({
    description: 'How often files that nothing refers to are looked for and removed.',
    fallback: 5 * MINUTE,
    min: 100,
    max: 30 * DAY,
  }),
  'sweep.writer-silent.ms': duration({
    description: 'Silence after which a writer is fenced, so that its unreferenced files may go.',
    fallback: 10 * MINUTE,
    min: SECOND,
    max: 30 * DAY,
  }),
  'sweep.reader-silent.ms': duration({
    description: 'Silence after which a query process no longer holds back removed files.',
    fallback: 10 * MINUTE,
    min: SECOND,
    max: 30 * DAY,
  }),
  'log.level': choice({
    description: 'Least important log lines that are written.',
    choices: ['debug', 'info', 'warn', 'error'],
    fallback: 'info',
  }),
} as const

/** Settings of one table, under `tables.<name>.`. */
export const TABLE_LEAVES = {
  columns: columnsLeaf,
  partition: list({
    description:
      'How data files are split: `day(ts)`, `hour(ts)`, `month(ts)`, `bucket(16, id)`, `truncate(4, code)`, `identity(x)` or `x`. Within `[…]` quotes keep a comma together: `["bucket(16, id)"]`.',
    fallback: [],
    expected: 'a partition such as "day(ts)", "bucket(16, id)", "truncate(4, code)" or "x"',
    pattern: PARTITION_TEXT,
    max: 16,
  }),
  sort: list({
    description: 'Order of rows within a data file: `ts`, `id desc`, `id desc nulls last`.',
    fallback: [],
    expected: 'a sort column such as "ts" or "id desc"',
    pattern: SORT_TEXT,
    max: 16,
  }),
  'event-time': optionalText({
    description: 'Column that says when a row happened; retention and rollups go by it.',
    expected: 'a column name',
  }),
  'time.earliest': text({
    description:
      'Earliest time that is taken for real where the table is partitioned by time. Rows before it are kept and can be queried like all others, but get no table partition of their own. Fixed when the table is made.',
    fallback: '1970-01-01',
    expected: 'a date such as "1970-01-01"',
    pattern: DATE_TEXT,
  }),
  'time.ahead': duration({
    description: 'The same for times in the future: how far from now a time is still taken for real.',
    fallback: DAY,
    min: 0,
    max: 36_500 * DAY,
  }),
  'infer.records': integer({
    description: 'Records that are looked at to find the columns of a table without declared ones.',
    fallback: 1000,
    min: 1,
    max: 100_000,
  }),
  'infer.timestamps': flag({
    description: 'Take texts that look like timestamps, dates or times for such when columns are inferred.',
    fallback: true,
  }),
  'infer.nested': choice({
    description:
      'What objects and arrays become when columns are inferred. `json`: a column with their text. `struct`: structs and lists with columns of their own inside, as far as their values agree.',
    choices: ['json', 'struct'],
    fallback: 'json',
  }),
  evolution: choice({
    description:
      'What happens when records bring fields that the table lacks, or has with a narrower type. `evolve`: the table gets them. `freeze`: further fields are skipped and counted, records that do not fit are dead letters. `fail`: records with any difference are dead letters. Without it: `evolve` for a table without declared columns, `freeze` for one with.',
    choices: ['evolve', 'freeze', 'fail'],
    fallback: undefined,
  }),
  'columns-max': integer({
    description:
      'So many columns a table gets at most, those inside structs counted; further fields of records are skipped and counted.',
    fallback: 1000,
    min: 1,
    max: 10_000,
  }),
} as const
