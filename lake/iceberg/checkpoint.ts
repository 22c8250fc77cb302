/**
 * A snapshot's checkpoint: the coverage of exactly its rows, one small gzipped JSON object beside the metadata. The
 * snapshot's summary names it with its sha256, so metadata stays flat however many sources a table has.
 */
import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { Coverage } from '../../schemas/coverage.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import type { TableMetadata } from './iceberg.ts'
import { isJsonObject, type JsonObject, parseLosslessJson, stringifyLosslessJson } from './lossless-json.ts'
import { CHECKPOINT_HASH_KEY, CHECKPOINT_KEY } from './table-metadata.ts'

const FORMAT = 1
const PLAIN_BYTES_MAX = 1 << 30

export type EncodedCheckpoint = { readonly bytes: Uint8Array; readonly sha256: string }

export function encodeCheckpoint(coverage: readonly Coverage[], commitId: string): EncodedCheckpoint {
  const bytes = gzipSync(stringifyLosslessJson({ format: FORMAT, 'commit-id': commitId, coverage }))
  return { bytes, sha256: sha256(bytes) }
}

/** Of the current snapshot; empty for a table without one. `file-damaged` when hash or content is not as it should be. */
export async function readCheckpoint(store: ObjectStore, metadata: TableMetadata): Promise<readonly Coverage[]> {
  if (!metadata.currentSnapshot) return []
  const { summary, snapshotId } = metadata.currentSnapshot
  const path = summary[CHECKPOINT_KEY]
  if (path === undefined) {
    // Empty coverage would take every record a second time.
    throw new MillraceError('file-damaged', `snapshot ${snapshotId} of ${metadata.location} names no checkpoint`)
  }
  const { bytes } = await store.get(path)
  if (sha256(bytes) !== summary[CHECKPOINT_HASH_KEY]) {
    throw new MillraceError('file-damaged', `checkpoint ${path} does not have the sha256 that its snapshot names`)
  }
  let text: string
  try {
    text = gunzipSync(bytes, { maxOutputLength: PLAIN_BYTES_MAX }).toString()
  } catch (cause) {
    throw new MillraceError('file-damaged', `checkpoint ${path} cannot be unpacked`, { cause })
  }
  const content = parseLosslessJson(text, `checkpoint ${path}`)
  if (!isJsonObject(content) || content.format !== FORMAT || !Array.isArray(content.coverage)) {
    throw new MillraceError('format-too-new', `checkpoint ${path} is not of format ${FORMAT}`)
  }
  return content.coverage.map(coverageOf)
}

function coverageOf(raw: JsonObject): Coverage {
  const optional = (value: unknown) => (value === undefined || value === null ? undefined : whole(value))
  return {
    pipeline: String(raw.pipeline),
    source: String(raw.source),
    partition: Number(raw.partition),
    ranges: (raw.ranges as { start: unknown; end: unknown }[]).map(({ start, end }) => ({
      start: whole(start),
      end: whole(end),
    })),
    recordsIn: whole(raw.recordsIn),
    recordsDead: whole(raw.recordsDead),
    recordsFiltered: whole(raw.recordsFiltered),
    logEnd: optional(raw.logEnd),
    caughtUpAt: optional(raw.caughtUpAt),
  }
}

function whole(value: unknown): bigint {
  return BigInt(value as number | bigint)
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
