/**
 * Commit ids: a transaction that landed is known by its id for 7 days, with its answer, so that whoever did not hear the
 * answer asks again and gets the same one.
 *
 * Every commit begins here. First its writer's row is locked: an earlier attempt under the same id that is still under way
 * (its process lost the connection, the server did not) ends before anything else is looked at. Then the id is looked up,
 * and only then may anything say that the attempt is stale: what has changed since may be what that attempt itself did.
 */
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { Writer } from './catalog.ts'
import type { Tx } from './database.ts'
import { type CatalogDialect, together } from './dialect.ts'

export type CommitKind = 'tick' | 'snapshot' | 'merge'
/** Of a catalog that was made again (`restore.ts`). */
export const RESTORE_KIND = 'restore'

type WriterState = { readonly epoch: bigint; readonly fenced_at: bigint | null } | undefined

/** The answer of the attempt that landed; else the writer is live, and stays so until this transaction ends. */
export async function beginCommit(
  tx: Tx,
  dialect: CatalogDialect,
  writer: Writer,
  commitId: string,
  kind: CommitKind,
): Promise<string | undefined> {
  const [state, landed] = await together([lockWriter(tx, dialect, writer), findCommit(tx, commitId)])
  return answerOrLive(state, landed, writer, commitId, kind)
}

type Landed = { readonly kind: string; readonly answer_json: string } | undefined

/** For those who ask for more in the same round trip. */
export function answerOrLive(
  state: WriterState,
  landed: Landed,
  writer: Writer,
  commitId: string,
  kind: CommitKind,
): string | undefined {
  if (landed) {
    invariant('commit.kind', landed.kind === kind, { commitId, kind, known: landed.kind })
    return landed.answer_json
  }
  mustBeLive(state, writer)
  return undefined
}

export function lockWriter(tx: Tx, dialect: CatalogDialect, writer: Writer): Promise<WriterState> {
  return tx
    .selectFrom('writers')
    .select(['epoch', 'fenced_at'])
    .where('writer_id', '=', writer.writerId)
    .modifyEnd(dialect.locked)
    .executeTakeFirst()
}

/** Throws `writer-fenced` unless this registration may still commit; it may until the transaction ends. */
export async function requireLive(tx: Tx, dialect: CatalogDialect, writer: Writer): Promise<void> {
  mustBeLive(await lockWriter(tx, dialect, writer), writer)
}

export function mustBeLive(state: WriterState, writer: Writer): void {
  if (state && state.fenced_at === null && state.epoch === BigInt(writer.epoch)) return
  const why = state ? 'was fenced: it was silent for too long, or had ended' : 'is not registered'
  throw new MillraceError('writer-fenced', `writer ${writer.writerId} (epoch ${writer.epoch}) ${why}`)
}

export function findCommit(tx: Tx, commitId: string): Promise<Landed> {
  return tx.selectFrom('commits').select(['kind', 'answer_json']).where('commit_id', '=', commitId).executeTakeFirst()
}

export async function insertCommit(
  tx: Tx,
  commitId: string,
  kind: CommitKind,
  answer: string,
  now: bigint,
): Promise<void> {
  await tx.insertInto('commits').values({ commit_id: commitId, kind, answer_json: answer, committed_at: now }).execute()
}
