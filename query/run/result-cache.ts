/**
 * Small results, kept for the versions of the tables that they are of (`query.result-cache.bytes`).
 *
 * The key is everything that the bytes depend on: text, parameters, format, zone, limits, and of each table its id, version,
 * schema and metadata. So an entry never goes stale: what changes a table changes the key, and old entries leave in order of
 * their last use. Bounded in bytes, keys counted; a result over `ENTRY_BYTES_MAX` is not kept.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { ResultColumn } from '../../lake/engine/engine.ts'
import type { QueryOutcome, QueryRequest } from './run-query.ts'

/** Not more than a reply holds back before it goes out: what is collected here never waits for a slow client. */
export const ENTRY_BYTES_MAX = 1024 * 1024
/** Of an entry besides its bytes and its key. */
const ENTRY_BYTES = 2048

export type KeptResult = {
  readonly columns: readonly ResultColumn[]
  readonly bytes: Uint8Array
  readonly outcome: QueryOutcome
}

export type ResultCache = {
  get(key: string): KeptResult | undefined
  set(key: string, result: KeptResult): void
  readonly bytes: number
  readonly entries: number
}

export function createResultCache(bytesMax: number): ResultCache {
  const entries = new Map<string, { readonly result: KeptResult; readonly bytes: number }>()
  let bytes = 0

  function drop(key: string): void {
    const known = entries.get(key)
    if (!known) return
    entries.delete(key)
    bytes -= known.bytes
  }

  return {
    get bytes() {
      return bytes
    },
    get entries() {
      return entries.size
    },
    get(key) {
      const known = entries.get(key)
      if (!known) return undefined
      entries.delete(key)
      entries.set(key, known)
      return known.result
    },
    set(key, result) {
      drop(key)
      const size = result.bytes.length + 2 * key.length + ENTRY_BYTES
      if (result.bytes.length > ENTRY_BYTES_MAX || size > bytesMax) return
      entries.set(key, { result, bytes: size })
      bytes += size
      for (const oldest of entries.keys()) {
        if (bytes <= bytesMax) break
        drop(oldest)
      }
    },
  }
}

/** Of a request, what its bytes do not depend on. Anything else that a request has, now or later, is part of the key. */
const WITHOUT: ReadonlySet<string> = new Set([
  'queryId',
  'timeoutMs',
  'scanBytesMax',
  'entrant',
  'waitFor',
  'atVersions',
  'checkTable',
])

export function resultKey(request: QueryRequest, versions: readonly TableVersion[]): string {
  const asked = Object.entries(request)
    .filter(([name, value]) => !WITHOUT.has(name) && value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([asked, versions.map(versionKey)], plain)
}

function versionKey({ table, version, metadataLocation, masks = [] }: TableVersion): unknown {
  return [table.tableId, version, table.schemas.at(-1)?.schemaId ?? null, metadataLocation ?? null, masks.length]
}

/** JSON has no 64-bit integers, and takes -0 for 0. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`
  if (Object.is(value, -0)) return '-0n'
  return value
}
