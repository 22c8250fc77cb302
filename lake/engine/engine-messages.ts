/**
 * What parent and engine process say to each other over the IPC channel (structured clone: bytes and bigint as they are).
 *
 *   parent → engine   start (settings, once) · query · run · cancel · credit (one chunk was consumed)
 *   engine → parent   ready · answer (a small result whole) · columns · chunk · rows · progress · done · objects (answer of run)
 *                     failed
 *
 * Everything of one query carries its `id`, a number that the parent gives out and never uses twice.
 */
import type { ErrorCode } from '../../schemas/errors.ts'
import type { EngineProgress, EngineQuery, EngineResult, EngineSettings, ResultColumn } from './engine.ts'

export type ToEngine =
  | { readonly kind: 'start'; readonly settings: EngineSettings }
  | { readonly kind: 'query'; readonly id: number; readonly query: EngineQuery }
  | { readonly kind: 'run'; readonly id: number; readonly sql: string }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'credit'; readonly id: number }

export type EngineFailure = {
  readonly code: ErrorCode
  readonly message: string
  readonly facts: Readonly<Record<string, unknown>>
}

export type FromEngine =
  | { readonly kind: 'ready' }
  /** The process can't start; the parent must not try with the same settings in a loop. */
  | { readonly kind: 'unusable'; readonly failure: EngineFailure }
  | { readonly kind: 'answer'; readonly id: number; readonly bytes: Uint8Array; readonly result: EngineResult }
  | { readonly kind: 'columns'; readonly id: number; readonly columns: readonly ResultColumn[] }
  | { readonly kind: 'chunk'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'rows'; readonly id: number; readonly rows: readonly (readonly unknown[])[] }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: EngineProgress }
  | { readonly kind: 'done'; readonly id: number; readonly result: EngineResult }
  | { readonly kind: 'objects'; readonly id: number; readonly rows: readonly Readonly<Record<string, unknown>>[] }
  | { readonly kind: 'failed'; readonly id: number; readonly failure: EngineFailure }

/** Chunks (or row batches) of one query on their way to a parent that has not consumed them yet. */
export const CHUNKS_IN_FLIGHT_MAX = 4

/** How often a running query tells how far it is. */
export const PROGRESS_EVERY_MS = 250

/** About the size of a chunk; a result below it comes as one answer. */
export const PART_BYTES = 256 * 1024

/** A statement of ours that asks for a plan: parameters are typed by what stands after it. */
export const EXPLAIN_PREFIX = 'EXPLAIN (FORMAT JSON) '
