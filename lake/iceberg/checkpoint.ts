/**
 * A snapshot's checkpoint: the coverage of exactly its rows, as a small object beside the metadata (ADR 16). The snapshot's
 * summary names it with its sha256, so metadata stays flat however many sources a table has.
 *
 * A commit moves few of ten thousand sources, so most checkpoints are *changes*: the sources that moved since a *whole* one,
 * which they name by path and sha256, and which the summary names too, for whoever asks what must stay. Changes never build
 * on changes: two objects are all there is to read. When they have grown to a quarter of the whole one, the next is whole.
 * A snapshot that took no segments keeps its parent's checkpoint.
 *
 *   zstd of JSON  { format: 2, commit-id, base: { path, sha256 } | null, pipelines: [name …], sources: [source …] }
 *   source        [pipeline's index, source, partition, in, dead, filtered, log end, caught up at, recorded end, start, end, …]
 *   number        a number up to 2^53, beyond it its digits as a text, null where there is none
 *   format 1      gzip of JSON { format: 1, commit-id, coverage: [{ pipeline, … }] }, always whole; read, and written as long as
 *                 a compactor of the release before is alive, which reads no other
 */
import { createHash } from 'node:crypto'
import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Coverage, OffsetRange } from '../../schemas/coverage.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { LAKE_FORMAT } from '../catalog/catalog.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import type { Checkpoint, CheckpointName, CheckpointStep, Sources, TableMetadata } from './iceberg.ts'
import { isJsonObject, type JsonObject, parseLosslessJson, stringifyLosslessJson } from './lossless-json.ts'
import { CHECKPOINT_BASE_KEY, CHECKPOINT_HASH_KEY, CHECKPOINT_KEY } from './table-metadata.ts'

export type EncodedCheckpoint = {
  readonly bytes: Uint8Array
  /** How its name ends. */
  readonly packing: 'zst' | 'gz'
  /** Once its place is known. */
  at(path: string): Checkpoint
}

const FORMAT = LAKE_FORMAT
const OLDER_FORMAT = 1
const ZSTD_LEVEL = 1
const PLAIN_BYTES_MAX = 1 << 30
/** Of what the whole one holds; so ten thousand sources cost what some two thousand do. */
const CHANGED_RATIO_MAX = 1 / 4
const FIXED_FIELDS = 9

/** The bytes of the next checkpoint, or the one before itself when nothing moved. */
export function nextCheckpoint(
  { before, changed }: CheckpointStep,
  commitId: string,
  format: number = FORMAT,
): Checkpoint | EncodedCheckpoint {
  const isOlder = format < FORMAT
  if (before && changed.length === 0 && (!isOlder || before.isOlder === true)) return before
  const moved = new Map(before?.changed)
  for (const coverage of changed) moved.set(sourceKeyText(coverage), coverage)
  if (before && !isOlder && moved.size <= before.whole.sources.size * CHANGED_RATIO_MAX) {
    const { whole } = before
    const bytes = encode(moved, commitId, whole)
    return { bytes, packing: 'zst', at: (path) => ({ path, sha256: hashOf(bytes), whole, changed: moved }) }
  }
  const sources = new Map(before?.whole.sources)
  for (const [key, coverage] of moved) sources.set(key, coverage)
  const bytes = isOlder ? encodeOlder(sources, commitId) : encode(sources, commitId, undefined)
  return {
    bytes,
    packing: isOlder ? 'gz' : 'zst',
    at(path) {
      const name = { path, sha256: hashOf(bytes) }
      return { ...name, isOlder, whole: { ...name, sources }, changed: new Map() }
    },
  }
}

/** What a snapshot's summary says of its checkpoint. */
export function checkpointSummary({ path, sha256, whole }: Checkpoint): Readonly<Record<string, string>> {
  const summary = { [CHECKPOINT_KEY]: path, [CHECKPOINT_HASH_KEY]: sha256 }
  return whole.path === path ? summary : { ...summary, [CHECKPOINT_BASE_KEY]: whole.path }
}

