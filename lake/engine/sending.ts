/**
 * A result on its way to the parent. One that is over before `PART_BYTES` are there leaves as one message; a larger one in
 * parts of about that size, and of what came in a quarter of a second when rows come slowly, each of which the parent must
 * have room for.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { EngineQuery, EngineResult, ResultColumn } from './engine.ts'
import { type FromEngine, PART_BYTES } from './engine-messages.ts'

type WithoutId<Message> = Message extends { readonly id: number } ? Omit<Message, 'id'> : never

export type Way = {
  send(message: WithoutId<FromEngine>): void
  /** Resolves when the parent takes one more. */
  room(): Promise<void>
  /** What is there should leave now. */
  isDue(): boolean
  /** A part has left. */
  left(): void
}

export type Sending = {
  columns(columns: readonly ResultColumn[]): void
  /** When it resolves the bytes may be used again. */
  bytes(part: Uint8Array | undefined): Promise<void>
  rows(rows: readonly (readonly unknown[])[]): Promise<void>
  done(result: EngineResult): Promise<void>
}

export function createSending({ bytesMax }: Pick<EngineQuery, 'bytesMax'>, way: Way): Sending {
  let columns: readonly ResultColumn[] = []
  let isTold = false
  let held: Uint8Array[] = []
  let heldBytes = 0
  let allBytes = 0

  function tellColumns(): void {
    if (!isTold) way.send({ kind: 'columns', columns })
    isTold = true
  }

  async function flush(): Promise<void> {
    tellColumns()
    if (heldBytes === 0) return
    await way.room()
    way.send({ kind: 'chunk', bytes: joined(held) })
    held = []
    heldBytes = 0
  }

  return {
    columns(given) {
      columns = given
    },
    async bytes(part) {
      if (part === undefined || part.length === 0) return
      allBytes += part.length
      if (allBytes > bytesMax) {
        throw new MillraceError('request-too-large', `the result is larger than ${bytesMax} bytes`, {
          facts: { bytesMax },
        })
      }
      heldBytes += part.length
      if (heldBytes < PART_BYTES && !way.isDue()) {
        held.push(Buffer.from(part))
        return
      }
      // A message is a copy.
      held.push(part)
      way.left()
      await flush()
    },
    async rows(rows) {
      tellColumns()
      await way.room()
      way.send({ kind: 'rows', rows })
    },
    async done(result) {
      if (isTold) {
        await flush()
        way.send({ kind: 'done', result })
      } else way.send({ kind: 'answer', bytes: joined(held), result })
    },
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0] : Buffer.concat(parts)
}
