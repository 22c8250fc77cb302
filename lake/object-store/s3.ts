/**
 * Objects in an S3 bucket: the only file that imports the AWS SDK. It asks each thing once; retries are a decorator's work.
 *
 * put:      one PutObject up to `multipartBytesMin`; above it parts of `partBytes`, four at a time, and a completion that
 *           carries the condition. If we stop before the completion nothing is visible; parts are aborted on failure,
 *           and a bucket rule has to remove those of a process that died.
 * get:      one ranged GetObject with If-Match; the length of what came is checked against what was said.
 * list:     pages of 1,000; a page that does not say whether more follow is no answer (an error body under status 200).
 * delete:   batches of 1,000, each key's own error looked at.
 *
 * What can fail: see `s3-errors.ts`. Every request has a time limit over its whole length, the body included.
 */

import { open } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import type { CompletedPart, GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { checkRange, rangePastEnd } from './byte-range.ts'
import { keyOf, keyPrefixOf, S3_SCHEME, trimTrailingSlashes } from './object-path.ts'
import type { ByteRange, GetOptions, ObjectBytes, ObjectInfo, ObjectStore, PutCondition } from './object-store.ts'
import { s3ErrorOf, s3FailureOf } from './s3-errors.ts'
import { checkCondition, preconditionFailed, sourceMissing, storeUnavailable } from './store-errors.ts'

export type S3Settings = {
  /** `http://127.0.0.1:7070`; undefined for AWS itself. */
  readonly endpoint?: string
  readonly region: string
  /** Both undefined: the SDK's own chain (environment, files, instance). */
  readonly accessKeyId?: string
  readonly secretAccessKey?: string
  /** `endpoint/bucket/key` rather than `bucket.endpoint/key`. Default: true with an endpoint of one's own. */
  readonly pathStyle?: boolean
}

export type S3ObjectStoreOptions = {
  /** `s3://bucket` or `s3://bucket/prefix`. */
  readonly root: string
  readonly s3: S3Settings
  readonly world: Pick<World, 'clock' | 'log'>
  readonly multipartBytesMin?: number
  readonly partBytes?: number
  readonly requestTimeoutMs?: number
  readonly connectionsMax?: number
}

const MIB = 1024 * 1024
const PARTS_MAX = 10_000
const PARTS_AT_ONCE = 4
const DELETE_KEYS_MAX = 1_000
const CONNECT_TIMEOUT_MS = 5_000

type Sdk = typeof import('@aws-sdk/client-s3')

/** Bytes to send, read piece by piece. */
type Source = { readonly size: number; read(start: number, end: number): Promise<Uint8Array> }

export function createS3ObjectStore(options: S3ObjectStoreOptions): ObjectStore {
  const root = trimTrailingSlashes(options.root)
  const { bucket, prefix } = bucketAndPrefix(root)
  const { world } = options
  const multipartBytesMin = options.multipartBytesMin ?? 64 * MIB
  const partBytesWanted = options.partBytes ?? 16 * MIB
  const requestTimeoutMs = options.requestTimeoutMs ?? 60_000
  const sdk = loadSdk()
  const client = createClient(options.s3, requestTimeoutMs, options.connectionsMax ?? 64)

  const bucketKeyOf = (path: string) => prefix + keyOf(root, path)
  /**
   * A limit over a whole request, taken away at its end: a pending `AbortSignal.timeout` would hold on to the request and
   * its bytes until it fires.
   */
  async function within<T>(
    request: (limit: { abortSignal: AbortSignal }) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new Error(`no answer within ${requestTimeoutMs} ms`)), requestTimeoutMs)
    const stop = () => late.abort(signal?.reason)
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted) stop()
    try {
      return await request({ abortSignal: late.signal })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
  }

  // ---- writing

  async function put(path: string, bytes: Uint8Array, condition: PutCondition = {}): Promise<ObjectInfo> {
    return putSource(
      path,
      { size: bytes.byteLength, read: async (start, end) => bytes.subarray(start, end) },
      condition,
    )
  }

  async function putFile(path: string, localFile: string, condition: PutCondition = {}): Promise<ObjectInfo> {
    const handle = await open(localFile, 'r').catch((cause: NodeJS.ErrnoException) => {
      throw cause.code === 'ENOENT' ? sourceMissing(path, localFile, cause) : cause
    })
    try {
      const { size } = await handle.stat()
      const read = async (start: number, end: number) => {
        const bytes = new Uint8Array(end - start)
        for (let filled = 0; filled < bytes.length; ) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled)
          if (bytesRead === 0) {
            throw new MillraceError('file-damaged', `${localFile} became shorter while it was sent to ${path}`, {
              facts: { path, localFile, size },
            })
          }
          filled += bytesRead
        }
        return bytes
      }
      return await putSource(path, { size, read }, condition)
    } finally {
      await handle.close()
    }
  }

  async function putSource(path: string, source: Source, condition: PutCondition): Promise<ObjectInfo> {
    const key = bucketKeyOf(path)
    checkCondition(path, condition)
    try {
      const etag =
        source.size > multipartBytesMin
          ? await putParts(path, key, source, condition)
          : await putWhole(path, key, await source.read(0, source.size), condition)
      return { path, size: source.size, etag, modifiedAt: world.clock.nowMicros() }
    } catch (cause) {
      // S3 says 404 when there is nothing that could match.
      if (condition.ifMatch !== undefined && saysNoSuchKey(cause)) throw preconditionFailed(path, 'no object', cause)
      throw s3ErrorOf(path, cause)
    }
  }

  async function putWhole(path: string, key: string, bytes: Uint8Array, condition: PutCondition): Promise<string> {
    const reply = await within((limit) =>
      client.send(
        new sdk.PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: bytes,
          ContentLength: bytes.byteLength,
          IfNoneMatch: condition.ifNoneMatch,
          IfMatch: condition.ifMatch,
        }),
        limit,
      ),
    )
    return requireEtag(path, reply.ETag)
  }

  async function putParts(path: string, key: string, source: Source, condition: PutCondition): Promise<string> {
    await checkBeforeParts(path, condition)
    const created = await within((limit) =>
      client.send(
        new sdk.CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ChecksumAlgorithm: 'CRC32' }),
        limit,
      ),
    )
    const uploadId = created.UploadId
    if (uploadId === undefined) throw storeUnavailable(path, 'the reply names no upload')
    try {
      const parts = await sendParts(path, key, uploadId, source)
      const reply = await within((limit) =>
        client.send(
          new sdk.CompleteMultipartUploadCommand({
            Bucket: bucket,
            Key: key,
            UploadId: uploadId,
            MultipartUpload: { Parts: parts },
            IfNoneMatch: condition.ifNoneMatch,
            IfMatch: condition.ifMatch,
          }),
          limit,
        ),
      )
      return requireEtag(path, reply.ETag)
    } catch (error) {
      await abortParts(path, key, uploadId)
      throw error
    }
  }

  /** The completion decides; this only spares sending a large file in vain. */
  async function checkBeforeParts(path: string, condition: PutCondition): Promise<void> {
    if (condition.ifNoneMatch === undefined && condition.ifMatch === undefined) return
    const present = await head(path)
    if (condition.ifNoneMatch !== undefined && present) throw preconditionFailed(path, 'an object is there already')
    if (condition.ifMatch !== undefined && present?.etag !== condition.ifMatch) {
      throw preconditionFailed(path, `its etag is ${present?.etag ?? 'none'}, expected ${condition.ifMatch}`)
    }
  }

  async function sendParts(path: string, key: string, uploadId: string, source: Source): Promise<CompletedPart[]> {
    const partBytes = Math.max(partBytesWanted, Math.ceil(source.size / PARTS_MAX))
    const count = Math.ceil(source.size / partBytes)
    const parts = new Array<CompletedPart>(count)
    const failed = new AbortController()
    let next = 0

    async function sendSome(): Promise<void> {
      while (next < count && !failed.signal.aborted) {
        const index = next++
        const body = await source.read(index * partBytes, Math.min(source.size, (index + 1) * partBytes))
        const reply = await within(
          (limit) =>
            client.send(
              new sdk.UploadPartCommand({
                Bucket: bucket,
                Key: key,
                UploadId: uploadId,
                PartNumber: index + 1,
                Body: body,
                ContentLength: body.byteLength,
                ChecksumAlgorithm: 'CRC32',
              }),
              limit,
            ),
          failed.signal,
        )
        parts[index] = {
          PartNumber: index + 1,
          ETag: requireEtag(path, reply.ETag),
          ChecksumCRC32: reply.ChecksumCRC32,
        }
      }
    }
    let firstError: unknown
    const senders = Array.from({ length: PARTS_AT_ONCE }, () =>
      sendSome().catch((error: unknown) => {
        firstError ??= error
        failed.abort()
      }),
    )
    // All of them have ended before we abort the upload, so no part arrives after that.
    await Promise.all(senders)
    if (failed.signal.aborted) throw firstError
    return parts
  }

  async function abortParts(path: string, key: string, uploadId: string): Promise<void> {
    try {
      await within((limit) =>
        client.send(new sdk.AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }), limit),
      )
    } catch (error) {
      if (s3FailureOf(error).name === 'NoSuchUpload') return
      world.log.warn('parts of a failed upload stay in the bucket', { path, uploadId, error: String(error) })
    }
  }

  // ---- reading

  async function get(path: string, { range, ifMatch, signal }: GetOptions = {}): Promise<ObjectBytes> {
    const key = bucketKeyOf(path)
    signal?.throwIfAborted()
    if (range) checkRange(path, range)
    try {
      const command = new sdk.GetObjectCommand({
        Bucket: bucket,
        Key: key,
        IfMatch: ifMatch,
        Range: range ? `bytes=${range.start}-${range.end - 1}` : undefined,
      })
      const { reply, body } = await within(async (limit) => {
        const answered = await client.send(command, limit)
        return { reply: answered, body: await readBody(path, answered, limit.abortSignal) }
      }, signal)
      const etag = requireEtag(path, reply.ETag)
      if (!range) return { bytes: body, etag, objectSize: body.byteLength }
      return { ...cutReply(path, range, reply.ContentRange, body), etag }
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      if (range && s3FailureOf(cause).name === 'InvalidRange') throw rangePastEnd(path, range)
      if (isChecksumMismatch(cause)) {
        throw new MillraceError('file-damaged', `${path} does not match its checksum`, { cause, facts: { path } })
      }
      throw s3ErrorOf(path, cause)
    }
  }

  async function head(path: string): Promise<ObjectInfo | undefined> {
    const key = bucketKeyOf(path)
    try {
      const reply = await within((limit) => client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key }), limit))
      if (reply.ContentLength === undefined) throw storeUnavailable(path, 'the reply says no length')
      return {
        path,
        size: reply.ContentLength,
        etag: requireEtag(path, reply.ETag),
        modifiedAt: microsOf(reply.LastModified),
      }
    } catch (cause) {
      const error = s3ErrorOf(path, cause)
      if (error.code === 'file-missing') return undefined
      throw error
    }
  }

  async function* list(listPrefix: string): AsyncIterable<ObjectInfo> {
    const keyPrefix = prefix + keyPrefixOf(root, listPrefix)
    let token: string | undefined
    do {
      const page = await within((limit) =>
        client.send(
          new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: keyPrefix, ContinuationToken: token }),
          limit,
        ),
      ).catch((cause: unknown) => {
        throw s3ErrorOf(listPrefix, cause)
      })
      if (page.IsTruncated === undefined || (page.IsTruncated && page.NextContinuationToken === undefined)) {
        throw storeUnavailable(listPrefix, 'a page of the listing is not complete')
      }
      for (const entry of page.Contents ?? []) {
        if (entry.Key === undefined || entry.Size === undefined || entry.ETag === undefined) {
          throw storeUnavailable(listPrefix, 'an entry of the listing is not complete')
        }
        // What consoles make to show a folder; no object of anybody.
        if (entry.Key.endsWith('/')) continue
        yield {
          path: `${root}/${entry.Key.slice(prefix.length)}`,
          size: entry.Size,
          etag: entry.ETag,
          modifiedAt: microsOf(entry.LastModified),
        }
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  async function deleteAll(paths: readonly string[]): Promise<void> {
    const keys = [...new Set(paths.map(bucketKeyOf))]
    for (let from = 0; from < keys.length; from += DELETE_KEYS_MAX) {
      const batch = keys.slice(from, from + DELETE_KEYS_MAX)
      const reply = await within((limit) =>
        client.send(
          new sdk.DeleteObjectsCommand({
            Bucket: bucket,
            Delete: { Objects: batch.map((key) => ({ Key: key })), Quiet: true },
          }),
          limit,
        ),
      ).catch((cause: unknown) => {
        throw s3ErrorOf(pathOfKey(batch[0]), cause)
      })
      for (const error of reply.Errors ?? []) {
        if (error.Code === 'NoSuchKey') continue
        throw deleteError(pathOfKey(error.Key ?? batch[0]), error.Code, error.Message)
      }
    }
  }

  function pathOfKey(key: string): string {
    return `${root}/${key.slice(prefix.length)}`
  }

  return {
    root,
    put,
    putFile,
    get,
    head,
    list,
    delete: deleteAll,
    close: async () => client.destroy(),
  }
}