export function findCoverage(checkpoint: Checkpoint | undefined, key: string): Coverage | undefined {
  return checkpoint?.changed.get(key) ?? checkpoint?.whole.sources.get(key)
}

export function coverageIn({ whole, changed }: Checkpoint): readonly Coverage[] {
  const sources = new Map(whole.sources)
  for (const [key, coverage] of changed) sources.set(key, coverage)
  return [...sources.values()]
}

/** Of the current snapshot; empty for a table without one. `file-damaged` when hash or content is not as it should be. */
export async function readCheckpoint(store: ObjectStore, metadata: TableMetadata): Promise<readonly Coverage[]> {
  const checkpoint = await loadCheckpoint(store, metadata)
  return checkpoint ? coverageIn(checkpoint) : []
}

/**
 * @param known a checkpoint read or written earlier: used instead of reading when the summary names the very same path and
 * hash, or the whole one under it when that is the one named
 */
export async function loadCheckpoint(
  store: ObjectStore,
  metadata: TableMetadata,
  known?: Checkpoint,
): Promise<Checkpoint | undefined> {
  if (!metadata.currentSnapshot) return undefined
  const { summary, snapshotId } = metadata.currentSnapshot
  const path = summary[CHECKPOINT_KEY]
  if (path === undefined) {
    // Empty coverage would take every record a second time.
    throw new MillraceError('file-damaged', `snapshot ${snapshotId} of ${metadata.location} names no checkpoint`)
  }
  const name = { path, sha256: summary[CHECKPOINT_HASH_KEY] ?? '' }
  if (known && isSame(known, name)) return known
  const { base, sources, isOlder } = await read(store, name)
  if (!base) return { ...name, isOlder, whole: { ...name, sources }, changed: new Map() }
  if (known && isSame(known.whole, base)) return { ...name, whole: known.whole, changed: sources }
  const whole = await read(store, base)
  if (whole.base) throw damaged(path, 'it builds on a checkpoint that is not whole itself')
  return { ...name, whole: { ...base, sources: whole.sources }, changed: sources }
}

function isSame(a: CheckpointName, b: CheckpointName): boolean {
  return a.path === b.path && a.sha256 === b.sha256
}

function encode(sources: Sources, commitId: string, base: CheckpointName | undefined): Uint8Array {
  const pipelines = new Map<string, number>()
  const rows: string[] = []
  for (const coverage of sources.values()) {
    let pipeline = pipelines.get(coverage.pipeline)
    if (pipeline === undefined) {
      pipeline = pipelines.size
      pipelines.set(coverage.pipeline, pipeline)
    }
    rows.push(`[${pipeline},${rowText(coverage)}`)
  }
  const head = JSON.stringify({
    format: FORMAT,
    'commit-id': commitId,
    base: base ? { path: base.path, sha256: base.sha256 } : null,
    pipelines: [...pipelines.keys()],
  })
  const text = `${head.slice(0, -1)},"sources":[${rows.join(',')}]}`
  return zstdCompressSync(text, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } })
}

function encodeOlder(sources: Sources, commitId: string): Uint8Array {
  const coverage = [...sources.values()]
  return gzipSync(stringifyLosslessJson({ format: OLDER_FORMAT, 'commit-id': commitId, coverage }))
}

/** Most sources of a checkpoint were in the one before as well: what they look like is made once. */
const rowTexts = new WeakMap<Coverage, string>()

/** A source's row behind the number of its pipeline. */
function rowText(coverage: Coverage): string {
  const known = rowTexts.get(coverage)
  if (known !== undefined) return known
  const row: unknown[] = [
    coverage.source,
    coverage.partition,
    digits(coverage.recordsIn),
    digits(coverage.recordsDead),
    digits(coverage.recordsFiltered),
    digits(coverage.logEnd),
    digits(coverage.caughtUpAt),
    digits(coverage.recordedEnd),
  ]
  for (const { start, end } of coverage.ranges) row.push(digits(start), digits(end))
  const text = JSON.stringify(row).slice(1)
  rowTexts.set(coverage, text)
  return text
}

type Content = {
  readonly base: CheckpointName | undefined
  readonly sources: Sources
  readonly isOlder: boolean
}

