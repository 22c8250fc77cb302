/**
 * A proxy in front of PostgreSQL that understands one thing: COMMIT. It can lose the question or the answer of one, or keep it
 * back, so that a transaction ends in every way that a client cannot know.
 *
 *   lose-answer   the server commits, the client's connection is reset before it hears so
 *   lose-request  the connection is reset before the server hears of it: nothing is committed
 *   hold          the client's connection is reset, COMMIT waits here, its transaction open with all its locks, until `release`
 *
 * A message from the client is a type byte, four bytes of length (which count themselves), and the rest; the very first one has
 * no type. COMMIT comes as `Q`, a simple query.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

export type CommitFate = 'pass' | 'lose-answer' | 'lose-request' | 'hold'

export type PostgresProxy = {
  readonly port: number
  /** The same address by way of the proxy. */
  url(direct: string): string
  /** Of the next COMMIT; those after it pass. */
  nextCommit(fate: CommitFate): void
  /** Resolves when a COMMIT met its fate. */
  met(): Promise<void>
  /** Lets a COMMIT go that is held, and resolves when the server has answered it. */
  release(): Promise<void>
  cutConnections(): void
  close(): Promise<void>
}

const QUERY = 'Q'.charCodeAt(0)
const COMMIT = Buffer.from('commit\0')

export async function startPostgresProxy(targetPort: number): Promise<PostgresProxy> {
  let fate: CommitFate = 'pass'
  let held: (() => Promise<void>) | undefined
  let meet = Promise.withResolvers<void>()
  const open = new Set<Socket>()

  const server: Server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    let isLost = false
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.once('close', () => open.delete(socket))
    }
    const loseClient = () => {
      isLost = true
      client.resetAndDestroy()
    }
    client.on('error', () => {})
    upstream.on('error', () => client.destroy())
    client.once('close', () => {
      if (!isLost) upstream.destroy()
    })
    upstream.once('close', () => client.destroy())
    upstream.on('data', (chunk) => {
      if (!isLost) client.write(chunk)
    })
    const answered = () => new Promise<void>((resolve) => upstream.once('data', () => resolve()))

    function passCommit(message: Buffer): void {
      const chosen = fate
      fate = 'pass'
      if (chosen === 'pass') {
        upstream.write(message)
        return
      }
      if (chosen === 'lose-request') {
        upstream.resetAndDestroy()
        client.resetAndDestroy()
        meet.resolve()
        return
      }
      loseClient()
      const send = async () => {
        const answer = answered()
        upstream.write(message)
        await answer
        upstream.destroy()
      }
      if (chosen === 'hold') held = send
      else void send().then(() => meet.resolve())
      if (chosen === 'hold') meet.resolve()
    }

    const messages = messageReader()
    client.on('data', (chunk) => {
      for (const message of messages(chunk)) {
        if (message[0] === QUERY && message.subarray(5).equals(COMMIT)) passCommit(message)
        else upstream.write(message)
      }
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
  const { port } = address

  const cutConnections = () => {
    for (const socket of [...open]) socket.resetAndDestroy()
  }
  return {
    port,
    url(direct) {
      const url = new URL(direct)
      url.port = String(port)
      return url.href
    },
    nextCommit(next) {
      fate = next
      meet = Promise.withResolvers<void>()
    },
    met: () => meet.promise,
    async release() {
      await held?.()
      held = undefined
    },
    cutConnections,
    async close() {
      cutConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** Whole messages of a client's stream. */
function messageReader(): (chunk: Buffer) => Buffer[] {
  let rest = Buffer.alloc(0)
  let isFirst = true
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    const messages: Buffer[] = []
    for (;;) {
      const typeBytes = isFirst ? 0 : 1
      if (rest.length < typeBytes + 4) return messages
      const end = typeBytes + rest.readInt32BE(typeBytes)
      if (rest.length < end) return messages
      messages.push(rest.subarray(0, end))
      rest = rest.subarray(end)
      isFirst = false
    }
  }
}