/** Makes the bucket unless it is there and ours: for tests and first starts on an empty server. */
export async function createS3Bucket(bucket: string, s3: S3Settings): Promise<void> {
  const client = createClient(s3, 30_000, 1)
  try {
    await client.send(new (loadSdk().CreateBucketCommand)({ Bucket: bucket }))
  } catch (cause) {
    if (s3FailureOf(cause).name !== 'BucketAlreadyOwnedByYou') throw s3ErrorOf(`${S3_SCHEME}${bucket}`, cause)
  } finally {
    client.destroy()
  }
}

/** With the first bucket: a lake on local disk starts without the 0.07 CPU-s that it takes. Once it is loaded this is a look-up. */
function loadSdk(): Sdk {
  return createRequire(import.meta.url)('@aws-sdk/client-s3') as Sdk
}

function createClient(s3: S3Settings, requestTimeoutMs: number, connectionsMax: number): S3Client {
  const { accessKeyId, secretAccessKey } = s3
  const sdk = loadSdk()
  return new sdk.S3Client({
    endpoint: s3.endpoint,
    region: s3.region,
    forcePathStyle: s3.pathStyle ?? s3.endpoint !== undefined,
    credentials:
      accessKeyId !== undefined && secretAccessKey !== undefined ? { accessKeyId, secretAccessKey } : undefined,
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: requestTimeoutMs,
      httpAgent: { keepAlive: true, maxSockets: connectionsMax },
      httpsAgent: { keepAlive: true, maxSockets: connectionsMax },
    },
  })
}

