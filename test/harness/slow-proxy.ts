/**
 * A TCP proxy in front of a server (S3, Kafka, PostgreSQL), for tests about distance and broken networks. It delays what
 * passes, per direction and in order, holds requests back until told otherwise, cuts connections, swallows answers, or
 * refuses new connections; settings change while it runs.
 *
 * The delay is per piece of traffic: a request that starts after silence waits `requestDelayMs`, and its following bytes
 * stay behind it, as on a longer wire; throughput is not limited. HTTP keep-alive connections pay it for every request.
 *
 * Kafka clients go where the broker's advertised listener says: give the broker the proxy's port to advertise.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

export type SlowProxySettings = {
  /** From the client to the server. Default 0. A function is asked once a request: what follows its first bytes stays behind them. */
  readonly requestDelayMs?: number | (() => number)
  /** From the server to the client. Default 0. */
  readonly responseDelayMs?: number
  /** Requests wait here until settings say otherwise; answers under way still pass. */
  readonly holdRequests?: boolean
  /** New connections are closed at once, as by a machine that is gone. */
  readonly refuse?: boolean
  /** Requests reach the server, answers are swallowed: outcomes become unknown. */
  readonly swallowAnswers?: boolean
}

export type SlowProxy = {
  readonly port: number
  readonly host: '127.0.0.1'
  /** Replaces all settings, for open connections too. */
  set(settings: SlowProxySettings): void
  /** Resets every open connection; gives how many there were. */
  cutConnections(): number
  /** Resets each connection that carries an answer after this many more bytes of answers. */
  cutAfterAnswerBytes(bytes: number): void
  readonly counts: { readonly connections: number; readonly requestBytes: number; readonly answerBytes: number }
  close(): Promise<void>
}

export async function startSlowProxy(
  target: { readonly port: number; readonly host?: string },
  initial: SlowProxySettings = {},
  listenPort = 0,
): Promise<SlowProxy> {
  let settings = initial
  let answerBytesLeft = Number.POSITIVE_INFINITY
  const counts = { connections: 0, requestBytes: 0, answerBytes: 0 }
  const open = new Set<Socket>()
  let release = () => {}
  let released: Promise<void> | undefined
  apply(initial)

  function apply(next: SlowProxySettings): void {
    settings = next
    if (next.holdRequests) {
      released ??= new Promise((resolve) => {
        release = resolve
      })
      return
    }
    release()
    released = undefined
  }

  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    if (settings.refuse) {
      client.resetAndDestroy()
      return
    }
    counts.connections++
    const upstream = connect({
      port: target.port,
      host: target.host ?? '127.0.0.1',
      allowHalfOpen: true,
      noDelay: true,
    })
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.once('close', () => open.delete(socket))
      socket.on('error', () => reset())
    }
    function reset(): void {
      client.resetAndDestroy()
      upstream.resetAndDestroy()
    }
    /** Since the last answer nothing was asked. */
    let isNewRequest = true
    carry(
      client,
      upstream,
      () => {
        const { requestDelayMs = 0 } = settings
        if (typeof requestDelayMs === 'number') return requestDelayMs
        if (!isNewRequest) return 0
        isNewRequest = false
        return requestDelayMs()
      },
      () => released,
      (chunk) => {
        counts.requestBytes += chunk.byteLength
        return chunk
      },
    )
    carry(
      upstream,
      client,
      () => settings.responseDelayMs ?? 0,
      () => undefined,
      (chunk) => {
        isNewRequest = true
        if (settings.swallowAnswers) return undefined
        counts.answerBytes += chunk.byteLength
        if (chunk.byteLength <= answerBytesLeft) {
          answerBytesLeft -= chunk.byteLength
          return chunk
        }
        const last = chunk.subarray(0, answerBytesLeft)
        answerBytesLeft = Number.POSITIVE_INFINITY
        client.write(last, reset)
        return undefined
      },
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(listenPort, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')

  function cutConnections(): number {
    const sockets = [...open]
    for (const socket of sockets) socket.resetAndDestroy()
    return Math.ceil(sockets.length / 2)
  }
  return {
    port: address.port,
    host: '127.0.0.1',
    set: apply,
    cutConnections,
    cutAfterAnswerBytes(bytes) {
      answerBytesLeft = bytes
    },
    counts,
    async close() {
      cutConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** One direction: pieces leave in the order they came, each no earlier than its own delay says. */
function carry(
  from: Socket,
  to: Socket,
  delayMs: () => number,
  held: () => Promise<void> | undefined,
  pass: (chunk: Buffer) => Buffer | undefined,
): void {
  let queue: Promise<void> = Promise.resolve()
  const later = (work: () => void) => {
    const released = held()
    if (released !== undefined) queue = queue.then(() => released)
    const wait = delayMs()
    // The wait starts now for each piece, so that pieces in flight overlap as on a real wire.
    const due = wait > 0 ? new Promise<void>((resolve) => setTimeout(resolve, wait)) : undefined
    if (due === undefined) {
      queue = queue.then(work)
      return
    }
    queue = queue.then(() => due).then(work)
  }
  from.on('data', (chunk: Buffer) => {
    const kept = pass(chunk)
    if (kept === undefined) return
    later(() => {
      if (to.destroyed || to.write(kept)) return
      from.pause()
      to.once('drain', () => from.resume())
    })
  })
  from.once('end', () => later(() => to.end()))
}
