/**
 * A request's body: options in the words of the service, parameters with types that keep their digits.
 *
 *   bigint      BIGINT, or HUGEINT beyond 64 bits      Date        TIMESTAMPTZ
 *   Uint8Array  BLOB                                   NaN, ±∞     DOUBLE
 */
import type { Offset, Param, Params, QueryOptions, WaitFor } from './types.ts'

export function requestBody(sql: string, options: QueryOptions, format: 'json' | 'arrow'): string {
  const { params, timezone, atVersion, waitFor } = options
  return JSON.stringify({
    sql,
    format,
    ...(params === undefined ? {} : { params: paramsBody(params) }),
    ...(options.timeoutMs === undefined ? {} : { timeout_ms: options.timeoutMs }),
    ...(options.maxRows === undefined ? {} : { max_rows: options.maxRows }),
    ...(timezone === undefined ? {} : { session: { timezone } }),
    ...(options.queryId === undefined ? {} : { query_id: options.queryId }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.int64 === 'number' && format === 'json' ? { int64: 'number' } : {}),
    ...(atVersion === undefined ? {} : { at_version: mapValues(atVersion, offsetText) }),
    ...(waitFor === undefined ? {} : { wait_for: mapValues(waitFor, waitBody) }),
  })
}

function paramsBody(params: Params): unknown {
  return isList(params) ? params.map(paramBody) : mapValues(params, paramBody)
}

/** `Array.isArray` does not tell a readonly array. */
function isList<T>(value: readonly T[] | object): value is readonly T[] {
  return Array.isArray(value)
}

function paramBody(param: Param): unknown {
  if (typeof param === 'bigint') return { type: integerType([param]), value: param.toString() }
  if (typeof param === 'number' && !Number.isFinite(param)) return { type: 'DOUBLE', value: String(param) }
  if (param instanceof Date) return { type: 'TIMESTAMPTZ', value: param.toISOString() }
  if (param instanceof Uint8Array) return { type: 'BLOB', value: blobText(param) }
  if (typeof param === 'object' && param !== null && isList<Param>(param)) {
    const whole = param.filter((each) => typeof each === 'bigint')
    if (whole.length === 0) return param
    return { type: `${integerType(whole)}[]`, value: param.map((each) => (each === null ? null : String(each))) }
  }
  return param
}

function integerType(values: readonly bigint[]): string {
  return values.every((value) => BigInt.asIntN(64, value) === value) ? 'BIGINT' : 'HUGEINT'
}

function blobText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
}

function waitBody(wait: WaitFor): unknown {
  if (typeof wait !== 'object') return offsetText(wait)
  return {
    ...(wait.version === undefined ? {} : { version: offsetText(wait.version) }),
    ...(wait.offsets === undefined
      ? {}
      : { offsets: mapValues(wait.offsets, (partitions) => mapValues(partitions, offsetText)) }),
  }
}

function offsetText(offset: Offset): string {
  return String(offset)
}

function mapValues<From, To>(given: { readonly [name: string]: From }, map: (value: From) => To): Record<string, To> {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, map(value)]))
}