async function read(store: ObjectStore, { path, sha256: expected }: CheckpointName): Promise<Content> {
  const { bytes } = await store.get(path)
  if (hashOf(bytes) !== expected) throw damaged(path, 'it does not have the sha256 that it is named with')
  const content = parseLosslessJson(unpack(bytes, path), `checkpoint ${path}`)
  if (!isJsonObject(content) || (content.format !== OLDER_FORMAT && content.format !== FORMAT)) {
    throw new MillraceError('format-too-new', `checkpoint ${path} is not of format ${OLDER_FORMAT} or ${FORMAT}`)
  }
  try {
    if (content.format === OLDER_FORMAT) {
      const coverage = (content.coverage as JsonObject[]).map(olderCoverageOf)
      return { base: undefined, sources: byKey(coverage), isOlder: true }
    }
    const { base, pipelines, sources } = content
    const decoded = (sources as unknown[][]).map((row) => coverageOf(row, pipelines as string[]))
    return { base: isJsonObject(base) ? nameOf(base) : undefined, sources: byKey(decoded), isOlder: false }
  } catch (cause) {
    throw damaged(path, cause instanceof Error ? cause.message : String(cause))
  }
}

function unpack(bytes: Uint8Array, path: string): string {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  try {
    const plain = (isGzip ? gunzipSync : zstdDecompressSync)(bytes, { maxOutputLength: PLAIN_BYTES_MAX })
    return plain.toString()
  } catch (cause) {
    throw new MillraceError('file-damaged', `checkpoint ${path} cannot be unpacked`, { cause })
  }
}

function byKey(list: readonly Coverage[]): Sources {
  return new Map(list.map((coverage) => [sourceKeyText(coverage), coverage]))
}

function nameOf({ path, sha256 }: JsonObject): CheckpointName {
  if (typeof path !== 'string' || typeof sha256 !== 'string') throw new Error('its base has no path and sha256')
  return { path, sha256 }
}

function coverageOf(row: readonly unknown[], pipelines: readonly string[]): Coverage {
  const pipeline = pipelines[Number(row[0])]
  if (pipeline === undefined || row.length < FIXED_FIELDS || row.length % 2 === 0)
    throw new Error('a source is no source')
  const ranges: OffsetRange[] = []
  for (let at = FIXED_FIELDS; at < row.length; at += 2)
    ranges.push({ start: bigintOf(row[at]), end: bigintOf(row[at + 1]) })
  return {
    pipeline,
    source: String(row[1]),
    partition: Number(row[2]),
    ranges,
    recordsIn: bigintOf(row[3]),
    recordsDead: bigintOf(row[4]),
    recordsFiltered: bigintOf(row[5]),
    logEnd: optional(row[6]),
    caughtUpAt: optional(row[7]),
    recordedEnd: optional(row[8]),
  }
}

function olderCoverageOf(raw: JsonObject): Coverage {
  return {
    pipeline: String(raw.pipeline),
    source: String(raw.source),
    partition: Number(raw.partition),
    ranges: (raw.ranges as { start: unknown; end: unknown }[]).map(({ start, end }) => ({
      start: bigintOf(start),
      end: bigintOf(end),
    })),
    recordsIn: bigintOf(raw.recordsIn),
    recordsDead: bigintOf(raw.recordsDead),
    recordsFiltered: bigintOf(raw.recordsFiltered),
    logEnd: optional(raw.logEnd),
    caughtUpAt: optional(raw.caughtUpAt),
    recordedEnd: optional(raw.recordedEnd),
  }
}

function digits(value: bigint | undefined): number | string | null {
  if (value === undefined) return null
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value.toString()
}

function bigintOf(value: unknown): bigint {
  return BigInt(value as number | bigint | string)
}

function optional(value: unknown): bigint | undefined {
  return value === undefined || value === null ? undefined : bigintOf(value)
}

function damaged(path: string, reason: string): MillraceError {
  return new MillraceError('file-damaged', `checkpoint ${path}: ${reason}`, { facts: { path } })
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
