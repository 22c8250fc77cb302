/**
 * A connection to a broker without TLS and SASL, by ourselves: requests out, replies in, nothing else.
 *
 *   request  size int32 · api int16 · version int16 · correlation int32 · client id (int16 length) · tags · body
 *   reply    size int32 · correlation int32 · [tags] · body        in the order of the requests
 *
 * The client library does the same, and more. But it takes 0.4 CPU-seconds and 45 MB to load, and keeps what comes off the socket
 * in a fresh buffer of 64 KiB each time, until a collection comes by. Here all of it comes through one buffer, and a reply is
 * copied from there to the memory that the caller has for it.
 *
 * A reply that does not come in time, or is not the one that is due, closes the connection: nothing after it can be trusted.
 */
import { createConnection } from 'node:net'

export type PlainLinkOptions = {
  readonly clientId: string
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
}

export type PlainLink = {
  isOpen(): boolean
  /** `hasTags`: the reply's header ends with tagged fields. `memory`: where the body's bytes go. */
  request(apiKey: number, version: number, body: Uint8Array, hasTags: boolean, memory: Memory): Promise<Buffer>
  close(): void
}

type Memory = (length: number) => Buffer

type Pending = {
  readonly correlation: number
  readonly hasTags: boolean
  readonly memory: Memory
  readonly timer: NodeJS.Timeout
  done(reply: Buffer): void
  failed(error: Error): void
}

const READ_BYTES = 128 * 1024
/** Size and correlation; with tags, of which there are none, one byte more. */
const HEAD_BYTES = 8
const REPLY_BYTES_MAX = 2 ** 31 - 1

export function openPlainLink(host: string, port: number, options: PlainLinkOptions): Promise<PlainLink> {
  const opened = Promise.withResolvers<PlainLink>()
  const clientId = Buffer.from(options.clientId)
  const pending: Pending[] = []
  const head = Buffer.alloc(HEAD_BYTES + 1)
  let headBytes = 0
  let body: Buffer | undefined
  let bodyBytes = 0
  let correlation = 0
  let isOpen = false

  const socket = createConnection({
    host,
    port,
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback(length, buffer) {
        try {
          take(Buffer.from(buffer.buffer, buffer.byteOffset, length))
        } catch (error) {
          close(error instanceof Error ? error : new Error(String(error)))
        }
        return true
      },
    },
  })
  const connecting = setTimeout(
    () => close(new Error(`no connection within ${options.connectTimeoutMs} ms`)),
    options.connectTimeoutMs,
  )
  socket.on('connect', () => {
    clearTimeout(connecting)
    isOpen = true
    opened.resolve({ isOpen: () => isOpen, request, close: () => close(new Error('connection closed')) })
  })
  socket.on('error', close)
  socket.on('end', () => close(new Error('the broker closed the connection')))
  socket.on('close', () => close(new Error('connection closed')))

  function close(error: Error): void {
    isOpen = false
    clearTimeout(connecting)
    socket.destroy()
    opened.reject(error)
    for (const { timer, failed } of pending.splice(0)) {
      clearTimeout(timer)
      failed(error)
    }
  }

  function take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const due = pending.at(0)
      if (!due) throw new Error('a reply came that nobody asked for')
      if (body === undefined) {
        const headEnd = HEAD_BYTES + (due.hasTags ? 1 : 0)
        const copied = bytes.copy(head, headBytes, at, at + headEnd - headBytes)
        headBytes += copied
        at += copied
        if (headBytes < headEnd) return
        const length = head.readInt32BE(0) + 4 - headEnd
        if (head.readInt32BE(4) !== due.correlation) throw new Error('a reply came that is not the one that is due')
        if (length < 0 || length > REPLY_BYTES_MAX) throw new Error(`a reply of ${length} bytes`)
        if (due.hasTags && head[HEAD_BYTES] !== 0) throw new Error('a reply with tags in its header')
        body = due.memory(length)
        bodyBytes = 0
      }
      const copied = bytes.copy(body, bodyBytes, at)
      bodyBytes += copied
      at += copied
      if (bodyBytes < body.length) return
      const reply = body
      body = undefined
      headBytes = 0
      pending.shift()
      clearTimeout(due.timer)
      due.done(reply)
    }
  }

  function request(
    apiKey: number,
    version: number,
    given: Uint8Array,
    hasTags: boolean,
    memory: Memory,
  ): Promise<Buffer> {
    return new Promise((done, failed) => {
      if (!isOpen) {
        failed(new Error('connection closed'))
        return
      }
      correlation = (correlation + 1) & 0x7fffffff
      const message = Buffer.allocUnsafe(15 + clientId.length + given.length)
      message.writeInt32BE(message.length - 4, 0)
      message.writeInt16BE(apiKey, 4)
      message.writeInt16BE(version, 6)
      message.writeInt32BE(correlation, 8)
      message.writeInt16BE(clientId.length, 12)
      message.set(clientId, 14)
      message[14 + clientId.length] = 0
      message.set(given, 15 + clientId.length)
      const timer = setTimeout(
        () => close(new Error(`no reply within ${options.requestTimeoutMs} ms`)),
        options.requestTimeoutMs,
      )
      pending.push({ correlation, hasTags, memory, timer, done, failed })
      socket.write(message)
    })
  }

  return opened.promise
}
