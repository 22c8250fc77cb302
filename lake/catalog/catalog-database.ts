/**
 * A database that a catalog lives in, as `open-catalog.ts` picks it by its URL: connections, what differs in SQL, the clock,
 * and what its errors mean.
 */

import type { Tx } from './database.ts'
import type { CatalogDialect } from './dialect.ts'

/**
 *   again      nothing happened: somebody else holds what is needed, or was first
 *   collision  a unique value is taken: somebody else was first, or we are wrong; tried again a few times only
 *   lost       no connection any more; what was asked last may have happened or not
 *   final      asking again would not help
 */
export type Trouble = 'again' | 'collision' | 'lost' | 'final'

export type CatalogDatabase = {
  readonly dialect: CatalogDialect
  /** One transaction that sees one version of everything and changes nothing. */
  read<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Another text after every commit that changed anything; undefined where asking is no cheaper than reading. */
  changeMark?(): Promise<string>
  /** One transaction; it is on the disk when this returns, and undone when `work` throws. */
  write<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Microseconds; never before what a transaction that this one sees was told. */
  time(tx: Tx): Promise<bigint>
  /** At the end of a write that asked for the time. */
  keepTime(tx: Tx, time: bigint): Promise<void>
  /** Processes that start at once take turns until their transactions end. */
  lockMigrations(tx: Tx): Promise<void>
  judge(error: unknown): Trouble
  /** What the database throws → what the catalog's callers can act on. */
  translateError(error: unknown): unknown
  close(): Promise<void>
}