function bucketAndPrefix(root: string): { bucket: string; prefix: string } {
  const match = /^s3:\/\/([^/]+)(\/.+)?$/.exec(root)
  const folders = match?.[2]?.slice(1).split('/') ?? []
  if (!match || folders.some((name) => name === '' || name === '.' || name === '..')) {
    throw new MillraceError(
      'settings-invalid',
      `expected ${S3_SCHEME}bucket or ${S3_SCHEME}bucket/prefix, found ${root}`,
      {
        facts: { root },
      },
    )
  }
  return { bucket: match[1], prefix: folders.length === 0 ? '' : `${folders.join('/')}/` }
}

async function readBody(path: string, reply: GetObjectCommandOutput, signal: AbortSignal): Promise<Uint8Array> {
  const { Body: body, ContentLength: length } = reply
  if (!(body instanceof Readable)) throw storeUnavailable(path, 'the reply has no body')
  const stop = () => body.destroy(signal.reason instanceof Error ? signal.reason : undefined)
  signal.addEventListener('abort', stop, { once: true })
  try {
    // Sent in chunks, whose last one the connection must have seen.
    if (length === undefined) return new Uint8Array(Buffer.concat(await body.toArray()))
    const bytes = new Uint8Array(length)
    let filled = 0
    for await (const chunk of body) {
      if (!(chunk instanceof Uint8Array) || filled + chunk.byteLength > length) {
        throw storeUnavailable(path, `the reply is longer than the ${length} bytes it announced`)
      }
      bytes.set(chunk, filled)
      filled += chunk.byteLength
    }
    if (filled !== length) throw storeUnavailable(path, `the reply ended at ${filled} of ${length} bytes`)
    return bytes
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** A server may answer a range with the whole object (no Content-Range); one that answers another range is not used. */
function cutReply(
  path: string,
  range: ByteRange,
  contentRange: string | undefined,
  body: Uint8Array,
): { bytes: Uint8Array; objectSize: number } {
  if (contentRange === undefined) {
    if (range.start >= body.byteLength) throw rangePastEnd(path, range, body.byteLength)
    return { bytes: body.slice(range.start, range.end), objectSize: body.byteLength }
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange)
  const objectSize = Number(match?.[3])
  const expectedEnd = Math.min(range.end, objectSize)
  const fits = match && Number(match[1]) === range.start && Number(match[2]) + 1 === expectedEnd
  if (!fits || body.byteLength !== expectedEnd - range.start) {
    throw storeUnavailable(path, `asked for [${range.start}, ${range.end}), the reply has ${contentRange}`)
  }
  return { bytes: body, objectSize }
}

/** A reply without one is an error page under status 200, or from something that is no S3 server. */
function requireEtag(path: string, etag: string | undefined): string {
  if (etag !== undefined && etag !== '') return etag
  throw storeUnavailable(path, 'the reply has no etag')
}

function saysNoSuchKey(cause: unknown): boolean {
  const { name, status } = s3FailureOf(cause)
  return status === 404 && (name === 'NoSuchKey' || name === 'NotFound')
}

function isChecksumMismatch(cause: unknown): boolean {
  return cause instanceof Error && /^Checksum mismatch/i.test(cause.message)
}

function deleteError(path: string, code = 'Error', message = ''): MillraceError {
  const status = code === 'AccessDenied' ? 403 : undefined
  return s3ErrorOf(path, { name: code, message, $metadata: { httpStatusCode: status } })
}

function microsOf(time: Date | undefined): bigint {
  return time === undefined ? 0n : BigInt(time.getTime()) * 1000n
}
