/**
 * The bytes of a reply on their way to a client, compressed or not. A `write` resolves when there is room for more, so that a
 * slow client holds back the engine and not memory; it also resolves when the client is gone.
 *
 *   end     the last byte, with trailers where the protocol has them; resolves when the kernel has all of it. A client that
 *           does not take it within its time is cut off
 *   abort   the connection is cut so that nobody can take what came for the whole: in HTTP/1.1 the last chunk is missing; in
 *           HTTP/1.0 and without TLS, where the end of the connection is the end of the body, it is reset
 */
import type { ServerResponse } from 'node:http'
import { createGzip, type Gzip, constants as zlib } from 'node:zlib'

export type ReplyBody = {
  /** After the head was written. */
  write(bytes: Uint8Array): Promise<void>
  end(bytes: Uint8Array, trailers: Readonly<Record<string, string>>): Promise<void>
  abort(): void
}

/** Quick: a stream is compressed while a query runs. */
const GZIP_LEVEL = 1

export function createReplyBody(raw: ServerResponse, options: { gzip: boolean; drainMs: number }): ReplyBody {
  const gzip = options.gzip ? createGzip({ level: GZIP_LEVEL }) : undefined
  if (gzip) {
    gzip.on('error', () => raw.destroy())
    raw.once('close', () => gzip.destroy())
    gzip.pipe(raw, { end: false })
  }

  return {
    write: (bytes) => (gzip ? writeGzip(gzip, bytes) : writeRaw(raw, bytes)),
    async end(bytes, trailers) {
      if (raw.destroyed) return
      if (gzip) {
        await new Promise<void>((resolve) => {
          gzip.once('close', resolve)
          gzip.once('end', resolve)
          gzip.end(bytes)
        })
      } else if (bytes.length > 0) await writeRaw(raw, bytes)
      if (raw.destroyed) return
      if (raw.chunkedEncoding) raw.addTrailers(trailers)
      raw.end()
      await taken(raw, options.drainMs)
    },
    abort() {
      gzip?.unpipe(raw)
      gzip?.destroy()
      cut(raw)
    },
  }
}

/** Resolves when everything is in the kernel's hands, or the client is gone; after `drainMs` it is cut off. */
export async function taken(raw: ServerResponse, drainMs: number): Promise<void> {
  if (raw.writableFinished || raw.destroyed) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => raw.destroy(), drainMs)
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    raw.once('finish', done)
    raw.once('close', done)
  })
}

function cut(raw: ServerResponse): void {
  const { socket } = raw
  if (!socket || 'encrypted' in socket) raw.destroy()
  else socket.resetAndDestroy()
}

async function writeRaw(raw: ServerResponse, bytes: Uint8Array): Promise<void> {
  if (raw.destroyed || raw.write(bytes)) return
  await new Promise<void>((resolve) => {
    const go = () => {
      raw.off('drain', go)
      raw.off('close', go)
      resolve()
    }
    raw.once('drain', go)
    raw.once('close', go)
  })
}

/** Flushed each time: rows that are there are seen, however long the next ones take. */
async function writeGzip(gzip: Gzip, bytes: Uint8Array): Promise<void> {
  if (gzip.destroyed) return
  await new Promise<void>((resolve) => {
    const go = () => {
      gzip.off('close', go)
      resolve()
    }
    gzip.once('close', go)
    gzip.write(bytes, (error) => {
      if (error || gzip.destroyed) go()
      else gzip.flush(zlib.Z_SYNC_FLUSH, go)
    })
  })
}
