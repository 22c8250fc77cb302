/** What queries may take of a machine: memory, threads, time, rows, bytes, places and the queue in front of them. */
import { bytes, duration, integer, integerOrAuto, optionalText } from './settings-leaf.ts'

const KiB = 1024
const MiB = 1024 ** 2
const GiB = 1024 ** 3
const TiB = 1024 ** 4
const MINUTE = 60 * 1000
const DAY = 24 * 60 * MINUTE

export const QUERY_LEAVES = {
  'query.memory': bytes({
    description:
      'Memory of the query engines together: a quarter (at most 1 GiB) for small queries, the rest for heavy ones, each in an engine of its own. Beyond its engine’s part a query spills to disk, or is refused.',
    fallback: 2 * GiB,
    min: 64 * MiB,
    max: 16 * TiB,
  }),
  'query.threads': integer({ description: 'Threads of each query engine.', fallback: 2, min: 1, max: 1024 }),
  'query.timeout.ms': duration({
    description: 'Longest time of one query, waiting included.',
    fallback: 5 * MINUTE,
    min: 10,
    max: DAY,
  }),
  'query.rows.max': integer({
    description: 'Rows in one result; a reply that was cut says so.',
    fallback: 1_000_000,
    min: 1,
    max: 1_000_000_000,
  }),
  'query.result.bytes.max': bytes({
    description: 'Bytes in one result.',
    fallback: 256 * MiB,
    min: KiB,
    max: TiB,
  }),
  'query.result-cache.bytes': bytes({
    description:
      'Bytes of small results kept for the versions of their tables, so that the same question over the same rows is not run again. 0: none.',
    fallback: 64 * MiB,
    min: 0,
    max: TiB,
  }),
  'query.unpacked.bytes': bytes({
    description:
      'Bytes on disk, beside the cache, for data files (up to 512 MiB) that are asked about again and again, kept once more without their compression. 0: none.',
    fallback: GiB,
    min: 0,
    max: TiB,
  }),
  'query.scan.bytes.max': bytes({
    description:
      'Bytes of column chunks that one query may read after pruning; one that needs more is refused before they are fetched.',
    fallback: TiB,
    min: MiB,
    max: 1024 * TiB,
  }),
  'query.concurrent.max': integer({
    description: 'Queries that run at once in the interactive engine, beside those of `query.batch.concurrent.max`.',
    fallback: 8,
    min: 1,
    max: 1000,
  }),
  'query.batch.concurrent.max': integerOrAuto({
    description:
      'Batch engines, each a process that runs one heavy query (or one with `priority: batch`) at a time. `auto`: one for each 768 MiB of their memory, 1 to 4.',
    min: 1,
    max: 64,
  }),
  'query.user.concurrent.max': integer({
    description: 'Queries of one token that run at once; more of them wait while those of others go on.',
    fallback: 6,
    min: 1,
    max: 1000,
  }),
  'query.user.queue.max': integer({
    description: 'Queries of one token that wait for their turn; more are answered 429.',
    fallback: 50,
    min: 0,
    max: 100_000,
  }),
  'query.queue.max': integer({
    description: 'Queries that wait for their turn, of all tokens; more are answered 429.',
    fallback: 100,
    min: 0,
    max: 100_000,
  }),
  'query.spill.bytes': bytes({
    description: 'Disk that running queries may use when memory does not suffice, shared like `query.memory`.',
    fallback: 16 * GiB,
    min: 0,
    max: 1024 * TiB,
  }),
  'query.cache.folder': optionalText({
    description: 'Folder of the cache for remote column chunks. It may be lost at any time.',
    fallbackText: '<data>/cache',
    expected: 'a folder',
    isPath: true,
  }),
  'query.cache.bytes': bytes({
    description: 'Disk that the cache may use.',
    fallback: 32 * GiB,
    min: MiB,
    max: 1024 * TiB,
  }),
  'query.fetch.concurrency': integer({
    description: 'Ranged reads from the object store at once.',
    fallback: 32,
    min: 1,
    max: 1024,
  }),
} as const
